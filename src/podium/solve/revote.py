"""Counting the votes of a stored exam anew, weighed by something else. Reads rows; asks nobody and compares nothing.

The classes of equal answers and who votes are those of the exam; only the weights change, and with them the answer
and its verdict, which its first voter already has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from podium.records import ExamResult, Verdict
from podium.solve.scores import Estimate, estimate
from podium.solve.statistics import Difference, paired_bootstrap, sign_flip_test
from podium.solve.vote import WEIGHTS, ballots, check_weight, leaders, majority, weigh


def revote(result: ExamResult, by: str) -> ExamResult:
    """The result as it would have been with votes weighed `by` something else. A problem without votes stays as it is.

    Raises:
        InputError: no weight is called so.
    """
    check_weight(by)
    class_of = {index: number for number, row in enumerate(result.votes) for index in row.attempts}
    voting = [attempt for attempt in result.attempts if attempt.index in class_of and attempt.answer is not None]
    if not voting:
        return result.model_copy(update={"vote": by})
    answers = ballots(voting)
    order = list(answers)

    def classes(problem: object, texts: Sequence[str]) -> list[list[int]]:
        groups: dict[int, list[int]] = {}
        for position, index in enumerate(order):
            groups.setdefault(class_of[index], []).append(position)
        return list(groups.values())

    vote = majority(result.problem, answers, classes, None if by == "uniform" else weigh(voting, by))
    first = vote.classes[0].attempts[0]
    chosen = next(attempt for attempt in voting if attempt.index == first)
    return result.model_copy(
        update={
            "votes": vote.classes,
            "vote": by,
            "answer": vote.answer,
            "verdict": chosen.verdict or Verdict.UNDECIDED,
            "verdict_by": chosen.verdict_by,
            "tie": vote.tie,
        }
    )


def split_score(result: ExamResult) -> float:
    """1 for a right answer; a tie is worth the mean of the classes that share the highest weight."""
    verdicts = {attempt.index: attempt.verdict for attempt in result.attempts}
    if not result.votes:
        return float(result.verdict is Verdict.CORRECT)
    shares = {number: row.weight for number, row in enumerate(result.votes)}
    first = leaders({number: number for number in shares}, shares)
    right = [any(verdicts.get(index) is Verdict.CORRECT for index in result.votes[number].attempts) for number in first]
    return sum(right) / len(right)


@dataclass(frozen=True, slots=True)
class Revoted:
    """An exam under one weight, beside the exam as it was recorded."""

    vote: str
    results: tuple[ExamResult, ...]
    score: Estimate  # ties split
    ties: int
    changed: int  # problems with another answer than recorded
    difference: Difference  # minus the recorded vote, ties split in both
    p: float  # paired sign-flip test
    known: float  # share of the voting attempts that have the signal


def revote_all(results: Sequence[ExamResult], seed: int = 0) -> list[Revoted]:
    """The exam under every weight there is."""
    recorded = [split_score(result) for result in results]
    found = []
    for by in WEIGHTS:
        anew = tuple(revote(result, by) for result in results)
        scores = [split_score(result) for result in anew]
        differences = [one - other for one, other in zip(scores, recorded, strict=True)]
        voters = [
            WEIGHTS[by](attempt.usage.completion_tokens, attempt.signals) is not None
            for result in results
            for attempt in result.attempts
            if any(attempt.index in row.attempts for row in result.votes)
        ]
        found.append(
            Revoted(
                vote=by,
                results=anew,
                score=estimate(scores, seed),
                ties=sum(result.tie for result in anew),
                changed=sum(one.answer != other.answer for one, other in zip(anew, results, strict=True)),
                difference=paired_bootstrap(differences, seed),
                p=sign_flip_test(differences, seed),
                known=sum(voters) / max(1, len(voters)),
            )
        )
    return found
