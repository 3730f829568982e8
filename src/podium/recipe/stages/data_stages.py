"""The stages that make what is trained on: problems, teach, tokenizer. Thin wrappers of the rooms they name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from podium.answering.prompts import TRAINING_PROMPTS
from podium.errors import InputError
from podium.recipe.inputs import SOLUTIONS, file_of
from podium.recipe.registry import Estimate, Params, StageContext, StageReport, stage
from podium.records import Problem
from podium.storage import write_json, write_rows

SOLUTIONS_PER_SECOND = {"cot": 1500.0, "tir": 250.0}  # of the programmatic teacher, for the dry run's estimate


class Task(BaseModel):
    """One part of a mixture of reasoning-gym tasks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    weight: float = Field(1.0, gt=0, description="share of the task among all")
    options: dict[str, Any] = Field({}, description="fields of the task's config; none: those of the demo mixture")


class ProblemsParams(Params):
    """Train and exam problems that share none. `tasks` empty: the demo mixture."""

    tasks: dict[str, Task] = Field(default_factory=dict, description="reasoning-gym tasks by name")
    train: int = Field(1000, ge=1, description="training problems")
    exam: int = Field(50, ge=1, description="exam problems")


def _estimate_problems(params: ProblemsParams, inputs: Mapping[str, Estimate]) -> Estimate:
    sizes = {"train": params.train, "exam": params.exam}
    return Estimate(rows=params.train + params.exam, seconds=2 + params.train / 5000, sizes=sizes)


@stage("problems", version=1, inputs=(), optional=("apart",), estimate=_estimate_problems)
def problems(context: StageContext, params: ProblemsParams, inputs: dict[str, Path]) -> StageReport:
    """train.jsonl and exam.jsonl of a mixture, and the check that no problem is in both.

    Input `apart`: problems of an earlier stage, or a file of them, none of which may be drawn again.
    """
    from podium.curate import DEMO_TASKS
    from podium.problems import GymTask, gym_mixture, read_problems

    known = {task.name: task for task in DEMO_TASKS}
    tasks = [
        GymTask(name, task.weight, task.options or (known[name].options if name in known else {}))
        for name, task in params.tasks.items()
    ] or list(DEMO_TASKS)
    apart: list[Problem] = []
    if "apart" in inputs:
        folder = inputs["apart"]
        files = [folder / "train.jsonl", folder / "exam.jsonl"] if folder.is_dir() else [folder]
        apart = [problem for file in files for problem in read_problems(file)]
    train, exam, report = gym_mixture(tasks, params.train, params.exam, context.seed, apart)
    write_rows(context.folder / "train.jsonl", train)
    write_rows(context.folder / "exam.jsonl", exam)
    write_json(
        context.folder / "disjoint.json",
        {"train": len(train), "exam": len(exam), "shared": len(report.disjoint.shared), "tasks": report.tasks},
    )
    context.console.print(str(report.disjoint), highlight=False)
    return StageReport(
        {"train": len(train), "exam": len(exam), "tasks": len(tasks), "shared": len(report.disjoint.shared)}
    )


class TeachParams(Params):
    """Who solves the training problems, and how."""

    style: Literal["cot", "tir"] = Field(description="in words, or with calls of Python")
    teacher: str = Field("programmatic", description="programmatic, or the URL of an OpenAI-compatible server")
    teacher_model: str = Field("", description="as the server names it")
    prompt: str = Field("plain", description=f"{', '.join(TRAINING_PROMPTS)}: what is said besides the problem")
    take: int | None = Field(None, ge=1, description="only the first so many problems")
    n: int = Field(1, ge=1, description="tries per problem")
    temperature: float = Field(0.7, ge=0, description="of a server's sampling")
    max_tokens: int = Field(16_384, ge=1, description="longest solution of a server")
    concurrency: int = Field(64, ge=1, description="requests in flight")


def _estimate_teach(params: TeachParams, inputs: Mapping[str, Estimate]) -> Estimate:
    source = inputs.get("problems")
    problems = int(source.sizes.get("train", 0)) if source else 0
    rows = min(params.take or problems, problems) * params.n or None
    if params.teacher != "programmatic":
        return Estimate(rows=rows, note=f"at most; by {params.teacher}")
    return Estimate(rows=rows, seconds=rows / SOLUTIONS_PER_SECOND[params.style] if rows else None, note="at most")


@stage("teach", version=1, inputs=("problems",), estimate=_estimate_teach)
def teach(context: StageContext, params: TeachParams, inputs: dict[str, Path]) -> StageReport:
    """Solutions of the training problems; only what is graded correct is kept, what is dropped is counted."""
    from podium.answering import Sampling
    from podium.answering.openai import OpenAICompleter
    from podium.answering.reach import api_key, reach
    from podium.curate import make_solutions
    from podium.problems import read_problems

    file = file_of(inputs["problems"], "train.jsonl")
    rows = read_problems(file)[: params.take]
    if not rows:
        raise InputError(f"{file}: no problems in this file", "a teacher needs at least one")
    teacher = None
    if params.teacher != "programmatic":
        if not params.teacher_model:
            raise InputError(
                f"stage {context.name!r}: field 'teacher_model' is empty",
                "say which of the server's models is the teacher",
            )
        found = reach(params.teacher, params.teacher_model, key=api_key())
        teacher = OpenAICompleter(found.url, model=found.model, api_key=api_key())
    report = make_solutions(
        rows,
        context.folder / SOLUTIONS,
        params.style,
        teacher=teacher,
        n=params.n,
        prompt=params.prompt,
        sampling=Sampling(max_tokens=params.max_tokens, temperature=params.temperature, seed=context.seed),
        concurrency=params.concurrency,
    )
    if not report.kept:
        raise InputError(
            f"stage {context.name!r}: none of {report.tries} solutions could be kept: {dict(report.dropped)}",
            "look at the reasons; a teacher must know the tasks",
        )
    return StageReport(
        {
            "kept": report.kept,
            "dropped": sum(report.dropped.values()),
            "code_calls": report.code_calls,
            "kept_per_second": round(report.kept / report.seconds) if report.seconds else 0,
        }
    )


class TokenizerParams(Params):
    """How large the vocabulary is, and how much text it is made from."""

    vocab_size: int = Field(640, ge=261, description="entries, special tokens included")
    rows: int = Field(4000, ge=1, description="solutions read per input")


def _estimate_tokenizer(params: TokenizerParams, inputs: Mapping[str, Estimate]) -> Estimate:
    return Estimate(rows=params.vocab_size, seconds=1.0)


@stage("tokenizer", version=1, estimate=_estimate_tokenizer)
def tokenizer(context: StageContext, params: TokenizerParams, inputs: dict[str, Path]) -> StageReport:
    """A byte-level BPE tokenizer trained on questions and solutions of every input."""
    from itertools import islice

    from podium.problems import iterate_solutions
    from podium.text import train_tokenizer

    def texts() -> Any:
        for path in inputs.values():
            for row in islice(iterate_solutions(file_of(path, SOLUTIONS)), params.rows):
                yield "".join(message.content for message in row.prompt)
                yield row.text

    made = train_tokenizer(texts(), params.vocab_size)
    made.save(context.folder)
    return StageReport({"entries": made.vocab_size})
