"""The learning rate over a run, as a factor of the base rate. Knows step numbers only."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ScheduleConfig(BaseModel):
    """Warm-up, then flat until `decay_after` of the run, then down to `final_ratio` of the base rate at its end.

    With `decay_after` 0 the decay begins right after the warm-up (the usual cosine or linear schedule); a later
    start is the warm-up-stable-decay shape. "step" multiplies the rate by `gamma` at each of `boundaries`;
    "exponential" does so after every `period` steps of the decay, and `final_ratio` is a floor.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["cosine", "linear", "polynomial", "constant", "step", "exponential"] = "cosine"
    warmup: float = Field(default=0.0, ge=0, description="below 1: fraction of the run; from 1 on: steps")
    decay_after: float = Field(default=0.0, ge=0, lt=1, description="fraction of the run after which the rate decays")
    final_ratio: float = Field(default=0.0, ge=0, le=1, description="last rate over base rate")
    boundaries: tuple[int, ...] = Field(default=(), description="step: step numbers")
    gamma: float = Field(default=0.1, gt=0, le=1, description="step, exponential: factor")
    period: int = Field(default=1, gt=0, description="exponential: steps")

    def warmup_steps(self, steps: int) -> int:
        return round(self.warmup * steps) if self.warmup < 1 else min(round(self.warmup), steps)

    def factor(self, step: int, steps: int) -> float:
        """What the base rate is multiplied by at `step` (0-based) of `steps`.

        Warm-up is linear and never zero: step 0 of w warm-up steps has factor 1/w, step w-1 has factor 1. The decay
        reaches `final_ratio` at the end of the last step, so that no step is spent at a rate of zero.
        """
        warmup = self.warmup_steps(steps)
        if step < warmup:
            return (step + 1) / warmup
        if self.name == "step":
            return max(self.final_ratio, self.gamma ** sum(step >= boundary for boundary in self.boundaries))
        start = max(warmup, round(self.decay_after * steps))
        if self.name == "constant" or step < start:
            return 1.0
        if self.name == "exponential":
            return max(self.final_ratio, self.gamma ** ((step - start) // self.period))
        progress = min(1.0, (step - start) / max(1, steps - start))
        if self.name == "cosine":
            shape = 0.5 * (1 + math.cos(math.pi * progress))
        else:
            shape = (1 - progress) ** (2 if self.name == "polynomial" else 1)  # of power 2, as MLPerf's rules fix it
        return self.final_ratio + (1 - self.final_ratio) * shape
