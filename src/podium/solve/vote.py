"""The majority vote. Counts equivalence classes, not strings; does not know how equivalence is decided."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from podium.grading import classes as equivalence_classes
from podium.records import Attempt, Problem, VoteClass

Classes = Callable[[Problem, Sequence[str]], list[list[int]]]
"""Partition of the positions of `answers` into equivalence classes, as podium.grading.classes makes it."""


@dataclass(frozen=True, slots=True)
class Vote:
    """Classes by falling count, equal counts by their first voter. `answer` is the first class's."""

    classes: tuple[VoteClass, ...]
    tie: bool  # more than one class has the highest count

    @property
    def answer(self) -> str | None:
        return self.classes[0].answer if self.classes else None

    @property
    def leaders(self) -> tuple[VoteClass, ...]:
        """The classes that share the highest count: a tie is scored as the mean of these."""
        return tuple(entry for entry in self.classes if entry.count == self.classes[0].count)


def ballots(attempts: Iterable[Attempt]) -> dict[int, str]:
    """{attempt: answer} of those that have one, the shortest solution first.

    Short solutions tend to be right (arXiv 2504.16891 section 6.3.3). Which attempt is over first says much the same,
    but differs from run to run, and with it every vote that is tied.
    """
    order = sorted(attempts, key=lambda attempt: (attempt.usage.completion_tokens, attempt.index))
    return {attempt.index: attempt.answer for attempt in order if attempt.answer is not None}


def majority(problem: Problem, answers: Mapping[int, str], classes: Classes = equivalence_classes) -> Vote:
    """Vote over {attempt: answer}, in the order of `ballots`.

    A tie goes to the class whose first voter comes first, and is reported. A class's `weight` is its share of the
    votes; it goes by its first voter's wording.
    """
    order = list(answers)
    texts = [answers[index] for index in order]
    groups = [sorted(group) for group in classes(problem, texts)] if texts else []
    groups.sort(key=lambda group: (-len(group), group[0]))
    rows = tuple(
        VoteClass(
            answer=texts[group[0]],
            count=len(group),
            weight=len(group) / len(texts),
            attempts=tuple(order[position] for position in group),
        )
        for group in groups
    )
    return Vote(rows, tie=len(rows) > 1 and rows[0].count == rows[1].count)
