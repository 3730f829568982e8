"""What the programmatic teacher knows of one task: how to read it, reason about it, and program it.

Knows no model and no sandbox. Everything is read from the question's text, never from a stored answer: the teacher
works from what a model would see. Steps are short and regular, and each restates what it needs, because models of a
few million parameters must learn them in minutes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from podium.errors import PodiumError

OperandsT = TypeVar("OperandsT")

MAX_STEPS_TOKENS = 160


class Declined(PodiumError):
    """The teacher does not write this solution: too long to reason in the head, or the problem has no one answer."""


@dataclass(frozen=True, slots=True)
class Writer(Generic[OperandsT]):
    """One task's writer.

    `read` gives the operands found in a question, or None when the question is not of this task. `reason` gives the
    steps and the answer; `program` the Python source that prints the answer. Both may raise Declined. `options` are
    difficulty options of reasoning-gym for models of a few million parameters, `weight` its share in a mixture.
    """

    name: str
    read: Callable[[str], OperandsT | None]
    reason: Callable[[OperandsT], tuple[list[str], str]]
    program: Callable[[OperandsT], str]
    options: dict[str, Any] = field(default_factory=dict)
    weight: float = 1.0


def checked_steps(steps: list[str]) -> str:
    """The steps as lines.

    Raises:
        Declined: longer than about MAX_STEPS_TOKENS.
    """
    text = "\n".join(steps)
    # In a small vocabulary with single digits every digit is a token, and other characters go about two to one.
    digits = sum(character.isdigit() for character in text)
    if digits + 0.55 * (len(text) - digits) > MAX_STEPS_TOKENS:
        raise Declined("too long to reason in the head")
    return text


def integers(text: str) -> list[int]:
    """All integers of a text, in order."""
    return [int(number) for number in re.findall(r"-?\d+", text)]


def between(text: str, before: str, after: str = "") -> str | None:
    """What stands between two fixed pieces of a question; None when they are not there. `after` empty: to the end."""
    _, found, rest = text.partition(before)
    if not found:
        return None
    if not after:
        return rest.strip()
    middle, found, _ = rest.rpartition(after)
    return middle.strip() if found else None
