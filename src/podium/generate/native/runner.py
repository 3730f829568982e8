"""The model on the CPU as one C call per step, over keys and values in paged blocks.

Knows models, spans and blocks; no requests, no sampling. See stack.h for what a step promises; the bits of a token
depend on its own sequence alone.
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from podium.errors import CompleterError, InputError, nearest
from podium.generate.formats import WEIGHT_FORMATS
from podium.generate.native.build import native_library
from podium.generate.native.packing import Packing
from podium.generate.native.stack import Stack, StackStep

if TYPE_CHECKING:
    from podium.generate.layered import LayeredModel
    from podium.generate.runner import Span

BLOCK_SIZE = 32  # BLOCK
_MAX_HEAD_DIM = 256


def missing(model: LayeredModel) -> str | None:
    """Why this model cannot be run by C kernels here, or None."""
    size = model.config.head_dim
    if model.config.rope.kind == "dynamic":
        return "rope_type 'dynamic' turns a position by other angles in longer texts"
    if model.device.type != "cpu":
        return f"the model is on {model.device}"
    if size % 8 or not 8 <= size <= _MAX_HEAD_DIM:
        return f"head_dim {size} is not a multiple of 8 up to {_MAX_HEAD_DIM}"
    native = native_library()
    return native.reason if native.library is None else None


class NativeRunner:
    """Steps of `model` computed in C by `threads` threads (the caller's own and sleepers woken for each step).

    Weights are rounded to `format` (all matrices, the head too; embedding lookups are fp16, in fp32 fp32; norms and
    sums fp32), keys and values to `kv`. Of a stored model one layer at a time is in memory beside what is packed.

    Raises:
        CompleterError: no C library here, or a shape that it does not know.
        InputError: unknown format or kv, threads below 1.
    """

    block_size = BLOCK_SIZE
    invariant = True

    def __init__(
        self,
        model: LayeredModel,
        *,
        format: str = "fp16",
        threads: int,
        kv: Literal["fp32", "fp16"] = "fp16",
    ) -> None:
        if format not in WEIGHT_FORMATS:
            raise InputError(f"unknown weight format {format!r}", nearest(format, WEIGHT_FORMATS))
        if kv not in ("fp32", "fp16"):
            raise InputError(f"unknown kv format {kv!r}", "known: fp16, fp32")
        if threads < 1:
            raise InputError(f"threads is {threads}", "it must be at least 1")
        config = model.config
        if reason := missing(model):
            raise CompleterError(f"the native engine cannot be had: {reason}", "use the torch engine")
        self.vocab_size, self.state_size = config.vocab_size, config.hidden_size
        self._config = config
        self.stack = Stack(config, half_cache=kv == "fp16", half_embedding=format != "fp32", threads=threads)
        self._stack, self._library = self.stack.pointer, self.stack.library
        self._packing = Packing(self.stack, config, format)
        self._packing.load(model)
        self.stack.start_threads()
        self.weight_bytes = self._packing.bytes
        self.block_bytes: int = self._library.stack_block_bytes(self._stack)
        self._rope = model.model.rope
        self._positions = 0
        self._angles: tuple[np.ndarray, ...] = ()
        self._pool = np.zeros(0, np.uint8)
        self._logits, self._states = torch.empty(0, self.vocab_size), torch.empty(0, self.state_size)
        self._logits_at = self._states_at = 0
        self._output, self._rows = (self._logits, self._states), 0
        self._step = StackStep()
        self._step_pointer = ctypes.byref(self._step)

    def load_weights(self, model: LayeredModel) -> None:
        """Take the weights of another model of the same shape in place of those here, rounded to the same format; no
        further memory is held. Keys and values in the pool are those of the old weights: the caller forgets them.

        Raises:
            InputError: a model of another shape (nothing is changed), or a stored one that holds NaN (weights may be
                mixed by then).
        """
        if model.config != self._config:
            raise InputError("the new weights are those of a model of another shape", "start a new engine for it")
        if reason := missing(model):
            raise InputError(f"the new weights cannot be taken: {reason}", "move the model to the CPU")
        self._packing.load(model)

    def tap(self, layers: tuple[int, ...]) -> None:
        """See Runner. The last layer cannot be tapped: its output has its norm in a state.

        Raises:
            InputError: a layer that is not below the last.
        """
        if any(not 0 <= layer < self._config.num_hidden_layers - 1 for layer in layers):
            raise InputError(f"taps {layers}", f"layers from 0 to {self._config.num_hidden_layers - 2}")
        self._library.stack_set_taps(self._stack, len(layers), (ctypes.c_int * max(1, len(layers)))(*layers))
        self.state_size = self._config.hidden_size * (1 + len(layers))
        self._states, self._rows = torch.empty(0, self.state_size), -1

    def allocate(self, blocks: int) -> None:
        """A pool of `blocks` blocks, empty. Pages are taken from the system when they are first written."""
        # One line more than asked for, so that it can begin at a multiple of 64 bytes.
        self._pool = np.zeros(blocks * self.block_bytes + 64, np.uint8)
        address = self._pool.ctypes.data
        self._library.stack_set_pool(self._stack, (address + 63) // 64 * 64, blocks)
        self._blocks = blocks

    def copy(self, source: int, target: int) -> None:
        """Block `target` becomes a copy of block `source`, in all layers."""
        for block in (source, target):
            if not 0 <= block < self._blocks:
                raise IndexError(f"block {block} is outside the pool of {self._blocks}")
        self._library.stack_copy_block(self._stack, source, target)

    def step(self, spans: Sequence[Span]) -> tuple[Tensor, Tensor]:
        """Write keys and values of all tokens of the spans; logits [W, V] and states [W, state_size] in fp32 of the
        wanted ones, in order of spans; they hold until the next step.

        Raises:
            IndexError: a token outside the vocabulary, a block outside the pool, or a table too short for its span.
        """
        tokens, tables = array("i"), array("i")
        starts, counts, wanted, lengths = array("i"), array("i"), array("i"), array("i")
        end = rows = 0
        for span in spans:
            count, start, asked = len(span.tokens), span.start, span.wanted
            tokens.extend(span.tokens)
            tables.extend(span.blocks)
            starts.append(start)
            counts.append(count)
            wanted.append(asked)
            lengths.append(len(span.blocks))
            rows += asked if asked < count else count
            if start + count > end:
                end = start + count
        if end > self._positions:
            self._extend_angles(end)
        self.stack.own_threads()
        if rows != self._rows:
            self._make_room(rows)
        step = self._step
        step.spans = len(spans)
        step.tokens, step.blocks = tokens.buffer_info()[0], tables.buffer_info()[0]
        step.starts, step.counts = starts.buffer_info()[0], counts.buffer_info()[0]
        step.wanted, step.lengths = wanted.buffer_info()[0], lengths.buffer_info()[0]
        result = self._library.stack_step(self._stack, self._step_pointer, self._logits_at, self._states_at)
        if result == -1:
            raise CompleterError("no memory for a step of the native engine", "lower its token budget")
        if result:
            raise IndexError(
                {-2: "a token outside the vocabulary", -3: "a block outside the pool or a table too short"}.get(
                    result, "a position below 0 or a span without tokens"
                )
            )
        return self._output

    def _make_room(self, rows: int) -> None:
        """What the next step says of `rows` places is kept from step to step: the system would have to find and clear
        these pages anew each time."""
        if rows > len(self._states):
            self._logits = torch.empty(rows, self.vocab_size)
            self._states = torch.empty(rows, self.state_size)
            self._logits_at, self._states_at = self._logits.data_ptr(), self._states.data_ptr()
        self._output = self._logits[:rows], self._states[:rows]
        self._rows = rows

    def seconds(self) -> dict[str, float]:
        """Wall seconds so far by part of the steps."""
        seconds = (ctypes.c_double * 3)()
        self._library.stack_seconds(self._stack, seconds)
        return dict(zip(("linear", "attention", "rest"), seconds, strict=True))

    def _extend_angles(self, positions: int) -> None:
        room = max(positions, min(2 * positions, self._config.context), 256)
        turns = self._rope.turns(torch.arange(room)[None])[0, :, 0]
        self._angles = tuple(np.ascontiguousarray(part.numpy(), np.float32) for part in (turns.real, turns.imag))
        self._library.stack_set_angles(self._stack, *(part.ctypes.data for part in self._angles), room)
        self._positions = room
