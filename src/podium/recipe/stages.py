"""The stages a recipe can name: problems, teach, tokenizer, train, merge, draft, exam; groups and select next door.

Each is a thin, typed wrapper around one room; what a stage really does is written there. Importing this module
registers the kinds and imports nothing heavy.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from podium.errors import InputError, PodiumError
from podium.recipe import select_stages as select_stages  # registers groups and select
from podium.recipe.inputs import MODEL, SOLUTIONS, answers_of, file_of, model_of
from podium.recipe.registry import Estimate, Params, StageContext, StageReport, stage
from podium.records import Problem, read_rows, write_json, write_rows

if TYPE_CHECKING:
    from podium.records import ExamResult

# Rough figures of two laptop-class cores, only for the dry run's estimate of seconds.
FLOPS_PER_SECOND = 1.0e11
SOLUTIONS_PER_SECOND = {"cot": 1500.0, "tir": 250.0}
TOKENS_PER_SOLUTION = 100
GENERATED_PER_SECOND = 4000.0  # a model of a few million weights, a dozen rows


class Task(BaseModel):
    """One part of a mixture of reasoning-gym tasks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    weight: float = Field(1.0, gt=0)
    options: dict[str, Any] = Field({}, description="fields of the task's config; none: those of the demo mixture")


class ProblemsParams(Params):
    """Train and exam problems that share none. `tasks` empty: the demo mixture."""

    tasks: dict[str, Task] = Field(default_factory=dict)
    train: int = Field(1000, ge=1)
    exam: int = Field(50, ge=1)


def _estimate_problems(params: ProblemsParams, inputs: Mapping[str, Estimate]) -> Estimate:
    sizes = {"train": params.train, "exam": params.exam}
    return Estimate(rows=params.train + params.exam, seconds=2 + params.train / 5000, sizes=sizes)


@stage("problems", version=1, inputs=(), optional=("apart",), estimate=_estimate_problems)
def problems(context: StageContext, params: ProblemsParams, inputs: dict[str, Path]) -> StageReport:
    """train.jsonl and exam.jsonl of a mixture, and the check that no problem is in both.

    Input `apart`: problems of an earlier stage, or a file of them, none of which may be drawn again.
    """
    from podium.curate import DEMO_TASKS
    from podium.problems import GymTask, gym_mixture

    known = {task.name: task for task in DEMO_TASKS}
    tasks = [
        GymTask(name, task.weight, task.options or (known[name].options if name in known else {}))
        for name, task in params.tasks.items()
    ] or list(DEMO_TASKS)
    apart: list[Problem] = []
    if "apart" in inputs:
        folder = inputs["apart"]
        files = [folder / "train.jsonl", folder / "exam.jsonl"] if folder.is_dir() else [folder]
        apart = [problem for file in files for problem in read_rows(file, Problem)]
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

    style: Literal["cot", "tir"]
    teacher: str = Field("programmatic", description="programmatic, or the URL of an OpenAI-compatible server")
    teacher_model: str = Field("", description="as the server names it")
    prompt: str = Field("plain", description="plain, cot or tir: what is said besides the problem")
    take: int | None = Field(None, ge=1, description="only the first so many problems")
    n: int = Field(1, ge=1, description="tries per problem")
    temperature: float = Field(0.7, ge=0)
    max_tokens: int = Field(16_384, ge=1)
    concurrency: int = Field(64, ge=1)


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
    from podium.curate import make_solutions
    from podium.generate import Sampling
    from podium.generate.openai import OpenAICompleter

    file = file_of(inputs["problems"], "train.jsonl")
    rows = read_rows(file, Problem)[: params.take]
    if not rows:
        raise InputError(f"{file}: no problems in this file", "a teacher needs at least one")
    teacher = None
    if params.teacher != "programmatic":
        if not params.teacher_model:
            raise InputError(
                f"stage {context.name!r}: field 'teacher_model' is empty",
                "say which of the server's models is the teacher",
            )
        teacher = OpenAICompleter(params.teacher, model=params.teacher_model)
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
    vocab_size: int = Field(640, ge=261)
    rows: int = Field(4000, ge=1, description="solutions read per input")


