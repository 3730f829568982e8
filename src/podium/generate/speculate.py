"""Guessing tokens ahead, so that one step of the model may yield several.

Knows token ids and, where a draft head needs it, the target's last hidden state; no engine, no cache, no sampling. The
engine computes [last token, guesses…] in one step, draws the token after each of them exactly as it would have without
the guesses (from the target's own distribution, with the random number of that place), and keeps a guess only where it
equals the token drawn. A proposal that is a single token makes this exact rejection sampling: it is accepted with the
probability that the target gives it, and otherwise replaced by a token drawn from what is left (Leviathan et al.,
arXiv:2211.17192, theorem 1, with a point mass for q). What a completion says is therefore the same with and without
guesses; a wrong guess costs time and nothing else.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(slots=True)
class DraftRequest:
    """One completion that may be speculated on in the coming step.

    Attributes:
        key: the completion, the same from step to step.
        tokens: its whole context; the last token is drawn but not computed yet. The list that grows with the
            completion, not a copy: a proposer may keep it.
        prompt: attempts with equal `prompt` are siblings.
        hidden: the target's state [D] after its last norm at the place from which the last token was drawn; None where
            the engine has none (right after appended text).
        limit: guesses beyond this many could not be kept.
    """

    key: Hashable
    tokens: Sequence[int]
    prompt: Hashable
    hidden: Tensor | None
    limit: int


class Proposer(Protocol):
    """Who guesses. Called on the engine's thread only."""

    @property
    def needs_hidden(self) -> bool: ...

    def rests(self, rows: int) -> bool:
        """Whether it would not guess for so many completions in the coming step: then nothing else is asked of it or
        told to it but how long the step took."""
        ...

    def propose(self, requests: Sequence[DraftRequest], budget: int) -> list[list[int]]:
        """Guesses for each request, at most `budget` in all."""
        ...

    def observe(self, request: DraftRequest, new_tokens: Sequence[int]) -> None:
        """The completion went on with `new_tokens`: the guesses that were right, and the token after them."""
        ...

    def timed(self, rows: int, seconds: float) -> None:
        """A step that computed one token per row, guesses being rows too, took so long (without `propose`)."""
        ...

    def expect(self, seconds: Sequence[float]) -> None:
        """What the model takes for a step of 1, 2, … rows, tried before the first completion."""
        ...


class Guess(NamedTuple):
    """A token, and how sure its drafter was: guesses of one `grade` turn out right about equally often."""

    token: int
    grade: Hashable
    chance: float = 0.5  # of being right, as far as the drafter knows; what is measured of the grade counts more


class Drafter(Protocol):
    """Who can say how sure it is of its guesses; `Adaptive` decides which of them are worth a row."""

    @property
    def needs_hidden(self) -> bool: ...

    def draft(self, requests: Sequence[DraftRequest]) -> list[list[Guess]]: ...
    def observe(self, request: DraftRequest, new_tokens: Sequence[int]) -> None: ...


def within(chains: Sequence[Sequence[Guess]], budget: int) -> list[list[int]]:
    """The tokens of `chains`, the first of every chain before the second of any, `budget` in all."""
    kept: list[list[int]] = [[] for _ in chains]
    for depth in range(max(map(len, chains), default=0)):
        for chain, tokens in zip(chains, kept, strict=True):
            if depth < len(chain):
                if budget <= 0:
                    return kept
                tokens.append(chain[depth].token)
                budget -= 1
    return kept


# -- n-grams ---------------------------------------------------------------------------------------------------------

_BITS = 20  # of a token id in a table's key; larger ids would only share entries
_ID = (1 << _BITS) - 1
_LEAD = 7  # a lead of votes is counted up to here, in the lowest bits of a table's value


