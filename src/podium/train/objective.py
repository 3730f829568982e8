"""What is being optimised, apart from how.

An objective returns sums, not means: the trainer adds the sums of all micro-batches and divides once, so that any
accumulation gives the same number.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from podium.errors import TrainingError

if TYPE_CHECKING:
    from podium.train.packing import PackedBatch


class Batch(Protocol):
    """What a batch source hands out. `count` is what throughput counts, in units of `unit` ("tokens", "images")."""

    count: int
    unit: str

    def to(self, device: torch.device) -> Batch: ...


@dataclass(slots=True)
class Loss:
    """`total` is the differentiable sum over `weight` items; `metrics` are further sums over the same items."""

    total: Tensor
    weight: float
    metrics: dict[str, float] = field(default_factory=dict)


class Objective(Protocol):
    def __call__(self, model: Any, batch: Any) -> Loss: ...

    def flops(self, model: Any, batch: Any) -> float:
        """Floating-point operations of one training step on this batch; 0 where no count is known."""
        ...


class NextToken:
    """Cross-entropy of the next token, on trained tokens only (supervised fine-tuning; with every token trained:
    language modelling).

    The head runs on the positions that predict a trained token and on nothing else, `logits_at_once` logits at a
    time; where more than one chunk is needed, logits are recomputed in the backward pass, so that at no time more
    than one chunk of them exists.
    """

    def __init__(self, logits_at_once: int = 1 << 25) -> None:
        self.logits_at_once = logits_at_once

    def __call__(self, model: Any, batch: PackedBatch) -> Loss:
        """Sum of -log p(token) in nats over the trained tokens of `batch`.

        Raises:
            TrainingError: a token id lies outside the model's vocabulary.
        """
        vocab_size: int = model.config.vocab_size
        if batch.largest_id >= vocab_size:
            raise TrainingError(
                f"the training data has token id {batch.largest_id}, the model's vocabulary ends at {vocab_size - 1}",
                "train with the tokenizer of this model, or make the model with the tokenizer's vocab_size",
            )
        hidden = model.hidden(batch.tokens, positions=batch.positions, attend=batch.attend)
        hidden = hidden.reshape(-1, hidden.shape[-1])
        if batch.predicting.numel() != hidden.shape[0]:
            hidden = hidden.index_select(0, batch.predicting)
        chunk = max(1, self.logits_at_once // vocab_size)
        if hidden.shape[0] <= chunk:
            total = _cross_entropy_sum(model.head, hidden, batch.targets)
        else:
            total = torch.stack(
                [
                    checkpoint(_cross_entropy_sum, model.head, h, t, use_reentrant=False)
                    for h, t in zip(hidden.split(chunk), batch.targets.split(chunk), strict=True)
                ]
            ).sum()
        return Loss(total, batch.targets.numel())

    def flops(self, model: Any, batch: PackedBatch) -> float:
        return batch.count * model.flops_per_token(batch.tokens.shape[1])


def _cross_entropy_sum(head: nn.Module, hidden: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(head(hidden).float(), targets, reduction="sum")
