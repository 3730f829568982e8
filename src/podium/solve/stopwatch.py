"""Seconds since a moment, from a clock that may misbehave. Knows nothing of exams.

Time never runs backwards here. A clock that was set back counts as if `step` seconds had gone by, the longest that
anybody waits between two readings; one set back by less than that goes unnoticed. What is measured is thus at most
`step` seconds short per such jump. A jump forward is taken for time that has passed (a machine that slept): it cannot
be told from it, and believing it keeps every limit.
"""

from __future__ import annotations

import time
from collections.abc import Callable

STEP = 0.1


def exam_time() -> float:
    """Seconds on a clock that nobody sets and that goes on while the machine sleeps, where the system has one."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)


class Stopwatch:
    """Started when made. Whoever waits by it reads it at least every `step` seconds."""

    def __init__(self, read: Callable[[], float] = exam_time, step: float = STEP) -> None:
        self._read = read
        self._last = read()
        self._elapsed = 0.0
        self.step = step

    def elapsed(self) -> float:
        """Seconds since the start; never falls."""
        now = self._read()
        gone = now - self._last
        self._last = now
        self._elapsed += gone if gone >= 0 else self.step
        return self._elapsed
