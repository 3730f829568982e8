"""Drawing the next tokens of a step: penalties first, then the sampler that suits where the logits are.

Knows sequences, their guesses and rows of logits; no cache and no model.
"""

from __future__ import annotations

from collections.abc import Sequence as Ordered
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from podium.generate.sampling import Chosen, Settings, choose, repeated
from podium.generate.sequence import Sequence

if TYPE_CHECKING:
    from podium.answering.protocol import Sampling
    from podium.text import Tokenizer


class Sampler(Protocol):
    """Draws tokens as sampling.choose does: from the distribution of each row's settings, and the same token whatever
    rows stand beside it."""

    def set_rows(self, samplings: Ordered[Sampling]) -> None:
        """The completions that the coming draws are for, until this is called again."""
        ...

    def sample(
        self,
        logits: Tensor,
        counts: Ordered[int],
        counters: Ordered[int],
        adjusted: Tensor | None = None,
        guesses: Ordered[int] | None = None,
    ) -> Chosen:
        """The next token of each row.

        Args:
            logits: [R, V] fp32.
            counts: of each completion, how many rows it has, one after the other; R in all.
            counters: [R], how many tokens each row has drawn before.
            adjusted: the logits to draw from, where these are not `logits`.
            guesses: [R], what was guessed to follow each row, -1 behind the last of a completion. Rows behind one
                whose token is another than the guess need not be drawn.
        """
        ...


class TorchSampler:
    """Draws with torch, on whatever device the logits are."""

    def __init__(self) -> None:
        self.samplings: Ordered[Sampling] = ()
        self._counts: Ordered[int] = ()
        self._settings: Settings | None = None

    def set_rows(self, samplings: Ordered[Sampling]) -> None:
        self.samplings, self._settings = samplings, None

    def sample(
        self,
        logits: Tensor,
        counts: Ordered[int],
        counters: Ordered[int],
        adjusted: Tensor | None = None,
        guesses: Ordered[int] | None = None,
    ) -> Chosen:
        if self._settings is None or counts != self._counts:
            self._counts = counts
            self._settings = Settings(repeated(self.samplings, counts), logits.device)
        return choose(logits, self._settings, counters, adjusted)


@dataclass(slots=True)
class DrawBatch:
    """What a step draws: the token after the last one of each sequence, and after each of its guesses."""

    draws: list[tuple[Sequence, list[int]]]  # with the guesses that the step computed
    logits: Tensor  # [R, V], R being all sequences and all guesses, in this order
    states: Tensor  # [R, state_size], of the same rows
    forked: bool  # some of the sequences had nothing to compute


class Drawing:
    """Draws for the sequences of a step, after their penalties."""

    def __init__(self, sampler: Sampler, tokenizer: Tokenizer) -> None:
        self._sampler = sampler
        self._tokenizer = tokenizer
        self._sequences: list[Sequence] = []

    def draw(self, batch: DrawBatch) -> Chosen:
        """Tokens, log-probabilities and likeliest tokens of all rows, in order. Rows behind a wrong guess mean
        nothing."""
        sequences = [sequence for sequence, _ in batch.draws]
        if sequences != self._sequences:
            self._sequences = sequences
            self._sampler.set_rows([sequence.sampling for sequence in sequences])
        counts = [1 + len(guesses) for _, guesses in batch.draws]
        counters: list[int] = []
        guessed: list[int] = []
        for sequence, guesses in batch.draws:
            written = sequence.usage.completion_tokens
            counters += range(written, written + 1 + len(guesses))
            guessed += guesses
            guessed.append(-1)
        return self._sampler.sample(
            batch.logits,
            counts,
            counters,
            self._adjusted(batch),
            guessed if len(guessed) > len(counts) else None,
        )

    def _adjusted(self, batch: DrawBatch) -> Tensor | None:
        """The logits with penalties, where there are any. A row behind guesses is that of a context with them."""
        adjusted: Tensor | None = None
        row = 0
        for sequence, guesses in batch.draws:
            if sequence.adjusts_logits:
                adjusted = batch.logits.clone() if adjusted is None else adjusted
                for i in range(1 + len(guesses)):
                    early = sequence.usage.completion_tokens + i < sequence.sampling.min_tokens
                    forbidden = sequence.ends(self._tokenizer) if early else ()
                    sequence.penalties.adjust(adjusted[row + i], guesses[:i], forbidden)
            row += 1 + len(guesses)
        return adjusted
