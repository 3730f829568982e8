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

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from podium.generate.guess import DraftRequest, Guessing


class Proposer(Protocol):
    """Who guesses, and when. Called on the engine's thread only."""

    @property
    def taps(self) -> tuple[int, ...]:
        """Layers whose outputs stand behind the target's last state in `states`."""
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
        self.taps = guesser.taps

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

    def add(self, rows: int, seconds: float) -> bool:
        """Whether that says much that was not known."""
        self._steps += 1
        if not 0 < rows <= self.most or seconds <= 0:
            return False
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
        return count < 3 and self._expected is None

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
        model = self._expected
        if model is not None:
            known = {rows: max(0.0, seconds - model[rows]) for rows, seconds in known.items()}
        at = np.arange(1, self.most + 1)
        found = np.zeros(self.most)
        if known:
            measured = np.array(sorted(known))
            found = np.interp(at, measured, [known[rows] for rows in measured.tolist()])
            # Beyond the measured ones: interp repeats the nearest.
            found *= (at / at.clip(measured[0], measured[-1])) ** 0.25
        if model is not None:
            found += model[1:]
        return [0.0, *found.tolist()]


class _Regime:
    """Steps of about equally many completions: what guesses have saved there, and whether they pause."""

    __slots__ = ("balance", "failed", "rest")

    def __init__(self, credit: float) -> None:
        self.balance = credit  # in steps' worth of time
        self.failed = 0  # times that it was used up, since it was last full
        self.rest = 0  # steps in which the guesser is not asked


class Adaptive:
    """Keeps of the guesses those that are worth their rows, and lets the guesser rest where none are.

    Measured as the engine runs: how often guesses of each grade turn out right (also those that were not tried: the
    completion tells a step later), how far each completion is from that, how long steps of each number of rows take,
    and how long guessing does. The guesses that are likeliest to be kept are added for as long as that raises the
    expected tokens per second. Where not even good guesses could pay for their rows the guesser is not asked. What
    the last steps gained is counted too, from a credit of a few steps: where it is spent, for whatever reason, the
    guesser rests, twice as long every time until it has paid again.

    Args:
        most_rows: no step is made larger than this by guesses.
    """

    MARGIN = 1.02  # a step must promise this much more per second: estimates are noisy
    GOOD = 0.9  # share of right guesses that is thought possible before the guesser is asked
    CREDIT = 3.0  # steps that guessing may cost before it has gained any: prompts must be learnt first
    FIRST_REST, LONGEST_REST = 16, 256  # steps; longer where more was lost at once:
    LOSS = 0.0075  # share of the time that may be
    REFRESH = 32  # steps after which step times are worked out anew; while there are fewer, at each
    FIRST_ASKS = 3  # are slower than all later ones
    LOOKED_AT = 64  # steps of which each is measured; then every fourth where guessing pays: measuring takes time, too

    def __init__(self, guesser: Guessing, *, most_rows: int = 96) -> None:
        self.guesser = guesser
        self.taps = guesser.taps
        self.most_rows = most_rows
        self.times = StepTimes(most_rows)
        self._regimes = [_Regime(self.CREDIT) for _ in range(most_rows.bit_length() + 1)]
        self._table: list[float] = []
        self._until_refresh = 0
        self._steps = 0
        self._looks = True  # measures this step
        self._hopeless: dict[int, bool] = {}
        self._asking = 0.0  # seconds that guessing takes for a completion
        self._asks = 0  # measured
        self._asked_since = False  # … since step times were worked out
        self._asked = 0.0  # and took in this step, …
        self._kept = -1  # … for so many guesses; -1: it was not asked, or nobody looked

    def expect(self, seconds: Sequence[float]) -> None:
        self.times.expect(seconds)

    def rests(self, rows: int) -> bool:
        self._asked, self._kept = 0.0, -1
        if not 0 < rows < self.most_rows:
            return True
        regime = self._regimes[rows.bit_length()]
        self._looks = regime.failed > 0 or self._steps < self.LOOKED_AT or self._steps % 4 == 0
        if regime.rest:
            regime.rest -= 1
            return True
        if not self.times.is_sure(rows):
            return True
        if not self._until_refresh:
            self._until_refresh = min(self._steps + 1, self.REFRESH)
            self._table, self._hopeless = self.times.table(), {}
            if not self._asked_since:
                self._asking *= 0.9  # nobody knows any more: in the end it is tried again
            self._asked_since = False
        hopeless = self._hopeless.get(rows)
        if hopeless is None:
            hopeless = self._hopeless[rows] = self._cannot_pay(rows)
        return hopeless

    def propose(self, requests: Sequence[DraftRequest], states: Tensor | None, budget: int) -> list[list[int]]:
        rows = len(requests)
        room = min(budget, self.most_rows - rows)
        if not self._looks:
            return self.guesser.guess(requests, states, room, self._table, self.MARGIN)
        self._asked_since = True
        began = time.perf_counter()
        kept = self.guesser.guess(requests, states, room, self._table, self.MARGIN)
        self._asked = time.perf_counter() - began
        self._kept = sum(map(len, kept))
        # What else the machine did meanwhile is not held against the guesser in full, and its first calls not at all.
        each = self._asked / rows
        self._asks += 1
        if self._asks <= self.FIRST_ASKS:
            self._asking = min(each, self._asking or each)
        else:
            self._asking += (min(each, 2 * self._asking) - self._asking) / 8
        return kept

    def timed(self, rows: int, seconds: float, tokens: int) -> None:
        self._steps += 1
        self._until_refresh = max(0, self._until_refresh - 1)
        if not self._looks:
            return
        if self.times.add(rows, seconds - self._asked):
            self._until_refresh = 0
        if self._kept < 0 or self._asks <= self.FIRST_ASKS:
            return
        completions = rows - self._kept
        plain = self._table[completions]
        # A step that was held up says nothing of its guesses.
        if self._kept:
            took = min(seconds, 1.5 * self._table[min(rows, self.most_rows)] + 2 * self._asking * completions)
        else:
            took = plain + min(self._asked, 2 * self._asking * completions)
        regime = self._regimes[completions.bit_length()]
        regime.balance += max(tokens / completions - took / plain, -self.CREDIT - 1)
        if regime.balance < 0:
            twice_as_long = min(self.FIRST_REST << regime.failed, self.LONGEST_REST)
            regime.rest = max(twice_as_long, ceil(-regime.balance / self.LOSS))
            regime.failed += 1
            regime.balance = self.CREDIT / 4
        elif regime.balance > 2 * self.CREDIT:
            regime.balance, regime.failed = 2 * self.CREDIT, 0

    def _cannot_pay(self, rows: int) -> bool:
        """Whether not even good guesses would pay."""
        times = self._table
        needed, asking = self.MARGIN * rows / times[rows], self._asking * rows
        return all(
            (rows + self.GOOD * more) / (times[rows + more] + asking) <= needed
            for more in range(1, min(self.most_rows - rows, rows * self.guesser.depth) + 1)
        )