def _estimate_tokenizer(params: TokenizerParams, inputs: Mapping[str, Estimate]) -> Estimate:
    return Estimate(rows=params.vocab_size, seconds=1.0)


@stage("tokenizer", version=1, estimate=_estimate_tokenizer)
def tokenizer(context: StageContext, params: TokenizerParams, inputs: dict[str, Path]) -> StageReport:
    """A byte-level BPE tokenizer trained on questions and solutions of every input."""
    from itertools import islice

    from podium.records import Solution, iterate_rows
    from podium.text import train_tokenizer

    def texts() -> Any:
        for path in inputs.values():
            for row in islice(iterate_rows(file_of(path, SOLUTIONS), Solution), params.rows):
                yield "".join(message.content for message in row.prompt)
                yield row.text

    made = train_tokenizer(texts(), params.vocab_size)
    made.save(context.folder)
    return StageReport({"entries": made.vocab_size})


class Shape(BaseModel):
    """The size of a new model. Sizes multiply out as in the Qwen3 family."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    layers: int = Field(4, ge=1)
    hidden: int = Field(160, ge=8)
    intermediate: int = Field(0, ge=0, description="0: 8/3 of hidden, in multiples of 16")
    heads: int = Field(5, ge=1)
    kv_heads: int = Field(0, ge=0, description="0: as many as heads")
    head_dim: int = Field(32, ge=2)
    context: int = Field(1024, ge=16)
    tied: bool = True

    def parameters(self, vocabulary: int) -> int:
        """Weights of the matrices; norms are left out."""
        kv = self.kv_heads or self.heads
        attention = self.hidden * self.head_dim * (2 * self.heads + 2 * kv)
        return self.layers * (attention + 3 * self.hidden * self.width()) + self.hidden * vocabulary

    def width(self) -> int:
        return self.intermediate or max(16, round(self.hidden * 8 / 3 / 16) * 16)


class OptimizerParams(BaseModel):
    """See podium.train.OptimizerConfig."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["adamw", "muon", "sgd"] = "muon"
    lr: float = Field(default=3e-3, gt=0)
    muon_lr: float = Field(default=0.02, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)


