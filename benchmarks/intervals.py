"""Do the intervals hold what they promise? Coverage of the 95 % interval of a score, and of its plain version.

    python benchmarks/intervals.py [--exams 2000]

Exams are simulated: problems of beta-distributed hardness around a rate, k attempts each. The truth is the rate, the
mean over all such problems. Beside podium's interval stand the plain percentile bootstrap over problems and the
interval of one who takes all attempts for independent, as pooled 0/1 outcomes are often treated. The last table is the
power of the paired sign-flip test at the difference that `detectable_difference` promises to find four times in five.
"""

from __future__ import annotations

import argparse
import math

import numpy as np

from podium.solve.scores import estimate
from podium.solve.statistics import detectable_difference, sign_flip_test

CASES = [(n, rate, k) for n in (10, 30, 100) for rate, k in ((0.5, 1), (0.5, 16), (0.8, 1), (0.8, 16), (0.95, 16))]


def coverage(exams: int) -> None:
    """Share of simulated exams whose interval holds the truth."""
    print(f"{'problems':>8} {'rate':>5} {'k':>3}  {'podium':>7} {'plain':>7} {'pooled':>7}   of {exams} exams")
    for n, rate, k in CASES:
        draw = np.random.default_rng([n, int(100 * rate), k])
        held = np.zeros(3)
        for exam in range(exams):
            hardness = draw.beta(2 * rate, 2 * (1 - rate), size=n)
            scores = draw.binomial(k, hardness) / k
            ours = estimate(list(scores), seed=exam)
            means = scores[draw.integers(0, n, size=(2_000, n))].mean(axis=1)
            plain = np.quantile(means, [0.025, 0.975])
            mean = scores.mean()
            half = 1.96 * math.sqrt(mean * (1 - mean) / (n * k))
            held += [ours.low <= rate <= ours.high, plain[0] <= rate <= plain[1], abs(mean - rate) <= half]
        shares = held / exams
        print(f"{n:8} {rate:5} {k:3}  {shares[0]:7.1%} {shares[1]:7.1%} {shares[2]:7.1%}")


def power(exams: int) -> None:
    """Share of simulated pairs of exams in which the promised difference is found, and a difference of none."""
    print(f"\n{'problems':>8} {'k':>3}  {'detectable':>10} {'found':>6} {'false alarms':>12}")
    for n, k in ((30, 4), (30, 16), (100, 16)):
        draw = np.random.default_rng([n, k])

        def pair(shift: float, n: int = n, k: int = k, draw: np.random.Generator = draw) -> np.ndarray:
            hardness = draw.beta(1.5, 1.5, size=n) * (1 - shift)
            return draw.binomial(k, hardness + shift) / k - draw.binomial(k, hardness) / k

        spread = float(np.mean([detectable_difference(list(pair(0.1))) for _ in range(200)]))
        shift = spread
        found = np.mean([sign_flip_test(list(pair(shift))) < 0.05 for _ in range(exams // 4)])
        alarms = np.mean([sign_flip_test(list(pair(0.0))) < 0.05 for _ in range(exams // 4)])
        print(f"{n:8} {k:3}  {spread:10.3f} {found:6.1%} {alarms:12.1%}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--exams", type=int, default=2_000)
    given = parser.parse_args()
    coverage(given.exams)
    power(given.exams)
