"""What this machine can do at best, printed as one line of JSON.

    python benchmarks/peers/ceilings.py THREADS

read_bandwidth: bytes per second of summing 1 GiB. gemm_fp32, gemm_bf16: floating-point operations per second of a
product of two 2048 x 2048 matrices. Each is the best of several tries.
"""

from __future__ import annotations

import json
import sys

import torch

from podium.ceilings import matmul_rate
from podium.probe.ceilings import read_bandwidth


def main(threads: int) -> None:
    torch.set_num_threads(threads)
    found = {"read_bandwidth": read_bandwidth(torch.ones(1 << 28))}
    for name, dtype in (("gemm_fp32", torch.float32), ("gemm_bf16", torch.bfloat16)):
        # A linear layer's layout: the second matrix is transposed. Slow where the processor has no bf16 instructions.
        found[name] = matmul_rate("cpu", dtype, size=2048, tries=5, transposed=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]))
