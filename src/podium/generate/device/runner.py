"""Steps of the model on one device: those that only go on are replayed in fixed shapes, prompts go as they come.

Knows the model, spans and blocks; no requests. Keys and values lie as TorchRunner lays them, which also computes what
is not replayed.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from podium.generate.device.attention import first_right, kernels
from podium.generate.device.buckets import ROWS, block_bucket, block_buckets, row_bucket
from podium.generate.device.decode import DecodeStep
from podium.generate.device.drawing import DrawStep, Kinds, kinds_of
from podium.generate.device.place import place_model
from podium.generate.device.replay import Recorder
from podium.generate.runner import BLOCK_SIZE, Span, TorchRunner
from podium.generate.sampling import Settings, choose, repeated
from podium.models import StoredModel, Transformer

if TYPE_CHECKING:
    from podium.answering.protocol import Sampling
    from podium.generate.sampling import Chosen

TOGETHER = 8
"""Tokens of one span at most that are replayed as rows of their own, each reading the whole context: guesses. Longer
spans (prompts, appended text) are better read together."""


class GraphRunner(TorchRunner):
    """A step in which no span is longer than a few tokens is one replay of a graph, captured when its shape first
    occurs; all others are computed as TorchRunner does.

    `allocate` takes one block more than asked for, which rows that only fill up a shape write to.
    """

    def __init__(self, model: Transformer, block_size: int = BLOCK_SIZE) -> None:
        super().__init__(model, block_size)
        self.weight_bytes = sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))
        heads = self.group * self.kv_heads
        self.attention, self._kernel = first_right(
            kernels(self.device), self.device, self.dtype, heads, self.kv_heads, self.head_dim
        )
        self.recorder = Recorder(self.device)
        self._steps: dict[tuple[int, int], tuple[DecodeStep, Callable[[], None]]] = {}
        self._widths: tuple[int, ...] = ()
        self._spare = 0
        self._logits = self._states = torch.empty(0)
        self._draws: dict[tuple[int, Kinds], DrawStep] = {}
        self._drawing: DrawStep | None = None
        self._rows: list[Sampling] = []

    def allocate(self, blocks: int) -> None:
        super().allocate(blocks + 1)
        self._spare = blocks
        longest = -(-self.model.config.context // self.block_size)
        self._widths = block_buckets(min(blocks, longest))
        self._steps.clear()
        self._draws.clear()
        self._samplings = ()
        self._logits = torch.zeros(ROWS[-1], self.vocab_size, device=self.device)
        self._states = torch.zeros(ROWS[-1], self.state_size, device=self.device)

    @torch.inference_mode()
    def step(self, spans: Sequence[Span]) -> tuple[Tensor, Tensor]:
        rows = sum(len(span.tokens) for span in spans)
        bucket = row_bucket(rows)
        if bucket is None or any(len(span.tokens) > TOGETHER for span in spans):
            return super().step(spans)
        blocks = max(-(-(span.start + len(span.tokens)) // self.block_size) for span in spans)
        step, replay = self._step_for(bucket, block_bucket(blocks, self._widths))
        self._fill(step, spans)
        replay()
        if all(span.wanted == len(span.tokens) for span in spans):
            return step.logits[:rows], step.states[:rows]
        ends = np.cumsum([len(span.tokens) for span in spans])
        wanted = np.concatenate(
            [np.arange(end - span.wanted, end) for span, end in zip(spans, ends, strict=True)], dtype=np.int64
        )
        where = self._on_device(wanted)
        return step.logits.index_select(0, where), step.states.index_select(0, where)

    @torch.inference_mode()
    def choose(
        self,
        logits: Tensor,
        samplings: Sequence[Sampling],
        counts: Sequence[int],
        counters: Sequence[int],
        adjusted: Tensor | None = None,
        guesses: Sequence[int] | None = None,
    ) -> Chosen:
        if adjusted is not None or len(counters) > ROWS[-1]:
            return super().choose(logits, samplings, counts, counters, adjusted)
        if samplings is not self._samplings or counts != self._counts:
            self._samplings, self._counts = samplings, counts
            self._rows = repeated(samplings, counts)
            self._settings = Settings(self._rows, logits.device)
            self._drawing = self._draw_for(len(counters))
            if self._drawing is not None:
                self._drawing.set(self._rows)
        if self._drawing is None:
            return choose(logits, self._settings, counters)
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
        held = self._logits
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
            found = self._draws[bucket, kinds] = DrawStep(self._logits[:bucket], kinds)
            found.replay = self.recorder.record(found.run)
        return found

    def _step_for(self, rows: int, width: int) -> tuple[DecodeStep, Callable[[], None]]:
        found = self._steps.get((rows, width))
        if found is None:
            logits, states = self._logits[:rows], self._states[:rows]
            step = DecodeStep(self.model, self._pool, self._kernel, width, logits, states, self.taps)
            self._pad(step.inputs.open().numpy(), 0)
            step.inputs.send()
            found = self._steps[rows, width] = step, self.recorder.record(step.run)
        return found

    def _pad(self, inputs: np.ndarray, rows: int) -> None:
        inputs[rows:, :2] = 0
        inputs[rows:, 2:] = self._spare

    def _fill(self, step: DecodeStep, spans: Sequence[Span]) -> None:
        inputs = step.inputs.open().numpy()
        width = inputs.shape[1] - 2
        row = 0
        for span in spans:
            end = row + len(span.tokens)
            inputs[row:end, 0] = span.tokens
            inputs[row:end, 1] = range(span.start, span.start + len(span.tokens))
            # Many times as fast as a list into numpy.
            table = np.frombuffer(array("i", span.blocks[:width]), np.int32)
            inputs[row:end, 2 : 2 + len(table)] = table
            inputs[row:end, 2 + len(table) :] = self._spare
            row = end
        self._pad(inputs, row)
        step.inputs.send()


def load_graph_runner(
    model: Transformer | StoredModel, device: torch.device, format: str | None
) -> tuple[GraphRunner, str]:
    """The runner on a device, and what it is, in words. Arguments and errors as place_model."""
    placed, name = place_model(model, device, format)
    runner = GraphRunner(placed)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    return runner, f"graphs, {name} on {where}, attention {runner.attention}"
