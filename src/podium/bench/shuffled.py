"""A batch source over samples in memory: every sample once per epoch, in an order drawn anew from the seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Shuffled:
    """Batches of `batch` samples, endless; what does not fill a batch at the end of an epoch is left to the next order.

    `make` gets the sample numbers [B] and a generator for augmentation. The state is the epoch and the position in
    it: order and augmentation follow from them and the seed.
    """

    def __init__(self, samples: int, batch: int, seed: int, make: Callable[[Tensor, torch.Generator], Any]) -> None:
        self.samples, self.batch, self.seed, self.make = samples, min(batch, samples), seed, make
        self.epoch = self.position = 0
        self._order = self._draw()

    def next(self) -> Any:
        if self.position + self.batch > self.samples:
            self.epoch, self.position = self.epoch + 1, 0
            self._order = self._draw()
        chosen = self._order[self.position : self.position + self.batch]
        generator = torch.Generator().manual_seed(_mix(self.seed, self.epoch, self.position))
        self.position += self.batch
        return self.make(chosen, generator)

    def state_dict(self) -> dict[str, Any]:
        return {"seed": self.seed, "epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seed, self.epoch, self.position = state["seed"], state["epoch"], state["position"]
        self._order = self._draw()

    def _draw(self) -> Tensor:
        generator = torch.Generator().manual_seed(_mix(self.seed, self.epoch, -1))
        return torch.randperm(self.samples, generator=generator)


def _mix(seed: int, epoch: int, position: int) -> int:
    # Neighbouring seeds must not share streams: an odd multiplier per part, modulo 2^63.
    return (seed * 0x9E3779B97F4A7C15 + epoch * 0xBF58476D1CE4E5B9 + position * 0x94D049BB133111EB) % (1 << 63)
