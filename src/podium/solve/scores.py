"""What an exam's results are worth: estimates with intervals over problems. Reads rows; knows no engine and no clock.

Attempts that a stopping rule cancelled are neither right nor wrong: they are left out of every rate and counted in
`cancelled`. An attempt that the clock cut off counts, as whatever it had boxed by then. `undecided` is never correct.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from podium.records import Attempt, ExamResult, Verdict
from podium.solve.statistics import bootstrap_interval, effective_wilson, majority_at_k, pass_at_k


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
    judged: int = 0  # attempts whose verdict is a judge's: the rules had left them undecided
    truncated: int  # attempts that ran into max_tokens
    repeated: int = 0  # attempts ended because they only repeated themselves
    clock_cut: int  # attempts cut off by the clock
    errors: int  # attempts lost to the engine
    answers_missing: int  # problems
    answers_undecided: int  # problems
    ties: int  # problems
    clock_hits: int  # problems
    seconds: float  # used by all problems together


def estimate(values: Sequence[float], seed: int = 0) -> Estimate:
    """Mean of one value per problem, between 0 and 1, with its interval over problems.

    The interval is a seeded bootstrap's, made wider where Wilson's reaches further: near 0 and 1 resampling a few
    problems promises too much (benchmarks/intervals.py). Where every problem scored 0, or every one 1, resampling
    cannot vary and would claim certainty: there the exact (Clopper-Pearson) bound stands instead.
    """
    n = len(values)
    if n == 0:
        return Estimate(value=0.0, low=0.0, high=1.0, problems=0)
    unseen = 1.0 - 0.025 ** (1 / n)
    if all(value == 0.0 for value in values):
        return Estimate(value=0.0, low=0.0, high=unseen, problems=n)
    if all(value == 1.0 for value in values):
        return Estimate(value=1.0, low=1.0 - unseen, high=1.0, problems=n)
    if n == 1:
        return Estimate(value=values[0], low=0.0, high=1.0, problems=1)
    (low, high), (least, most) = bootstrap_interval(values, seed), effective_wilson(values)
    return Estimate(
        value=math.fsum(values) / n, low=max(0.0, min(low, least)), high=min(1.0, max(high, most)), problems=n
    )


def counted(result: ExamResult) -> tuple[Attempt, ...]:
    """The attempts that count: all that were not cancelled by a stopping rule."""
    return tuple(attempt for attempt in result.attempts if attempt.stop_reason != "cancelled")


def vote_classes(result: ExamResult) -> tuple[list[int], list[bool], int]:
    """(attempts in each class of answers, whether the class is correct, attempts without an answer) of the counted."""
    # By wording, because an attempt that ended in the very moment of the stop counts but did not vote.
    answer_of = {attempt.index: attempt.answer for attempt in result.attempts}
    class_of = {answer_of.get(index): number for number, row in enumerate(result.votes) for index in row.attempts}
    sizes: dict[Any, int] = {}
    right: dict[Any, bool] = {}
    blank = 0
    for attempt in counted(result):
        if attempt.answer is None:
            blank += 1
            continue
        group = class_of.get(attempt.answer, attempt.answer)
        sizes[group] = sizes.get(group, 0) + 1
        right[group] = right.get(group, False) or attempt.verdict is Verdict.CORRECT
    return list(sizes.values()), list(right.values()), blank


def majority_of(result: ExamResult, k: int) -> float:
    """Expected score of a vote among k of the counted attempts, of all where there are fewer; ties are split."""
    sizes, right, blank = vote_classes(result)
    total = sum(sizes) + blank
    return majority_at_k(sizes, right, blank, min(k, total)) if total else 0.0


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
        return estimate([majority_of(result, k) for result in results], seed)

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
        judged=sum(attempt.verdict_by == "judge" for attempt in attempts),
        truncated=sum(attempt.stop_reason == "length" for attempt in attempts),
        repeated=sum(attempt.stop_reason == "repetition" for attempt in attempts),
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
