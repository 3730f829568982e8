"""A running mean of a network's weights, which is judged in its place. Knows steps, not what is learnt in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from podium.train.trainer import BatchSource


class Averaged:
    """Follows the weights of `model` as `source` is asked for the batches of each next step (`accumulation` of them):

    mean <- factor * mean + (1 - factor) * weights,     beginning with the weights before the first step.
    """

    def __init__(self, source: BatchSource, model: nn.Module, factor: float, accumulation: int) -> None:
        self.source, self.model, self.factor, self.accumulation = source, model, factor, accumulation
        self.means = [parameter.detach().clone() for parameter in model.parameters()]
        self.taken = self.counted = 0

    def next(self) -> Any:
        if self.taken % self.accumulation == 0:
            self._catch_up()
        self.taken += 1
        return self.source.next()

    def state_dict(self) -> dict[str, Any]:
        return {"source": self.source.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        raise NotImplementedError("a full-size run is timed and never resumed")

    @torch.no_grad()
    def judged(self, evaluate: Callable[[nn.Module], dict[str, float]]) -> dict[str, float]:
        """What `evaluate` says of the model with the mean weights; it has its own again afterwards."""
        self._catch_up()
        own = [parameter.detach().clone() for parameter in self.model.parameters()]
        self._give(self.means)
        try:
            return evaluate(self.model)
        finally:
            self._give(own)

    @torch.no_grad()
    def _catch_up(self) -> None:
        """Count the step that ended, once."""
        steps = self.taken // self.accumulation
        if steps > self.counted:
            for mean, parameter in zip(self.means, self.model.parameters(), strict=True):
                mean.lerp_(parameter, 1 - self.factor)
            self.counted = steps

    def _give(self, values: list[Tensor]) -> None:
        for parameter, value in zip(self.model.parameters(), values, strict=True):
            parameter.copy_(value)
