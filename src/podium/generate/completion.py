"""What completions of an engine in this process and of one in another process have in common.

Knows pieces and their order; not where they come from.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator

from podium.answering.protocol import CompletionUsage, Finish, Piece
from podium.errors import CompleterError


class StreamedCompletion(ABC):
    """A completion whose pieces a thread writes. Implements Completion."""

    def __init__(self) -> None:
        self._finish: Finish | None = None

    @abstractmethod
    async def _next_piece(self) -> Piece:
        """Wait for a piece. Raises CompleterError where there will be none."""

    @abstractmethod
    def _append(self, text: str) -> None:
        """Have text appended and the completion resumed. Raises CompleterError where nobody is left to do it."""

    @abstractmethod
    async def _drop(self) -> CompletionUsage:
        """End the completion, if it has not ended, and return once its memory is free."""

    async def __aiter__(self) -> AsyncIterator[Piece]:
        while self._finish is None:
            piece = await self._next_piece()
            self._finish = piece.finish
            yield piece

    async def extend(self, text: str) -> None:
        if self._finish != "stop":
            raise CompleterError(
                f"a completion that is {self._finish or 'still running'} cannot be extended",
                "extend after a piece whose finish is 'stop'",
            )
        self._append(text)
        self._finish = None

    async def cancel(self) -> CompletionUsage:
        usage = await self._drop()
        if self._finish == "stop":
            self._finish = "cancelled"
        return usage
