"""How threads of OpenMP wait for each other: they spin briefly and then sleep.

PyTorch brings libgomp, whose waiting threads spin 300,000 times, milliseconds, before they sleep. On a machine with
other work the thread that all wait for may be the one that has no core, and training is several times slower
(benchmarks/waiting_threads.py). A tenth of a millisecond, some 2,000 spins, bridges the gaps between the operations
of a training step. Knows the environment only; importing `podium` calls it, which must be before torch is imported,
because the runtime reads its settings once, when it is loaded.
"""

from __future__ import annotations

import os

SPIN_NAME = "GOMP_SPINCOUNT"
SPINS = "2000"
# LLVM's and Intel's runtime, which other builds of PyTorch bring: milliseconds of spinning, 200 where nothing is said.
_OTHERS = {"KMP_BLOCKTIME": "1"}


def wait_briefly() -> None:
    """Set it for this process and those that it starts, unless the user has said how threads wait."""
    if "OMP_WAIT_POLICY" in os.environ:
        return
    for name, value in {SPIN_NAME: SPINS, **_OTHERS}.items():
        os.environ.setdefault(name, value)
