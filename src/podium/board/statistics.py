"""Differences with intervals, and votes over time; the scores themselves are podium.solve.scores'.

All intervals are at 95 % and over problems: attempts at one problem are not independent, problems are.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

RESAMPLES = 10_000


@dataclass(frozen=True, slots=True)
class Difference:
    """A mean difference with its 95 % interval, over `problems` problems."""

    value: float
    low: float
    high: float
    problems: int


def paired_bootstrap(differences: Sequence[float], seed: int = 0) -> Difference:
    """Mean of per-problem differences with its percentile bootstrap interval (Efron 1979), deterministic.

    Where all differences are the same, resampling cannot vary and would claim certainty: the interval is then as wide
    as the share of problems that may differ by one and still not have been seen (exact binomial bound).

    Raises:
        ValueError: fewer than two differences.
    """
    if len(differences) < 2:
        raise ValueError("nothing to resample")
    import numpy as np

    values = np.asarray(differences, dtype=float)
    n = len(values)
    draws = np.random.default_rng(seed)
    if np.all(values == values[0]):
        unseen = 1.0 - 0.025 ** (1 / n)
        return Difference(float(values[0]), float(values[0]) - unseen, float(values[0]) + unseen, n)
    # In slices: 10,000 resamples of 5,000 problems at once would take 400 MB.
    means = np.concatenate([values[draws.integers(0, n, size=(500, n))].mean(axis=1) for _ in range(RESAMPLES // 500)])
    low, high = np.quantile(means, [0.025, 0.975])
    return Difference(float(values.mean()), float(low), float(high), n)


def vote_score(ballots: Sequence[tuple[Hashable, bool]]) -> float:
    """1 if the most frequent class is correct, 0 if not; the share of correct ones where several lead.

    Args:
        ballots: (answer class, correct) of each attempt that gave an answer.
    """
    counts: dict[Hashable, int] = {}
    right: dict[Hashable, bool] = {}
    for choice, correct in ballots:
        counts[choice] = counts.get(choice, 0) + 1
        right[choice] = right.get(choice, False) or correct
    if not counts:
        return 0.0
    most = max(counts.values())
    leaders = [choice for choice, count in counts.items() if count == most]
    return sum(right[choice] for choice in leaders) / len(leaders)
