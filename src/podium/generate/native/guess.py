"""podium.generate.guess.Guesser on the C kernels: one call per step, whatever it has to learn and to guess."""

from __future__ import annotations

import ctypes
import weakref
from array import array
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from podium.errors import CompleterError, InputError
from podium.generate.guess import DEPTH, ORDERS, DraftRequest, common
from podium.generate.native.linear import kernels
from podium.generate.native.redraft import NativeHead

if TYPE_CHECKING:
    from podium.compress.draft import DraftHead

_MOST_ORDERS, _LONGEST, _DEEPEST = 4, 8, 16  # GUESS_ORDERS, GUESS_LONGEST, GUESS_DEPTH


class _Round(ctypes.Structure):
    _fields_ = (
        ("asks", ctypes.c_int64),
        ("guessing", ctypes.c_int64),
        ("ask", ctypes.c_void_p),
        ("tokens", ctypes.c_void_p),
        ("states", ctypes.c_void_p),
        ("room", ctypes.c_int64),
        ("times", ctypes.c_void_p),
        ("most", ctypes.c_int64),
        ("margin", ctypes.c_double),
        ("counts", ctypes.c_void_p),
        ("guesses", ctypes.c_void_p),
    )


class _Text:
    """What is known of one completion: its slot in C, and how many of its tokens are known there."""

    __slots__ = ("known", "salt", "slot", "tokens")

    def __init__(self, slot: int, salt: int, tokens: Sequence[int]) -> None:
        self.slot, self.salt, self.tokens = slot, salt, tokens
        self.known = 0


