"""What comes next, guessed from what was written before and from the target's own last state.

Knows token ids, hidden states and how often guesses turned out right; no engine, no cache, no clock. This is the
reference, in Python; podium.generate.native.guess does the same in C, in one call per step, and
podium.generate.drafters chooses.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from podium.compress.draft import DraftHead

DEPTH = 6
"""Guesses in a row at most."""

ORDERS = (2, 4, 6)
"""Lengths of n-grams."""

LEAD = 7
"""A lead of votes is counted up to here: three bits of a table's value."""

SURENESS = 8
"""A head's probabilities are told apart in so many parts."""

FIRST_CHANCE = 0.5
"""Of a guess by n-grams, before any of its kind was checked."""

WEIGHT, LONGEST_WEIGHT = 2.0, 200.0
"""What a share of right guesses weighs when nothing was checked yet, and at most: it follows what changes."""

EVIDENT = 0.9
"""Where an n-gram's guesses are right more often than this, a head is not asked."""

TRUST, FORGET = 2.0, 0.95
"""The same of one completion's guesses against those of all."""


@dataclass(slots=True)
class DraftRequest:
    """One completion that may be speculated on in the coming step.

    Attributes:
        key: the completion, the same from step to step.
        tokens: its whole context; the last token is drawn but not computed yet. The list that grows with the
            completion, not a copy: it is kept.
        prompt: attempts with equal `prompt` are siblings.
        row: of `states`, the target's state (see Runner.step) at the place from which the last token was drawn; None
            where there is none (right after appended text).
        limit: guesses beyond this many could not be kept.
    """

    key: Hashable
    tokens: Sequence[int]
    prompt: Hashable
    row: int | None
    limit: int


class Guessing(Protocol):
    """Who guesses, and learns from what came of it.

    Attributes:
        depth: guesses in a row at most.
        taps: layers whose outputs it reads behind the target's last state.
    """

    depth: int
    taps: tuple[int, ...]

    def guess(
        self,
        requests: Sequence[DraftRequest],
        states: Tensor | None,
        room: int,
        times: Sequence[float] | None = None,
        margin: float = 1.0,
    ) -> list[list[int]]:
        """Guesses for each request, `room` in all at most.

        Without `times` the first guess of every request comes before the second of any. With `times`, the seconds of a
        step of 0, 1, 2, … rows, guesses are taken in order of their chance, and as many as make most of the tokens
        expected per second; none, unless that is `margin` times what it is without guesses.

        Args:
            states: [N, (1 + taps) * D] fp32, which the requests' rows are of; None where there are none.
        """
        ...


class Guess(NamedTuple):
    """A token, and the kind of guess it is: guesses of one `grade` turn out right about equally often."""

    token: int
    grade: Hashable
    chance: float = (
        FIRST_CHANCE  # of being right, as far as the guesser knows; what is measured of the grade replaces it
    )


# -- n-grams ---------------------------------------------------------------------------------------------------------

_BITS = 20  # of a token id in a table's key; larger ids would only share entries
_ID = (1 << _BITS) - 1


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

    def find(self, gram: int) -> int | None:
        found = self.young.get(gram)
        return self.old.get(gram) if found is None else found

    def vote(self, gram: int, token: int) -> None:
        found = self.young.get(gram)
        if found is None:
            found = self.old.get(gram)
            if len(self.young) >= self.half:
                self.old, self.young = self.young, {}
        if found is None or (found >> 3 != token and found & LEAD <= 1):
            self.young[gram] = token << 3 | 1
        elif found >> 3 != token:
            self.young[gram] = found - 1
        else:
            self.young[gram] = found + 1 if found & LEAD < LEAD else found


# -- draft heads -----------------------------------------------------------------------------------------------------


class _Head:
    """Chains of a draft head (podium.compress.draft) in torch. A grade is the depth and the head's own probability."""

    def __init__(self, head: DraftHead) -> None:
        self.head = head.eval()

    def chains(self, states: Tensor, last: Sequence[int]) -> list[list[Guess]]:
        """For the states [N, (1 + taps) * D] from which the last tokens were drawn."""
        weight = self.head.input.weight
        with torch.inference_mode():
            tokens = torch.tensor(last, device=weight.device)
            ids, sure = self.head.draft(states.to(weight.device, weight.dtype), tokens)
        return [
            [Guess(token, ("head", depth, int(chance * SURENESS)), chance) for depth, (token, chance) in enumerate(row)]
            for row in (zip(*pair, strict=True) for pair in zip(ids.tolist(), sure.tolist(), strict=True))
        ]


# -- both ------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Text:
    """What is known of one completion."""

    tokens: Sequence[int]
    prompt: Hashable
    salt: int
    learnt: int = 0  # tokens that are in the tables …
    gram: int = 0  # … and the last of these, as many as the longest n-gram has
    open: list[tuple[Guess, Guess | None]] = field(default_factory=list)  # not known yet whether right; and another
    right: float = TRUST
    expected: float = TRUST


