"""What this machine can do at best, printed as one line of JSON.

    python benchmarks/peers/ceilings.py THREADS

read_bandwidth: bytes per second of summing 1 GiB. gemm_fp32, gemm_bf16: floating-point operations per second of a
product of two 2048 x 2048 matrices. Each is the best of several tries.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

import torch


def best(work: Callable[[], object], tries: int) -> float:
    seconds = []
    for _ in range(tries):
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


def main(threads: int) -> None:
    torch.set_num_threads(threads)
    array = torch.ones(1 << 28)
    bandwidth = array.nbytes / best(array.sum, 8)
    del array
    found = {"read_bandwidth": bandwidth}
    for name, dtype in (("gemm_fp32", torch.float32), ("gemm_bf16", torch.bfloat16)):
        # A linear layer's layout: the second matrix is transposed. Slow where the processor has no bf16 instructions.
        left, right = torch.randn(2048, 2048, dtype=dtype), torch.randn(2048, 2048, dtype=dtype)
        found[name] = 2 * 2048**3 / best(lambda left=left, right=right: left @ right.T, 5)
    print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]))
