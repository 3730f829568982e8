"""Exams drawn from recorded problems: the same draws for every policy, so that differences are paired.

An exam is `length` problems drawn with replacement; its clock is the policy's own, its ledger the exam's. The spread of
an exam's score over draws is the interval that is printed: with `length` as long as the record, that of the mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from podium.solve.clock import Ledger
from podium.solve.lab.outcomes import Bench
from podium.solve.policy import Policy


@dataclass(frozen=True, slots=True)
class Exams:
    """A policy's exams: arrays [exams] of scores (share of problems right) and seconds, and shares over all of them."""

    policy: str
    scores: NDArray[np.float64]
    seconds: NDArray[np.float64]
    length: int
    clock_share: float  # of problems that the clock ended
    outran_share: float  # of problems where the record ended before the policy did
    problems: int  # that the exams were drawn from

    @property
    def score(self) -> float:
        return float(self.scores.mean())

    @property
    def time(self) -> float:
        return float(self.seconds.mean())

    def spread(self) -> tuple[float, float]:
        """95 % of single exams score between these."""
        low, high = np.quantile(self.scores, [0.025, 0.975])
        return float(low), float(high)

    def interval(self) -> tuple[float, float]:
        """95 % interval of the mean score, the problems being the sample."""
        half = _half_width(self.scores, self)
        return self.score - half, self.score + half


@dataclass(frozen=True, slots=True)
class Comparison:
    """Score of one policy minus another's over the same draws, and the seconds of an exam likewise.

    `low` to `high`: the 95 % interval of the mean difference, the problems having been drawn at random;
    `exam_low` to `exam_high`: 95 % of single exams of this length differ by that.
    """

    difference: float
    low: float
    high: float
    exam_low: float
    exam_high: float
    seconds: float


def hold_exams(
    bench: Bench,
    policy: Policy,
    *,
    budget: float | None,
    length: int | None = None,
    exams: int = 1000,
    members: Sequence[int] | None = None,
    parallel: int | None = None,
    seed: int = 0,
) -> Exams:
    """Sit `exams` exams of `length` problems (default: as many as are recorded) within `budget` seconds each.

    `members`: numbers of the problems that are drawn from (default: all). Equal arguments draw equal exams.
    """
    pool = np.arange(len(bench.problems)) if members is None else np.asarray(members)
    length = length or len(pool)
    draw = np.random.default_rng(seed)
    problems = pool[draw.integers(0, len(pool), size=(exams, length))].tolist()
    decks = draw.integers(0, bench.decks, size=(exams, length)).tolist()
    empty = Ledger(budget, length)
    clock = policy.clock_for(empty)
    scores, seconds = np.empty(exams), np.empty(exams)
    clocked = outran = 0
    for number, (row, dealt) in enumerate(zip(problems, decks, strict=True)):
        ledger, right = empty, 0.0
        for problem, deck in zip(row, dealt, strict=True):
            plan = policy.plan(clock, ledger, bench.n, parallel)
            outcome = bench.outcome(problem, deck, policy, plan)
            used, score, by_clock = outcome.at(plan.seconds)
            ledger = ledger.settled(used)
            right += score
            clocked += by_clock
            outran += outcome.outran and not by_clock
        scores[number], seconds[number] = right / length, ledger.elapsed
    total = exams * length
    return Exams(policy.name, scores, seconds, length, clocked / total, outran / total, len(pool))


def combine(parts: Sequence[Exams]) -> Exams:
    """Exams of the same length drawn from different parts of the problems, as one: the folds of a cross-validation."""
    return Exams(
        parts[0].policy,
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.seconds for part in parts]),
        parts[0].length,
        float(np.mean([part.clock_share for part in parts])),
        float(np.mean([part.outran_share for part in parts])),
        sum(part.problems for part in parts),
    )


def _half_width(values: NDArray[np.float64], exams: Exams) -> float:
    """Of the 95 % interval of a mean. An exam's mean over `length` draws varies by sigma / sqrt(length); the mean over
    the problems there are, by sigma / sqrt(problems)."""
    return 1.96 * float(values.std()) * (exams.length / exams.problems) ** 0.5


def compare(one: Exams, other: Exams) -> Comparison:
    """`one` minus `other`; both must have been held with the same draws."""
    difference = one.scores - other.scores
    mean, half = float(difference.mean()), _half_width(difference, one)
    low, high = np.quantile(difference, [0.025, 0.975])
    seconds = float((one.seconds - other.seconds).mean())
    return Comparison(mean, mean - half, mean + half, float(low), float(high), seconds)
