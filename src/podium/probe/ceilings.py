"""Ceilings of a device, timed with torch: rates of matrix products and of memory. Each is the best of several tries.

Best and not mean: what disturbs a try only ever slows it, and a ceiling is what nothing disturbed.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from podium.ceilings import best_seconds, matmul_rate

FORMATS: dict[str, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "int8": torch.int8,
}


def engine_int8_rate(size: int = 1024, *, tries: int = 30, within: float = math.inf) -> float:
    """Operations/s of the engine's own 8-bit product (weights and activations int8, one thread), sums in fp32.

    Raises:
        PodiumError, RuntimeError, OSError: the engine's kernels cannot be built or run here.
    """
    from podium.generate.native.linear import PackedLinear

    layer = PackedLinear(torch.ones(size, size), None, "int8")
    rows = torch.ones(size, size)
    return 2 * size**3 / best_seconds(lambda: layer(rows), tries, within=within)


def peaks(device: str = "cpu", within: float = 0.5) -> dict[str, float]:
    """Operations/s by format, of the best size. A format that has no product here is left out.

    A larger size is tried only while the smaller ones took little of `within` seconds, so that a format which the
    processor emulates costs no minutes.
    """
    sizes = (256, 512, 1024, 2048) if device == "cpu" else (1024, 4096, 8192)
    found: dict[str, float] = {}
    for name, dtype in FORMATS.items():
        for size in sizes:
            if name in found and 2 * size**3 / found[name] > within / 3:
                break
            try:
                rate = matmul_rate(device, dtype, size=size, tries=10, transposed=True, within=within / 3)
            except (RuntimeError, AttributeError):
                break
            found[name] = max(found.get(name, 0.0), rate)
    return found


def read_bandwidth(array: Tensor, *, tries: int = 8, within: float = math.inf) -> float:
    """Bytes/s of summing `array` (fp32), with the threads set now. It should be larger than the caches."""
    return array.nbytes / best_seconds(array.sum, tries, device=str(array.device), within=within)


def copy_bandwidth(array: Tensor, *, tries: int = 8, within: float = math.inf) -> float:
    """Bytes/s read plus bytes/s written, of copying one half of `array` (fp32, [N]) over the other; it is changed."""
    source, target = array.tensor_split(2)
    target = target[: len(source)]
    source = source[: len(target)]
    seconds = best_seconds(lambda: target.copy_(source), tries, device=str(array.device), within=within)
    return 2 * source.nbytes / seconds


def link_bandwidth(device: str, size: int = 1 << 28) -> float:
    """Bytes/s from pinned host memory to an accelerator."""
    source = torch.ones(size // 4).pin_memory()
    target: Tensor = torch.empty_like(source, device=device)
    work = lambda: target.copy_(source, non_blocking=True)  # noqa: E731
    return source.nbytes / best_seconds(work, 8, device=device, within=1.0)
