"""Who is let in: how many completions may wait, and what happens when the server closes.

Counts completions (a request for n choices is n of them). Knows no HTTP beyond the refusals it raises.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING

from podium.generate.server.refusal import Refusal

if TYPE_CHECKING:
    from podium.generate.server.choice import Choice


MOST_SECONDS = 60
"""Of Retry-After: more than that (120 in the newest) the official clients take for no answer and come again at once."""

AFTER_A_RESTART = 10
"""Seconds in which a service manager has started another server, if it does."""


class Gate:
    """At most `rows` completions run at once (the engine sees to that); at most `max_queue` wait behind them.

    A request for several choices is let in as a whole while there is a place for its first one.
    """

    def __init__(self, rows: int, max_queue: int) -> None:
        self.rows = rows
        self.max_queue = max_queue
        self.closing = False
        self._reserved = 0
        self._open: set[Choice] = set()
        self._seconds = (
            1.0  # running mean of the time from one completion's end to the next one's, while there is a queue
        )
        self._left = 0.0  # when the last one ended, or when all rows became busy if that was later
        self._promised = 0.0  # when the last of those who were turned away is to come again
        self._cut = False

    @property
    def running(self) -> int:
        return min(self._reserved, self.rows)

    @property
    def waiting(self) -> int:
        return max(0, self._reserved - self.rows)

    def enter(self, count: int) -> None:
        """Reserve places for `count` completions.

        Raises:
            Refusal: 503 while closing, 429 when too many wait already; both say when to come again.
        """
        if self.closing:
            headers = {"Retry-After": str(AFTER_A_RESTART)}
            raise Refusal(503, "the server is shutting down", code="shutting_down", headers=headers)
        if self._reserved >= self.rows + self.max_queue:
            raise Refusal(
                429,
                f"{self.waiting} completions wait already, at most {self.max_queue} may",
                code="queue_full",
                headers={"Retry-After": str(self._come_again())},
            )
        if self._reserved < self.rows <= self._reserved + count:
            self._left = time.monotonic()
        self._reserved += count

    def _come_again(self) -> int:
        """Seconds until there will be a place for one more of those who were turned away: each gets its own.

        Clients obey to the second, so that the same answer to all would bring all of them back at once.
        """
        now = time.monotonic()
        # An end that is long in coming says that ends are further apart than was thought.
        apart = max(self._seconds, now - self._left)
        self._promised = min(max(self._promised, now) + apart, now + MOST_SECONDS)
        return min(MOST_SECONDS, max(1, math.ceil(self._promised - now)))

    def leave(self, count: int) -> None:
        """Give the places back."""
        now = time.monotonic()
        if self.waiting:
            self._seconds += 0.1 * ((now - self._left) / count - self._seconds)
        self._left = now
        self._reserved -= count

    async def opened(self, choice: Choice) -> None:
        """Keep `choice` in reach of `cut` until `closed`."""
        self._open.add(choice)
        if self._cut:
            await choice.cancel()

    def closed(self, choice: Choice) -> None:
        self._open.discard(choice)

    async def drain(self, grace: float) -> None:
        """Let nobody in any more and wait until all have left; after `grace` seconds end what still runs."""
        self.closing = True
        deadline = time.monotonic() + grace
        while self._reserved and not self._cut and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        await self.cut()

    async def cut(self) -> None:
        """End every completion where it is; clients get what exists, with finish_reason "abort"."""
        self.closing = self._cut = True
        await asyncio.gather(*(choice.cancel() for choice in list(self._open)))
