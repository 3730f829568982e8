"""Guessing tokens ahead, so that one step of the model may yield several.

Knows requests and step times, and asks a guesser (podium.generate.guess); no engine, no cache, no sampling. The engine
computes [last token, guesses…] in one step, draws the token after each of them exactly as it would have without the
guesses (from the target's own distribution, with the random number of that place), and keeps a guess only where it
equals the token drawn. A proposal that is a single token makes this exact rejection sampling: it is accepted with the
probability that the target gives it, and otherwise replaced by a token drawn from what is left (Leviathan et al.,
arXiv:2211.17192, theorem 1, with a point mass for q). What a completion says is therefore the same with and without
guesses; a wrong guess costs time and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from podium.generate.guess import DraftRequest, Guessing


class Proposer(Protocol):
    """Who guesses, and when. Called on the engine's thread only."""

    @property
    def needs_hidden(self) -> bool:
        """Whether requests must have rows of states."""
        ...

    def rests(self, rows: int) -> bool:
        """Whether it would not guess for so many completions in the coming step: then nothing else is asked of it or
        told to it but how long the step took."""
        ...

    def propose(self, requests: Sequence[DraftRequest], states: Tensor | None, budget: int) -> list[list[int]]:
        """Guesses for each request, at most `budget` in all."""
        ...

    def timed(self, rows: int, seconds: float, tokens: int) -> None:
        """A step that computed one token per row, guesses being rows too, took so long (without `propose`), and made
        completions longer by so many tokens."""
        ...

    def expect(self, seconds: Sequence[float]) -> None:
        """What the model takes for a step of 1, 2, … rows, tried before the first completion."""
        ...


class Fixed:
    """Uses all guesses, whatever they cost."""

    def __init__(self, guesser: Guessing) -> None:
        self.guesser = guesser
        self.needs_hidden = guesser.needs_hidden

    def rests(self, rows: int) -> bool:
        return False

    def propose(self, requests: Sequence[DraftRequest], states: Tensor | None, budget: int) -> list[list[int]]:
        return self.guesser.guess(requests, states, budget)

    def timed(self, rows: int, seconds: float, tokens: int) -> None:
        """Guesses cost what they cost: see Adaptive."""

    def expect(self, seconds: Sequence[float]) -> None:
        """As `timed`."""


STALE = 1024
"""Steps after which a time that was not measured again counts as unknown, and may be tried again …"""

EARLY = 48
"""… and after so many where it was measured only once or twice: the machine may have done something else then."""

SURE = 4
"""So many times a step without guesses is measured before guesses are compared with it …"""

REPEAT = 64
"""… and again after so many steps with guesses."""


