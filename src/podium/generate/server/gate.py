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
        self._seconds = 1.0  # running mean of how long a completion holds its place
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
            raise Refusal(503, "the server is shutting down", code="shutting_down", headers={"Retry-After": "5"})
        if self._reserved >= self.rows + self.max_queue:
            seconds = min(60, max(1, math.ceil(self._seconds * (self.waiting + 1) / self.rows)))
            raise Refusal(
                429,
                f"{self.waiting} completions wait already, at most {self.max_queue} may",
                code="queue_full",
                headers={"Retry-After": str(seconds)},
            )
        self._reserved += count

    def leave(self, count: int, entered: float) -> None:
        """Give the places back; `entered` is the time.monotonic() of the reservation."""
        self._reserved -= count
        self._seconds += 0.05 * (time.monotonic() - entered - self._seconds)

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
