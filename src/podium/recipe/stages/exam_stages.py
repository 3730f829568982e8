"""The stage exam: a model sits problems against the clock. A thin wrapper of podium.solve."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from podium.answering.prompts import EXAM_PROMPTS, PROBLEM
from podium.errors import PodiumError
from podium.recipe.inputs import MODEL, file_of, model_of
from podium.recipe.registry import (
    TOKENS_PER_SOLUTION,
    Estimate,
    Params,
    StageContext,
    StageReport,
    checked,
    stage,
)
from podium.records import ExamResult, Problem

GENERATED_PER_SECOND = 4000.0  # tokens of a model of a few million weights, a dozen rows; for the dry run's estimate


class ExamParams(Params):
    """How an exam is sat; see podium.solve.ExamConfig."""

    attempts: int = Field(12, ge=1, description="attempts per problem")
    policy: str = Field("all", description="when a problem is finished, see docs/policies.md")
    profile: str = Field("kaggle", description="limits of code and text: kaggle, notebook or eval")
    code: bool = Field(True, description="the model may run code")
    max_tokens: int | None = Field(None, ge=1, description="tokens per attempt; null: the profile's")
    temperature: float | None = Field(None, ge=0, description="of the sampling; null: the profile's")
    top_p: float | None = Field(
        None, gt=0, le=1, description="share of the probability that is drawn from; null: the profile's"
    )
    prompt: str = Field(
        "plain", description=f"{', '.join(EXAM_PROMPTS)}, a template with {PROBLEM}, or a file that holds one"
    )
    system: str = Field("", description="the system message; empty: none")
    extract: tuple[Literal["box", "boxed", "final", "letter", "number", "all"], ...] | None = Field(
        None, description="where an answer is looked for, in this order; none: as the exam's own rules say"
    )
    repetition_stop: bool = Field(True, description="end an attempt that only repeats itself")
    budget_seconds: float | Literal["paper"] | None = Field(
        "paper", description="seconds for the whole exam; paper: 350 per problem; null: no clock"
    )
    take: int | None = Field(None, ge=1, description="only the first so many problems")
    memory_gb: float = Field(1.0, gt=0, description="for keys and values")
    threads: int | None = Field(None, ge=1, description="processor threads; null: one per core")

    @field_validator("extract", mode="before")
    @classmethod
    def _extract_as_in_a_command(cls, value: Any) -> Any:
        """`boxed,final` is what `--extract` takes, and what the cures of an exam name."""
        if not isinstance(value, str):
            return value
        return [name.strip().lower() for name in value.split(",") if name.strip()] or value

    @field_validator("profile")
    @classmethod
    def _known_profile(cls, value: str) -> str:
        from podium.solve import get_profile

        return checked(value, lambda: get_profile(value))

    @field_validator("policy")
    @classmethod
    def _fitting_policy(cls, value: str, info: ValidationInfo) -> str:
        from podium.solve import parse_policy

        return checked(value, lambda: parse_policy(value).check(info.data.get("attempts", 1)))

    @field_validator("prompt")
    @classmethod
    def _readable_prompt(cls, value: str, info: ValidationInfo) -> str:
        """A file becomes the template in it: what is hashed and written down is what is asked."""
        from podium.solve.prompt import check_template, prompt_fields

        if PROBLEM in value or "\n" in value:
            return checked(value, lambda: check_template(value, "prompt"))
        try:
            fields = prompt_fields(value, (info.context or {}).get("folder"))
        except PodiumError as error:
            raise ValueError(f"{error.message}; {error.cure}") from error
        return fields.get("template") or value

    def overrides(self) -> dict[str, Any]:
        """Fields of the profile that are replaced."""
        given: dict[str, Any] = {}
        given |= {"max_tokens": self.max_tokens, "temperature": self.temperature, "top_p": self.top_p}
        if not self.code:
            given["code_calls"] = 0
        if self.prompt not in EXAM_PROMPTS:
            given["template"] = self.prompt
        elif self.prompt != "plain":
            given["prompt"] = self.prompt
        if self.system:
            given["system"] = self.system
        if self.repetition_stop:
            given["repetition_stop"] = True  # off is the profile's own
        return {key: value for key, value in given.items() if value is not None}


def _estimate_exam(params: ExamParams, inputs: Mapping[str, Estimate]) -> Estimate:
    problems = int(inputs["problems"].sizes.get("exam", 0))
    rows = min(params.take or problems, problems) or None
    clock = f"{params.budget_seconds:g} s" if isinstance(params.budget_seconds, float) else str(params.budget_seconds)
    note = f"{params.attempts} attempts each, clock: {clock}"
    parameters = inputs[MODEL].sizes.get("parameters")
    if rows is None or parameters is None:
        return Estimate(rows=rows, note=note)
    tokens = rows * params.attempts * TOKENS_PER_SOLUTION
    return Estimate(rows, 2.0 * parameters * tokens, tokens / GENERATED_PER_SECOND, note)


@stage("exam", version=2, inputs=(MODEL, "problems"), estimate=_estimate_exam)
def exam(context: StageContext, params: ExamParams, inputs: dict[str, Path]) -> StageReport:
    """An exam sat by a model: results.jsonl, attempts.jsonl, summary.json."""
    from podium.generate.engine import Engine
    from podium.problems import read_problems
    from podium.solve import ExamConfig
    from podium.solve.prompt import FINDERS

    rows = read_problems(file_of(inputs["problems"], "exam.jsonl"))[: params.take]
    config = ExamConfig.model_validate(
        {
            "attempts": params.attempts,
            "policy": params.policy,
            "profile": params.profile,
            "overrides": params.overrides(),
            "extract": None if params.extract is None else [FINDERS[name] for name in params.extract],
            "budget_seconds": params.budget_seconds,
            "seed": context.seed,
        }
    )
    engine = Engine.load(
        model_of(inputs[MODEL]),
        max_rows=params.attempts,
        memory_bytes=int(params.memory_gb * 2**30),
        threads=params.threads,
        name=inputs[MODEL].name,
    )
    # The journal lives in the folder itself: a resumed exam goes on after the last finished problem.
    summary = asyncio.run(_sit(rows, engine, params.code, config, context))
    scores = summary.scores
    return StageReport(
        {
            "score": scores.score.value,
            f"maj@{params.attempts}": scores.majority_n.value,
            "pass@1": scores.pass_1.value,
            f"pass@{params.attempts}": scores.pass_n.value,
            "problems": scores.problems,
            "tokens": scores.mean_tokens,
            "code_calls": scores.mean_code_calls,
        }
    )


async def _sit(rows: list[Problem], engine: Any, code: bool, config: Any, context: StageContext) -> Any:
    from contextlib import AsyncExitStack

    from podium.solve import sit_exam
    from podium.solve.exam import finished_results

    right = sum(row.verdict == "correct" for row in finished_results(context.folder))  # of an interrupted session

    def told(result: ExamResult, finished: int, total: int) -> None:
        nonlocal right
        right += result.verdict == "correct"
        context.progress(finished, total, correct=f"{right}/{finished}")

    async with AsyncExitStack() as stack:
        stack.push_async_callback(engine.close)
        sandbox = None
        if code:
            from podium.sandbox import Sandbox

            sandbox = await stack.enter_async_context(Sandbox(warm=("numpy", "sympy")))
        return await sit_exam(rows, engine, sandbox, config, context.folder, runlog=context.runlog, progress=told)
