"""The stage exam: a model sits problems against the clock. A thin wrapper of podium.solve."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from podium.answering.prompts import PROBLEM, PROMPTS
from podium.errors import InputError, PodiumError
from podium.folders import ExamFolder
from podium.opening import ModelSpec, is_server, open_judge, open_table, open_verifier
from podium.recipe.inputs import MODEL, file_of
from podium.recipe.registry import (
    TOKENS_PER_SOLUTION,
    Estimate,
    StageContext,
    StageReport,
    checked,
    stage,
)
from podium.recipe.stages.model_params import ModelParams
from podium.records import ExamResult
from podium.settings import NOT_IDENTITY

GENERATED_PER_SECOND = 4000.0  # tokens of a model of a few million weights, a dozen rows; for the dry run's estimate


class ExamParams(ModelParams):
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
        "plain", description=f"{', '.join(PROMPTS)}, a template with {PROBLEM}, or a file that holds one"
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
    concurrency: Annotated[int, NOT_IDENTITY] = Field(
        1, ge=1, description="problems at the same time; only without a clock"
    )
    fallback: str | None = Field(None, description="the answer where no attempt has boxed one; null: none")
    vote: str | None = Field(
        None,
        description="what a vote weighs by: uniform, length, logprob, entropy or verifier; null: verifier where there "
        "is one, else uniform",
    )
    verifier: str | None = Field(
        None, description="URL#NAME of a server that scores each attempt; a model of this machine is an input"
    )
    verifier_tokens: int = Field(0, ge=0, description="tokens the verifier may think before its word")
    judge: str | None = Field(
        None, description="URL#NAME of a server that decides what grading cannot; a model of this machine is an input"
    )

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

    @field_validator("concurrency")
    @classmethod
    def _one_problem_under_a_clock(cls, value: int, info: ValidationInfo) -> int:
        if value > 1 and info.data.get("budget_seconds") is not None:
            raise ValueError("the clock runs for one problem at a time; use concurrency: 1, or budget_seconds: null")
        return value

    @field_validator("fallback", mode="before")
    @classmethod
    def _a_number_is_an_answer(cls, value: Any) -> Any:
        """An answer is text, and YAML reads `fallback: 7` as a number."""
        return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value

    @field_validator("vote")
    @classmethod
    def _known_vote(cls, value: str | None) -> str | None:
        from podium.solve.vote import check_weight

        return None if value is None else checked(value, lambda: check_weight(value))

    @field_validator("verifier", "judge")
    @classmethod
    def _a_server(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and not is_server(value):
            raise ValueError(
                f"not the address of a server; a stage or folder is named in `inputs: {{{info.field_name}: …}}`"
            )
        return value

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
        if self.prompt not in PROMPTS:
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


@stage("exam", version=2, inputs=(MODEL, "problems"), optional=("verifier", "judge"), estimate=_estimate_exam)
def exam(context: StageContext, params: ExamParams, inputs: dict[str, Path]) -> StageReport:
    """An exam sat by a model: results.jsonl, attempts.jsonl, summary.json.

    Inputs: `verifier`, a model that scores the attempts for the vote; `judge`, one that decides what grading cannot.
    """
    from podium.problems import read_problems
    from podium.solve import ExamConfig, ExamSummary, sit_exam
    from podium.solve.prompt import FINDERS

    rows = read_problems(file_of(inputs["problems"], "exam.jsonl"))[: params.take]
    spec = params.spec(inputs[MODEL])
    verifier, judge = (_helper(role, context, params, inputs) for role in ("verifier", "judge"))
    config = ExamConfig.model_validate(
        {
            "attempts": params.attempts,
            "policy": params.policy,
            "profile": params.profile,
            "overrides": params.overrides(),
            "extract": None if params.extract is None else [FINDERS[name] for name in params.extract],
            "budget_seconds": params.budget_seconds,
            "concurrency": params.concurrency,
            "fallback": params.fallback,
            "vote": params.vote or ("uniform" if verifier is None else "verifier"),
            "seed": context.seed,
        }
    )
    # The journal lives in the folder itself: a resumed exam goes on after the last finished problem.
    right = sum(
        row.verdict == "correct" for row in ExamFolder(context.folder).resume_results()
    )  # of an interrupted session

    def told(result: ExamResult, finished: int, total: int) -> None:
        nonlocal right
        right += result.verdict == "correct"
        context.progress(finished, total, correct=f"{right}/{finished}")

    async def sit() -> ExamSummary:
        async with AsyncExitStack() as stack:
            # The helpers come first: on a GPU the model takes what they leave.
            scoring = None if verifier is None else await open_verifier(verifier, params.verifier_tokens, stack)
            judging = None if judge is None else await open_judge(judge, stack)
            table = open_table(spec, params.attempts, params.code, name=inputs[MODEL].name)
            completer, sandbox = await stack.enter_async_context(table)
            summary = await sit_exam(
                rows,
                completer,
                sandbox,
                config,
                context.folder,
                runlog=context.runlog,
                progress=told,
                verifier=scoring,
                judge=judging,
            )
            for trouble in (each.trouble for each in (scoring, judging) if each is not None and each.trouble):
                context.console.print(trouble, style="yellow", markup=False, soft_wrap=True)
            return summary

    summary = asyncio.run(sit())
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


def _helper(role: str, context: StageContext, params: ExamParams, inputs: Mapping[str, Path]) -> ModelSpec | None:
    """The verifier or the judge: a model of the recipe or of this machine, a server, or nobody.

    Raises:
        InputError: both an input and a server, or no such device.
    """
    server: str | None = getattr(params, role)
    if role not in inputs:
        return None if server is None else ModelSpec(server)
    if server is not None:
        raise InputError(f"stage {context.name!r}: {role!r} is an input and a server", "name one of the two")
    return params.helper(inputs[role])
