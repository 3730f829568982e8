"""Which answers to one problem are the same: classes that grow as answers come in, each compared once.

Does not know how two answers are compared. Comparing may take computer algebra seconds and is left to a thread by
whoever is in a hurry; entering the outcome is instantaneous.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

Partition = Callable[[Sequence[str]], list[list[int]]]
"""Equivalence classes of answers, as lists of positions."""


class AnswerBook:
    """Answer texts to class numbers, in order of first appearance."""

    def __init__(self, partition: Partition) -> None:
        self._partition = partition
        self._known: dict[str, int] = {}
        self.texts: list[str] = []  # class -> the wording that came first

    def known(self, answer: str) -> int | None:
        """The class of a wording that was entered before; None: it must be compared."""
        return self._known.get(answer)

    def compare(self, answer: str) -> int | None:
        """The class of an answer equal to `answer`; None: there is none. Changes nothing."""
        if not self.texts:
            return None
        last = len(self.texts)
        for group in self._partition([*self.texts, answer]):
            if last in group:
                return next((position for position in sorted(group) if position != last), None)
        return None

    def enter(self, answer: str, number: int | None) -> int:
        """Record that `answer` belongs to class `number`, or to a new one; returns the class."""
        if number is None:
            number = len(self.texts)
            self.texts.append(answer)
        self._known[answer] = number
        return number

    def place(self, answer: str) -> int:
        """The class of `answer`, compared and entered if it is new."""
        known = self.known(answer)
        return self.enter(answer, self.compare(answer)) if known is None else known

    def classes(self, answers: Sequence[str]) -> list[list[int]]:
        """Positions of answers by class, as podium.grading.classes would give them; all must have been entered."""
        groups: dict[int, list[int]] = {}
        for position, answer in enumerate(answers):
            groups.setdefault(self.place(answer), []).append(position)
        return list(groups.values())
