"""The model on the CPU as one C call per step: weights packed in a format, keys and values in paged blocks.

Knows models, spans and blocks; no requests, no sampling. See stack.h for what a step promises; the bits of a token
depend on its own sequence alone.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
import torch
from torch import Tensor

from podium.errors import CompleterError, InputError, nearest
from podium.generate.native.build import native_library
from podium.generate.native.linear import CLinear
from podium.generate.sampling import Settings, choose, repeated
from podium.models import StoredModel
from podium.models.experts import MixtureOfExperts

if TYPE_CHECKING:
    from podium.answering.protocol import Sampling
    from podium.generate.runner import Span
    from podium.generate.sampling import Chosen, Top
    from podium.models.transformer import Block, FeedForward, Transformer

FORMATS: dict[str, int] = {"fp32": 0, "fp16": 1, "int8": 2, "w8a16": 3, "w4a16": 4, "fp8": 5, "bf16": 6}  # LinearFormat
BLOCK_SIZE = 32  # BLOCK
_GROUP = 32  # inputs per scale in w4a16
_GATE_ROWS = 16
_MAX_HEAD_DIM = 256
_ROWS_AT_ONCE = 1024  # of a matrix while it is packed
_QKV, _OUTPUT, _GATE_UP, _DOWN, _HEAD, _ROUTER = range(6)  # StackPart
_ATTENTION_NORM, _MLP_NORM, _QUERY_NORM, _KEY_NORM, _LAST_NORM = range(5)  # StackNorm


class _Shape(ctypes.Structure):
    _fields_ = (
        ("layers", ctypes.c_int),
        ("hidden", ctypes.c_int),
        ("inner", ctypes.c_int),
        ("heads", ctypes.c_int),
        ("kv_heads", ctypes.c_int),
        ("head_dim", ctypes.c_int),
        ("vocabulary", ctypes.c_int),
        ("qk_norm", ctypes.c_int),
        ("half_cache", ctypes.c_int),
        ("half_embedding", ctypes.c_int),
        ("eps", ctypes.c_float),
        ("experts", ctypes.c_int),
        ("active", ctypes.c_int),
        ("expert_inner", ctypes.c_int),
        ("normalised", ctypes.c_int),
    )


class _Step(ctypes.Structure):
    _fields_ = (
        ("spans", ctypes.c_int),
        ("tokens", ctypes.c_void_p),
        ("starts", ctypes.c_void_p),
        ("counts", ctypes.c_void_p),
        ("wanted", ctypes.c_void_p),
        ("lengths", ctypes.c_void_p),
        ("blocks", ctypes.c_void_p),
    )


class _Held:
    """A model in memory, as StoredModel shows one on disk."""

    def __init__(self, model: Transformer) -> None:
        self.model, self.config = model, model.config

    @contextmanager
    def layer(self, number: int) -> Iterator[Block]:
        yield cast("Block", self.model.layers[number])

    @contextmanager
    def ends(self) -> Iterator[Transformer]:
        yield self.model


class _Draw(ctypes.Structure):
    _fields_ = (
        ("rows", ctypes.c_int),
        ("parts", ctypes.c_int),
        ("part", ctypes.c_void_p),
        ("guess", ctypes.c_void_p),
        ("row", ctypes.c_void_p),
        ("ask", ctypes.c_void_p),
        ("logits", ctypes.c_void_p),
        ("plain", ctypes.c_void_p),
        ("token", ctypes.c_void_p),
        ("logprob", ctypes.c_void_p),
        ("logsum", ctypes.c_void_p),
    )


_ASK = np.dtype(  # DrawAsk
    [("temperature", "f4"), ("top_p", "f4"), ("min_p", "f4"), ("seed", "u8"), ("number", "u8")], align=True
)


class _Drawn:
    """Arrays that the C code reads and fills for up to `room` rows: the first ones of the logits, each of another
    completion, unless something else is written there."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.rows, self.parts = np.arange(room, dtype=np.int32), np.arange(room + 1, dtype=np.int32)
        self.guesses, self.asks = np.full(room, -1, np.int32), np.zeros(room, _ASK)
        self.numbers = self.asks["number"]
        self.tokens, self.logprobs, self.logsums = (np.empty(room, kind) for kind in (np.int32, np.float32, np.float32))
        self.single = self.parts.ctypes.data
        arrays = self.guesses, self.rows, self.asks, self.tokens, self.logprobs, self.logsums
        guess, row, ask, token, logprob, logsum = (array.ctypes.data for array in arrays)
        self.call = _Draw(0, 0, self.single, guess, row, ask, None, None, token, logprob, logsum)