class ScheduleParams(BaseModel):
    """See podium.train.ScheduleConfig."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["cosine", "linear", "constant"] = "linear"
    warmup: float = Field(default=0.02, ge=0)
    decay_after: float = Field(default=0.4, ge=0, lt=1)
    final_ratio: float = Field(default=0.0, ge=0, le=1)


class TrainParams(Params):
    """Supervised fine-tuning, of a model given as input or of a new one of `shape`."""

    steps: int = Field(200, ge=1)
    rows_per_batch: int = Field(32, ge=1)
    row_length: int = Field(256, ge=16, description="tokens")
    accumulation: int = Field(1, ge=1)
    shape: Shape | None = None
    optimizer: OptimizerParams = OptimizerParams()
    schedule: ScheduleParams = ScheduleParams()
    clip: float = Field(1.0, ge=0)
    average: int = Field(0, ge=0, description="mean of this many equally spaced states; 0: the last")
    validation: int = Field(128, ge=0, description="solutions kept out of training to measure the loss on")
    evaluate_every: int = Field(100, ge=0)
    checkpoint_every: int = Field(25, ge=0)
    precision: Literal["float32", "bfloat16"] = "float32"
    device: str = "cpu"
    threads: int | None = Field(None, ge=1)


def _estimate_train(params: TrainParams, inputs: Mapping[str, Estimate]) -> Estimate:
    tokens = params.steps * params.accumulation * params.rows_per_batch * params.row_length
    note = f"{tokens / 1e6:.1f} M tokens at most"
    if params.shape is not None:
        parameters = params.shape.parameters((inputs["tokenizer"].rows if "tokenizer" in inputs else None) or 640)
    elif MODEL in inputs and "parameters" in inputs[MODEL].sizes:
        parameters = inputs[MODEL].sizes["parameters"]
    else:
        return Estimate(rows=params.steps, note=note)
    flops = 6.0 * parameters * tokens
    sizes = {"parameters": parameters}
    return Estimate(params.steps, flops, flops / FLOPS_PER_SECOND, f"{parameters / 1e6:.2f} M weights, {note}", sizes)


@stage("train", version=1, estimate=_estimate_train)
def train(context: StageContext, params: TrainParams, inputs: dict[str, Path]) -> StageReport:
    """A model folder, trained with loss on the model's own tokens.

    Inputs: `tokenizer` or `model`; every other role names solutions to train on.
    """
    import torch

    from podium.curate import build_documents
    from podium.models import load_model, save_model
    from podium.models.config import TransformerConfig
    from podium.models.transformer import Transformer
    from podium.text import Tokenizer
    from podium.train import NextToken, OptimizerConfig, PackedSource, ScheduleConfig, TrainConfig
    from podium.train import train as run_training

    if (MODEL in inputs) == (params.shape is not None):
        raise InputError(
            f"stage {context.name!r}: give either the input 'model' or the parameter 'shape'",
            "a shape makes a new model, the input goes on with one",
        )
    if MODEL in inputs:
        model, text = load_model(model_of(inputs[MODEL]))
        if "tokenizer" in inputs:
            text = Tokenizer.load(inputs["tokenizer"])
        if text is None:
            raise InputError(f"{inputs[MODEL]}: no tokenizer in this folder", "give one as the input 'tokenizer'")
    else:
        if params.shape is None or "tokenizer" not in inputs:
            raise InputError(f"stage {context.name!r}: a new model needs the input 'tokenizer'", "add it to `inputs`")
        text = Tokenizer.load(inputs["tokenizer"])
        shape = params.shape
        model = Transformer(
            TransformerConfig(
                kind="qwen3",
                vocab_size=text.vocab_size,
                hidden_size=shape.hidden,
                intermediate_size=shape.width(),
                num_hidden_layers=shape.layers,
                num_attention_heads=shape.heads,
                num_key_value_heads=shape.kv_heads or shape.heads,
                head_dim=shape.head_dim,
                max_position_embeddings=shape.context,
                tie_word_embeddings=shape.tied,
            )
        ).initialise(context.seed, zero_output=True)
    if params.row_length > model.config.max_position_embeddings and model.config.rope.kind == "default":
        # Trained on such rows the model knows these positions, and whoever loads it must be told.
        model.config = replace(model.config, max_position_embeddings=params.row_length)
    solutions = [file_of(path, SOLUTIONS) for role, path in inputs.items() if role not in ("tokenizer", MODEL)]
    if not solutions:
        raise InputError(f"stage {context.name!r}: no solutions to train on", "name a teach stage in `inputs`")
    documents, counts = build_documents(solutions, text, max_tokens=params.row_length)
    # Held out evenly, since each file is of one style.
    every = len(documents) // params.validation if params.validation else 0
    places = set(range(0, len(documents), every)[: params.validation]) if every > 1 else set()
    held_out = [document for place, document in enumerate(documents) if place in places]
    kept = [document for place, document in enumerate(documents) if place not in places]
    source = PackedSource(
        kept,
        row_length=params.row_length,
        rows_per_batch=params.rows_per_batch,
        seed=context.seed,
    )
    objective = NextToken()

    def validation_loss(subject: Any) -> dict[str, float]:
        packed = PackedSource(held_out, row_length=params.row_length, rows_per_batch=1, method="first-fit-decreasing")
        losses = [objective(subject, packed.next().to(torch.device(params.device))) for _ in range(packed.report.rows)]
        return {"loss": float(sum(loss.total.item() for loss in losses) / sum(loss.weight for loss in losses))}

    result = run_training(
        model,
        objective,
        source,
        TrainConfig(
            steps=params.steps,
            seed=context.seed,
            optimizer=OptimizerConfig.model_validate(params.optimizer.model_dump()),
            schedule=ScheduleConfig.model_validate(params.schedule.model_dump()),
            accumulation=params.accumulation,
            clip=params.clip,
            average=params.average,
            precision=params.precision,
            threads=params.threads,
            device=params.device,
            checkpoint_every=params.checkpoint_every,
            keep_checkpoints=1,
            evaluate_every=params.evaluate_every,
        ),
        context.state,
        runlog=context.runlog,
        evaluate=validation_loss if held_out else None,
    )
    save_model(context.folder / MODEL, model.cpu(), text)
    figures = {
        "steps": result.steps,
        "loss": result.loss,
        "validation_loss": result.evaluations[-1][1]["loss"] if result.evaluations else None,
        "tokens": result.count,
        "epochs": result.count / source.report.tokens,
        "tokens_per_second": round(result.count_per_second),
        "mfu": result.mfu,
        "parameters": model.num_parameters(),
        "skipped": result.skipped + result.not_finite,
        "too_long": counts.dropped,
    }
    return StageReport({key: value for key, value in figures.items() if value is not None})


class MergeParams(Params):
    """Weights by input role; they are normalised to a sum of 1."""

    weights: dict[str, float]


def _estimate_merge(params: MergeParams, inputs: Mapping[str, Estimate]) -> Estimate:
    return Estimate(rows=1, seconds=1.0, sizes=next(iter(inputs.values())).sizes if inputs else {})


@stage("merge", version=1, estimate=_estimate_merge)
def merge(context: StageContext, params: MergeParams, inputs: dict[str, Path]) -> StageReport:
    """The linear merge of the input models."""
    from podium.compress import merge_linear

    if set(params.weights) != set(inputs):
        raise InputError(
            f"stage {context.name!r}: weights for {sorted(params.weights)}, but inputs {sorted(inputs)}",
            "give every input a weight",
        )
    roles = list(inputs)
    merge_linear(
        [model_of(inputs[role]) for role in roles],
        [params.weights[role] for role in roles],
        context.folder / MODEL,
    )
    return StageReport({role: params.weights[role] for role in roles})


class DraftParams(Params):
    """A draft head for a model; see podium.compress.DraftTraining."""

    generate: int = Field(0, ge=0, description="answers by the model itself, to the first so many training problems")
    profile: str = Field("kaggle", description="limits of these answers")
    code: bool = True
    depth: int = Field(3, ge=1, le=8)
    layers: int = Field(2, ge=0)
    taps: int = Field(3, ge=0)
    vocabulary: int = Field(4096, ge=1)
    epochs: float = Field(1.0, gt=0)
    lr: float = Field(1e-3, gt=0)
    rows_per_batch: int = Field(4, ge=1)
    row_length: int = Field(2048, ge=16)
    validation: int = Field(64, ge=0)
    checkpoint_every: int = Field(25, ge=0)
    device: str = "cpu"
    threads: int | None = Field(None, ge=1)

    @field_validator("profile")
    @classmethod
    def _known_profile(cls, value: str) -> str:
        from podium.solve import get_profile

        return _checked(value, lambda: get_profile(value))


def _estimate_draft(params: DraftParams, inputs: Mapping[str, Estimate]) -> Estimate:
    rows = params.generate or sum(estimate.rows or 0 for role, estimate in inputs.items() if role != MODEL)
    parameters = inputs[MODEL].sizes.get("parameters")
    tokens = rows * TOKENS_PER_SOLUTION * params.epochs
    if not parameters or not tokens:
        return Estimate(rows=rows or None)
    flops = 2.0 * parameters * tokens
    return Estimate(rows, flops, flops / FLOPS_PER_SECOND, f"{rows} answers at most")


@stage("draft", version=2, estimate=_estimate_draft)
def draft(context: StageContext, params: DraftParams, inputs: dict[str, Path]) -> StageReport:
    """A draft head in `draft/`, trained on what the model itself writes.

    Inputs: `model`; `problems` where `generate` is set; every other role names answers to learn from.
    """
    from podium.compress import DraftTraining, save_draft, train_draft
    from podium.models import load_model
    from podium.recipe.single import draft_documents, own_answers

    if MODEL not in inputs:
        raise InputError(f"stage {context.name!r}: no input 'model'", "name the model whose tokens are to be guessed")
    if bool(params.generate) != ("problems" in inputs):
        raise InputError(
            f"stage {context.name!r}: the input 'problems' and the parameter 'generate' go together",
            "give both to let the model answer first, or neither",
        )
    folder = model_of(inputs[MODEL])
    target, text = load_model(folder)
    if text is None:
        raise InputError(f"{inputs[MODEL]}: no tokenizer in this folder", "save the model with its tokenizer")
    files = [answers_of(path) for role, path in inputs.items() if role not in (MODEL, "problems")]
    if params.generate:
        rows = read_rows(file_of(inputs["problems"], "train.jsonl"), Problem)[: params.generate]
        files.append(context.folder / "attempts.jsonl")
        asyncio.run(
            own_answers(str(folder), rows, files[-1], profile=params.profile, code=params.code, seed=context.seed)
        )
    if not files:
        raise InputError(f"stage {context.name!r}: no answers to learn from", "name solutions, or set `generate`")
    documents = draft_documents(files, text, target.config.max_position_embeddings)
    settings = DraftTraining.model_validate(params.model_dump(exclude={"generate", "profile", "code"}))
    head, result = train_draft(target, documents, settings, context.state, seed=context.seed, runlog=context.runlog)
    save_draft(context.folder / "draft", head)
    figures = result.evaluations[-1][1] if result.evaluations else {}
    return StageReport({"steps": result.steps, "vocabulary": len(head.config.vocabulary), **figures})


class ExamParams(Params):
    """How an exam is sat; see podium.solve.ExamConfig."""

    attempts: int = Field(12, ge=1)
    policy: str = "all"
    profile: str = "kaggle"
    code: bool = True
    max_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0)
    top_p: float | None = Field(None, gt=0, le=1)
    budget_seconds: float | Literal["paper"] | None = "paper"
    take: int | None = Field(None, ge=1)
    memory_gb: float = Field(1.0, gt=0, description="for keys and values")
    threads: int | None = Field(None, ge=1)

    @field_validator("profile")
    @classmethod
    def _known_profile(cls, value: str) -> str:
        from podium.solve import get_profile

        return _checked(value, lambda: get_profile(value))

    @field_validator("policy")
    @classmethod
    def _fitting_policy(cls, value: str, info: ValidationInfo) -> str:
        from podium.solve import parse_policy

        return _checked(value, lambda: parse_policy(value).check(info.data.get("attempts", 1)))

    def overrides(self) -> dict[str, Any]:
        """Fields of the profile that are replaced."""
        given = {"max_tokens": self.max_tokens, "temperature": self.temperature, "top_p": self.top_p}
        if not self.code:
            given["code_calls"] = 0
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
    from podium.solve import ExamConfig

    rows = read_rows(file_of(inputs["problems"], "exam.jsonl"), Problem)[: params.take]
    config = ExamConfig.model_validate(
        {
            "attempts": params.attempts,
            "policy": params.policy,
            "profile": params.profile,
            "overrides": params.overrides(),
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

    right = 0

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


def _checked(value: str, check: Callable[[], object]) -> str:
    """`value`, once `check` accepts it: a wrong name is told of before the first stage runs, not in the last one."""
    try:
        check()
    except PodiumError as error:
        raise ValueError(f"{error.message}; {error.cure}") from error
    return value
