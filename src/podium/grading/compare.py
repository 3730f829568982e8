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
from podium.grading.notation import tidy
from podium.grading.pool import pool
from podium.grading.regions import set_as_intervals
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
    """A verdict, what gave it (`rules`, `algebra` or `judge`), and how long it took."""

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
    decided = exact.compare_exactly(gold, answer, rules)
    if decided is not None:
        return (Sameness.EQUAL if decided else Sameness.DIFFERENT), "rules"
    if max(len(gold), len(answer)) > exact.MAX_LENGTH:
        return Sameness.PARSE, "rules"
    gold, answer = set_as_intervals(tidy(gold)), set_as_intervals(tidy(answer))
    if not fit_for_algebra(gold) or not fit_for_algebra(answer):
        return Sameness.PARSE, "rules"
    reply = pool("math").ask({"gold": gold, "answer": answer}, SECONDS)
    if reply.status == "late":
        raise _Late
    if reply.status == "failed":
        return Sameness.PARSE, "algebra"
    return (Sameness.EQUAL if reply.value else Sameness.DIFFERENT), "algebra"
