"""One answer as its client may see it: the stop string is cut, and text that may still become one is held back.

Knows pieces and text, no JSON. The tokens of held-back text are told at once: they were drawn.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Literal

from podium.answering.protocol import Completion, CompletionUsage, Finish, Piece

FinishReason = Literal["stop", "length", "abort"]

FINISH_REASONS: dict[Finish, FinishReason] = {
    "eos": "stop",
    "stop": "stop",
    "length": "length",
    "repetition": "length",
    "cancelled": "abort",
}


@dataclass(slots=True)
class Increment:
    """What one piece adds to an answer. The last one has `finish`, and `stop_reason` where a stop ended it."""

    text: str
    piece: Piece
    finish: FinishReason | None = None
    stop_reason: str | int | None = None


class Holdback:
    """Lets text through except its end while that may still become one of `stops`."""

    __slots__ = ("_held", "_stops")

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""

    def push(self, text: str) -> str:
        text = self._held + text
        keep = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :] if keep else ""
        return text[: len(text) - keep]

    def end(self, text: str, stop: str | None) -> str:
        """The rest, when the last `text` has come; without `stop`, where that is what the text ends with."""
        text, self._held = self._held + text, ""
        return text[: len(text) - len(stop)] if stop else text


def _overlap(text: str, stop: str) -> int:
    """Characters of the longest proper beginning of `stop` that `text` ends with."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0


class Choice:
    """A completion on its way to a client."""

    def __init__(self, completion: Completion, stops: Sequence[str], show_stop: bool) -> None:
        self._completion = completion
        self._holdback = Holdback(() if show_stop else stops)
        self._show_stop = show_stop
        self.usage = CompletionUsage()

    async def increments(self) -> AsyncIterator[Increment]:
        """Up to the finish.

        Raises:
            CompleterError: the completer failed.
        """
        async for piece in self._completion:
            if piece.finish is None:
                yield Increment(self._holdback.push(piece.text), piece)
                continue
            cut = None if self._show_stop else piece.stop
            reason = piece.stop if piece.stop is not None else piece.stop_token
            # A stop string leaves the completion ready to go on: nobody will, so its memory is freed at once.
            await self.cancel()
            yield Increment(self._holdback.end(piece.text, cut), piece, FINISH_REASONS[piece.finish], reason)
            return

    async def cancel(self) -> None:
        self.usage = await self._completion.cancel()


async def side_by_side(choices: Sequence[Choice]) -> AsyncIterator[tuple[int, Increment]]:
    """The increments of all as they come, with the choice's number. Raises what one of them raises."""
    if len(choices) == 1:
        async for increment in choices[0].increments():
            yield 0, increment
        return
    arrived: asyncio.Queue[tuple[int, Increment | Exception | None]] = asyncio.Queue()

    async def follow(number: int, choice: Choice) -> None:
        try:
            async for increment in choice.increments():
                arrived.put_nowait((number, increment))
            arrived.put_nowait((number, None))
        except Exception as error:
            arrived.put_nowait((number, error))

    followers = [asyncio.create_task(follow(number, choice)) for number, choice in enumerate(choices)]
    try:
        left = len(choices)
        while left:
            number, increment = await arrived.get()
            if isinstance(increment, Exception):
                raise increment
            if increment is None:
                left -= 1
            else:
                yield number, increment
    finally:
        for follower in followers:
            follower.cancel()
        await asyncio.gather(*followers, return_exceptions=True)
