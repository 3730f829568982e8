"""Reference convergence points: does an entry converge in suspiciously few epochs?

The reference implementation was trained at least 2N times per batch size. An entry may not need significantly fewer
epochs than it: a one-sided two-sample t-test with equal variances, p = 0.05 (MLPerf Training v1.1 rules; the
arithmetic of mlcommons/logging of that round: best and worst dropped before mean and deviation are taken, and the
entry's deviation taken to be the reference's). For later rounds it is the arithmetic of mlperf-logging 4.1.68: the
deviation is of all runs, and points that converge slower than their neighbours suggest are left out. Knows epochs and
batch sizes; no logs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal

from podium.bench.rules import Ruleset

SIGNIFICANCE = 0.05


@dataclass(frozen=True, slots=True)
class ReferencePoint:
    """Convergence of the reference at one batch size. `samples` runs are behind mean and deviation."""

    batch: float
    mean: float
    deviation: float
    samples: int
    floor: float  # least mean number of epochs an entry may have

    @property
    def max_speedup(self) -> float:
        """How much faster than the reference an entry may converge, as a fraction: 0.0353 is 3.53 %."""
        return self.mean / self.floor - 1


Outcome = Literal["pass", "fail", "missing"]


@dataclass(frozen=True, slots=True)
class Convergence:
    """`missing`: the round has no point this entry can be compared with; its submitter must supply one."""

    outcome: Outcome
    mean: float
    point: ReferencePoint | None
    how: str


def reference_point(
    batch: float, epochs: Sequence[float], *, runs: int, drop: int, untrimmed: bool = False
) -> ReferencePoint:
    """The point of a batch size from the reference's epochs to converge; `runs` is what an entry is made of.

    `untrimmed`: the deviation is that of all epochs about their own mean, not only of those that the mean is of.
    """
    kept = _trimmed(epochs, drop)
    mean = math.fsum(kept) / len(kept)
    spread = list(epochs) if untrimmed else kept
    middle = math.fsum(spread) / len(spread)
    deviation = math.sqrt(math.fsum((value - middle) ** 2 for value in spread) / len(spread))
    return ReferencePoint(batch, mean, deviation, len(kept), _floor(mean, deviation, len(kept), runs))


def interpolated_point(batch: float, low: ReferencePoint, high: ReferencePoint, *, runs: int) -> ReferencePoint:
    """A batch size between two points: mean and deviation are interpolated linearly, 2N samples are assumed."""
    share = (batch - low.batch) / (high.batch - low.batch)
    mean = low.mean + share * (high.mean - low.mean)
    deviation = low.deviation + share * (high.deviation - low.deviation)
    return ReferencePoint(batch, mean, deviation, 2 * runs, _floor(mean, deviation, 2 * runs, runs))


def pruned_points(points: Sequence[ReferencePoint], *, runs: int) -> list[ReferencePoint]:
    """Without the points that a larger batch beats, or that lie above the line between their neighbours.

    The order is that of mlperf-logging: from the smallest batch on, going back one point after each that is left out,
    and no further.
    """
    fastest = min(points, key=lambda point: point.mean)
    kept = [point for point in sorted(points, key=lambda point: point.batch) if point.batch >= fastest.batch]
    at = 1
    while at < len(kept) - 1:
        between = interpolated_point(kept[at].batch, kept[at - 1], kept[at + 1], runs=runs)
        if kept[at].mean > between.mean:
            del kept[at]
        else:
            at += 1
    return kept


def judge_convergence(
    batch: float,
    epochs: Sequence[float],
    points: Sequence[ReferencePoint],
    *,
    runs: int,
    drop: int,
    slack: float = 0.0,
) -> Convergence:
    """The verdict on an entry; a run that did not converge has infinitely many epochs. `slack` lowers all floors."""
    if slack:
        points = [replace(point, floor=point.floor - slack) for point in points]
    kept = _trimmed(epochs, drop)
    mean = math.fsum(kept) / len(kept)
    smaller = [point for point in points if point.batch < batch]
    larger = [point for point in points if point.batch > batch]
    exact = next((point for point in points if point.batch == batch), None)
    if exact is not None:
        return Convergence(_outcome(mean, exact), mean, exact, f"reference at batch {batch:g}")
    if smaller and larger:
        low, high = max(smaller, key=lambda p: p.batch), min(larger, key=lambda p: p.batch)
        point = interpolated_point(batch, low, high, runs=runs)
        how = f"interpolated between batches {low.batch:g} and {high.batch:g}"
        return Convergence(_outcome(mean, point), mean, point, how)
    if larger:
        point = min(larger, key=lambda p: p.batch)
        slower = _outcome(mean, point) == "pass"
        how = f"smaller than every reference batch; compared with {point.batch:g}"
        return Convergence("pass" if slower else "missing", mean, point, how)
    return Convergence("missing", mean, None, "larger than every reference batch")


def _outcome(mean: float, point: ReferencePoint) -> Outcome:
    return "pass" if mean >= point.floor - 1e-9 * point.mean else "fail"


def _trimmed(values: Sequence[float], drop: int) -> list[float]:
    if len(values) <= 2 * drop:
        raise ValueError(f"{len(values)} values leave nothing after dropping {drop} on each side")
    return sorted(values)[drop : len(values) - drop]


def _floor(mean: float, deviation: float, samples: int, runs: int) -> float:
    # Solved for the entry's mean: t = (mean - entry) / (s * sqrt(1/n + 1/m)), n + m - 2 degrees of freedom.
    entry_samples = runs - 2
    critical = student_quantile(1 - SIGNIFICANCE, samples + entry_samples - 2)
    return max(0.0, mean - critical * deviation * math.sqrt(1 / samples + 1 / entry_samples))


@lru_cache
def student_quantile(probability: float, freedom: int) -> float:
    """The t with P(T <= t) = `probability` > 0.5, by bisection of the distribution function."""
    low, high = 0.0, 1.0
    while _student_cdf(high, freedom) < probability:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _student_cdf(middle, freedom) < probability else (low, middle)
    return (low + high) / 2


def _student_cdf(t: float, freedom: int) -> float:
    """P(T <= t) for t >= 0 and whole degrees of freedom: the finite sums of Abramowitz and Stegun 26.7.3 and 26.7.4."""
    angle = math.atan2(t, math.sqrt(freedom))
    sine, square = math.sin(angle), math.cos(angle) ** 2
    if freedom % 2:
        term = total = math.cos(angle) if freedom > 1 else 0.0
        for k in range(3, freedom, 2):
            term *= square * (k - 1) / k
            total += term
        within = 2 / math.pi * (angle + sine * total)
    else:
        term = total = 1.0
        for k in range(2, freedom, 2):
            term *= square * (k - 1) / k
            total += term
        within = sine * total
    return 0.5 + within / 2


@lru_cache
def reference_records(version: str) -> dict[str, list[dict[str, Any]]]:
    """Benchmark -> its reference records (batch, epochs, hyperparameters, creator, when, platform)."""
    text = files("podium.bench").joinpath("rulesets", f"rcp-{version}.json").read_text(encoding="utf-8")
    return {name: records for name, records in json.loads(text).items() if isinstance(records, list)}


def reference_points(rules: Ruleset, benchmark: str) -> list[ReferencePoint]:
    """The points of a benchmark, smallest batch first; none for a benchmark that has none (minigo)."""
    rule, test = rules.benchmark(benchmark), rules.reference_convergence
    untrimmed = test.deviation == "untrimmed"
    points = [
        reference_point(record["batch"], record["epochs"], runs=rule.runs, drop=rule.drop, untrimmed=untrimmed)
        for record in reference_records(rules.version).get(benchmark, [])
    ]
    if test.pruned and points:
        points = pruned_points(points, runs=rule.runs)
    return sorted(points, key=lambda point: point.batch)
