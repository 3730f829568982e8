"""Negative controls: a task trained in a way that cannot work. One that reaches its target shows a target too easy.

Knows batches and losses, not tasks.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, get_args

import torch

from podium.train.objective import Loss, Objective
from podium.train.trainer import BatchSource, TrainConfig

Twin = Literal["frozen weights", "shuffled labels", "wrong loss sign"]
TWINS: tuple[Twin, ...] = get_args(Twin)


class Scaled:
    """The loss times a number: 0 leaves the weights where they are, -1 climbs instead of descending."""

    def __init__(self, objective: Objective, factor: float) -> None:
        self.objective, self.factor = objective, factor

    def __call__(self, model: Any, batch: Any) -> Loss:
        loss = self.objective(model, batch)
        return replace(loss, total=loss.total * self.factor)

    def flops(self, model: Any, batch: Any) -> float:
        return self.objective.flops(model, batch)


class Mislabelled:
    """The batches of `source` with their labels dealt out anew within each batch."""

    def __init__(self, source: BatchSource, seed: int) -> None:
        self.source = source
        self.generator = torch.Generator().manual_seed(seed)

    def next(self) -> Any:
        batch = self.source.next()  # podium.bench.task.Samples
        order = torch.randperm(batch.labels[0].shape[0], generator=self.generator)
        return replace(batch, labels=tuple(label[order] for label in batch.labels))

    def state_dict(self) -> dict[str, Any]:
        return self.source.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.source.load_state_dict(state)


def broken(
    twin: Twin, objective: Objective, source: BatchSource, config: TrainConfig
) -> tuple[Objective, BatchSource, TrainConfig]:
    """What the twin trains with in place of `objective`, `source` and `config`; labels are dealt out by config.seed."""
    if twin == "shuffled labels":
        return objective, Mislabelled(source, config.seed), config
    if twin == "wrong loss sign":
        return Scaled(objective, -1.0), source, config
    # Weight decay moves weights that get no gradient.
    still = config.optimizer.model_copy(update={"weight_decay": 0.0})
    return Scaled(objective, 0.0), source, config.model_copy(update={"optimizer": still})