class Guesser:
    """Guesses from n-grams, a draft head, or both: then each token is the one whose grade was right more often.

    n-grams: what followed the same last tokens before, in the completion itself, its prompt, its siblings, and whatever
    else was written here. The longest n-gram that was seen decides: prompt lookup (Saxena 2023) with tables in place of
    a search. A text is learnt when the next guess is asked for, not before: while nobody asks, nothing is spent.
    A draft head gives the first guesses of a chain (ReDrafter, arXiv:2403.09919); n-grams go on behind it.

    Args:
        head: a trained draft head, if any.
        depth: guesses in a row at most.
        orders: lengths of n-grams; none: the head alone.
        siblings_only: what was written after one prompt is not used for another.
        max_entries: n-grams remembered; the oldest are forgotten.
        max_texts: completions and prompts remembered.
    """

    def __init__(
        self,
        head: DraftHead | None = None,
        *,
        depth: int = DEPTH,
        orders: Sequence[int] = ORDERS,
        siblings_only: bool = False,
        max_entries: int = 1 << 18,
        max_texts: int = 1024,
    ) -> None:
        self.depth, self.siblings_only, self.max_texts = depth, siblings_only, max_texts
        self.taps = () if head is None else head.config.taps
        self._head = None if head is None else _Head(head)
        self._orders = sorted(orders, reverse=True)
        self._tables = [_Table(order, max_entries // len(orders)) for order in self._orders]
        self._longest, self._shortest = max(orders, default=0), min(orders, default=0)
        self._whole = (1 << _BITS * self._longest) - 1
        self._prompts: OrderedDict[Hashable, tuple[int, Sequence[int]]] = OrderedDict()  # salt, first attempt
        self._next_salt = 0
        self._texts: OrderedDict[Hashable, _Text] = OrderedDict()
        self._asked: dict[Hashable, _Text] = {}  # the last time
        self._shares: dict[Hashable, list[float]] = {}  # grade -> [share that was right, weight]

    def __len__(self) -> int:
        """n-grams remembered."""
        return sum(len(table.young) + len(table.old) for table in self._tables)

    def guess(
        self,
        requests: Sequence[DraftRequest],
        states: Tensor | None,
        room: int,
        times: Sequence[float] | None = None,
        margin: float = 1.0,
    ) -> list[list[int]]:
        before, self._asked = self._asked, {}
        for request in requests:
            self._asked[request.key] = self._text(request)
        for text in self._asked.values():
            self._learn(text)
        # Others went on without asking: they ended, or cannot use guesses now.
        for key, text in before.items():
            if key not in self._asked:
                self._learn(text)
        heads = self._headed(requests, states)
        chains = [
            self._chain(self._asked[request.key], head, min(request.limit, self.depth))
            for request, head in zip(requests, heads, strict=True)
        ]
        kept: list[list[int]] = [[] for _ in requests]
        order = in_turn(chains, room) if times is None else self._by_chance(requests, chains, room, times, margin)
        for number in order:
            kept[number].append(chains[number][len(kept[number])].token)
        return kept

    def _text(self, request: DraftRequest) -> _Text:
        text = self._texts.get(request.key)
        if text is None:
            salt, sibling = self._prompt(request.prompt, request.tokens)
            text = self._texts[request.key] = _Text(request.tokens, request.prompt, salt)
            # What siblings begin with in common, the prompt at least, is learnt once.
            place = self._shortest if sibling is request.tokens else common(sibling, request.tokens)
            self._begin(text, min(place, len(request.tokens)))
            if len(self._texts) > self.max_texts:
                self._texts.popitem(last=False)
        else:
            self._texts.move_to_end(request.key)
            text.tokens = request.tokens
        return text

    def _begin(self, text: _Text, place: int) -> None:
        text.learnt, text.gram = place, 0
        for token in text.tokens[max(0, place - self._longest) : place]:
            text.gram = text.gram << _BITS | token & _ID

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

    def _learn(self, text: _Text) -> None:
        """What is new of a text: whether its guesses were right, and its n-grams."""
        end = len(text.tokens)
        if text.learnt > end:  # its end was taken back
            self._begin(text, end)
        new = text.tokens[text.learnt : end]
        if not new:
            return
        for (guess, other), token in zip(text.open, new, strict=False):
            if other is not None:
                self._check(other, token)
            expected = self._share(guess)
            right = self._check(guess, token)
            text.right = text.right * FORGET + right
            text.expected = text.expected * FORGET + expected
            if not right:
                break
        text.open = []
        gram = text.gram
        for place, token in enumerate(new, text.learnt):
            for order, table in zip(self._orders, self._tables, strict=True):
                if order <= place:
                    table.vote((gram & table.mask) + text.salt, token)
            gram = (gram << _BITS | token & _ID) & self._whole
        text.learnt, text.gram = end, gram

    def _check(self, guess: Guess, token: int) -> bool:
        share = self._shares.setdefault(guess.grade, [guess.chance, WEIGHT])
        right = guess.token == token
        share[1] = min(share[1] + 1, LONGEST_WEIGHT)
        share[0] += (right - share[0]) / share[1]
        return right

    def _share(self, guess: Guess) -> float:
        known = self._shares.get(guess.grade)
        return guess.chance if known is None else known[0]

    def _headed(self, requests: Sequence[DraftRequest], states: Tensor | None) -> list[list[Guess]]:
        """The head's chain for each request that has a state."""
        chains: list[list[Guess]] = [[] for _ in requests]
        rows: list[tuple[int, int, int]] = []
        for place, request in enumerate(requests):
            if request.row is not None and request.limit > 0:
                text = self._asked[request.key]
                known = self._look_up(text.gram, text.learnt, text.salt)
                if known is None or self._share(known) <= EVIDENT:
                    rows.append((place, request.row, request.tokens[-1]))
        if self._head is not None and states is not None and rows:
            found = self._head.chains(states[[row for _, row, _ in rows]], [last for *_, last in rows])
            for (place, *_), chain in zip(rows, found, strict=True):
                chains[place] = chain
        return chains

    def _chain(self, text: _Text, head: list[Guess], limit: int) -> list[Guess]:
        gram = text.gram
        open: list[tuple[Guess, Guess | None]] = []
        follows = True  # everything so far is what the head says, too
        for depth in range(limit):
            guess = head[depth] if follows and depth < len(head) else None
            other = self._look_up(gram, text.learnt + depth, text.salt)
            if guess is None or (other is not None and self._share(other) > self._share(guess)):
                guess, other = other, guess
            if guess is None:
                break
            open.append((guess, other))
            follows = follows and depth < len(head) and head[depth].token == guess.token
            gram = (gram << _BITS | guess.token & _ID) & self._whole
        text.open = open
        return [guess for guess, _ in open]

    def _look_up(self, gram: int, length: int, salt: int) -> Guess | None:
        for order, table in zip(self._orders, self._tables, strict=True):
            found = table.find((gram & table.mask) + salt) if order <= length else None
            if found is not None:
                # A grade: which n-gram, and how far its candidate leads.
                return Guess(found >> 3, (order, found & LEAD))
        return None

    def _by_chance(
        self,
        requests: Sequence[DraftRequest],
        chains: list[list[Guess]],
        room: int,
        times: Sequence[float],
        margin: float,
    ) -> list[int]:
        """The numbers of the requests that get a guess more, one after the other."""
        hopes: list[tuple[float, int]] = []
        for number, (request, chain) in enumerate(zip(requests, chains, strict=True)):
            text = self._asked[request.key]
            # How this completion's guesses do against those of all completions.
            hope = min(1.0, text.right / text.expected)
            for guess in chain:
                hope *= self._share(guess)
                hopes.append((hope, number))
        return _most_per_second(hopes, len(requests), room, times, margin)


def worth_their_rows(chances: Sequence[Sequence[float]], room: int, times: Sequence[float], margin: float) -> list[int]:
    """Of guesses with these chances of being right where all before them were, by completion: the numbers of the
    completions that get a guess more, one after the other. Arguments as of Guessing.guess."""
    hopes: list[tuple[float, int]] = []
    for number, chain in enumerate(chances):
        hope = 1.0
        for chance in chain:
            hope *= chance
            hopes.append((hope, number))
    return _most_per_second(hopes, len(chances), room, times, margin)


def _most_per_second(
    hopes: list[tuple[float, int]], rows: int, room: int, times: Sequence[float], margin: float
) -> list[int]:
    """As many of the likeliest guesses as make most of the tokens expected per second."""
    hopes.sort(reverse=True)
    if rows >= len(times):
        return []
    best, most, tokens = margin * rows / times[rows], 0, float(rows)
    for count, (hope, _) in enumerate(hopes[: min(room, len(times) - 1 - rows)], 1):
        tokens += hope
        if tokens / times[rows + count] > best:
            best, most = tokens / times[rows + count], count
    return [number for _, number in hopes[:most]]


def in_turn(chains: Sequence[Sequence[object]], room: int) -> list[int]:
    """The numbers of the completions that get a guess more: the first guess of every chain before the second of any."""
    deepest = max(map(len, chains), default=0)
    turns = [number for depth in range(deepest) for number, chain in enumerate(chains) if depth < len(chain)]
    return turns[: max(0, room)]


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the common beginning."""
    for place, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return place
    return min(len(one), len(other))
