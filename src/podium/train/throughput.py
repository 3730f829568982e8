"""How fast training runs compared with what the device can do. Knows arithmetic, not tasks.

MFU (model FLOPs utilisation) = FLOPs the model needs per second / GEMM peak measured on this device with these
threads. For transformers the numerator is the count of PaLM (appendix B; `Transformer.flops_per_token`): 6 per
matmul weight and token, head included and embedding not, plus 12 · layers · width · row length per token for
attention. It counts the full square of a row, neither halved for causality nor reduced for isolated documents: a
trainer that avoids that work shows it as a higher MFU.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

import torch

from podium.ceilings import matmul_rate


def measure_gemm_peak(
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    repetitions: int = 30,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """FLOP/s of the best of `repetitions` square matrix products, with the threads set now.

    Matrices are 1024 on a CPU and 8192 on an accelerator. Measured once per process, device, dtype and thread count.
    """
    return _gemm_peak(str(torch.device(device)), dtype, repetitions, clock, torch.get_num_threads())


@functools.lru_cache
def _gemm_peak(device: str, dtype: torch.dtype, repetitions: int, clock: Callable[[], float], _threads: int) -> float:
    size = 1024 if device == "cpu" else 8192
    return matmul_rate(device, dtype, size=size, tries=repetitions, clock=clock)


class Peak:
    """The peak that a run's steps are compared with: measured at the first step, and raised by a step that beats it.

    Args:
        known: FLOP/s to take for the first measurement.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype, known: float | None = None) -> None:
        self._device = device
        self._dtype = dtype
        self._rate = known
        self._measured_again = False

    def share(self, flops: float, seconds: float) -> float | None:
        """MFU of that much work in that time, at most 1; None without work.

        Other programs disturb a measurement but can never speed it up, so a step that is faster shows the peak to be
        too low: it is measured again, once, and where that is still slower, the step's own rate is the peak.
        """
        if not flops or not seconds:
            return None
        if self._rate is None:
            self._rate = measure_gemm_peak(self._device, self._dtype)
        rate = flops / seconds
        if rate > self._rate and not self._measured_again:
            self._measured_again = True
            _gemm_peak.cache_clear()
            self._rate = max(self._rate, measure_gemm_peak(self._device, self._dtype))
        self._rate = max(self._rate, rate)
        return rate / self._rate