class NativeGuesser:
    """Arguments as of Guesser.

    Raises:
        InputError: more than four orders, one above 8, or a depth above 16; no C kernels.
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
        longest_first = sorted(orders, reverse=True)
        if len(orders) > _MOST_ORDERS or any(not 0 < order <= _LONGEST for order in orders):
            raise InputError(f"orders {list(orders)}", f"at most {_MOST_ORDERS}, of 1 to {_LONGEST} tokens")
        if not 0 < depth <= _DEEPEST:
            raise InputError(f"depth is {depth}", f"it must be 1 to {_DEEPEST}")
        self.depth, self.siblings_only, self.max_texts = depth, siblings_only, max_texts
        self.taps = () if head is None else head.config.taps
        self._shortest = min(orders, default=0)
        self._head = None if head is None else NativeHead(head)
        if self._head is not None and self._head.depth > _DEEPEST:
            raise InputError(f"a draft head of depth {self._head.depth}", f"at most {_DEEPEST}")
        library = kernels()
        pointer, whole, long = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64
        library.guess_new.argtypes = [whole, pointer, long, whole, whole, pointer]
        library.guess_new.restype = pointer
        library.guess_round.argtypes = [pointer, pointer]
        library.guess_free.argtypes = [pointer]
        library.guess_entries.argtypes, library.guess_entries.restype = [pointer], long
        lengths = (ctypes.c_int * max(1, len(orders)))(*longest_first)
        of_head = None if self._head is None else ctypes.addressof(self._head.shape)
        guesser = library.guess_new(len(orders), lengths, max_entries, max_texts, depth, of_head)
        if not guesser:
            raise CompleterError("no memory to guess", "free some, or do without guesses")
        self._library, self._guesser = library, ctypes.c_void_p(guesser)
        weakref.finalize(self, library.guess_free, self._guesser)
        self._texts: OrderedDict[Hashable, _Text] = OrderedDict()
        self._prompts: OrderedDict[Hashable, tuple[int, Sequence[int]]] = OrderedDict()  # salt, first attempt
        self._next_salt = 0
        self._asked: list[_Text] = []  # the last time
        self._round = _Round()
        self._pointer = ctypes.byref(self._round)
        self._times: Sequence[float] | None = None
        self._times_array = array("d")
        self._make_room(16)

    def __len__(self) -> int:
        """n-grams remembered."""
        return self._library.guess_entries(self._guesser)

    def guess(
        self,
        requests: Sequence[DraftRequest],
        states: Tensor | None,
        room: int,
        times: Sequence[float] | None = None,
        margin: float = 1.0,
    ) -> list[list[int]]:
        """See Guessing."""
        if len(requests) > self.max_texts:
            rest = [[] for _ in requests[self.max_texts :]]
            return self.guess(requests[: self.max_texts], states, room, times, margin) + rest
        asks, tokens = array("q"), array("i")
        asked: list[_Text] = []
        for request in requests:
            text = self._texts.get(request.key)
            if text is None:
                text, skip = self._open(request, requests)
            else:
                self._texts.move_to_end(request.key)
                text.tokens, skip = request.tokens, -1
            asked.append(text)
            row = request.row
            self._add(text, skip, -1 if row is None else row, request.limit, asks, tokens)
        guessing = count = len(asked)
        before, self._asked = self._asked, asked
        if before != asked:
            # Others went on without asking: they ended, or cannot use guesses now.
            now = set(asked)
            for text in before:
                if text not in now and len(text.tokens) != text.known:
                    self._add(text, -1, -1, 0, asks, tokens)
                    count += 1
        if guessing > self._rows:
            self._make_room(2 * guessing)
        call = self._round
        call.asks, call.guessing, call.room, call.margin = count, guessing, max(0, room), margin
        call.ask, call.tokens = asks.buffer_info()[0], tokens.buffer_info()[0]
        if times is not self._times:
            self._times = times
            self._times_array = array("d", times or ())
            call.times, call.most = self._times_array.buffer_info()[0] if times else None, len(self._times_array) - 1
        if states is not None:
            # Without a head nobody looks at them, and a GPU would be waited for.
            states = states.cpu().contiguous() if self._head is not None else None
        call.states = None if states is None else states.data_ptr()
        kept = self._library.guess_round(self._guesser, self._pointer)
        if kept < 0:
            raise CompleterError("no memory to guess", "free some, or do without guesses")
        if not kept:
            return [[] for _ in asked]
        counts, guesses = self._counts[:guessing].tolist(), self._guesses[:guessing].tolist()
        return [row[:count] for row, count in zip(guesses, counts, strict=True)]

    def _add(self, text: _Text, skip: int, row: int, limit: int, asks: array[int], tokens: array[int]) -> None:
        known, end = text.known, len(text.tokens)
        if known > end:  # its end was taken back: what led to it is enough to know
            known = max(0, end - _LONGEST)
            skip = end - known
        tokens.extend(text.tokens[known:end])
        asks.extend((text.slot, skip, end - known, row, limit, text.salt))
        text.known = end

    def _open(self, request: DraftRequest, requests: Sequence[DraftRequest]) -> tuple[_Text, int]:
        """A place for a new completion, and how many of the tokens that are told first are known from others."""
        slot = len(self._texts)
        if slot == self.max_texts:
            # The one that has not asked for longest goes.
            now = {request.key for request in requests}
            old = self._texts.pop(next(key for key in self._texts if key not in now))
            slot = old.slot
            self._asked = [text for text in self._asked if text is not old]
        known = self._prompts.get(request.prompt)
        if known is None:
            self._next_salt += self.siblings_only
            known = self._prompts[request.prompt] = self._next_salt, request.tokens
            if len(self._prompts) > self.max_texts:
                self._prompts.popitem(last=False)
        salt, sibling = known
        text = self._texts[request.key] = _Text(slot, salt, request.tokens)
        # What siblings begin with in common, the prompt at least, is learnt once.
        place = self._shortest if sibling is request.tokens else common(sibling, request.tokens)
        place = min(place, len(request.tokens))
        text.known = max(0, place - _LONGEST)
        return text, place - text.known

    def _make_room(self, rows: int) -> None:
        self._rows = rows
        self._counts = np.zeros(rows, np.int32)
        self._guesses = np.zeros((rows, self.depth), np.int32)
        self._round.counts, self._round.guesses = self._counts.ctypes.data, self._guesses.ctypes.data
