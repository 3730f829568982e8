"""The stages that make models: train, merge, draft. Thin wrappers of podium.train and podium.compress."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from podium.errors import InputError
from podium.folders import ATTEMPTS
from podium.models.place import find_model
from podium.recipe.inputs import MODEL, SOLUTIONS, answers_of, file_of
from podium.recipe.registry import (
    TOKENS_PER_SOLUTION,
    Estimate,
    Params,
    StageContext,
    StageReport,
    checked,
    stage,
)
from podium.recipe.stages.model_params import ModelParams
from podium.records import Verdict
from podium.settings import NOT_IDENTITY

FLOPS_PER_SECOND = 1.0e11  # of two laptop-class cores, for the dry run's estimate


class Shape(BaseModel):
    """The size of a new model. Sizes multiply out as in the Qwen3 family."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    layers: int = Field(4, ge=1, description="transformer blocks")
    hidden: int = Field(160, ge=8, description="width of the residual stream")
    intermediate: int = Field(0, ge=0, description="width between; 0: 8/3 of hidden, in multiples of 16")
    heads: int = Field(5, ge=1, description="query heads")
    kv_heads: int = Field(0, ge=0, description="heads of keys and values; 0: as many as heads")
    head_dim: int = Field(32, ge=2, description="width of one head")
    context: int = Field(1024, ge=16, description="longest text, in tokens")
    tied: bool = Field(True, description="the output layer shares the weights of the embedding")

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

    name: Literal["adamw", "muon", "sgd"] = Field(default="muon", description="the update rule")
    lr: float = Field(default=3e-3, gt=0, description="peak learning rate; with muon, of what is no matrix")
    muon_lr: float = Field(default=0.02, gt=0, description="peak learning rate of the matrices with muon")
    weight_decay: float = Field(default=0.01, ge=0, description="decoupled decay of the weights")


