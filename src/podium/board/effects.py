"""Which of the paper's effects showed, said in sentences, with intervals; also when one does not show.

AIMO-2 (Moshkov et al. 2025) reports that code beats mental arithmetic, that a vote beats one attempt, and that a merge
of the two models needs fewer code calls at equal accuracy. Every comparison is paired: the same problems, differences
resampled over problems.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from podium.board.exam import Exam, answered, code_calls, single_correct
from podium.records import ExamResult
from podium.solve.statistics import Difference, paired_bootstrap
from podium.solve.wording import say_change, say_points

Outcome = Literal["showed", "did not show", "opposite"]
MARGIN = 0.05  # loss of accuracy up to which a merge counts as keeping it


@dataclass(frozen=True, slots=True)
class Effect:
    """One claim held against one comparison."""

    claim: str
    outcome: Outcome
    sentence: str
    difference: Difference


def find_effects(exams: Sequence[Exam]) -> list[Effect]:
    """Every effect that these exams can speak of."""
    effects: list[Effect] = []
    without = [exam for exam in exams if not exam.uses_code]
    coding = [exam for exam in exams if exam.uses_code]
    for plain in without[:1]:
        effects += [effect for exam in coding if (effect := _code(exam, plain))]
    effects += [effect for exam in exams if (effect := _vote(exam))]
    for merged in (exam for exam in coding if exam.is_merged):
        for other in (exam for exam in coding if not exam.is_merged):
            effects += [effect for effect in (_calls(merged, other), _merged_score(merged, other)) if effect]
    return effects


def _paired(a: Exam, b: Exam, value: Callable[[ExamResult], float]) -> tuple[Difference, float, float] | None:
    """Difference a - b over the problems both had, and both means."""
    left = {result.problem.id: value(result) for result in a.results}
    right = {result.problem.id: value(result) for result in b.results}
    shared = [key for key in left if key in right]
    if len(shared) < 2:
        return None
    return (
        paired_bootstrap([left[key] - right[key] for key in shared]),
        sum(left[key] for key in shared) / len(shared),
        sum(right[key] for key in shared) / len(shared),
    )


def _outcome(difference: Difference, wanted: int) -> Outcome:
    if difference.low > 0:
        return "showed" if wanted > 0 else "opposite"
    if difference.high < 0:
        return "showed" if wanted < 0 else "opposite"
    return "did not show"


def points(difference: Difference, against: tuple[float, ...] = (0.0,)) -> str:
    """+12 points (95% interval +3 to +21). `against`: shares that the interval is held against, in `_outcome` 0."""
    change, interval = say_points(difference.value, difference.low, difference.high, 0, against)
    return f"{change} points (95% interval {interval})"


def _code(exam: Exam, plain: Exam) -> Effect | None:
    pair = _paired(exam, plain, answered)
    if pair is None:
        return None
    difference, with_code, without = pair
    outcome = _outcome(difference, +1)
    end = {
        "showed": "Code helped.",
        "did not show": "That code helps did not show on these problems.",
        "opposite": "Code did harm here.",
    }[outcome]
    return Effect(
        "Code beats mental arithmetic",
        outcome,
        f"With code, {exam.label} answered {with_code:.0%} of {difference.problems} problems; without, {plain.label} "
        f"answered {without:.0%}: {points(difference)}. {end}",
        difference,
    )


def _vote(exam: Exam) -> Effect | None:
    if exam.n < 2 or len(exam.results) < 2:
        return None
    difference = paired_bootstrap([answered(result) - single_correct(result) for result in exam.results])
    outcome = _outcome(difference, +1)
    end = {
        "showed": "The vote helped.",
        "did not show": "That the vote helps did not show on these problems.",
        "opposite": "The vote did harm here.",
    }[outcome]
    return Effect(
        "A vote beats one attempt",
        outcome,
        f"{exam.label}: a vote over up to {exam.n} attempts answered {exam.scores.score.value:.0%}, one attempt alone "
        f"{exam.scores.pass_1.value:.0%}: {points(difference)}. {end}",
        difference,
    )


def _calls(merged: Exam, other: Exam) -> Effect | None:
    pair = _paired(merged, other, code_calls)
    if pair is None:
        return None
    difference, ours, theirs = pair
    outcome = _outcome(difference, -1)
    end = {
        "showed": "The merge needed fewer code calls.",
        "did not show": "That the merge needs fewer code calls did not show on these problems.",
        "opposite": "The merge needed more code calls here.",
    }[outcome]
    change, interval = (
        said.replace("-", "−")
        for said in say_change(difference.value, difference.low, difference.high, least=2, between=" to ")
    )
    return Effect(
        "A merge needs fewer code calls",
        outcome,
        f"{merged.label} ran code {ours:.2f} times per attempt, {other.label} {theirs:.2f} times: "
        f"{change} (95% interval {interval}). {end}",
        difference,
    )


def _merged_score(merged: Exam, other: Exam) -> Effect | None:
    pair = _paired(merged, other, answered)
    if pair is None:
        return None
    difference, ours, theirs = pair
    # Keeping is shown by a bound, not by the absence of a difference.
    outcome: Outcome = "opposite" if difference.high < 0 else "showed" if difference.low > -MARGIN else "did not show"
    end = {
        "showed": f"At most {MARGIN:.0%} of accuracy can have been lost.",
        "did not show": "Whether accuracy was kept cannot be told from these problems.",
        "opposite": "Accuracy was lost in the merge.",
    }[outcome]
    return Effect(
        "A merge keeps the accuracy",
        outcome,
        f"{merged.label} answered {ours:.0%}, {other.label} {theirs:.0%} of {difference.problems} problems: "
        f"{points(difference, (0.0, -MARGIN))}. {end}",
        difference,
    )
