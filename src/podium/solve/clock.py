"""The exam's clock: how many seconds a problem may take. Pure arithmetic; reads no real clock and knows no exam.

Every problem brings `base` seconds. What it leaves over goes to one shared pool; a problem may draw up to `draw`
seconds from the pool and never takes more than `cap` (350 + 210 = 560 s in arXiv 2504.16891, section 6.3.4). An
overrun (cancelling takes a moment) becomes a debt that the following problems pay, so that the whole never exceeds
`base` times the number of problems.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from podium.errors import InputError

PAPER_BASE = 350.0
PAPER_DRAW = 210.0
PAPER_CAP = 560.0


@dataclass(frozen=True, slots=True)
class Spent:
    """How one problem settled with the pool, in seconds."""

    drawn: float  # taken from the pool; 0 when the problem stayed within its base
    pool: float  # what the pool holds afterwards; negative: a debt


@dataclass(slots=True)
class ExamClock:
    """Seconds per problem. `pool` is the whole state: after each problem, used seconds + pool = base × problems."""

    base: float = PAPER_BASE
    draw: float = PAPER_DRAW
    cap: float = PAPER_CAP
    pool: float = 0.0

    def __post_init__(self) -> None:
        if not (self.base > 0 and self.draw >= 0 and self.cap >= self.base):
            raise InputError(
                f"clock: base {self.base:g} s, draw {self.draw:g} s and cap {self.cap:g} s do not fit together",
                "base must be positive, draw not negative and cap at least base",
            )

    @classmethod
    def scaled(cls, budget_seconds: float, problems: int) -> ExamClock:
        """The paper's clock shrunk or stretched so that `problems` problems share `budget_seconds` in all."""
        if budget_seconds <= 0 or problems <= 0:
            raise InputError(
                f"clock: {budget_seconds:g} s for {problems} problems",
                "give a positive budget and at least one problem",
            )
        factor = budget_seconds / (PAPER_BASE * problems)
        return cls(PAPER_BASE * factor, PAPER_DRAW * factor, PAPER_CAP * factor)

    def grant(self) -> float:
        """Seconds the next problem may use; 0 when earlier overruns have eaten its base."""
        return max(0.0, min(self.cap, self.base + min(self.draw, self.pool)))

    def spend(self, used: float) -> Spent:
        """Settle a problem that took `used` seconds."""
        self.pool += self.base - used
        return Spent(drawn=max(0.0, used - self.base), pool=self.pool)

    def restore(self, used: Iterable[float]) -> None:
        """Settle problems of an earlier sitting again, so that a resumed exam goes on with the same pool."""
        for seconds in used:
            self.spend(seconds)
