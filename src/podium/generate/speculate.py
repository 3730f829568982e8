"""Guessing tokens ahead, so that one step of the model may yield several.

Knows token ids and, where a draft head needs it, the target's last hidden state; no engine, no cache, no sampling.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

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

    needs_hidden: bool

    def propose(self, requests: Sequence[DraftRequest], budget: int) -> list[list[int]]:
        """Guesses for each request, at most `budget` in all."""
        ...

    def observe(self, request: DraftRequest, new_tokens: Sequence[int]) -> None:
        """The completion went on with `new_tokens`: the guesses that were right, and the token after them."""
        ...

    def timed(self, rows: int, seconds: float) -> None:
        """A step that computed one token per row, guesses being rows too, took so long (without `propose`)."""
        ...
