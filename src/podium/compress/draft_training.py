"""Teaching a draft head what its target says next: the objective, and a run of the one trainer with it.

The target is frozen; its hidden states are computed once per batch. The paper's gain comes from learning on what the
target itself writes, so the data should be its own answers, greedy or sampled as they will be at the exam.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field

from podium.compress.draft import DraftConfig, DraftHead, spread_taps
from podium.errors import TrainingError
from podium.train.objective import Loss
from podium.train.optim import OptimizerConfig
from podium.train.packing import PackedSource
from podium.train.schedule import ScheduleConfig
from podium.train.trainer import TrainConfig, TrainResult, train

if TYPE_CHECKING:
    from podium.models import Transformer
    from podium.runlog import RunLog
    from podium.train.packing import PackedBatch

Documents = Sequence[tuple[Sequence[int], Sequence[bool]]]


class DraftTraining(BaseModel):
    """How a draft head is made; the defaults are those of the AIMO-2 entry, but for the reduced vocabulary."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    depth: int = Field(3, ge=1, le=8, description="tokens guessed in a row")
    layers: int = Field(2, ge=0, description="residual blocks")
    taps: int = Field(3, ge=0, description="layers below the last that are read as well, at equal distances")
    vocabulary: int = Field(4096, ge=1, description="ids that can be guessed: the most frequent ones")
    epochs: float = Field(1.0, gt=0)
    lr: float = Field(1e-3, gt=0)
    warmup: float = Field(0.1, ge=0, lt=1, description="fraction of the steps")
    rows_per_batch: int = Field(4, ge=1)
    row_length: int = Field(2048, ge=16, description="tokens; longer answers are cut")
    validation: int = Field(64, ge=0, description="answers kept out of training to measure the guesses on")
    checkpoint_every: int = Field(25, ge=0)
    precision: Literal["float32", "bfloat16"] = "float32"
    device: str = "cpu"
    threads: int | None = Field(None, ge=1)


class Redraft:
    """The objective: cross-entropy of the tokens after next, at each depth, summed (the target stays as it is).

    A place counts where the model wrote all tokens from the next one up to the one guessed, and that one is in the
    head's vocabulary; places never span two documents. `metrics` are the shares of guesses that are right, given that
    all before them were (`top1_1` is the first guess): what the paper watches.
    """

    def __init__(self, target: Transformer) -> None:
        self.target = target.eval().requires_grad_(False)

    def __call__(self, model: DraftHead, batch: PackedBatch) -> Loss:
        """Raises TrainingError when a token lies outside the target's vocabulary, or nothing can be guessed."""
        config = model.config
        _check_ids(batch.largest_id, config.target_vocab_size)
        with torch.no_grad():
            hidden = self.target.hidden(batch.tokens, positions=batch.positions, attend=batch.attend, taps=config.taps)
        tokens = batch.tokens.flatten()
        written = torch.zeros(tokens.numel() + config.depth + 1, dtype=torch.bool, device=tokens.device)
        written[batch.predicting + 1] = True
        # Padding behind the end, so that every place may look ahead; it was written by nobody.
        tokens = F.pad(tokens, (0, config.depth + 1))
        slots = torch.full((config.target_vocab_size,), -1, device=tokens.device)
        slots[model.ids] = torch.arange(len(model.ids), device=tokens.device)
        places = batch.predicting
        ahead = places[:, None] + torch.arange(1, config.depth + 2, device=tokens.device)  # [N, depth + 1]
        labels = slots[tokens[ahead[:, 1:]]]
        counted = (written[ahead].cumprod(-1)[:, 1:] * (labels >= 0).cumprod(-1)).bool()  # [N, depth]
        some = counted[:, 0]
        places, ahead, labels, counted = places[some], ahead[some], labels[some], counted[some]
        if not len(places):
            raise TrainingError(
                "no token of this batch can be guessed", "check the loss mask and the size of the draft vocabulary"
            )
        logits = model(hidden.flatten(0, 1)[places], tokens[ahead[:, :-1]])
        weight = float(counted.sum())
        total = torch.zeros((), device=tokens.device)
        metrics: dict[str, float] = {}
        right = torch.ones_like(some[some])
        for depth, (guess, label, here) in enumerate(zip(logits, labels.T, counted.T, strict=True), 1):
            total = total + F.cross_entropy(guess[here].float(), label[here], reduction="sum")
            here = here & right
            right = here & (guess.argmax(-1) == label)
            # The trainer divides by the weight of all depths; this share is of the places of its own depth.
            metrics[f"top1_{depth}"] = float(right.sum()) / max(1.0, float(here.sum())) * weight
        return Loss(total, weight, metrics)

    def flops(self, model: DraftHead, batch: PackedBatch) -> float:
        head = sum(parameter.numel() for parameter in model.parameters())
        forward = self.target.flops_per_token(batch.tokens.shape[1], backward=False)
        return batch.count * forward + 6 * batch.predicting.numel() * model.config.depth * head


