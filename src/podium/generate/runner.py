"""Computing one step: some tokens of some sequences, over a pool of key/value blocks.

Knows the model and the pool; no requests, no sampling, no block's meaning. `Runner` is what the engine asks for;
`TorchRunner` does it with torch alone, on any device and in any dtype, and is the reference for faster ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from podium.models.transformer import Transformer

BLOCK_SIZE = 32


@dataclass(slots=True)
class Span:
    """Consecutive tokens of one sequence, to be computed in this step."""

    tokens: Sequence[int]  # at least one
    start: int  # position of the first
    blocks: Sequence[int]  # block i of the table holds positions [i * block_size, (i + 1) * block_size)
    wanted: int = 1  # logits are returned for this many of the last tokens
    prompt: int = 0  # tokens that the sequence began with, all of which are computed as if at once


class Runner(Protocol):
    """Attributes:
    block_size: positions per block.
    block_bytes: of the keys and values of one block, over all layers.
    invariant: a token's logits depend on its own sequence alone, to the last bit: not on what else is in the step,
        nor on how the sequence was cut into spans.
    state_size: of a state, in numbers.
    weight_bytes: of the weights held.
    """

    block_size: int
    block_bytes: int
    invariant: bool
    vocab_size: int
    state_size: int
    weight_bytes: int

    def tap(self, layers: tuple[int, ...]) -> None:
        """States hold the outputs of these layers, too, from now on; called before `allocate`."""
        ...

    def allocate(self, blocks: int) -> None:
        """Make the pool. Its memory is touched only as blocks are used."""
        ...

    def copy(self, source: int, target: int) -> None:
        """Make block `target` equal to block `source`."""
        ...

    def step(self, spans: Sequence[Span]) -> tuple[Tensor, Tensor]:
        """Compute all spans. Keys and values of all tokens are written before any are read; a token sees the positions
        up to its own. Two spans may share blocks as long as neither writes to them.

        Returns:
            Logits [W, V] and states [W, state_size], both fp32; W is the sum of `wanted`, in order. A state is that
            after the last norm, and behind it the output of each tapped layer. The next step may write over both.
        """
        ...


class _Group(NamedTuple):
    """Spans of equal length attended to in one call."""

    rows: int
    length: int
    where: Tensor  # [rows * length] places of their tokens in the step
    tables: Tensor  # [rows * blocks]
    masks: dict[int, Tensor]  # by window [rows, 1, heads per key head * length, keys], added to the scores


class TorchRunner:
    """The model's own modules over a pool of torch tensors.

    All tokens of a step go through the layers together. For attention, blocks are gathered; the query heads that share
    a key head stand as query rows, so that no key is repeated. Results are equal up to rounding only: matrix products
    round differently for different numbers of rows.
    """

    invariant = False

    def __init__(self, model: Transformer, block_size: int = BLOCK_SIZE) -> None:
        config = model.config
        weight = model.embedding.weight
        self.model = model
        self.block_size = block_size
        self.vocab_size, self.state_size = config.vocab_size, config.hidden_size
        self.taps: tuple[int, ...] = ()
        self.device, self.dtype = weight.device, weight.dtype
        self.layers, self.kv_heads, self.head_dim = (
            config.num_hidden_layers,
            config.num_key_value_heads,
            config.head_dim,
        )
        self.group = config.num_attention_heads // self.kv_heads
        self.windows = {config.window(layer) for layer in range(self.layers)}
        self.block_bytes = 2 * self.layers * self.kv_heads * block_size * self.head_dim * self.dtype.itemsize
        self.weight_bytes = sum(parameter.nbytes for parameter in model.parameters())
        self._pool = torch.empty(0)

    def tap(self, layers: tuple[int, ...]) -> None:
        self.taps = layers
        self.state_size = self.model.config.hidden_size * (1 + len(layers))

    def allocate(self, blocks: int) -> None:
        shape = (self.layers, 2, self.kv_heads, blocks, self.block_size, self.head_dim)
        # Zeroed, since the value of a masked key is still multiplied by 0 and must be finite for that. numpy's zeros
        # on the CPU are pages that the system hands out when they are first written to.
        if self.device.type == "cpu":
            self._pool = torch.from_numpy(np.zeros(blocks * self.block_bytes, np.uint8)).view(self.dtype).view(shape)
        else:
            self._pool = torch.zeros(shape, dtype=self.dtype, device=self.device)

    def copy(self, source: int, target: int) -> None:
        self._pool[:, :, :, target] = self._pool[:, :, :, source]

    @torch.inference_mode()
    def step(self, spans: Sequence[Span]) -> tuple[Tensor, Tensor]:
        positions = [np.arange(span.start, span.start + len(span.tokens)) for span in spans]
        slots = [
            np.asarray(span.blocks)[places // self.block_size] * self.block_size + places % self.block_size
            for span, places in zip(spans, positions, strict=True)
        ]
        ends = np.cumsum([len(span.tokens) for span in spans])
        groups = self._groups(spans, positions, ends)
        where = self._on_device(np.concatenate(slots))
        pool = self._pool
        heads = self.group * self.kv_heads

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
            slotted = pool[layer].view(2, self.kv_heads, -1, self.head_dim)
            slotted[0].index_copy_(1, where, k[0].transpose(0, 1))
            slotted[1].index_copy_(1, where, v[0].transpose(0, 1))
            mixed = torch.empty_like(q[0])
            for group in groups:
                rows, length = group.rows, group.length
                gathered = pool[layer].index_select(2, group.tables)
                keys, values = gathered.view(2, self.kv_heads, rows, -1, self.head_dim).transpose(1, 2).unbind(0)
                queries = q[0].index_select(0, group.where)
                queries = queries.view(rows, length, self.kv_heads, self.group, self.head_dim).permute(0, 2, 3, 1, 4)
                found = F.scaled_dot_product_attention(
                    queries.reshape(rows, self.kv_heads, self.group * length, self.head_dim),
                    keys,
                    values,
                    attn_mask=group.masks[window],
                )
                found = found.view(rows, self.kv_heads, self.group, length, self.head_dim).permute(0, 3, 1, 2, 4)
                mixed.index_copy_(0, group.where, found.reshape(-1, heads, self.head_dim))
            return mixed[None]

        states = self.model.hidden(
            self._on_device(np.concatenate([np.asarray(span.tokens) for span in spans]))[None],
            positions=self._on_device(np.concatenate(positions))[None],
            lengths=self._lengths(spans, positions),
            attend=attend,
            taps=self.taps,
        )[0]
        wanted = np.concatenate(
            [np.arange(end - span.wanted, end) for span, end in zip(spans, ends, strict=True)], dtype=np.int64
        )
        states = states.index_select(0, self._on_device(wanted))
        return self.model.head(states[:, : self.model.config.hidden_size]).float(), states.float()

    def _lengths(self, spans: Sequence[Span], positions: list[np.ndarray]) -> Tensor | None:
        """How long each token's text was when transformers would compute it, where RoPE asks for that: the whole prompt
        at once and then token by token. So a token's keys depend neither on other rows nor on how a prompt is cut."""
        if self.model.config.rope.kind != "dynamic":
            return None
        lengths = [np.maximum(places + 1, span.prompt) for span, places in zip(spans, positions, strict=True)]
        return self._on_device(np.concatenate(lengths))[None]

    def _groups(self, spans: Sequence[Span], positions: list[np.ndarray], ends: np.ndarray) -> list[_Group]:
        """Spans of equal length and similar context, so that little of what is gathered is padding."""
        size = self.block_size
        blocks = [-(-(span.start + len(span.tokens)) // size) for span in spans]
        order = sorted(range(len(spans)), key=lambda i: (len(spans[i].tokens), blocks[i]))
        members: list[list[int]] = []
        for i in order:
            first = members[-1][0] if members else i
            if members and len(spans[first].tokens) == len(spans[i].tokens) and blocks[i] <= blocks[first] * 5 // 4 + 1:
                members[-1].append(i)
            else:
                members.append([i])
        return [self._group([spans[i] for i in m], [positions[i] for i in m], ends[m], blocks[m[-1]]) for m in members]

    def _group(self, spans: list[Span], positions: list[np.ndarray], ends: np.ndarray, blocks: int) -> _Group:
        rows, length = len(spans), len(spans[0].tokens)
        tables = np.zeros((rows, blocks), np.int64)
        for table, span in zip(tables, spans, strict=True):
            used = span.blocks[:blocks]
            table[: len(used)] = used
        places = self._on_device(np.stack(positions))
        keys, own = torch.arange(blocks * self.block_size, device=self.device), places[:, :, None]
        masks = {}
        for window in self.windows:
            unseen = (keys > own) | (keys <= own - window) if window else keys > own
            mask = torch.zeros(unseen.shape, dtype=self.dtype, device=self.device).masked_fill_(unseen, float("-inf"))
            masks[window] = mask[:, None, None].expand(-1, -1, self.group, -1, -1).flatten(2, 3)
        where = (ends[:, None] - length + np.arange(length)).ravel()
        return _Group(rows, length, self._on_device(where), self._on_device(tables.ravel()), masks)

    def _on_device(self, numbers: np.ndarray) -> Tensor:
        return torch.from_numpy(numbers.astype(np.int64, copy=False)).to(self.device, non_blocking=True)
