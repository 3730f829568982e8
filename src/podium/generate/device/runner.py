"""Steps of the model on one device: those that only go on are replayed in fixed shapes, prompts go as they come.

Knows the model, spans and blocks; no requests. Keys and values lie as TorchRunner lays them, which also computes what
is not replayed.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from podium.generate.device.attention import first_right, kernels
from podium.generate.device.buckets import ROWS, block_bucket, block_buckets, row_bucket
from podium.generate.device.decode import DecodeStep
from podium.generate.device.replay import Recorder
from podium.generate.runner import BLOCK_SIZE, Span, TorchRunner
from podium.models import Transformer

TOGETHER = 8
"""Tokens of one span at most that are replayed as rows of their own, each reading the whole context: guesses. Longer
spans (prompts, appended text) are better read together."""


class GraphRunner(TorchRunner):
    """A step in which no span is longer than a few tokens is one replay of a graph, captured when its shape first
    occurs; all others are computed as TorchRunner does.

    Attributes:
        logits: [ROWS[-1], V] fp32, made by `allocate`: replayed steps fill its first rows, and draws may be captured
            that read them there.

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
        self.logits = self._states = torch.empty(0)

    def allocate(self, blocks: int) -> None:
        super().allocate(blocks + 1)
        self._spare = blocks
        longest = -(-self.model.config.context // self.block_size)
        self._widths = block_buckets(min(blocks, longest))
        self._steps.clear()
        self.logits = torch.zeros(ROWS[-1], self.vocab_size, device=self.device)
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

    def _step_for(self, rows: int, width: int) -> tuple[DecodeStep, Callable[[], None]]:
        found = self._steps.get((rows, width))
        if found is None:
            logits, states = self.logits[:rows], self._states[:rows]
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
