"""The majority vote. Counts equivalence classes, not strings; does not know how equivalence is decided."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from podium.grading import classes as equivalence_classes
from podium.records import Problem, VoteClass

Classes = Callable[[Problem, Sequence[str]], list[list[int]]]
"""Partition of the positions of `answers` into equivalence classes, as podium.grading.classes makes it."""


@dataclass(frozen=True, slots=True)
class Vote:
    """Classes by falling count, equal counts by their earliest voter. `answer` is the first class's."""

    classes: tuple[VoteClass, ...]
    tie: bool  # more than one class has the highest count

    @property
    def answer(self) -> str | None:
        return self.classes[0].answer if self.classes else None

    @property
    def leaders(self) -> tuple[VoteClass, ...]:
        """The classes that share the highest count: a tie is scored as the mean of these."""
        return tuple(entry for entry in self.classes if entry.count == self.classes[0].count)


def majority(problem: Problem, answers: Mapping[int, str], classes: Classes = equivalence_classes) -> Vote:
    """Vote over {attempt: answer}, given in the order in which the attempts were answered.

    A tie goes to the class that was answered first (short solutions tend to be right, arXiv 2504.16891 section
    6.3.3) and is reported. A class's `weight` is its share of the votes; it goes by its earliest voter's wording.
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
