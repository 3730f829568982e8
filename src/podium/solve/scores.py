"""What an exam's results are worth: estimates with intervals over problems. Reads rows; knows no engine and no clock.

Attempts that a stopping rule cancelled are neither right nor wrong: they are left out of every rate and counted in
`cancelled`. An attempt that the clock cut off counts, as whatever it had boxed by then. `undecided` is never correct.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from podium.records import Attempt, ExamResult, Verdict

RESAMPLES = 4_000
SUBSAMPLES = 200  # draws per problem for maj@k with 1 < k < n


class Estimate(BaseModel):
    """A mean over `problems` problems with its 95 % interval."""

    model_config = ConfigDict(frozen=True)

    value: float
    low: float
    high: float
    problems: int


class Scores(BaseModel):
    """Everything that is counted over an exam's results; rates are shares of 1, means are per counted attempt."""

    model_config = ConfigDict(frozen=True)

    problems: int
    attempts: int  # counted ones: without the cancelled
    cancelled: int
    correct: int  # problems whose chosen answer is correct
    score: Estimate  # correct / problems, a tie by the answer that was chosen
    pass_1: Estimate  # mean over attempts, then over problems
    majority_n: Estimate  # maj@n: as `score`, a tie split between its classes
    pass_n: Estimate  # any attempt correct
    majority_at: dict[int, Estimate]
    pass_at: dict[int, Estimate]
    mean_tokens: float
    mean_tool_tokens: float
    mean_code_calls: float
    mean_seconds: float
    total_tokens: int  # written by all attempts, the cancelled ones too: what the answers cost
    code_timeouts: int
    no_answer: int  # attempts
    undecided: int  # attempts
    truncated: int  # attempts that ran into max_tokens
    clock_cut: int  # attempts cut off by the clock
    errors: int  # attempts lost to the engine
    answers_missing: int  # problems
    answers_undecided: int  # problems
    ties: int  # problems
    clock_hits: int  # problems
    seconds: float  # used by all problems together


def pass_at_k(n: int, correct: int, k: int) -> float:
    """Probability that k of n attempts, drawn without replacement, hold a correct one (arXiv 2107.03374, eq. 1)."""
    if not 0 <= correct <= n or not 1 <= k <= n:
        raise ValueError(f"pass@{k} of {n} attempts with {correct} correct")
    return 1.0 - math.comb(n - correct, k) / math.comb(n, k)


def estimate(values: Sequence[float], seed: int = 0) -> Estimate:
    """Mean of one value per problem with a seeded percentile bootstrap over problems.

    Where every problem scored 0, or every one 1, resampling cannot vary and would claim certainty: there the exact
    (Clopper-Pearson) bound stands instead.
    """
    import numpy as np

    n = len(values)
    if n == 0:
        return Estimate(value=0.0, low=0.0, high=1.0, problems=0)
    array = np.asarray(values, dtype=np.float64)
    if np.all(array == 0.0):
        return Estimate(value=0.0, low=0.0, high=1.0 - 0.025 ** (1 / n), problems=n)
    if np.all(array == 1.0):
        return Estimate(value=1.0, low=0.025 ** (1 / n), high=1.0, problems=n)
    draws = np.random.default_rng(seed).integers(0, n, size=(RESAMPLES, n))
    low, high = np.quantile(array[draws].mean(axis=1), [0.025, 0.975])
    return Estimate(value=float(array.mean()), low=float(low), high=float(high), problems=n)


def counted(result: ExamResult) -> tuple[Attempt, ...]:
    """The attempts that count: all that were not cancelled by a stopping rule."""
    return tuple(attempt for attempt in result.attempts if attempt.stop_reason != "cancelled")


def majority_at_k(result: ExamResult, k: int, seed: int = 0) -> float:
    """Expected score of a vote among k of the counted attempts; ties are split. Seeded draws where 1 < k < n."""
    attempts = counted(result)
    if not attempts:
        return 0.0
    correct = {attempt.index for attempt in attempts if attempt.verdict is Verdict.CORRECT}
    answer_of = {attempt.index: attempt.answer for attempt in attempts}
    # By wording, because an attempt that ended in the very moment of the stop counts but did not vote.
    class_of = {answer_of.get(index): number for number, row in enumerate(result.votes) for index in row.attempts}
    groups = [class_of.get(answer, answer) if answer is not None else None for answer in answer_of.values()]
    right: dict[Any, bool] = {}
    for group, attempt in zip(groups, attempts, strict=True):
        if group is not None:
            right[group] = right.get(group, False) or attempt.index in correct
    if k >= len(attempts):
        return _vote_score(groups, right)
    if k == 1:
        return sum(_vote_score([group], right) for group in groups) / len(groups)
    draw = random.Random(f"{seed}/{result.problem.id}/{k}")
    return sum(_vote_score(draw.sample(groups, k), right) for _ in range(SUBSAMPLES)) / SUBSAMPLES