class _Table:
    """n-gram -> the token that most often followed (majority vote of Boyer and Moore: one candidate and its lead), in
    two generations: when the young one is full it becomes the old one, and what was in the old one is forgotten.

    A value is token * 8 + lead.
    """

    __slots__ = ("half", "mask", "old", "young")

    def __init__(self, order: int, entries: int) -> None:
        self.mask = (1 << _BITS * order) - 1
        self.half = max(1, entries // 2)
        self.young: dict[int, int] = {}
        self.old: dict[int, int] = {}

    def vote(self, gram: int, token: int) -> None:
        found = self.young.get(gram)
        if found is None:
            found = self.old.get(gram)
            if len(self.young) >= self.half:
                self.old, self.young = self.young, {}
        if found is None or (found >> 3 != token and found & _LEAD <= 1):
            self.young[gram] = token << 3 | 1
        elif found >> 3 != token:
            self.young[gram] = found - 1
        else:
            self.young[gram] = found + 1 if found & _LEAD < _LEAD else found


class NGramProposer:
    """Guesses what followed the same last tokens before: in the completion itself, its prompt, its siblings, and
    whatever else was written here.

    The longest of the last tokens (as many as `orders` says) that was seen before decides: prompt lookup (Saxena 2023)
    with tables in place of a search. A token costs about a microsecond to learn, and is learnt when the next guess is
    asked for, not before: while nobody asks, nothing is spent.

    Args:
        drafts: guesses in a row.
        orders: lengths of n-grams.
        siblings_only: one table for each prompt, so that attempts at one learn nothing from another.
        max_entries: n-grams remembered, at about 150 bytes each; the oldest are forgotten.
        max_texts: completions and prompts remembered.
    """

    needs_hidden = False

    def __init__(
        self,
        *,
        drafts: int = 3,
        orders: Sequence[int] = (2, 4, 6),
        siblings_only: bool = False,
        max_entries: int = 1 << 18,
        max_texts: int = 1024,
    ) -> None:
        self.drafts, self.siblings_only, self.max_texts = drafts, siblings_only, max_texts
        self._tables = [_Table(order, max_entries // len(orders)) for order in sorted(orders, reverse=True)]
        self._longest = max(orders)
        self._shortest = min(orders)
        self._whole = self._tables[0].mask
        self._prompts: OrderedDict[Hashable, tuple[int, Sequence[int]]] = OrderedDict()  # salt, first attempt
        self._next_salt = 0
        # Completion -> how many of its tokens are in the tables, and the last of these as one n-gram.
        self._learnt: OrderedDict[Hashable, tuple[int, int]] = OrderedDict()
        self._untold: OrderedDict[Hashable, tuple[Sequence[int], Hashable]] = OrderedDict()  # may have more of them

    def __len__(self) -> int:
        """n-grams remembered."""
        return sum(len(table.young) + len(table.old) for table in self._tables)

    def rests(self, rows: int) -> bool:
        return False

    def propose(self, requests: Sequence[DraftRequest], budget: int) -> list[list[int]]:
        return within(self.draft(requests), budget)

    def observe(self, request: DraftRequest, new_tokens: Sequence[int]) -> None:
        if request.key not in self._untold:
            self._untold[request.key] = (request.tokens, request.prompt)
            if len(self._untold) > self.max_texts:
                self._untold.popitem(last=False)

    def timed(self, rows: int, seconds: float) -> None:
        """Guesses cost what they cost: see Adaptive."""

    def expect(self, seconds: Sequence[float]) -> None:
        """As `timed`."""

    def draft(self, requests: Sequence[DraftRequest]) -> list[list[Guess]]:
        contexts = []
        for request in requests:
            self._untold.pop(request.key, None)
            contexts.append(self._learn(request.key, request.tokens, request.prompt))
        # What is left went on without asking: other attempts, running ones that cannot use guesses, ended ones.
        while self._untold:
            key, (tokens, prompt) = self._untold.popitem()
            self._learn(key, tokens, prompt)
        return [
            self._chain(gram, salt, min(request.limit, self.drafts))
            for request, (gram, salt) in zip(requests, contexts, strict=True)
        ]

    def _prompt(self, key: Hashable, tokens: Sequence[int]) -> tuple[int, Sequence[int]]:
        """What keeps the n-grams of different prompts apart, and the tokens of the first attempt that was seen."""
        known = self._prompts.get(key)
        if known is None:
            # Added to an n-gram: beyond all its bits.
            self._next_salt += self.siblings_only << _BITS * self._longest
            known = self._prompts[key] = self._next_salt, tokens
            if len(self._prompts) > self.max_texts:
                self._prompts.popitem(last=False)
        return known

    def _learn(self, key: Hashable, tokens: Sequence[int], prompt: Hashable) -> tuple[int, int]:
        """Put what is new of a completion into the tables; its last tokens as one n-gram, and its prompt's salt."""
        salt, sibling = self._prompt(prompt, tokens)
        end = len(tokens)
        place, gram = self._learnt.get(key, (0, 0))
        if place > end:  # its end was taken back
            place = 0
        if not place:
            # What siblings begin with in common, the prompt at least, is learnt once.
            place = min(self._shortest if sibling is tokens else _common(sibling, tokens), end)
            gram = 0
            for token in tokens[max(0, place - self._longest) : place]:
                gram = gram << _BITS | token & _ID
            if len(self._learnt) >= self.max_texts:
                self._learnt.popitem(last=False)
        whole, tables = self._whole, self._tables
        for token in tokens[place:end]:
            for table in tables:
                part = (gram & table.mask) + salt
                found = table.young.get(part)
                if found is None or found >> 3 != token:
                    table.vote(part, token)
                elif found & _LEAD < _LEAD:
                    table.young[part] = found + 1
            gram = (gram << _BITS | token & _ID) & whole
        self._learnt[key] = end, gram
        self._learnt.move_to_end(key)
        return gram, salt

    def _chain(self, gram: int, salt: int, limit: int) -> list[Guess]:
        chain: list[Guess] = []
        for _ in range(limit):
            found = None
            for order, table in enumerate(self._tables):
                part = (gram & table.mask) + salt
                found = table.young.get(part)
                if found is None:
                    found = table.old.get(part)
                if found is not None:
                    # A grade: which n-gram, and how far its candidate leads.
                    chain.append(Guess(found >> 3, order << 3 | found & _LEAD))
                    break
            if found is None:
                break
            gram = (gram << _BITS | found >> 3 & _ID) & self._whole
        return chain


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the common beginning."""
    for place, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return place
    return min(len(one), len(other))


# -- what pays -------------------------------------------------------------------------------------------------------

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
    """Keeps of a drafter's guesses those that are worth their rows, and lets it rest where none are.

    Measured as the engine runs: how often guesses of each grade turn out right (also those that were not tried: the
    completion tells a step later), how far each completion is from that, how long steps of each number of rows take,
    and how long the drafter does. The guesses that are likeliest to be kept are added for as long as that raises the
    expected tokens per second. Where not even good guesses could pay for their rows the drafter is not asked. What
    the last steps gained is counted too, from a credit of a few steps: where it is spent, for whatever reason, the
    drafter rests, the longer the more often that happens, so that the loss tends to 1 % of the time.

    Args:
        most_rows: no step is made larger than this by guesses.
    """

    MARGIN = 1.03  # a step must promise this much more per second: estimates are noisy
    GOOD = 0.9  # share of right guesses that is thought possible before the drafter is asked
    LOSS = 0.01  # share of the time that may be lost
    CREDIT = 4.0  # steps that a drafter may cost before it has gained any: it has to learn prompts first
    LONGEST_REST = 256  # steps

    def __init__(self, drafter: Drafter, *, most_rows: int = 32) -> None:
        self.drafter = drafter
        self.needs_hidden = drafter.needs_hidden
        self.most_rows = most_rows
        self.times = StepTimes(most_rows)
        self._right: dict[Hashable, list[float]] = {}  # grade -> [share that was right, weight]
        self._trust: OrderedDict[Hashable, list[float]] = OrderedDict()  # completion -> [right, expected]
        self._open: dict[Hashable, list[Guess]] = {}  # guesses whose outcome is not known yet
        # By the number of completions, in powers of two: what the last guesses saved in steps' worth of time, and for
        # how many steps the drafter is not asked.
        self._balance: dict[int, float] = {}
        self._rest: dict[int, int] = {}
        self._rested = 0  # rests so far
        self._asked = 0.0  # seconds that the drafter takes for a completion
        self._step: tuple[int, float, float] | None = None  # of the step under way: see `timed`
        self._gained = 0
        self._hopeless: tuple[list[float], int, bool] | None = None

    def expect(self, seconds: Sequence[float]) -> None:
        self.times.expect(seconds)

    def rests(self, rows: int) -> bool:
        self._step = None
        rest = self._rest.get(rows.bit_length(), 0)
        if rest:
            self._rest[rows.bit_length()] = rest - 1
            return True
        if not rows or rows >= self.most_rows or not self.times.is_sure(rows):
            return True
        return self._is_hopeless(self.times.table(), rows, self.most_rows - rows)

    def propose(self, requests: Sequence[DraftRequest], budget: int) -> list[list[int]]:
        rows = len(requests)
        kept: list[list[int]] = [[] for _ in requests]
        room = min(budget, self.most_rows - rows)
        if room <= 0:
            return kept
        times = self.times.table()
        # Of this thread's own CPU time: what else the machine did meanwhile is not held against the drafter.
        began = time.thread_time()
        chains = self.drafter.draft(requests)
        asked = time.thread_time() - began
        self._asked += (asked / rows - self._asked) / (8 if self._asked else 1)
        self._open.clear()
        hopes: list[tuple[float, int]] = []
        for number, (request, chain) in enumerate(zip(requests, chains, strict=True)):
            if chain:
                self._open[request.key] = chain
                hope = self._trusted(request.key)
                for guess in chain:
                    hope *= self._share(guess)
                    hopes.append((hope, number))
        hopes.sort(reverse=True)
        best = self.MARGIN * rows / times[rows]
        tokens = float(rows)
        most = 0
        for count, (hope, _) in enumerate(hopes[:room], 1):
            tokens += hope
            value = tokens / times[rows + count]
            if value > best:
                best, most = value, count
        for _, number in hopes[:most]:
            kept[number].append(chains[number][len(kept[number])].token)
        self._step = rows, times[rows], asked
        self._gained = 0
        return kept

    def observe(self, request: DraftRequest, new_tokens: Sequence[int]) -> None:
        self.drafter.observe(request, new_tokens)
        self._gained += len(new_tokens)
        chain = self._open.pop(request.key, None)
        if chain is None:
            return
        trust = self._trust.get(request.key)
        if trust is None:
            trust = self._trust[request.key] = [2.0, 2.0]
            if len(self._trust) > 1024:
                self._trust.popitem(last=False)
        for guess, token in zip(chain, new_tokens, strict=False):
            share = self._right.setdefault(guess.grade, [guess.chance, 2.0])
            right = guess.token == token
            trust[0] = trust[0] * 0.95 + right
            trust[1] = trust[1] * 0.95 + share[0]
            share[1] = min(share[1] + 1, 200.0)
            share[0] += (right - share[0]) / share[1]
            if not right:
                break

    def timed(self, rows: int, seconds: float) -> None:
        self.times.add(rows, seconds)
        if self._step is None:
            return
        completions, plain, asked = self._step
        # A step that was held up says nothing of its rows.
        took = plain if rows == completions else min(seconds, 1.5 * self.times.table()[min(rows, self.most_rows)])
        regime = completions.bit_length()
        balance = self._balance.get(regime, self.CREDIT) + self._gained / completions - (took + asked) / plain
        if balance < 0:
            self._rested += 1
            self._rest[regime] = min(ceil(self.CREDIT / self.LOSS) >> max(0, 4 - self._rested), self.LONGEST_REST)
            balance = self.CREDIT / 4
        self._balance[regime] = min(balance, 2 * self.CREDIT)

    def _share(self, guess: Guess) -> float:
        known = self._right.get(guess.grade)
        return guess.chance if known is None else known[0]

    def _trusted(self, key: Hashable) -> float:
        """How this completion's guesses do against those of all completions."""
        known = self._trust.get(key)
        return 1.0 if known is None else min(1.0, known[0] / known[1])

    def _is_hopeless(self, times: list[float], rows: int, room: int) -> bool:
        """Whether not even good guesses would pay."""
        known = self._hopeless
        if known is None or known[0] is not times or known[1] != rows:
            needed, asking = self.MARGIN * rows / times[rows], self._asked * rows
            found = all(
                (rows + self.GOOD * more) / (times[rows + more] + asking) <= needed for more in range(1, room + 1)
            )
            self._hopeless = known = times, rows, found
        return known[2]
