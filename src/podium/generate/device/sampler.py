"""Draws on one device, captured once for each number of rows: see podium.generate.device.drawing.

Knows settings and where a GraphRunner leaves its logits; no sequences.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from podium.answering.protocol import Sampling
from podium.generate.device.buckets import ROWS, row_bucket
from podium.generate.device.drawing import DrawStep, Kinds, kinds_of
from podium.generate.device.runner import GraphRunner
from podium.generate.drawing import TorchSampler
from podium.generate.sampling import Chosen, Settings, choose, repeated


class GraphSampler(TorchSampler):
    """Draws from the logits of `runner`, whose pool is allocated before the first draw. Rows with penalties, a wide
    top-k or likeliest tokens to tell are drawn as TorchSampler does."""

    def __init__(self, runner: GraphRunner) -> None:
        super().__init__()
        self._runner = runner
        self._draws: dict[tuple[int, Kinds], DrawStep] = {}
        self._drawing: DrawStep | None = None
        self._rows: list[Sampling] = []
        self._prepared: Sequence[int] | None = None  # counts of the rows that `_drawing` is set for

    def set_rows(self, samplings: Sequence[Sampling]) -> None:
        super().set_rows(samplings)
        self._prepared = None

    @torch.inference_mode()
    def sample(
        self,
        logits: Tensor,
        counts: Sequence[int],
        counters: Sequence[int],
        adjusted: Tensor | None = None,
        guesses: Sequence[int] | None = None,
    ) -> Chosen:
        if adjusted is not None or len(counters) > ROWS[-1]:
            return super().sample(logits, counts, counters, adjusted)
        if counts != self._prepared:
            self._prepared = counts
            self._rows = repeated(self.samplings, counts)
            self._drawing = self._draw_for(len(counters))
            if self._drawing is not None:
                self._drawing.set(self._rows)
        if self._drawing is None:
            return super().sample(logits, counts, counters)
        self._bring(logits)
        tokens, logprobs, through = self._drawing.draw(counters)
        chosen = [int(token) for token in tokens]
        left = [row for row, fine in enumerate(through) if not fine]
        if left:
            settings = Settings([self._rows[row] for row in left], logits.device)
            others, found, _ = choose(logits[left], settings, [counters[row] for row in left])
            for row, token, logprob in zip(left, others, found, strict=True):
                chosen[row], logprobs[row] = token, logprob
        return chosen, logprobs, [()] * len(chosen)

    def _bring(self, logits: Tensor) -> None:
        """See that `logits` are the first rows of what draws read."""
        held = self._runner.logits
        if logits.data_ptr() == held.data_ptr() and logits.stride() == held.stride():
            return
        if logits.untyped_storage().data_ptr() == held.untyped_storage().data_ptr():
            logits = logits.clone()
        held[: len(logits)].copy_(logits)

    def _draw_for(self, rows: int) -> DrawStep | None:
        kinds, bucket = kinds_of(self._rows), row_bucket(rows)
        if kinds is None or bucket is None:
            return None
        found = self._draws.get((bucket, kinds))
        if found is None:
            found = self._draws[bucket, kinds] = DrawStep(self._runner.logits[:bucket], kinds)
            found.replay = self._runner.recorder.record(found.run)
        return found
