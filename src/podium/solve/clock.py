"""The exam's clock: how many seconds and attempts the next problem gets. Pure arithmetic on a ledger; reads no clock.

`Ledger` is the whole state of an exam as the clock sees it: the budget, how many problems there are, how long each
took and how much time has passed. A clock is a function of it, so a resumed exam, a replay and a simulation compute
the same grants as the exam itself.

- `PoolClock` (arXiv 2504.16891, section 6.3.4): `base` seconds for every problem; what is left over goes to one shared
  pool; a problem draws at most `draw` from it and never takes more than `cap` (350 + 210 = 560 s). An overrun
  (cancelling takes a moment, a model loads slowly) is a debt that all problems left share.
- `SpeedClock` (the runner-up of AIMO-2): from the middle of the exam on, every few problems, the mean time left per
  problem chooses a speed: how many attempts and how many seconds.
- `EvenClock`: the time left shared evenly, with a cap in shares; for policies that spend by value (OptimalStop).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from podium.errors import InputError


@dataclass(frozen=True, slots=True)
class Ledger:
    """An exam's time so far. `elapsed` is at least the sum of `used`; what lies between problems is the difference."""

    budget: float | None  # seconds for the whole exam; None: no clock
    problems: int
    used: tuple[float, ...] = ()
    elapsed: float = 0.0

    @classmethod
    def after(cls, budget: float | None, problems: int, used: Iterable[float]) -> Ledger:
        """The ledger of an exam whose problems so far took `used` seconds, with nothing in between."""
        spent = tuple(used)
        return cls(budget, problems, spent, sum(spent))

    def settled(self, used: float, elapsed: float | None = None) -> Ledger:
        """With one more problem that took `used` seconds; `elapsed`: of the whole exam, when more than these."""
        now = self.elapsed + used
        return replace(self, used=(*self.used, used), elapsed=now if elapsed is None else max(elapsed, now))

    @property
    def done(self) -> int:
        return len(self.used)

    @property
    def left(self) -> float:
        """Seconds until the hard stop; infinite without a budget."""
        return float("inf") if self.budget is None else max(0.0, self.budget - self.elapsed)

    @property
    def pace(self) -> float:
        """Seconds left per problem left."""
        return self.left / max(1, self.problems - self.done)


@dataclass(frozen=True, slots=True)
class Grant:
    """What the next problem gets. `attempts` None: as many as the exam asks for."""

    seconds: float
    attempts: int | None = None
    speed: int = 0  # which of a SpeedClock's steps; 0 where there are none


class Clock(Protocol):
    """A rule of sharing time, already scaled to one exam's budget."""

    @property
    def base(self) -> float:
        """Seconds a problem brings to the exam; `used + pool = base × problems done` holds throughout."""
        ...

    def grant(self, ledger: Ledger) -> Grant: ...

    def most(self, ledger: Ledger) -> float:
        """Seconds that no problem from now on gets more than."""
        ...

    def told(self) -> str:
        """What it grants, in a few words with seconds."""
        ...


def pool(clock: Clock, ledger: Ledger) -> float:
    """Seconds that the problems so far have left over; negative: a debt."""
    return clock.base * ledger.done - ledger.elapsed


def drawn(clock: Clock, used: float) -> float:
    """Seconds a problem took beyond its own; 0 when it stayed within."""
    return max(0.0, used - clock.base)


LEAST_SHARE = 0.5
"""Of the time left per problem left: what a problem gets at least under a PoolClock, however much is owed."""


@dataclass(frozen=True, slots=True)
class PoolClock:
    base: float
    draw: float
    cap: float

    def __post_init__(self) -> None:
        if not (self.base > 0 and self.draw >= 0 and self.cap >= self.base):
            raise InputError(
                f"clock: base {self.base:g} s, draw {self.draw:g} s and cap {self.cap:g} s do not fit together",
                "base must be positive, draw not negative and cap at least base",
            )

    def grant(self, ledger: Ledger) -> Grant:
        """The base and what it may draw, less its share of a debt; half of the time left per problem at least, the cap
        at most, and 0 s only when the budget is spent."""
        spare = pool(self, ledger)
        if spare < 0:
            spare /= max(1, ledger.problems - ledger.done)
        seconds = max(self.base + min(self.draw, spare), LEAST_SHARE * ledger.pace)
        return Grant(max(0.0, min(seconds, self.cap, ledger.left)))

    def most(self, ledger: Ledger) -> float:
        return min(self.cap, ledger.left)

    def told(self) -> str:
        lent = f", up to {self.draw:.4g} s more from time that others left over" if self.draw else ""
        return f"{self.base:.4g} s per problem{lent}, {self.cap:.4g} s at most"