class _Asks:
    """The settings of some rows as the C code reads them; rows with top-k, which it does not know, are left out."""

    def __init__(self, samplings: Sequence[Sampling]) -> None:
        self.known = np.array([not s.top_k or not s.temperature for s in samplings], bool)
        self.asks = np.array([(s.temperature, s.top_p, s.min_p, s.seed & (1 << 64) - 1, 0) for s in samplings], _ASK)
        self.tops = any(s.top_logprobs for s in samplings)
        self.simple = bool(self.known.all())


def missing(model: Transformer | StoredModel) -> str | None:
    """Why this model cannot be run by C kernels here, or None."""
    size = model.config.head_dim
    if model.config.rope.kind == "dynamic":
        return "rope_type 'dynamic' turns a position by other angles in longer texts"
    if not isinstance(model, StoredModel) and model.embedding.weight.device.type != "cpu":
        return f"the model is on {model.embedding.weight.device}"
    if size % 8 or not 8 <= size <= _MAX_HEAD_DIM:
        return f"head_dim {size} is not a multiple of 8 up to {_MAX_HEAD_DIM}"
    native = native_library()
    return native.reason if native.library is None else None


class NativeRunner:
    """Steps of `model` computed in C by `threads` threads (the caller's own and sleepers woken for each step).

    Weights are rounded to `format` (all matrices, the head too; embedding lookups are fp16, in fp32 fp32; norms and
    sums fp32), keys and values to `kv`. Of a StoredModel one layer at a time is in memory beside what is packed.

    Raises:
        CompleterError: no C library here, or a shape that it does not know.
        InputError: unknown format or kv, threads below 1.
    """

    block_size = BLOCK_SIZE
    invariant = True

    def __init__(
        self,
        model: Transformer | StoredModel,
        *,
        format: str = "fp16",
        threads: int,
        kv: Literal["fp32", "fp16"] = "fp16",
    ) -> None:
        if format not in FORMATS:
            raise InputError(f"unknown weight format {format!r}", nearest(format, FORMATS))
        if kv not in ("fp32", "fp16"):
            raise InputError(f"unknown kv format {kv!r}", "known: fp16, fp32")
        if threads < 1:
            raise InputError(f"threads is {threads}", "it must be at least 1")
        config = model.config
        if reason := missing(model):
            raise CompleterError(f"the native engine cannot be had: {reason}", "use the torch engine")
        self.vocab_size, self.state_size = config.vocab_size, config.hidden_size
        self.threads = threads
        library = native_library().library
        assert library is not None
        self._library = _declare(library)
        self._config, self._format = config, FORMATS[format]
        half = format != "fp32"
        mixture = config.mixture
        experts = (
            (mixture.experts, mixture.active, mixture.intermediate_size, mixture.normalised) if mixture else (0,) * 4
        )
        shape = _Shape(
            config.num_hidden_layers,
            config.hidden_size,
            config.intermediate_size,
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
            config.vocab_size,
            config.block(0).qk_norm,
            kv == "fp16",
            half,
            config.rms_norm_eps,
            *experts,
        )
        stack = self._library.stack_new(ctypes.byref(shape))
        if not stack:
            raise CompleterError("no memory for the native engine", "free some, or use a smaller model")
        self._stack = ctypes.c_void_p(stack)
        self._kept: list[np.ndarray] = []  # what the stack points to
        self._process = os.getpid()
        weakref.finalize(self, _free, self._library, stack, self._process)
        self._linear_bytes = 0
        stored = model if isinstance(model, StoredModel) else _Held(model)
        self._pack(stored, np.float16 if half else np.float32)
        self.weight_bytes = self._linear_bytes + sum(kept.nbytes for kept in self._kept)
        self.block_bytes: int = self._library.stack_block_bytes(self._stack)
        self._rope = stored.model.rope
        self._positions = 0
        self._angles: tuple[np.ndarray, ...] = ()
        self._pool = np.zeros(0, np.uint8)
        self._logits, self._states = torch.empty(0, self.vocab_size), torch.empty(0, self.state_size)
        self._logits_at = self._states_at = 0
        self._told, self._rows = (self._logits, self._states), 0
        self._step = _Step()
        self._step_pointer = ctypes.byref(self._step)
        self._drawn = _Drawn(64)
        self._samplings: Sequence[Sampling] = ()
        self._asks = _Asks(())
        self._start_threads()

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
        self._own_threads()
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
        return self._told

    def _make_room(self, rows: int) -> None:
        """What the next step says of `rows` places is kept from step to step: the system would have to find and clear
        these pages anew each time."""
        if rows > len(self._states):
            self._logits = torch.empty(rows, self.vocab_size)
            self._states = torch.empty(rows, self.state_size)
            self._logits_at, self._states_at = self._logits.data_ptr(), self._states.data_ptr()
        self._told = self._logits[:rows], self._states[:rows]
        self._rows = rows

    def choose(
        self,
        logits: Tensor,
        samplings: Sequence[Sampling],
        counts: Sequence[int],
        counters: Sequence[int],
        adjusted: Tensor | None = None,
        guesses: Sequence[int] | None = None,
    ) -> Chosen:
        """See Runner. In C but for rows with top-k."""
        if samplings is not self._samplings:
            self._samplings, self._asks = samplings, _Asks(samplings)
        logits = logits.contiguous()
        drawn_from = logits if adjusted is None else adjusted.contiguous()
        asks, rows = self._asks, len(counters)
        if not asks.simple or asks.tops:
            of_row = np.repeat(np.arange(len(samplings)), counts)
            return self._choose_all(logits, drawn_from, repeated(samplings, counts), of_row, counters)
        drawn = self._drawn if rows <= self._drawn.room else self._more_room(rows)
        drawn.asks[:rows] = asks.asks if rows == len(counts) or len(counts) == 1 else asks.asks.repeat(counts)
        drawn.numbers[:rows] = counters
        call = drawn.call
        if guesses is None:
            self._call_draw(call, rows, rows, logits, drawn_from)
        else:
            drawn.guesses[:rows] = guesses
            ends = array("i", (0, *accumulate(counts)))
            call.part = ends.buffer_info()[0]
            self._call_draw(call, rows, len(counts), logits, drawn_from)
            call.part = drawn.single
            drawn.guesses[:rows] = -1
        return drawn.tokens[:rows].tolist(), drawn.logprobs[:rows].tolist(), [()] * rows

    def _more_room(self, rows: int) -> _Drawn:
        self._drawn = _Drawn(2 * rows)
        return self._drawn

    def _choose_all(
        self,
        logits: Tensor,
        drawn_from: Tensor,
        samplings: Sequence[Sampling],
        of_row: np.ndarray,
        counters: Sequence[int],
    ) -> Chosen:
        """With rows that C does not know, or likeliest tokens to tell."""
        found, shown = np.empty(len(samplings), np.int64), np.empty(len(samplings))
        tops: list[Top] = [()] * len(samplings)
        known = self._asks.known[of_row]
        rows, others = np.flatnonzero(known).astype(np.int32), np.flatnonzero(~known).tolist()
        numbers = [counters[i] for i in rows.tolist()]
        found[rows], shown[rows], logsums = self._draw(logits, drawn_from, rows, self._asks.asks[of_row[rows]], numbers)
        for row, logsum in zip(rows.tolist(), logsums, strict=True):
            if count := samplings[row].top_logprobs:
                values, ids = logits[row].topk(min(count, self.vocab_size))
                best = values.numpy()
                # The same roundings as in C: a token has one log-probability, wherever it is told.
                tops[row] = tuple(zip(ids.tolist(), (best - best[0] - logsum).tolist(), strict=True))
        if others:
            settings = Settings([samplings[i] for i in others], torch.device("cpu"))
            chosen = choose(logits[others], settings, [counters[i] for i in others], drawn_from[others])
            found[others], shown[others] = chosen[:2]
            for row, top in zip(others, chosen[2], strict=True):
                tops[row] = top
        return found.tolist(), shown.tolist(), tops

    def _draw(
        self, logits: Tensor, drawn_from: Tensor, rows: np.ndarray, asks: np.ndarray, counters: Sequence[int]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Tokens, log-probabilities, and the logarithms of the sums of exp(logit - largest)."""
        asks["number"] = counters
        drawn = _Drawn(len(rows))
        drawn.rows[:], drawn.asks[:] = rows, asks
        self._call_draw(drawn.call, len(rows), len(rows), logits, drawn_from)
        return drawn.tokens, drawn.logprobs, drawn.logsums

    def _call_draw(self, call: _Draw, rows: int, parts: int, logits: Tensor, drawn_from: Tensor) -> None:
        call.rows, call.parts = rows, parts
        call.logits, call.plain = drawn_from.data_ptr(), logits.data_ptr()
        self._own_threads()
        if self._library.stack_draw(self._stack, ctypes.byref(call)):
            raise CompleterError("no memory to draw a token", "free some, or use a smaller model")

    def seconds(self) -> dict[str, float]:
        """Wall seconds so far by part of the steps."""
        seconds = (ctypes.c_double * 3)()
        self._library.stack_seconds(self._stack, seconds)
        return dict(zip(("linear", "attention", "rest"), seconds, strict=True))

    def _own_threads(self) -> None:
        if os.getpid() != self._process:
            # A fork copies the memory of the threads, not the threads.
            self._process = os.getpid()
            self._start_threads()

    def _start_threads(self) -> None:
        if self._library.stack_start_threads(self._stack, self.threads):
            raise CompleterError(f"cannot start {self.threads} threads", "ask for fewer")

    def _extend_angles(self, positions: int) -> None:
        room = max(positions, min(2 * positions, self._config.context), 256)
        turns = self._rope.turns(torch.arange(room)[None])[0, :, 0]
        self._angles = tuple(np.ascontiguousarray(part.numpy(), np.float32) for part in (turns.real, turns.imag))
        self._library.stack_set_angles(self._stack, *(part.ctypes.data for part in self._angles), room)
        self._positions = room

    @torch.no_grad()
    def _pack(self, stored: StoredModel | _Held, embedding_type: type[np.floating]) -> None:
        # The largest matrices first, while little else is in memory.
        with stored.ends() as model:
            self._pack_ends(model, embedding_type)
        for number in range(self._config.num_hidden_layers):
            self._library.stack_packed()
            with stored.layer(number) as block:
                self._pack_layer(number, block)
        self._library.stack_packed()

    # In methods of their own: a name for a weight that was left behind would keep it in memory.

    def _pack_ends(self, model: Transformer, embedding_type: type[np.floating]) -> None:
        self._norm(_LAST_NORM, 0, model.norm.weight)
        embedding = model.embedding.weight
        table = self._keep(np.empty(embedding.shape, embedding_type))
        for part, to in zip(embedding.split(_ROWS_AT_ONCE), _split(table), strict=True):
            to[:] = part.float().numpy().astype(embedding_type)
        self._library.stack_set_embedding(self._stack, table.ctypes.data)
        self._matrix(_HEAD, 0, embedding if model.unembedding is None else model.unembedding.weight, None, None)

    def _pack_layer(self, number: int, block: Block) -> None:
        config = self._config
        heads, kv_heads, size = config.num_attention_heads, config.num_key_value_heads, config.head_dim
        attention = block.attention
        turned = (heads + kv_heads) * size
        rows = torch.arange(turned + kv_heads * size)
        # The model keeps the two halves of a head that rotate against each other interleaved.
        rows[:turned] = rows[:turned].view(-1, size // 2, 2).transpose(1, 2).reshape(-1)
        for part, linear, order in (
            (_QKV, attention.qkv, rows),
            (_OUTPUT, attention.output, None),
        ):
            self._matrix(part, number, linear.weight, linear.bias, order)
        self._pack_feed_forward(number, block.feed_forward)
        self._library.stack_set_window(self._stack, number, config.window(number))
        self._norm(_ATTENTION_NORM, number, block.attention_norm.weight)
        self._norm(_MLP_NORM, number, block.feed_forward_norm.weight)
        if attention.q_norm is not None and attention.k_norm is not None:
            halves = torch.arange(size).view(-1, 2).t().reshape(-1)
            self._norm(_QUERY_NORM, number, attention.q_norm.weight, halves)
            self._norm(_KEY_NORM, number, attention.k_norm.weight, halves)

    def _pack_feed_forward(self, layer: int, part: FeedForward | MixtureOfExperts) -> None:
        if isinstance(part, MixtureOfExperts):
            # Never rounded: a router's rounding would send tokens to other experts.
            self._matrix(_ROUTER, layer, part.router.weight, None, None, format=FORMATS["fp32"])
        experts = enumerate(part.experts) if isinstance(part, MixtureOfExperts) else [(None, part)]
        for number, one in experts:
            one = cast("FeedForward", one)
            order = _gate_up_rows(one.down.in_features)
            self._matrix(_GATE_UP, layer, one.gate_up.weight, one.gate_up.bias, order, expert=number)
            self._matrix(_DOWN, layer, one.down.weight, one.down.bias, None, expert=number)

    def _matrix(
        self,
        part: int,
        layer: int,
        weight: Tensor,
        bias: Tensor | None,
        rows: Tensor | None,
        *,
        expert: int | None = None,
        format: int | None = None,
    ) -> None:
        """Pack weight[rows] and bias[rows]; row -1 stands for zeros."""
        outputs = len(weight) if rows is None else len(rows)
        if expert is None:
            target = self._library.stack_linear(self._stack, part, layer)
        else:
            target = self._library.stack_expert(self._stack, part, layer, expert)
        chosen = self._format if format is None else format
        if not target or self._library.linear_new(target, chosen, outputs, weight.shape[1], _GROUP):
            raise CompleterError(
                f"cannot pack a matrix of {outputs} x {weight.shape[1]}", "free memory, or use the torch engine"
            )
        for begin in range(0, outputs, _ROWS_AT_ONCE):
            end = min(begin + _ROWS_AT_ONCE, outputs)
            some = slice(begin, end) if rows is None else rows[begin:end]
            values = _rows(weight, some)
            shift = None if bias is None else _rows(bias, some)
            self._library.linear_fill(
                target, begin, end - begin, values.ctypes.data, None if shift is None else shift.ctypes.data
            )
        self._linear_bytes += target.contents.bytes

    def _norm(self, norm: int, layer: int, weight: Tensor, rows: Tensor | None = None) -> None:
        kept = self._keep(_rows(weight, slice(None) if rows is None else rows).copy())
        self._library.stack_set_norm(self._stack, norm, layer, kept.ctypes.data)

    def _keep(self, values: np.ndarray) -> np.ndarray:
        self._kept.append(values)
        return values


def _rows(values: Tensor, some: slice | Tensor) -> np.ndarray:
    found = values[some].float()
    if isinstance(some, Tensor):
        found[some < 0] = 0.0
    return np.ascontiguousarray(found.numpy())


def _split(table: np.ndarray) -> Iterator[np.ndarray]:
    return (table[begin : begin + _ROWS_AT_ONCE] for begin in range(0, len(table), _ROWS_AT_ONCE))


def _gate_up_rows(inner: int) -> Tensor:
    """Rows of the fused matrix in the stack's order: 16 of gate, 16 of up, ...; -1 where both are filled up."""
    gate = torch.full((-(-inner // _GATE_ROWS) * _GATE_ROWS,), -1)
    gate[:inner] = torch.arange(inner)
    up = torch.where(gate < 0, gate, gate + inner)
    return torch.stack([gate.view(-1, _GATE_ROWS), up.view(-1, _GATE_ROWS)], dim=1).reshape(-1)


def _declare(library: ctypes.CDLL) -> ctypes.CDLL:
    pointer, whole = ctypes.c_void_p, ctypes.c_int
    for name, arguments, result in (
        ("stack_new", (pointer,), pointer),
        ("stack_free", (pointer,), None),
        ("stack_linear", (pointer, whole, whole), ctypes.POINTER(CLinear)),
        ("stack_expert", (pointer, whole, whole, whole), ctypes.POINTER(CLinear)),
        ("stack_set_norm", (pointer, whole, whole, pointer), None),
        ("stack_set_window", (pointer, whole, whole), None),
        ("stack_set_embedding", (pointer, pointer), None),
        ("stack_set_taps", (pointer, whole, pointer), None),
        ("stack_set_angles", (pointer, pointer, pointer, whole), None),
        ("stack_set_pool", (pointer, pointer, whole), None),
        ("stack_packed", (), None),
        ("stack_block_bytes", (pointer,), ctypes.c_size_t),
        ("stack_copy_block", (pointer, whole, whole), None),
        ("stack_start_threads", (pointer, whole), whole),
        ("stack_step", (pointer, pointer, pointer, pointer), whole),
        ("stack_draw", (pointer, pointer), whole),
        ("stack_seconds", (pointer, pointer), None),
        ("linear_new", (pointer, whole, whole, whole, whole), whole),
        ("linear_fill", (pointer, whole, whole, pointer, pointer), None),
    ):
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, result
    return library


def _free(library: ctypes.CDLL, stack: int, process: int) -> None:
    # In a forked child there are no threads to wait for; the pages are the parent's.
    if os.getpid() == process:
        library.stack_free(stack)