class StepTimes:
    """Seconds of a step by its number of rows, as measured; estimated where it was not.

    Between two measured numbers of rows the time is interpolated. Beyond them it is taken to grow with the fourth root
    of the rows: too little, so that what may pay is tried, and then known. Where it was said what the model alone
    takes, it is what comes on top of that which is interpolated.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._expected: list[float] | None = None
        self._steps = 0
        self._mean = [0.0] * (most + 1)
        self._count = [0] * (most + 1)
        self._last = [0] * (most + 1)
        self._table: list[float] | None = None

    def add(self, rows: int, seconds: float) -> None:
        self._steps += 1
        if not 0 < rows <= self.most or seconds <= 0:
            return
        count = self._count[rows]
        if count and self._steps - self._last[rows] > STALE:
            count = 0
        known = self._mean[rows]
        if count < 3:
            self._mean[rows] = min(known, seconds) if count else seconds
            self._table = None
        else:
            # Whatever else the machine did meanwhile does not count in full.
            self._mean[rows] = known + (min(seconds, 2 * known) - known) / min(count, 32)
        self._count[rows], self._last[rows] = count + 1, self._steps
        if self._steps % 64 == 0:
            self._table = None

    def expect(self, seconds: Sequence[float]) -> None:
        """Of the model alone, for 1, 2, … rows."""
        if len(seconds) >= self.most:
            self._expected = [0.0, *seconds[: self.most]]
            self._table = None

    def is_sure(self, rows: int) -> bool:
        """Whether steps of so many rows were measured often, and not long ago; or could be worked out."""
        if self._expected is not None:
            return any(self._count)
        return self._count[rows] >= SURE and self._steps - self._last[rows] <= REPEAT

    def table(self) -> list[float]:
        """Seconds for 0..most rows, once any was measured. The same list until something changed."""
        if self._table is None:
            self._table = self._estimate()
        return self._table

    def _estimate(self) -> list[float]:
        steps = self._steps
        # More rows never take less time: where the measurements say so, their mean stands for both (pool adjacent
        # violators), since a difference within the noise would be taken for a gain.
        pools: list[tuple[float, float, list[int]]] = []  # seconds, weight, numbers of rows
        for rows in range(1, self.most + 1):
            count = self._count[rows]
            if count and steps - self._last[rows] <= (STALE if count > 2 else EARLY):
                seconds, weight, members = self._mean[rows], float(min(count, 32)), [rows]
                while pools and pools[-1][0] >= seconds:
                    other, heavy, before = pools.pop()
                    seconds = (seconds * weight + other * heavy) / (weight + heavy)
                    weight, members = weight + heavy, before + members
                pools.append((seconds, weight, members))
        known = {rows: seconds for seconds, _, members in pools for rows in members}
        table = [0.0] * (self.most + 1)
        model = self._expected
        if model is not None:
            known = {rows: max(0.0, seconds - model[rows]) for rows, seconds in known.items()}
        for rows in range(1, self.most + 1):
            below = max((n for n in known if n <= rows), default=None)
            above = min((n for n in known if n >= rows), default=None)
            if below is not None and above is not None:
                share = (rows - below) / max(1, above - below)
                table[rows] = known[below] + share * (known[above] - known[below])
            elif (nearest := above or below) is not None:
                table[rows] = known[nearest] * (rows / nearest) ** 0.25
            if model is not None:
                table[rows] += model[rows]
        return table


class Adaptive:
    """Keeps of the guesses those that are worth their rows, and lets the guesser rest where none are.

    Measured as the engine runs: how often guesses of each grade turn out right (also those that were not tried: the
    completion tells a step later), how far each completion is from that, how long steps of each number of rows take,
    and how long guessing does. The guesses that are likeliest to be kept are added for as long as that raises the
    expected tokens per second. Where not even good guesses could pay for their rows the guesser is not asked. What
    the last steps gained is counted too, from a credit of a few steps: where it is spent, for whatever reason, the
    guesser rests, the longer the more often that happens, so that the loss tends to 1 % of the time.

    Args:
        most_rows: no step is made larger than this by guesses.
    """

    MARGIN = 1.03  # a step must promise this much more per second: estimates are noisy
    GOOD = 0.9  # share of right guesses that is thought possible before the guesser is asked
    LOSS = 0.01  # share of the time that may be lost
    CREDIT = 4.0  # steps that guessing may cost before it has gained any: prompts must be learnt first
    LONGEST_REST = 256  # steps

    def __init__(self, guesser: Guessing, *, most_rows: int = 32) -> None:
        self.guesser = guesser
        self.needs_hidden = guesser.needs_hidden
        self.most_rows = most_rows
        self.times = StepTimes(most_rows)
        # By the number of completions, in powers of two: what the last guesses saved in steps' worth of time, and for
        # how many steps the guesser is not asked.
        self._balance: dict[int, float] = {}
        self._rest: dict[int, int] = {}
        self._rested = 0  # rests so far
        self._asked = 0.0  # seconds that guessing takes for a completion
        self._step: tuple[int, float, float] | None = None  # of the step under way: see `timed`
        self._hopeless: tuple[list[float], dict[int, bool]] = [], {}

    def expect(self, seconds: Sequence[float]) -> None:
        self.times.expect(seconds)

    def rests(self, rows: int) -> bool:
        self._step = None
        regime = rows.bit_length()
        rest = self._rest.get(regime, 0)
        if rest:
            self._rest[regime] = rest - 1
            return True
        if not rows or rows >= self.most_rows or not self.times.is_sure(rows):
            return True
        return self._is_hopeless(rows)

    def propose(self, requests: Sequence[DraftRequest], states: Tensor | None, budget: int) -> list[list[int]]:
        rows = len(requests)
        times = self.times.table()
        # Of this thread's own CPU time: what else the machine did meanwhile is not held against the guesser.
        began = time.thread_time()
        kept = self.guesser.guess(requests, states, min(budget, self.most_rows - rows), times, self.MARGIN)
        asked = time.thread_time() - began
        self._asked += (asked / rows - self._asked) / (8 if self._asked else 1)
        self._step = rows, times[rows], asked
        return kept

    def timed(self, rows: int, seconds: float, tokens: int) -> None:
        self.times.add(rows, seconds)
        if self._step is None:
            return
        completions, plain, asked = self._step
        # A step that was held up says nothing of its rows.
        took = plain if rows == completions else min(seconds, 1.5 * self.times.table()[min(rows, self.most_rows)])
        regime = completions.bit_length()
        balance = self._balance.get(regime, self.CREDIT) + tokens / completions - (took + asked) / plain
        if balance < 0:
            self._rested += 1
            self._rest[regime] = min(ceil(self.CREDIT / self.LOSS) >> max(0, 4 - self._rested), self.LONGEST_REST)
            balance = self.CREDIT / 4
        self._balance[regime] = min(balance, 2 * self.CREDIT)

    def _is_hopeless(self, rows: int) -> bool:
        """Whether not even good guesses would pay."""
        times = self.times.table()
        if self._hopeless[0] is not times:
            self._hopeless = times, {}
        known = self._hopeless[1].get(rows)
        if known is None:
            needed, asking = self.MARGIN * rows / times[rows], self._asked * rows
            self._hopeless[1][rows] = known = all(
                (rows + self.GOOD * more) / (times[rows + more] + asking) <= needed
                for more in range(1, self.most_rows - rows + 1)
            )
        return known
