"""From the minutes of runs to one score: the olympic mean of the rules, its spread, and windows of declared runs.

Arithmetic only: knows minutes, and that a run without success took for ever.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 10_000
CONFIDENCE = 0.95


def olympic_mean(minutes: Sequence[float], drop: int) -> float:
    """Mean of what is left after dropping the `drop` fastest and the `drop` slowest; a failed run is infinite.

    Infinite when more runs failed than are dropped. MLPerf Training rules, section "Benchmark results".

    Raises:
        ValueError: nothing would be left.
    """
    if len(minutes) <= 2 * drop:
        raise ValueError(f"{len(minutes)} runs leave nothing after dropping {drop} on each side")
    kept = sorted(minutes)[drop : len(minutes) - drop]
    return math.fsum(kept) / len(kept)


def window_scores(minutes: Sequence[float], runs: int, drop: int) -> list[float]:
    """The olympic mean of every window of `runs` runs that follow each other, minutes given in launch order."""
    return [olympic_mean(minutes[i : i + runs], drop) for i in range(len(minutes) - runs + 1)]


def median_window(scores: Sequence[float]) -> int:
    """Which window counts when more runs were declared than an entry needs: the one with the median score.

    Of an even number the slower of the two in the middle, so that a run more can never be a gain by itself; of equal
    ones the earliest.
    """
    return sorted(range(len(scores)), key=lambda i: (scores[i], i))[len(scores) // 2]


def minutes_text(minutes: float) -> str:
    """Minutes as they are shown: three decimals as published, more where three would say nothing."""
    return f"{minutes:.3f}" if minutes >= 0.1 or minutes == 0 else f"{minutes:.5f}"


@dataclass(frozen=True, slots=True)
class Interval:
    low: float
    high: float


def bootstrap_interval(
    minutes: Sequence[float], drop: int, *, confidence: float = CONFIDENCE, resamples: int = RESAMPLES, seed: int = 0
) -> Interval | None:
    """Percentile bootstrap of the olympic mean over the runs that converged, the number of failed ones kept as it is.

    None when fewer than two runs converged, or the score is infinite.
    """
    finite = np.array([value for value in minutes if math.isfinite(value)])
    failed = len(minutes) - len(finite)
    if len(finite) < 2 or failed > drop or len(minutes) <= 2 * drop:
        return None
    draws = np.random.default_rng(seed).integers(0, len(finite), size=(resamples, len(finite)))
    drawn = np.sort(finite[draws], axis=1)
    # The failed runs are the slowest: they fill the dropped places at the upper end.
    means = drawn[:, drop : len(minutes) - drop].mean(axis=1)
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(means, [tail, 100 - tail])
    return Interval(float(low), float(high))


@dataclass(frozen=True, slots=True)
class Score:
    """`score` is None where the rules give none, `reasons` says why. Minutes throughout.

    `windows`: scores of all windows when more runs were made than needed; `window`: which of them counts.
    `median`, `fastest`, `slowest` are over the runs that converged, of the window that counts.
    """

    score: float | None
    median: float | None
    interval: Interval | None
    fastest: float | None
    slowest: float | None
    runs: int
    converged: int
    needed: int
    drop: int
    windows: tuple[float, ...] = ()
    window: int | None = None
    reasons: tuple[str, ...] = ()

    @property
    def spread(self) -> float | None:
        """(slowest - fastest) / score, of the converged runs."""
        if self.score is None or self.fastest is None or self.slowest is None or not self.score:
            return None
        return (self.slowest - self.fastest) / self.score


def score_runs(minutes: Sequence[float | None], *, needed: int, drop: int, may_fail: int) -> Score:
    """The score of runs in launch order; None stands for a run that did not converge.

    More runs than needed are scored by the median window, fewer give a figure that is no entry (`reasons`).
    """
    times = [math.inf if value is None else value for value in minutes]
    windows: tuple[float, ...] = ()
    chosen: int | None = None
    if len(times) > needed:
        windows = tuple(window_scores(times, needed, drop))
        chosen = median_window(windows)
        counted = times[chosen : chosen + needed]
    else:
        counted = times
    finite = [value for value in counted if math.isfinite(value)]
    failed = len(counted) - len(finite)
    reasons = []
    if len(times) < needed:
        reasons.append(f"{len(times)} of {needed} runs")
    if failed > may_fail:
        reasons.append(f"{failed} runs without success where {may_fail} may be")
    score = olympic_mean(counted, drop) if len(counted) > 2 * drop else math.inf
    return Score(
        score=score if math.isfinite(score) and failed <= may_fail else None,
        median=statistics.median(finite) if finite else None,
        interval=bootstrap_interval(counted, drop) if failed <= may_fail else None,
        fastest=min(finite, default=None),
        slowest=max(finite, default=None),
        runs=len(times),
        converged=sum(math.isfinite(value) for value in times),
        needed=needed,
        drop=drop,
        windows=windows,
        window=chosen,
        reasons=tuple(reasons),
    )
