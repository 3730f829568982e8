"""Is this answer equal to that one? Cheap rules first, computer algebra in a worker with a deadline after them.

A comparison says equal or different only where that was shown. Where it was not, it says which way it failed: no time,
or something that could not be read.
"""

from __future__ import annotations

import asyncio
import functools
import time
from dataclasses import dataclass
from enum import StrEnum

from podium.grading import exact
from podium.grading.pool import pool
from podium.grading.rules import DEFAULT, Rules
from podium.grading.sizes import fit_for_algebra

SECONDS = 3.0  # deadline of one comparison by computer algebra


class Sameness(StrEnum):
    """What a comparison found."""

    EQUAL = "equal"
    DIFFERENT = "different"
    TIMEOUT = "undecided(timeout)"
    PARSE = "undecided(parse)"

    @property
    def decided(self) -> bool | None:
        """True, False, or None for undecided."""
        return {Sameness.EQUAL: True, Sameness.DIFFERENT: False}.get(self)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A verdict, what gave it, and how long it took.

    `by`: `rules` (reading and exact arithmetic), `numeric` (agreement or difference at points, or of many digits),
    `algebra`, `judge`.
    """

    sameness: Sameness
    by: str
    seconds: float


def compare(gold: str, answer: str, rules: Rules = DEFAULT) -> Comparison:
    """Compare two answers. Never raises on what they hold; takes a little over SECONDS at most, however many others
    are being compared.

    The first comparison that needs computer algebra waits for its libraries, unless `warm` was called.
    """
    began = time.monotonic()
    try:
        sameness, by = _compare(gold.strip(), answer.strip(), rules)
    except _Late:
        sameness, by = Sameness.TIMEOUT, "algebra"
    return Comparison(sameness, by, time.monotonic() - began)


async def compare_async(gold: str, answer: str, rules: Rules = DEFAULT) -> Comparison:
    """`compare` without holding up the event loop."""
    return await asyncio.to_thread(compare, gold, answer, rules)


def warm() -> None:
    """Start the libraries of computer algebra, which takes a second or two, before the first comparison needs them."""
    pool("math").warm()


class _Late(Exception):
    """Not remembered: with more time, or less to do beside it, the same comparison may be decided."""


@functools.lru_cache(maxsize=16_384)
def _compare(gold: str, answer: str, rules: Rules) -> tuple[Sameness, str]:
    if answer < gold:  # the verdict on two answers is one, whichever is the gold one
        gold, answer = answer, gold
    asked = time.monotonic()
    comparer = exact.Comparer(rules)
    decided = comparer.compare(gold, answer)
    if decided is None and comparer.asks_algebra:
        deadline = asked + SECONDS
        comparer = exact.Comparer(rules, lambda one, other: _by_algebra(one, other, deadline))
        decided = comparer.compare(gold, answer)
    by = "algebra" if comparer.used_algebra else "numeric" if comparer.numeric and decided is not None else "rules"
    return {None: Sameness.PARSE, True: Sameness.EQUAL, False: Sameness.DIFFERENT}[decided], by


def _by_algebra(one: str, other: str, deadline: float) -> bool | None:
    """Two closed forms by a worker. Raises _Late at the deadline."""
    if not fit_for_algebra(one) or not fit_for_algebra(other):
        return None
    reply = pool("math").ask({"gold": one, "answer": other}, deadline - time.monotonic())
    if reply.status == "late":
        raise _Late
    return reply.value