def _check_ids(largest: int, vocab_size: int) -> None:
    if largest >= vocab_size:
        raise TrainingError(
            f"the training data has token id {largest}, the target's vocabulary ends at {vocab_size - 1}",
            "draft for the model whose tokenizer made the data",
        )


def frequent_ids(documents: Iterable[tuple[Sequence[int], Sequence[bool]]], most: int) -> tuple[int, ...]:
    """The ids the model writes most often, ascending; at most `most`.

    Raises:
        TrainingError: no token is marked as the model's.
    """
    counts: Counter[int] = Counter()
    for ids, mask in documents:
        counts.update(token for token, trained in zip(ids, mask, strict=True) if trained)
    if not counts:
        raise TrainingError("no token to draft in the data", "check the loss mask: it must mark the model's own tokens")
    # Ties by id: one data set gives one vocabulary.
    return tuple(sorted(sorted(counts, key=lambda token: (-counts[token], token))[:most]))


def train_draft(
    target: Transformer,
    documents: Documents,
    settings: DraftTraining,
    state: Path,
    *,
    seed: int = 0,
    runlog: RunLog,
    progress: bool = True,
) -> tuple[DraftHead, TrainResult]:
    """A trained head on the CPU, and what the trainer says; its last evaluation holds the shares of right guesses.

    Args:
        documents: (ids, mask) of answers, the mask True on what the target wrote.
        state: checkpoints; a run that was broken off goes on from the newest.

    Raises:
        TrainingError: nothing to learn from, or checkpoints of another run in `state`.
    """
    every = len(documents) // settings.validation if settings.validation else 0
    held_out = [document for place, document in enumerate(documents) if every > 1 and place % every == every - 1]
    kept = [document for place, document in enumerate(documents) if not (every > 1 and place % every == every - 1)]
    packing: dict[str, Any] = {"row_length": settings.row_length, "overlong": "cut"}
    source = PackedSource(kept, rows_per_batch=settings.rows_per_batch, seed=seed, **packing)
    target.to(settings.device)
    size, vocab_size = target.config.hidden_size, target.config.vocab_size
    vocabulary = frequent_ids(kept, settings.vocabulary)
    _check_ids(vocabulary[-1], vocab_size)
    taps = spread_taps(target.config.num_hidden_layers, settings.taps)
    config = DraftConfig(size, vocab_size, vocabulary, settings.layers, settings.depth, taps)
    head = DraftHead(config, target, seed)
    objective = Redraft(target)

    def right_guesses(subject: Any) -> dict[str, float]:
        packed = PackedSource(held_out, rows_per_batch=1, method="first-fit-decreasing", **packing)
        losses = [
            objective(subject, packed.next().to(torch.device(settings.device))) for _ in range(packed.report.rows)
        ]
        weight = sum(loss.weight for loss in losses)
        sums = {name: sum(loss.metrics[name] for loss in losses) for name in losses[0].metrics}
        return {
            "loss": sum(float(loss.total) for loss in losses) / weight,
            **{name: value / weight for name, value in sums.items()},
        }

    result = train(
        head,
        objective,
        source,
        TrainConfig(
            steps=source.steps(settings.epochs),
            seed=seed,
            optimizer=OptimizerConfig(name="adamw", lr=settings.lr, weight_decay=0.0),
            schedule=ScheduleConfig(name="cosine", warmup=settings.warmup),
            precision=settings.precision,
            threads=settings.threads,
            device=settings.device,
            checkpoint_every=settings.checkpoint_every,
            keep_checkpoints=1,
        ),
        state,
        runlog=runlog,
        evaluate=right_guesses if held_out else None,
        progress=progress,
    )
    return head.cpu(), result
