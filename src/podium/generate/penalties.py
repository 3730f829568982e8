"""The tokens of one completion that its sampling penalises, and the logits with these penalties.

Knows token ids and one row of logits; no sequences. Nothing is counted where no penalty asks for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from podium.answering.protocol import Sampling
from podium.generate.sampling import adjust

if TYPE_CHECKING:
    from torch import Tensor


class Penalties:
    """Attributes:
    active: whether any of the three penalties is set; without one, nothing is counted.
    """

    __slots__ = ("_context", "_sampling", "_written", "active")

    def __init__(self, sampling: Sampling, prompt: Sequence[int]) -> None:
        self.active = (
            sampling.repetition_penalty != 1 or sampling.presence_penalty != 0 or sampling.frequency_penalty != 0
        )
        self._sampling = sampling
        self._context: set[int] = set()
        self._written: Counter[int] = Counter()
        self.add_context(prompt)

    def add_context(self, tokens: Sequence[int]) -> None:
        """Count tokens that the model did not write: the prompt, and text appended later."""
        if self._sampling.repetition_penalty != 1:
            self._context.update(tokens)

    def add_written(self, token: int) -> None:
        """Count a token that the model wrote."""
        if self.active:
            self.add_context((token,))
            self._written[token] += 1

    def replace_context(self, tokens: Sequence[int]) -> None:
        """The context is now `tokens`, since its last token was cut."""
        self._context.clear()
        self.add_context(tokens)

    def adjust(self, logits: Tensor, guesses: Sequence[int], forbidden: Collection[int]) -> None:
        """Penalise a row of logits [V] in place, as it is behind so many guesses that are not counted yet."""
        adjust(logits, self._sampling, self._context.union(guesses), self._written + Counter(guesses), forbidden)
