"""A completer that is asked short questions by somebody who can do without the answer: a judge, a verifier.

Knows no question. A request that fails or takes too long is no error but no reply; after a few of these in a row the
completer is taken for dead and left alone for a while, so that a server that is gone holds nothing up.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable

from podium.answering.protocol import Completer, Completion, Piece, Prompt, Sampling
from podium.errors import CompleterError, PromptTooLong

FAILURES = 3  # in a row, after which it is taken for dead …
REST = 60.0  # … for so many seconds


def quoted(text: str, *marks: str) -> str:
    """`text` to be shown between <mark> and </mark>: it can neither open nor close one of these itself.

    A tag is replaced and not taken away: what is left on both sides of it might be a tag again.
    """
    return re.sub(rf"<\s*/?\s*(?:{'|'.join(marks)})\s*>", "…", text)


class Respondent:
    """`seconds`: that one reply may take. `failures` counts requests without a reply, `trouble` says what the last of
    them came to."""

    def __init__(
        self, completer: Completer, seconds: float = 60.0, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.completer = completer
        self.seconds = seconds
        self.failures = 0
        self.trouble = ""
        self._in_a_row = 0
        self._clock = clock
        self._rested = 0.0  # not asked before this moment

    @property
    def name(self) -> str:
        return self.completer.name

    @property
    def dead(self) -> bool:
        """Taken for dead just now."""
        return self._clock() < self._rested

    async def pieces(self, prompt: Prompt, sampling: Sampling) -> list[Piece] | None:
        """The reply up to its first finish; None where there is none."""
        if self.dead:
            self.failures += 1
            return None
        completion: Completion | None = None
        try:
            async with asyncio.timeout(self.seconds):
                completion = await self.completer.start(prompt, sampling)
                pieces = [piece async for piece in completion]
        except PromptTooLong as error:  # says nothing of the completer
            return self._failed(error.message)
        except TimeoutError:
            return self._failed(f"no reply within {self.seconds:g} s", of_the_completer=True)
        except CompleterError as error:
            return self._failed(error.message, of_the_completer=True)
        finally:
            if completion is not None:
                await completion.cancel()
        self._in_a_row = 0
        return pieces

    async def text(self, prompt: Prompt, sampling: Sampling) -> str | None:
        """The text of the reply; None where there is none."""
        pieces = await self.pieces(prompt, sampling)
        return None if pieces is None else "".join(piece.text for piece in pieces)

    def _failed(self, trouble: str, *, of_the_completer: bool = False) -> None:
        self.failures += 1
        self.trouble = trouble
        if of_the_completer:
            self._in_a_row += 1
            if self._in_a_row >= FAILURES:
                self._rested = self._clock() + REST
