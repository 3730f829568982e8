"""Statistics of exams. The problem is the statistical unit: attempts at one problem are not independent, problems are.

Pure functions of numbers, one value per problem; knows no rows. Where a distribution can be counted exactly it is, not
drawn. Figures of this file are checked against brute force and scipy in the tests, the coverage of its intervals and
the power it promises by simulation.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
FLIPS = 100_000  # sign patterns drawn where they cannot be counted
_EXACT_CELLS = 40_000_000  # additions that counting all sign patterns may take
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Difference:
    """A mean difference with its 95 % interval, over `problems` problems."""

    value: float
    low: float
    high: float
    problems: int


def bootstrap_interval(values: Sequence[float], seed: int = 0, level: float = 0.95) -> tuple[float, float]:
    """Interval of the mean: percentile bootstrap over problems (Efron 1979), deterministic.

    The percentiles are those of Hesterberg (2015, arXiv 1411.5279, section 3.3): further out by sqrt(n/(n-1)) and by
    Student's t, because plain ones are too narrow where problems are few (30, as in an AIME pair).

    Raises:
        ValueError: fewer than two values.
    """
    n = len(values)
    if n < 2:
        raise ValueError("nothing to resample")
    array = np.asarray(values, dtype=np.float64)
    draws = np.random.default_rng(seed)
    # In slices: 10,000 resamples of 5,000 problems at once would take 400 MB.
    means = np.concatenate([array[draws.integers(0, n, size=(500, n))].mean(axis=1) for _ in range(RESAMPLES // 500)])
    tail = _NORMAL.cdf(-math.sqrt(n / (n - 1)) * student_quantile(0.5 + level / 2, n - 1))
    low, high = np.quantile(means, [tail, 1.0 - tail])
    return float(low), float(high)


def effective_wilson(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Interval of the mean of values between 0 and 1: Wilson's (1927), with an effective number of problems.

    m(1-m)/n over the variance of the mean is their effective number (Korn & Graubard 1998; Franco et al. 2019), here
    never below n, with Student's t for the few problems behind it. It holds near 0 and 1, where resampling 30 values
    of which 28 are 1 does not.

    Raises:
        ValueError: fewer than two values.
    """
    n = len(values)
    if n < 2:
        raise ValueError("no spread in fewer than two values")
    array = np.asarray(values, dtype=np.float64)
    mean, variance = float(array.mean()), float(array.var(ddof=1)) / n
    worth = max(float(n), mean * (1 - mean) / variance) if variance > 0 else float(n)
    t = student_quantile(0.5 + level / 2, n - 1)
    centre = (mean + t * t / (2 * worth)) / (1 + t * t / worth)
    half = t / (1 + t * t / worth) * math.sqrt(mean * (1 - mean) / worth + t * t / (4 * worth * worth))
    return centre - half, centre + half


def paired_bootstrap(differences: Sequence[float], seed: int = 0) -> Difference:
    """Mean of per-problem differences with its interval.

    Where all differences are the same, resampling cannot vary and would claim certainty: the interval is then as wide
    as the share of problems that may differ by one and still not have been seen (exact binomial bound).

    Raises:
        ValueError: fewer than two differences.
    """
    n = len(differences)
    if n < 2:
        raise ValueError("nothing to resample")
    if all(value == differences[0] for value in differences):
        unseen = 1.0 - 0.025 ** (1 / n)
        value = float(differences[0])
        return Difference(value, value - unseen, value + unseen, n)
    low, high = bootstrap_interval(differences, seed)
    return Difference(math.fsum(differences) / n, low, high, n)


