"""Weights into the stack: rounded to a format, in the order that the C kernels read them.

Knows the model's parts and the stack's; no steps. A model's layers come one at a time, and so is each rounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor

from podium.errors import CompleterError
from podium.generate.formats import WEIGHT_FORMATS
from podium.generate.native.stack import Stack
from podium.models.experts import MixtureOfExperts

if TYPE_CHECKING:
    from podium.generate.layered import LayeredModel
    from podium.models import TransformerConfig
    from podium.models.transformer import Block, FeedForward, Transformer

_GROUP = 32  # inputs per scale in w4a16
_GATE_ROWS = 16
_ROWS_AT_ONCE = 1024  # of a matrix while it is packed
_QKV, _OUTPUT, _GATE_UP, _DOWN, _HEAD, _ROUTER = range(6)  # StackPart
_ATTENTION_NORM, _MLP_NORM, _QUERY_NORM, _KEY_NORM, _LAST_NORM = range(5)  # StackNorm
_EMBEDDING = (-1, 0)  # its place among what is kept


class Packing:
    """The packed weights of one stack.

    Attributes:
        bytes: held by them, once there are any.
    """

    def __init__(self, stack: Stack, config: TransformerConfig, format: str) -> None:
        self.bytes = 0
        self._stack, self._library = stack.pointer, stack.library
        self._config, self._format = config, WEIGHT_FORMATS[format].number
        self._embedding_type = np.float32 if format == "fp32" else np.float16
        self._kept: dict[tuple[int, int], np.ndarray] = {}  # norms and the embedding, which the stack points to

    @torch.no_grad()
    def load(self, source: LayeredModel) -> None:
        """Round and pack the weights of a model. When it is called again, with a model of the same shape, the new
        weights take the places of the old ones, and no further memory.

        Raises:
            CompleterError: no memory for them.
            InputError: a stored model's weights that hold NaN; of those here, some may be new by then.
        """
        # The largest matrices first, while little else is in memory.
        with source.ends() as model:
            self._pack_ends(model)
        for number in range(self._config.num_hidden_layers):
            self._library.stack_packed()
            with source.layer(number) as block:
                self._pack_layer(number, block)
        self._library.stack_packed()

    # In methods of their own: a name for a weight that was left behind would keep it in memory.

    def _pack_ends(self, model: Transformer) -> None:
        self._norm(_LAST_NORM, 0, model.norm.weight)
        embedding = model.embedding.weight
        table = self._kept.get(_EMBEDDING)
        if table is None:
            table = self._keep(_EMBEDDING, np.empty(embedding.shape, self._embedding_type))
        for part, to in zip(embedding.split(_ROWS_AT_ONCE), _split(table), strict=True):
            to[:] = part.float().numpy().astype(self._embedding_type)
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
            exact = WEIGHT_FORMATS["fp32"].number
            self._matrix(_ROUTER, layer, part.router.weight, None, None, format=exact)
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
        if not target or not target.contents.n:
            chosen = self._format if format is None else format
            if not target or self._library.linear_new(target, chosen, outputs, weight.shape[1], _GROUP):
                raise CompleterError(
                    f"cannot pack a matrix of {outputs} x {weight.shape[1]}", "free memory, or use the torch engine"
                )
            self.bytes += target.contents.bytes
        for begin in range(0, outputs, _ROWS_AT_ONCE):
            end = min(begin + _ROWS_AT_ONCE, outputs)
            some = slice(begin, end) if rows is None else rows[begin:end]
            values = _rows(weight, some)
            shift = None if bias is None else _rows(bias, some)
            self._library.linear_fill(
                target, begin, end - begin, values.ctypes.data, None if shift is None else shift.ctypes.data
            )

    def _norm(self, norm: int, layer: int, weight: Tensor, rows: Tensor | None = None) -> None:
        values = _rows(weight, slice(None) if rows is None else rows)
        kept = self._kept.get((norm, layer))
        if kept is None:
            kept = self._keep((norm, layer), values.copy())
            self._library.stack_set_norm(self._stack, norm, layer, kept.ctypes.data)
        else:
            kept[:] = values

    def _keep(self, name: tuple[int, int], values: np.ndarray) -> np.ndarray:
        self._kept[name] = values
        self.bytes += values.nbytes
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