class ScheduleParams(BaseModel):
    """See podium.train.ScheduleConfig."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["cosine", "linear", "constant"] = Field(default="linear", description="how the learning rate falls")
    warmup: float = Field(
        default=0.02, ge=0, description="share of the steps with a rising rate; a number of steps from 1 on"
    )
    decay_after: float = Field(
        default=0.4, ge=0, lt=1, description="share of the steps after which a linear rate falls"
    )
    final_ratio: float = Field(default=0.0, ge=0, le=1, description="last rate over peak rate")


class TrainParams(Params):
    """Supervised fine-tuning, of a model given as input or of a new one of `shape`."""

    steps: int = Field(200, ge=1, description="updates of the weights")
    rows_per_batch: int = Field(32, ge=1, description="packed rows of one forward pass")
    row_length: int = Field(256, ge=16, description="tokens of a packed row; longer solutions are dropped and counted")
    accumulation: int = Field(1, ge=1, description="batches whose gradients are summed for one step")
    shape: Shape | None = Field(None, description="size of a new model; none where the input `model` is given")
    optimizer: OptimizerParams = OptimizerParams()
    schedule: ScheduleParams = ScheduleParams()
    clip: float = Field(1.0, ge=0, description="largest norm of the gradient; 0: not clipped")
    average: int = Field(0, ge=0, description="mean of this many equally spaced states; 0: the last")
    validation: int = Field(128, ge=0, description="solutions kept out of training to measure the loss on")
    evaluate_every: Annotated[int, NOT_IDENTITY] = Field(
        100, ge=0, description="steps between two of these measurements; 0: at the end only"
    )
    checkpoint_every: Annotated[int, NOT_IDENTITY] = Field(
        25, ge=0, description="steps between two checkpoints; 0: none"
    )
    precision: Literal["float32", "bfloat16"] = Field("float32", description="of the products; weights stay float32")
    device: str = Field("cpu", description="cpu, or cuda")
    threads: Annotated[int | None, NOT_IDENTITY] = Field(
        None, ge=1, description="processor threads; null: one per core"
    )


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

    from podium.curate import encode_solutions
    from podium.models import load_model, save_model
    from podium.models.config import TransformerConfig
    from podium.models.transformer import Transformer
    from podium.problems import iterate_solutions
    from podium.text import Tokenizer
    from podium.train import NextToken, OptimizerConfig, PackedSource, ScheduleConfig, TrainConfig
    from podium.train import train as run_training

    if (MODEL in inputs) == (params.shape is not None):
        raise InputError(
            f"stage {context.name!r}: give either the input 'model' or the parameter 'shape'",
            "a shape makes a new model, the input goes on with one",
        )
    files = [file_of(path, SOLUTIONS) for role, path in inputs.items() if role not in ("tokenizer", MODEL)]
    if not files:
        raise InputError(f"stage {context.name!r}: no solutions to train on", "name a teach stage in `inputs`")
    # All rows are read first, so that a bad one is reported before a model is loaded.
    given = list(iterate_solutions(files))
    solutions = [row for row in given if row.verdict in (None, Verdict.CORRECT)]
    if not solutions and given:
        raise InputError(
            f"stage {context.name!r}: none of {len(given)} solutions is graded correct", "train on right solutions"
        )
    if MODEL in inputs:
        model, text = load_model(find_model(inputs[MODEL]))
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
    documents, counts = encode_solutions(solutions, text, params.row_length)
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
        "not_correct": len(given) - len(solutions) or None,
    }
    return StageReport({key: value for key, value in figures.items() if value is not None})


class MergeParams(Params):
    """Weights by input role; they are normalised to a sum of 1."""

    weights: dict[str, float] = Field(description="a weight for every input")


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
        [find_model(inputs[role]) for role in roles],
        [params.weights[role] for role in roles],
        context.folder / MODEL,
    )
    return StageReport({role: params.weights[role] for role in roles})


class DraftParams(ModelParams):
    """A draft head for a model; see podium.compress.DraftTraining. Device and threads are those of the training too."""

    generate: int = Field(0, ge=0, description="answers by the model itself, to the first so many training problems")
    profile: str = Field("kaggle", description="limits of these answers")
    code: bool = Field(True, description="the model may run code in these answers")
    depth: int = Field(3, ge=1, le=8, description="tokens guessed at a time")
    layers: int = Field(2, ge=0, description="residual blocks of the head")
    taps: int = Field(3, ge=0, description="layers of the model below the last that the head reads as well")
    vocabulary: int = Field(4096, ge=1, description="the most frequent tokens, which alone are guessed")
    epochs: float = Field(1.0, gt=0, description="passes over the answers")
    lr: float = Field(1e-3, gt=0, description="peak learning rate")
    rows_per_batch: int = Field(4, ge=1, description="packed rows of one step")
    row_length: int = Field(2048, ge=16, description="tokens of a packed row")
    validation: int = Field(64, ge=0, description="answers kept out of training to measure the guesses on")
    checkpoint_every: Annotated[int, NOT_IDENTITY] = Field(
        25, ge=0, description="steps between two checkpoints; 0: none"
    )
    memory_gb: float = Field(4.0, gt=0, description="for keys and values of the answers")

    @field_validator("profile")
    @classmethod
    def _known_profile(cls, value: str) -> str:
        from podium.solve import get_profile

        return checked(value, lambda: get_profile(value))


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
    from podium.curate.dataset import draft_documents
    from podium.models import load_model
    from podium.problems import read_problems
    from podium.recipe.own_answers import own_answers

    if MODEL not in inputs:
        raise InputError(f"stage {context.name!r}: no input 'model'", "name the model whose tokens are to be guessed")
    if bool(params.generate) != ("problems" in inputs):
        raise InputError(
            f"stage {context.name!r}: the input 'problems' and the parameter 'generate' go together",
            "give both to let the model answer first, or neither",
        )
    spec = params.spec(inputs[MODEL])
    target, text = load_model(find_model(inputs[MODEL]))
    if text is None:
        raise InputError(f"{inputs[MODEL]}: no tokenizer in this folder", "save the model with its tokenizer")
    files = [answers_of(path) for role, path in inputs.items() if role not in (MODEL, "problems")]
    if params.generate:
        rows = read_problems(file_of(inputs["problems"], "train.jsonl"))[: params.generate]
        files.append(context.folder / ATTEMPTS)
        asyncio.run(own_answers(spec, rows, files[-1], profile=params.profile, code=params.code, seed=context.seed))
    if not files:
        raise InputError(f"stage {context.name!r}: no answers to learn from", "name solutions, or set `generate`")
    documents = draft_documents(files, text, target.config.context)
    settings = DraftTraining.model_validate(params.model_dump(include=set(DraftTraining.model_fields)))
    head, result = train_draft(target, documents, settings, context.state, seed=context.seed, runlog=context.runlog)
    save_draft(context.folder / "draft", head)
    figures = result.evaluations[-1][1] if result.evaluations else {}
    return StageReport({"steps": result.steps, "vocabulary": len(head.config.vocabulary), **figures})