def sign_flip_test(differences: Sequence[float], seed: int = 0) -> float:
    """Two-sided p of "which exam is which does not matter", by flipping the sign of every problem's difference.

    All 2^n patterns are counted where the differences are multiples of one fraction, as means of k attempts are;
    otherwise FLIPS patterns are drawn and the observed one added to them (Phipson & Smyth 2010).
    """
    values = [value for value in differences if value != 0.0]
    if not values:
        return 1.0
    whole = _as_multiples(values)
    if whole is not None and len(whole) * (2 * sum(map(abs, whole)) + 1) <= _EXACT_CELLS:
        return _count_flips(whole)
    array = np.abs(np.asarray(values, dtype=np.float64))
    observed = abs(math.fsum(values))
    draws = np.random.default_rng(seed)
    extreme = 0
    for _ in range(0, FLIPS, 1_000):
        signs = draws.integers(0, 2, size=(1_000, len(array)), dtype=np.int8) * 2 - 1
        extreme += int(np.sum(np.abs(signs @ array) >= observed * (1 - 1e-12)))
    return (extreme + 1) / (FLIPS + 1)


def _as_multiples(values: Sequence[float]) -> list[int] | None:
    """The values as whole multiples of one fraction with a denominator of at most 4,096; None when they are not."""
    unit = 1
    for value in values:
        near = Fraction(value).limit_denominator(4_096)
        if abs(float(near) - value) > 1e-12:
            return None
        unit = math.lcm(unit, near.denominator)
        if unit > 1_000_000:
            return None
    whole = [round(value * unit) for value in values]
    shared = math.gcd(*whole)
    return [value // shared for value in whole]


def _count_flips(whole: Sequence[int]) -> float:
    """Share of sign patterns whose sum is at least as far from 0 as the observed one."""
    reach = sum(map(abs, whole))
    shares: NDArray[np.float64] = np.zeros(2 * reach + 1)
    shares[reach] = 1.0
    for value in map(abs, whole):
        up, down = np.zeros_like(shares), np.zeros_like(shares)
        up[value:] = shares[: len(shares) - value]
        down[: len(shares) - value] = shares[value:]
        shares = (up + down) / 2
    observed = abs(sum(whole))
    sums = np.abs(np.arange(-reach, reach + 1))
    return min(1.0, float(shares[sums >= observed].sum()))


def detectable_difference(differences: Sequence[float], power: float = 0.8, level: float = 0.95) -> float:
    """The smallest true mean difference that a paired test on as many problems of this spread finds with `power`.

    (t(level) + t(power)) s / sqrt(n). More attempts per problem make s smaller, down to the spread between problems.

    Raises:
        ValueError: fewer than two differences.
    """
    n = len(differences)
    if n < 2:
        raise ValueError("no spread in fewer than two differences")
    spread = float(np.std(np.asarray(differences, dtype=np.float64), ddof=1))
    reach = student_quantile(0.5 + level / 2, n - 1) + student_quantile(power, n - 1)
    return reach * spread / math.sqrt(n)


@dataclass(frozen=True, slots=True)
class ErrorParts:
    """Standard error of a mean score, and what it would be with endlessly many attempts at the same problems."""

    error: float
    problems_only: float


def error_parts(right: Sequence[Sequence[bool]]) -> ErrorParts:
    """Split the standard error of pass@1 into what more attempts remove and what only more problems do.

    Args:
        right: for each problem, whether each attempt was right; problems without attempts are left out.
    """
    rows = [row for row in right if row]
    n = len(rows)
    if n < 2:
        return ErrorParts(0.5, 0.5) if n else ErrorParts(1.0, 1.0)
    means = np.asarray([sum(row) / len(row) for row in rows])
    total = float(means.var(ddof=1)) / n
    within = [m * (1 - m) / (len(row) - 1) for m, row in zip(means, rows, strict=True) if len(row) > 1]
    sampling = math.fsum(within) / len(within) / n if within else 0.0
    return ErrorParts(math.sqrt(total), math.sqrt(max(0.0, total - sampling)))


def pass_at_k(n: int, correct: int, k: int) -> float:
    """Probability that k of n attempts, drawn without replacement, hold a correct one (arXiv 2107.03374, eq. 1)."""
    if not 0 <= correct <= n or not 1 <= k <= n:
        raise ValueError(f"pass@{k} of {n} attempts with {correct} correct")
    return 1.0 - math.comb(n - correct, k) / math.comb(n, k)


def majority_at_k(counts: Sequence[int], right: Sequence[bool], blank: int, k: int) -> float:
    """Expected score of a vote among k attempts drawn without replacement; a tie scores the mean of its classes.

    Exact: for every right class and every number of votes it may lead with, the ways in which the others stay behind
    or draw level are counted.

    Args:
        counts: attempts in each answer class. right: whether the class is correct. blank: attempts without an answer.
        k: attempts drawn, at most all there are.
    """
    total = sum(counts) + blank
    if not 1 <= k <= total:
        raise ValueError(f"maj@{k} of {total} attempts")
    score = Fraction(0)
    for index, size in enumerate(counts):
        if right[index]:
            others = [*counts[:index], *counts[index + 1 :]]
            for votes in range(1, min(size, k) + 1):
                ways = _ways_to_follow(others, blank, votes, k - votes)
                lead = math.comb(size, votes)
                score += sum((Fraction(lead * count, ties) for ties, count in ways.items()), Fraction(0))
    return float(score / math.comb(total, k))


def _ways_to_follow(others: Sequence[int], blank: int, most: int, left: int) -> dict[int, int]:
    """{classes that share the lead: ways} to draw `left` attempts from the others, none of them above `most`."""
    ways: dict[tuple[int, int], int] = {(0, 1): 1}  # (drawn, leaders) -> ways
    for size in others:
        grown: dict[tuple[int, int], int] = {}
        for (drawn, leaders), count in ways.items():
            for votes in range(min(size, most, left - drawn) + 1):
                key = drawn + votes, leaders + (votes == most)
                grown[key] = grown.get(key, 0) + count * math.comb(size, votes)
        ways = grown
    found: dict[int, int] = {}
    for (drawn, leaders), count in ways.items():
        rest = left - drawn
        if rest <= blank:
            found[leaders] = found.get(leaders, 0) + count * math.comb(blank, rest)
    return found


@functools.cache
def student_quantile(probability: float, freedom: int) -> float:
    """Quantile of Student's t, by bisection of its distribution function.

    Raises:
        ValueError: a probability outside (0, 1), or no degrees of freedom.
    """
    if not 0.0 < probability < 1.0 or freedom < 1:
        raise ValueError(f"no quantile {probability} of t with {freedom} degrees of freedom")
    if probability < 0.5:
        return -student_quantile(1.0 - probability, freedom)
    low, high = 0.0, 1.0
    while _student_tail(high, freedom) > 1.0 - probability:
        high *= 2.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _student_tail(middle, freedom) > 1.0 - probability else (low, middle)
    return (low + high) / 2


def _student_tail(t: float, freedom: int) -> float:
    """P(T > t) for t >= 0: half the regularised incomplete beta function at freedom / (freedom + t^2)."""
    return 0.5 * _incomplete_beta(freedom / 2, 0.5, freedom / (freedom + t * t))


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """Regularised incomplete beta function by its continued fraction (Lentz)."""
    if x <= 0.0 or x >= 1.0:
        return float(x >= 1.0)
    if x > (a + 1) / (a + b + 2):
        return 1.0 - _incomplete_beta(b, a, 1.0 - x)
    front = math.exp(a * math.log(x) + b * math.log1p(-x) - math.lgamma(a) - math.lgamma(b) + math.lgamma(a + b)) / a
    c, d, value = 1.0, 1.0 / (1.0 - (a + b) * x / (a + 1)), 1.0
    value = d
    for m in range(1, 500):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for step in (even, odd):
            d = 1.0 / (1.0 + step * d)
            c = 1.0 + step / c
            value *= c * d
        if abs(c * d - 1.0) < 1e-15:
            break
    return front * value
