"""The vocabulary of an exam: what happens to a problem, and what may be done about it. Data only.

Answers are class numbers here, not texts: whoever watches the attempts has compared them already
(podium.solve.answerbook), so that everything that decides is arithmetic on integers and times.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from podium.records import StopReason

UNFINISHED: frozenset[StopReason] = frozenset({"cancelled", "clock", "error"})
"""Stop reasons of attempts that did not come to their own end: they count for no rule."""


class Happening(NamedTuple):
    """One thing that happened, `time` seconds after the problem was opened. A tick only tells the time."""

    time: float
    kind: Literal["start", "tokens", "code", "nudge", "answer", "end", "tick"]
    attempt: int = -1  # which; -1 for a tick
    tokens: int = 0  # written by the attempt so far
    answer: int | None = None  # answer: the class of what was boxed; end: of the attempt's answer
    reason: StopReason = "eos"  # end: why


class Action(NamedTuple):
    """`start`, `cancel` and `nudge` name an attempt; `stop` the rule that fired; `answer` the attempts that vote.

    A `cancel` with the rule `attempt_tokens` cuts the attempt as its token limit would have.
    """

    kind: Literal["start", "cancel", "nudge", "stop", "answer"]
    attempt: int = -1
    rule: str = ""
    voters: tuple[int, ...] = ()