@dataclass(frozen=True, slots=True)
class SpeedStep:
    """Taken when the mean time left per problem is `below` so many seconds."""

    below: float
    attempts: int
    seconds: float


@dataclass(frozen=True, slots=True)
class SpeedClock:
    """`steps` from the fastest to the slowest; the last one's `below` is infinite. `usual`: before the controller."""

    base: float
    first: int  # problems done when the controller looks for the first time …
    every: int  # … and after how many more again
    steps: tuple[SpeedStep, ...]
    usual: int  # position of the step that holds until then

    def grant(self, ledger: Ledger) -> Grant:
        step = self.steps[self.usual]
        number = self.usual
        if ledger.done >= self.first:
            looked = ledger.done - (ledger.done - self.first) % self.every
            since = sum(ledger.used[looked:])
            pace = (ledger.left + since) / max(1, ledger.problems - looked)
            number = next((n for n, each in enumerate(self.steps) if pace < each.below), len(self.steps) - 1)
            step = self.steps[number]
        return Grant(max(0.0, min(step.seconds, ledger.left)), step.attempts, number + 1)

    def most(self, ledger: Ledger) -> float:
        return min(max(step.seconds for step in self.steps), ledger.left)

    def told(self) -> str:
        usual, seconds = self.steps[self.usual], [step.seconds for step in self.steps]
        return (
            f"up to {usual.seconds:.4g} s per problem; after {self.first} problems {min(seconds):.4g} to "
            f"{max(seconds):.4g} s, by the mean time left"
        )


@dataclass(frozen=True, slots=True)
class EvenClock:
    base: float
    cap: float  # of the even share of what is left

    def grant(self, ledger: Ledger) -> Grant:
        return Grant(min(ledger.left, self.cap * ledger.pace))

    def most(self, ledger: Ledger) -> float:
        return ledger.left

    def told(self) -> str:
        return f"up to {self.cap:.4g} times the time left per problem, {self.base:.4g} s at the start"


class ClockMaker(Protocol):
    """A clock as a policy states it, before it knows the exam."""

    def scaled(self, budget: float, problems: int) -> Clock: ...


@dataclass(frozen=True, slots=True)
class Pool:
    """Numbers made for `share` seconds per problem in the mean; they stretch with what an exam really has.

    The paper's 350 + 210, at most 560 s were made for 50 problems in five hours: 360 s each, 10 s of it in reserve.
    """

    base: float = 350.0
    draw: float = 210.0
    cap: float = 560.0
    share: float = 350.0

    def scaled(self, budget: float, problems: int) -> PoolClock:
        factor = _share(budget, problems) / self.share
        return PoolClock(self.base * factor, self.draw * factor, self.cap * factor)


@dataclass(frozen=True, slots=True)
class Speed:
    """Numbers made for `problems` problems of `share` seconds; positions in the exam and seconds stretch."""

    steps: tuple[SpeedStep, ...]
    usual: int
    first: int = 30
    every: int = 2
    problems: int = 50
    share: float = 360.0

    def scaled(self, budget: float, problems: int) -> SpeedClock:
        share = _share(budget, problems)
        factor = share / self.share
        steps = tuple(SpeedStep(step.below * factor, step.attempts, step.seconds * factor) for step in self.steps)
        return SpeedClock(share, round(self.first * problems / self.problems), self.every, steps, self.usual)


@dataclass(frozen=True, slots=True)
class Even:
    cap: float = 3.0

    def scaled(self, budget: float, problems: int) -> EvenClock:
        return EvenClock(_share(budget, problems), self.cap)


def _share(budget: float, problems: int) -> float:
    if not 0 < budget < float("inf") or problems <= 0:
        raise InputError(
            f"clock: {budget:g} s for {problems} problems", "give a positive budget and at least one problem"
        )
    return budget / problems


def parse_seconds(text: str | None) -> float | None:
    """Seconds of `5h`, `90m`, `1h30m`, `45s` or `300`.

    Raises:
        InputError: none of these, or not positive.
    """
    if text is None:
        return None
    found = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?", text.strip().lower())
    if found is None or not any(found.groups()):
        raise InputError(f"{text!r} is no time", "write 5h, 90m, 1h30m or a number of seconds")
    hours, minutes, seconds = (float(part or 0) for part in found.groups())
    total = 3600 * hours + 60 * minutes + seconds
    if total <= 0:
        raise InputError(f"{text!r} is no time at all", "write 5h, 90m, 1h30m or a number of seconds")
    return total
