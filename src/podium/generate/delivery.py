"""Handing what the engine's thread wrote to readers that wait on event loops of their own.

Knows outputs and event loops; no tensors and no schedule. The engine writes into outboxes after every step. Readers are
woken every DELIVERY_SECONDS at most, since waking costs more than a token, and at once where a completion ended.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias, TypeVar

from podium.answering.protocol import Finish, Piece, Top
from podium.errors import PodiumError

DELIVERY_SECONDS = 0.02
"""Minimum seconds between deliveries to a reader; an ending is delivered at once."""

Waiter: TypeAlias = "tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]"

ErrorT = TypeVar("ErrorT", bound=PodiumError)


class Waiters:
    """Tasks on any event loops that wait for something which one thread writes."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: list[Waiter] = []

    async def until(self, happened: Callable[[], object]) -> None:
        """Return once `happened`; it is asked again whenever the writing thread wakes what `take` returned."""
        while not happened():
            loop = asyncio.get_running_loop()
            future: asyncio.Future[None] = loop.create_future()
            self._waiting.append((loop, future))
            # The thread writes before it takes the waiters: one of the two sees the other.
            if happened():
                return
            await future

    def take(self) -> list[Waiter]:
        """Who waits, for `wake`; called by the writing thread."""
        waiting, self._waiting = self._waiting, []
        return waiting


def wake(waiters: Iterable[Waiter]) -> None:
    """Wake tasks of other threads' event loops, with one call for each loop."""
    loops: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for loop, future in waiters:
        loops.setdefault(loop, []).append(future)
    for loop, futures in loops.items():
        try:
            loop.call_soon_threadsafe(_resolve, futures)
        except RuntimeError:
            # The loop is closed: whoever waited in it is gone.
            if not loop.is_closed():
                raise


def _resolve(futures: Iterable[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)


def own_error(failure: ErrorT) -> ErrorT:
    """An exception for one reader, with the message and cure of a failure that all readers are told: a shared one
    would collect their tracebacks."""
    error = type(failure)(failure.message, failure.cure)
    error.__cause__ = failure.__cause__
    return error


class Output(NamedTuple):
    """What one token, or the end, adds to what the reader sees."""

    text: str
    token: int | None = None
    logprob: float = 0.0
    top: Top = ()
    finish: Finish | None = None
    stop: str | None = None
    stop_token: int | None = None


@dataclass(slots=True, eq=False)
class Reader:
    """What the reader of one completion has not read yet."""

    top_logprobs: bool  # pieces have the likeliest tokens
    outbox: deque[Output] = field(default_factory=deque)
    ready: bool = False  # the outbox was delivered since the reader last looked into it
    waiters: Waiters = field(default_factory=Waiters)

    def drain(self) -> Piece | None:
        """Everything in the outbox up to the next finish, as one piece; None where there is nothing."""
        outputs: list[Output] = []
        while self.outbox:
            outputs.append(self.outbox.popleft())
            if outputs[-1].finish is not None:
                break
        if not outputs:
            return None
        drawn = [output for output in outputs if output.token is not None]
        last = outputs[-1]
        return Piece(
            "".join([output.text for output in outputs]),
            tuple([output.token for output in drawn if output.token is not None]),
            tuple([output.logprob for output in drawn]),
            last.finish,
            last.stop,
            last.stop_token,
            tuple([output.top for output in drawn]) if self.top_logprobs else (),
        )


class Delivery:
    """Readers with something new in their outbox, and when they are woken. Used by the engine's thread alone."""

    def __init__(self) -> None:
        self._new: set[Reader] = set()
        self._ended: set[Reader] = set()
        self._last = 0.0

    def add(self, reader: Reader, ended: bool) -> None:
        """A reader's outbox has something new; with `ended`, a finish that it is told at once."""
        (self._ended if ended else self._new).add(reader)

    def deliver(self, everybody: bool = False) -> None:
        """Wake the readers of endings, and all the others where that was not done of late."""
        now = time.monotonic()
        everybody = everybody or now - self._last >= DELIVERY_SECONDS
        if not everybody and not self._ended:
            return
        due, self._ended = self._ended, set()
        if everybody:
            self._last = now
            due |= self._new
            self._new = set()
        waiters: list[Waiter] = []
        for reader in due:
            reader.ready = True
            waiters += reader.waiters.take()
        wake(waiters)
