"""Drawing in C on the threads of a stack (draw.h): all rows of a step in one call.

Knows settings and logits; no models. Rows with top-k, which C does not know, are drawn with torch.
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from podium.errors import CompleterError
from podium.generate.native.stack import Stack, StackDraw
from podium.generate.sampling import Settings, choose, repeated

if TYPE_CHECKING:
    from podium.answering.protocol import Sampling, Top
    from podium.generate.sampling import Chosen

_ASK = np.dtype(  # DrawAsk
    [("temperature", "f4"), ("top_p", "f4"), ("min_p", "f4"), ("seed", "u8"), ("number", "u8")], align=True
)


class _Arrays:
    """Arrays that the C code reads and fills for up to `room` rows. As they are made, row i is row i of the logits, and
    every row belongs to a completion of its own; callers write something else where that is not so."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.rows, self.parts = np.arange(room, dtype=np.int32), np.arange(room + 1, dtype=np.int32)
        self.guesses, self.asks = np.full(room, -1, np.int32), np.zeros(room, _ASK)
        self.numbers = self.asks["number"]
        self.tokens, self.logprobs, self.logsums = (np.empty(room, kind) for kind in (np.int32, np.float32, np.float32))
        self.single = self.parts.ctypes.data
        arrays = self.guesses, self.rows, self.asks, self.tokens, self.logprobs, self.logsums
        guess, row, ask, token, logprob, logsum = (array.ctypes.data for array in arrays)
        self.call = StackDraw(0, 0, self.single, guess, row, ask, None, None, token, logprob, logsum)


class _Asks:
    """The settings of some rows as the C code reads them; rows with top-k, which it does not know, are left out."""

    def __init__(self, samplings: Sequence[Sampling]) -> None:
        self.known = np.array([not s.top_k or not s.temperature for s in samplings], bool)
        self.asks = np.array([(s.temperature, s.top_p, s.min_p, s.seed & (1 << 64) - 1, 0) for s in samplings], _ASK)
        self.tops = any(s.top_logprobs for s in samplings)
        self.simple = bool(self.known.all())


class NativeSampler:
    """Implements Sampler for logits on the CPU."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._arrays = _Arrays(64)
        self._samplings: Sequence[Sampling] = ()
        self._asks = _Asks(())

    def set_rows(self, samplings: Sequence[Sampling]) -> None:
        self._samplings, self._asks = samplings, _Asks(samplings)

    def sample(
        self,
        logits: Tensor,
        counts: Sequence[int],
        counters: Sequence[int],
        adjusted: Tensor | None = None,
        guesses: Sequence[int] | None = None,
    ) -> Chosen:
        logits = logits.contiguous()
        drawn_from = logits if adjusted is None else adjusted.contiguous()
        asks, rows = self._asks, len(counters)
        if not asks.simple or asks.tops:
            of_row = np.repeat(np.arange(len(self._samplings)), counts)
            return self._sample_all(logits, drawn_from, repeated(self._samplings, counts), of_row, counters)
        drawn = self._arrays if rows <= self._arrays.room else self._more_room(rows)
        drawn.asks[:rows] = asks.asks if rows == len(counts) or len(counts) == 1 else asks.asks.repeat(counts)
        drawn.numbers[:rows] = counters
        call = drawn.call
        if guesses is None:
            self._call_draw(call, rows, rows, logits, drawn_from)
        else:
            drawn.guesses[:rows] = guesses
            ends = array("i", (0, *accumulate(counts)))
            call.part = ends.buffer_info()[0]
            self._call_draw(call, rows, len(counts), logits, drawn_from)
            call.part = drawn.single
            drawn.guesses[:rows] = -1
        return drawn.tokens[:rows].tolist(), drawn.logprobs[:rows].tolist(), [()] * rows

    def _more_room(self, rows: int) -> _Arrays:
        self._arrays = _Arrays(2 * rows)
        return self._arrays

    def _sample_all(
        self,
        logits: Tensor,
        drawn_from: Tensor,
        samplings: Sequence[Sampling],
        of_row: np.ndarray,
        counters: Sequence[int],
    ) -> Chosen:
        """With rows that C does not know, or likeliest tokens to tell."""
        found, shown = np.empty(len(samplings), np.int64), np.empty(len(samplings))
        tops: list[Top] = [()] * len(samplings)
        known = self._asks.known[of_row]
        rows, others = np.flatnonzero(known).astype(np.int32), np.flatnonzero(~known).tolist()
        numbers = [counters[i] for i in rows.tolist()]
        found[rows], shown[rows], logsums = self._draw(logits, drawn_from, rows, self._asks.asks[of_row[rows]], numbers)
        for row, logsum in zip(rows.tolist(), logsums, strict=True):
            if count := samplings[row].top_logprobs:
                values, ids = logits[row].topk(min(count, logits.shape[1]))
                best = values.numpy()
                # The same roundings as in C: a token has one log-probability, wherever it is told.
                tops[row] = tuple(zip(ids.tolist(), (best - best[0] - logsum).tolist(), strict=True))
        if others:
            settings = Settings([samplings[i] for i in others], torch.device("cpu"))
            chosen = choose(logits[others], settings, [counters[i] for i in others], drawn_from[others])
            found[others], shown[others] = chosen[:2]
            for row, top in zip(others, chosen[2], strict=True):
                tops[row] = top
        return found.tolist(), shown.tolist(), tops

    def _draw(
        self, logits: Tensor, drawn_from: Tensor, rows: np.ndarray, asks: np.ndarray, counters: Sequence[int]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Tokens, log-probabilities, and the logarithms of the sums of exp(logit - largest)."""
        asks["number"] = counters
        drawn = _Arrays(len(rows))
        drawn.rows[:], drawn.asks[:] = rows, asks
        self._call_draw(drawn.call, len(rows), len(rows), logits, drawn_from)
        return drawn.tokens, drawn.logprobs, drawn.logsums

    def _call_draw(self, call: StackDraw, rows: int, parts: int, logits: Tensor, drawn_from: Tensor) -> None:
        call.rows, call.parts = rows, parts
        call.logits, call.plain = drawn_from.data_ptr(), logits.data_ptr()
        stack = self._stack
        stack.own_threads()
        if stack.library.stack_draw(stack.pointer, ctypes.byref(call)):
            raise CompleterError("no memory to draw a token", "free some, or use a smaller model")