def _vote_score(groups: Sequence[Any], right: Mapping[Any, bool]) -> float:
    counts: dict[Any, int] = {}
    for group in groups:
        if group is not None:
            counts[group] = counts.get(group, 0) + 1
    if not counts:
        return 0.0
    most = max(counts.values())
    leaders = [group for group, count in counts.items() if count == most]
    return sum(right[group] for group in leaders) / len(leaders)


def _rungs(n: int) -> list[int]:
    """1, 2, 4 … and n."""
    return sorted({2**power for power in range(n.bit_length()) if 2**power < n} | {n})


def score_results(results: Sequence[ExamResult], n: int, seed: int = 0) -> Scores:
    """Scores of an exam with n attempts per problem. Where fewer than k attempts count, @k uses those there are."""
    attempts = [attempt for result in results for attempt in counted(result)]
    right = [
        (len(counted(result)), sum(attempt.verdict is Verdict.CORRECT for attempt in counted(result)))
        for result in results
    ]

    def passing(k: int) -> Estimate:
        return estimate([pass_at_k(m, c, min(k, m)) if m else 0.0 for m, c in right], seed)

    def voting(k: int) -> Estimate:
        return estimate([majority_at_k(result, k, seed) for result in results], seed)

    def mean(values: Sequence[float]) -> float:
        return sum(values) / len(values) if values else 0.0

    usage = [attempt.usage for attempt in attempts]
    correct = [float(result.verdict is Verdict.CORRECT) for result in results]
    return Scores(
        problems=len(results),
        attempts=len(attempts),
        cancelled=sum(len(result.attempts) for result in results) - len(attempts),
        correct=int(sum(correct)),
        score=estimate(correct, seed),
        pass_1=passing(1),
        majority_n=voting(n),
        pass_n=passing(n),
        majority_at={k: voting(k) for k in _rungs(n)},
        pass_at={k: passing(k) for k in _rungs(n)},
        mean_tokens=mean([spent.completion_tokens for spent in usage]),
        mean_tool_tokens=mean([spent.tool_tokens for spent in usage]),
        mean_code_calls=mean([spent.code_calls for spent in usage]),
        mean_seconds=mean([spent.seconds for spent in usage]),
        total_tokens=sum(attempt.usage.completion_tokens for result in results for attempt in result.attempts),
        code_timeouts=sum(spent.code_timeouts for spent in usage),
        no_answer=sum(attempt.answer is None for attempt in attempts),
        undecided=sum(attempt.verdict is Verdict.UNDECIDED for attempt in attempts),
        truncated=sum(attempt.stop_reason == "length" for attempt in attempts),
        clock_cut=sum(attempt.stop_reason == "clock" for attempt in attempts),
        errors=sum(attempt.stop_reason == "error" for attempt in attempts),
        answers_missing=sum(result.answer is None for result in results),
        answers_undecided=sum(result.verdict is Verdict.UNDECIDED for result in results),
        ties=sum(result.tie for result in results),
        clock_hits=sum(result.clock_hit for result in results),
        seconds=sum(result.used_seconds for result in results),
    )


def table(scores: Mapping[str, Scores]) -> list[dict[str, str]]:
    """Rows of the paper's table 10 (one per model or mode) with intervals, as text ready to print."""

    def share(value: Estimate) -> str:
        return f"{100 * value.value:.1f} [{100 * value.low:.1f}, {100 * value.high:.1f}]"

    return [
        {
            "model": name,
            "pass@1": share(row.pass_1),
            f"maj@{max(row.majority_at)}": share(row.majority_n),
            f"pass@{max(row.pass_at)}": share(row.pass_n),
            "mean tokens": f"{row.mean_tokens:.0f}",
            "code calls": f"{row.mean_code_calls:.2f}",
            "seconds": f"{row.seconds:.1f}",
            "no answer": str(row.no_answer),
            "truncated": str(row.truncated),
            "undecided": str(row.undecided),
        }
        for name, row in scores.items()
    ]
