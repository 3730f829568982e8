"""What a device reaches at best: the time of the fastest of several calls, the rate of dense matrix products.

Knows PyTorch and a clock; no rooms. Trainings compare their speed with it, `podium.probe` a whole machine.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch


def best_seconds(
    work: Callable[[], object],
    tries: int,
    *,
    device: str = "cpu",
    clock: Callable[[], float] = time.perf_counter,
    within: float = math.inf,
) -> float:
    """Seconds of the fastest of `tries` calls; no further one begins once `within` seconds have passed."""
    fastest, first = math.inf, time.perf_counter()
    for _ in range(tries):
        start = clock()
        work()
        if device != "cpu":
            torch.cuda.synchronize(device)
        fastest = min(fastest, clock() - start)
        if time.perf_counter() - first > within:
            break
    return max(fastest, 1e-9)  # a clock too coarse to see it


def matmul_rate(
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    *,
    size: int = 1024,
    tries: int = 30,
    transposed: bool = False,
    clock: Callable[[], float] = time.perf_counter,
    within: float = math.inf,
) -> float:
    """Operations/s (2 size^3 a product) of square products, with the threads set now.

    `transposed` lays the second matrix out as the weight of a linear layer.

    Raises:
        RuntimeError, AttributeError: torch has no product of this format on this device.
    """
    # Drawn, not constant: accelerators draw less power, and run faster, on numbers that are all alike.
    left = (torch.randn(size, size, device=device) * 16).to(dtype)
    right = left.clone()
    right = right.T if transposed else right
    if dtype == torch.int8:
        work: Callable[[], object] = lambda: torch._int_mm(left, right)  # noqa: E731  # pyright: ignore[reportPrivateImportUsage]
    else:
        out = torch.empty_like(left)
        work = lambda: torch.mm(left, right, out=out)  # noqa: E731
    return 2 * size**3 / best_seconds(work, tries, device=device, clock=clock, within=within)
