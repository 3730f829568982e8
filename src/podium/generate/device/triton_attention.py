"""Paged attention of one query per row in Triton: keys and values are read once, where they lie.

Knows pointers and strides. One program attends for all query heads of a key head to one part of a row's context (parts
are attended to side by side, as in Flash-Decoding; the running softmax is arXiv:2205.14135, section 3.1); a second
kernel puts the parts together. How a context is cut depends on its own length alone.
"""

# pyright: reportMissingImports=false, reportArgumentType=false, reportIndexIssue=false
# Triton comes with PyTorch for CUDA, and its functions are no Python.

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl
from torch import Tensor

if TYPE_CHECKING:
    from podium.generate.device.attention import AttendRows, Paged

PARTS = 16
"""Of a context. A single row of four key heads gives 64 programs to a GPU of some hundred processors."""


@triton.jit
def _attend_part(
    queries,
    keys,
    values,
    tables,
    positions,
    sums,
    largest,
    totals,
    table_stride,
    position_stride,
    head_stride,
    block_stride,
    scale,
    GROUP: tl.constexpr,
    PADDED: tl.constexpr,  # GROUP, up to what a product of matrices takes
    BLOCK: tl.constexpr,
    SIZE: tl.constexpr,
    PARTS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    row, head, part = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64), tl.program_id(2)
    heads = tl.num_programs(1)
    position = tl.load(positions + row * position_stride)
    blocks = position // BLOCK + 1
    each = (blocks + PARTS - 1) // PARTS
    first = part * each
    last = tl.minimum(first + each, blocks)
    group, size, inside = tl.arange(0, PADDED), tl.arange(0, SIZE), tl.arange(0, BLOCK)
    real = group < GROUP
    at = ((row * heads + head) * GROUP + group)[:, None] * SIZE + size[None, :]
    q = tl.load(queries + at, mask=real[:, None], other=0.0)
    top = tl.full([PADDED], float("-inf"), tl.float32)
    total = tl.zeros([PADDED], tl.float32)
    found = tl.zeros([PADDED, SIZE], tl.float32)
    for i in range(first, last):
        block = tl.load(tables + row * table_stride + i)
        where = head * head_stride + block * block_stride + inside[:, None] * SIZE + size[None, :]
        k = tl.load(keys + where)
        scores = tl.dot(q, tl.trans(k), input_precision=PRECISION) * scale
        scores = tl.where((i * BLOCK + inside <= position)[None, :], scores, float("-inf"))
        higher = tl.maximum(top, tl.max(scores, 1))
        weights = tl.exp(scores - higher[:, None])
        shrunk = tl.exp(top - higher)
        v = tl.load(values + where)
        total = total * shrunk + tl.sum(weights, 1)
        found = found * shrunk[:, None] + tl.dot(weights.to(v.dtype), v, input_precision=PRECISION)
        top = higher
    out = ((row * heads + head) * GROUP + group) * PARTS + part
    tl.store(sums + out[:, None] * SIZE + size[None, :], found, mask=real[:, None])
    tl.store(largest + out, top, mask=real)
    tl.store(totals + out, total, mask=real)


@triton.jit
def _join_parts(sums, largest, totals, found, SIZE: tl.constexpr, PARTS: tl.constexpr):
    query = tl.program_id(0).to(tl.int64)
    part, size = tl.arange(0, PARTS), tl.arange(0, SIZE)
    top = tl.load(largest + query * PARTS + part)
    # The first part is never empty; those that are weigh nothing.
    weights = tl.exp(top - tl.max(top, 0))
    total = tl.sum(weights * tl.load(totals + query * PARTS + part), 0)
    each = tl.load(sums + (query * PARTS + part)[:, None] * SIZE + size[None, :])
    result = tl.sum(each * weights[:, None], 0) / total
    tl.store(found + query * SIZE + size, result.to(found.dtype.element_ty))


def in_place(paged: Paged) -> AttendRows:
    """See attention.Kernel. Raises ValueError for heads whose size is not a power of two of 16 or more."""
    pool, tables, positions = paged
    _, _, kv_heads, _, block_size, size = pool.shape
    if size < 16 or size & (size - 1):
        raise ValueError(f"heads of size {size}")
    rows = len(tables)
    precision = "ieee" if pool.dtype == torch.float32 else "tf32"

    def attend(layer: int, q: Tensor) -> Tensor:
        q = q.contiguous()
        keys, values = pool[layer].unbind(0)
        heads = q.shape[1]
        sums = torch.empty(rows * heads, PARTS, size, dtype=torch.float32, device=q.device)
        largest, totals = sums.new_empty(2, rows * heads, PARTS).unbind(0)
        found = torch.empty_like(q)
        _attend_part[rows, kv_heads, PARTS](
            q,
            keys,
            values,
            tables,
            positions,
            sums,
            largest,
            totals,
            tables.stride(0),
            positions.stride(0),
            keys.stride(0),
            keys.stride(1),
            size**-0.5,
            GROUP=heads // kv_heads,
            PADDED=max(16, 1 << (heads // kv_heads - 1).bit_length()),
            BLOCK=block_size,
            SIZE=size,
            PARTS=PARTS,
            PRECISION=precision,
        )
        _join_parts[(rows * heads,)](sums, largest, totals, found, SIZE=size, PARTS=PARTS)
        return found

    return attend
