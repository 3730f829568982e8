"""Claim: the packed linear kernels reach this machine's memory at one row and its arithmetic from a dozen rows on.

    python benchmarks/linear_kernels.py [--isa avx2] [--rows 1 12]

One thread. Every kernel runs cold: it walks over copies of its weights that together outgrow the caches (at least
--megabytes, and two copies), as a decode step walks over its layers. Beside ours: torch's F.linear in fp32 and
fbgemm's packed fp16 and int8. The rounds of all kernels are interleaved and the least time of each counts, so that a
busy machine slows all of them alike. Columns: microseconds, GB/s of weights read, GFLOP/s (2 M N K), and the speed
relative to F.linear and to the fbgemm kernel of the same width. int8 times include the rounding of activations. To see
what a machine without AVX-512 sees, hold the peers to AVX2 as well:

    FBGEMM_ENABLE_INSTRUCTIONS=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 python benchmarks/linear_kernels.py --isa avx2
"""

from __future__ import annotations

import podium  # noqa: F401  # before torch: it says how waiting threads wait

# isort: split
import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from podium.generate.formats import WEIGHT_FORMATS
from podium.generate.native.linear import PackedLinear, aligned, available_isas, isa, set_isa

SHAPES = {  # [K, N]
    "qkv 512x768": (512, 768),
    "gate+up 512x3072": (512, 3072),
    "mlp 896x4864": (896, 4864),
    "down 4864x896": (4864, 896),
    "head 512x32000": (512, 32000),
}
PEER = {"fp16": "fbgemm fp16", "int8": "fbgemm int8"}
Kernel = Callable[[Tensor], Any]


class Bare:
    """A packed layer called as the C layer stack calls it: scratch and output are reused from layer to layer."""

    def __init__(self, packed: PackedLinear, y: Tensor, scratch: int) -> None:
        self.lib, self.layer, self.m = packed.kernels, packed.layer, y.shape[0]
        self.out, self.scratch = y.data_ptr(), scratch

    def __call__(self, x: Tensor) -> None:
        layer, lib, k, n = self.layer, self.lib, self.layer.k, self.layer.n
        lib.linear_quantise(layer, x.data_ptr(), k, 0, self.m, self.scratch)
        lib.linear_run(layer, x.data_ptr(), k, self.scratch, self.m, self.out, n, 0, n)


def peers(weight: Tensor) -> dict[str, Kernel]:
    """One copy of the weight in each of torch's kernels that runs here."""
    kernels: dict[str, Kernel] = {"F.linear fp32": lambda x, w=weight: linear(x, w)}
    ops = torch.ops.quantized
    try:
        half = ops.linear_prepack_fp16(weight, None)
        scale = float(weight.abs().max()) / 127
        whole = ops.linear_prepack(torch.quantize_per_tensor(weight, scale, 0, torch.qint8), None)
    except RuntimeError:  # an engine that this processor lacks
        return kernels
    kernels["fbgemm fp16"] = lambda x: ops.linear_dynamic_fp16(x, half)
    kernels["fbgemm int8"] = lambda x: ops.linear_dynamic(x, whole, False)
    return kernels


def cold_seconds(sets: dict[str, Sequence[Kernel]], x: Tensor, budget: float) -> dict[str, float]:
    """Least seconds per call over rounds; a round walks once over all copies of one kernel."""
    least = dict.fromkeys(sets, float("inf"))
    stop = time.perf_counter() + budget * len(sets)
    rounds = 0
    while rounds < 3 or time.perf_counter() < stop:
        for name, kernels in sets.items():
            start = time.perf_counter()
            for kernel in kernels:
                kernel(x)
            least[name] = min(least[name], (time.perf_counter() - start) / len(kernels))
        rounds += 1
    return least


def measure(shape: tuple[int, int], rows: Sequence[int], formats: Sequence[str], args: argparse.Namespace) -> None:
    k, n = shape
    weight = torch.randn(n, k) / k**0.5
    copies = {f: max(2, round(args.megabytes * 1e6 / (k * n * WEIGHT_FORMATS[f].bits / 8))) for f in formats}
    packed = {f: [PackedLinear(weight, None, f) for _ in range(copies[f])] for f in formats}
    count = max(2, round(args.megabytes * 1e6 / (4 * k * n)))
    others: dict[str, list[Kernel]] = {}
    for _ in range(count):
        for name, kernel in peers(weight.clone()).items():
            others.setdefault(name, []).append(kernel)
    for m in rows:
        x = torch.randn(m, k)
        y, (_owner, scratch) = torch.empty(m, n), aligned(m * (4 * k + 1024))
        sets: dict[str, Sequence[Kernel]] = dict(others)
        for f, layers in packed.items():
            sets[f] = [Bare(layer, y, scratch) for layer in layers]
        seconds = cold_seconds(sets, x, args.seconds)
        for name, taken in seconds.items():
            if name in WEIGHT_FORMATS:
                width = WEIGHT_FORMATS[name].bits / 8
            else:
                width = {"fbgemm fp16": 2.0, "fbgemm int8": 1.0}.get(name, 4.0)
            peer = seconds.get(PEER.get(name, ""), None)
            print(
                f"{m:5d}  {name:14s} {taken * 1e6:9.1f} us {k * n * width / taken / 1e9:7.1f} GB/s "
                f"{2 * m * n * k / taken / 1e9:8.1f} GFLOP/s  {seconds['F.linear fp32'] / taken:6.2f}x F.linear"
                + (f"  {peer / taken:5.2f}x fbgemm" if peer else ""),
                flush=True,
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--isa", choices=available_isas(), default=isa())
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 4, 12, 32, 128])
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--formats", nargs="+", choices=WEIGHT_FORMATS, default=list(WEIGHT_FORMATS))
    parser.add_argument("--megabytes", type=float, default=64, help="weights that a kernel walks over (default: 64)")
    parser.add_argument("--seconds", type=float, default=0.3, help="measuring time per kernel and row count")
    args = parser.parse_args()
    torch.set_num_threads(1)
    set_isa(args.isa)
    for name in args.shapes:
        print(f"\n{name}, {isa()}, 1 thread, cold\n")
        measure(SHAPES[name], args.rows, args.formats, args)
