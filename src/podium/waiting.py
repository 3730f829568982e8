"""How threads of OpenMP wait for each other: they spin briefly and then sleep.

PyTorch brings libgomp, whose waiting threads spin 300,000 times, milliseconds, before they sleep. On a machine with
other work the thread that all wait for may be the one that has no core, and training takes twice as long
(benchmarks/waiting_threads.py). 2,000 spins, less than a tenth of a millisecond, bridge the gaps between most
operations of a training step; on a machine that does nothing else 20,000 load weights faster. Knows the
environment only; importing `podium` calls it, which must be before torch is imported, because the runtime reads its
settings once, when it is loaded.
"""

from __future__ import annotations

import os

SPIN_NAME = "GOMP_SPINCOUNT"
SPINS_BESIDE_OTHERS = "2000"
SPINS_ALONE = "20000"
_ALONE = 0.5  # runnable processes in the last minute, fewer than which count as none
# LLVM's and Intel's runtime, which other builds of PyTorch bring: milliseconds of spinning, 200 where nothing is said.
_OTHERS = {"KMP_BLOCKTIME": "1"}


def spins() -> str:
    """How often a waiting thread looks again before it sleeps: more often where the last minute was quiet."""
    try:
        load = os.getloadavg()[0]
    except OSError:  # the system does not say
        return SPINS_BESIDE_OTHERS
    return SPINS_ALONE if load < _ALONE else SPINS_BESIDE_OTHERS


def wait_briefly() -> None:
    """Set it for this process and those that it starts, unless the user has said how threads wait."""
    if "OMP_WAIT_POLICY" in os.environ:
        return
    for name, value in {SPIN_NAME: spins(), **_OTHERS}.items():
        os.environ.setdefault(name, value)
