"""Claim: a trillion parameters on 4,096 devices are searched in less than a second; the import takes less than 0.2 s.

Prints both, the search in this process and the import in fresh ones (median of five), with Python's own start beside.

    python benchmarks/plan_search.py
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time


def start(code: str) -> float:
    """Median processor seconds of five fresh interpreters that run `code`: steadier than the wall when others work."""
    seconds = []
    for _ in range(5):
        before = os.times()
        subprocess.run([sys.executable, "-c", code], check=True)
        after = os.times()
        seconds.append(after.children_user - before.children_user + after.children_system - before.children_system)
    return statistics.median(seconds)


def main() -> None:
    from podium.plan.hardware import find_device
    from podium.plan.layouts import Choices
    from podium.plan.named import find_model
    from podium.plan.search import Job, search
    from podium.plan.shapes import Shape

    shape = find_model("megatron-1t")
    assert isinstance(shape, Shape)
    job = Job(shape, find_device("A100"), 4096, 450e9, 4096, 2048)
    # Everything at once: all ZeRO stages, recomputation, offload, micro-batches.
    choices = Choices(
        zero=(0, 1, 2, 3),
        recompute=("none", "selective", "full"),
        offload=(False, True),
        micro_batch=(1, 2, 4, 8, 16, 32),
    )
    began = time.perf_counter()
    plan = search(job, choices)
    seconds = time.perf_counter() - began
    print(
        f"search: {plan.considered:,} layouts, {plan.feasible:,} fit, best {plan.candidates[0].layout}: {seconds:.3f} s"
    )
    empty, whole = start("pass"), start("import podium.plan.search")
    print(f"import podium.plan.search: {whole - empty:.3f} processor-s beyond Python's own {empty:.3f} s")


if __name__ == "__main__":
    main()
