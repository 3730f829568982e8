"""Decides, before a step is taken, whether it may be. Knows two numbers per step: loss and gradient norm.

Two rules. A step whose loss or gradient norm is not finite is never taken: it would destroy the weights. A step whose
loss or gradient norm lies more than `sigmas` standard deviations above the mean of the last `window` steps is skipped
(the skip-step rule of OLMo-core), because one bad batch can undo many good ones.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from typing import Any, Literal

Judgement = Literal["ok", "not_finite", "outlier"]


class Guard:
    """Keeps the last `window` finite losses and gradient norms; judges once half of the window is filled.

    Skipped outliers enter the window, so that a lasting change of level is accepted after a while.
    """

    def __init__(self, sigmas: float = 6.0, window: int = 128) -> None:
        self.sigmas = sigmas
        self.window = window
        self._losses: deque[float] = deque(maxlen=window)
        self._norms: deque[float] = deque(maxlen=window)

    def judge(self, loss: float, grad_norm: float) -> Judgement:
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            return "not_finite"
        outlier = (
            self.sigmas > 0
            and len(self._losses) >= max(2, self.window // 2)
            and (self._is_outlier(loss, self._losses) or self._is_outlier(grad_norm, self._norms))
        )
        self._losses.append(loss)
        self._norms.append(grad_norm)
        return "outlier" if outlier else "ok"

    def _is_outlier(self, value: float, past: deque[float]) -> bool:
        mean = statistics.fmean(past)
        deviation = statistics.stdev(past, mean)
        # A run that has become constant has no spread to judge by: rounding noise is not an outlier.
        return value - mean > max(self.sigmas * deviation, 1e-3 * abs(mean))

    def state_dict(self) -> dict[str, Any]:
        return {"losses": list(self._losses), "norms": list(self._norms)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._losses = deque(state["losses"], maxlen=self.window)
        self._norms = deque(state["norms"], maxlen=self.window)
