"""One query per row over keys and values in paged blocks, in shapes that do not depend on what is in them.

Knows the pool and tables; no model, no requests. The reference gathers the blocks and calls PyTorch's attention: it
runs anywhere. On GPUs a kernel walks the block table in place: FlashAttention 3 where it is installed on a Hopper GPU,
else the one of triton_attention.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from podium.errors import CompleterError


class Paged(NamedTuple):
    """What a step attends to.

    pool: [layers, 2, Hkv, blocks, block_size, Dh], keys and values.
    tables: [R, W] int64; block i of a row's table holds its positions [i * block_size, (i + 1) * block_size).
    positions: [R] int64; a row sees the positions up to its own.
    """

    pool: Tensor
    tables: Tensor
    positions: Tensor


AttendRows: TypeAlias = Callable[[int, Tensor], Tensor]
"""layer, q [R, H, Dh] -> [R, H, Dh]"""

Kernel: TypeAlias = Callable[[Paged], AttendRows]
"""What depends on the step alone is made once, for all layers."""


def gathered(paged: Paged) -> AttendRows:
    """Blocks are copied side by side, as wide as the table, and what lies behind a row's position is masked. The query
    heads that share a key head stand as query rows, so that no key is repeated."""
    pool, tables, positions = paged
    _, _, kv_heads, _, block_size, head_dim = pool.shape
    rows, width = tables.shape
    keys = width * block_size
    flat = tables.reshape(-1)
    unseen = torch.arange(keys, device=pool.device) > positions[:, None]
    mask = torch.zeros(rows, keys, dtype=pool.dtype, device=pool.device).masked_fill(unseen, float("-inf"))
    mask = mask[:, None, None]

    def attend(layer: int, q: Tensor) -> Tensor:
        found = pool[layer].index_select(2, flat).view(2, kv_heads, rows, keys, head_dim)
        k, v = found.transpose(1, 2).unbind(0)
        queries = q.reshape(rows, kv_heads, -1, head_dim)
        return F.scaled_dot_product_attention(queries, k, v, attn_mask=mask).reshape(q.shape)

    return attend


def flash(paged: Paged) -> AttendRows:
    """FlashAttention 3 over the block tables. The number of splits is fixed: a row's sums do not depend on how long
    the others are."""
    from torch.nn.attention.varlen import varlen_attn

    pool, tables, positions = paged
    rows, width = tables.shape
    # The kernel takes any strides: [blocks, block_size, Hkv, Dh] without moving anything.
    paged_pool = pool.permute(0, 1, 3, 4, 2, 5)
    starts = torch.arange(rows + 1, dtype=torch.int32, device=pool.device)
    lengths = (positions + 1).int()
    short_tables = tables.int()

    def attend(layer: int, q: Tensor) -> Tensor:
        keys, values = paged_pool[layer].unbind(0)
        found = varlen_attn(
            q,
            keys,
            values,
            starts,
            None,
            1,
            width * pool.shape[4],
            enable_gqa=q.shape[1] != pool.shape[2],
            seqused_k=lengths,
            block_table=short_tables,
            num_splits=FLASH_SPLITS,
        )
        assert isinstance(found, Tensor)
        return found

    return attend


FLASH_SPLITS = 8
"""Parts of a context that are attended to side by side: one query alone would keep one processor in a hundred busy."""


def _flash_works(device: torch.device) -> bool:
    """Paged attention of torch.nn.attention.varlen: PyTorch 2.12, the flash_attn_interface package, a Hopper GPU."""
    if device.type != "cuda" or torch.cuda.get_device_capability(device)[0] != 9:
        return False
    if importlib.util.find_spec("flash_attn_interface") is None:
        return False
    try:
        attention = importlib.import_module("torch.nn.attention")
        attention.activate_flash_attention_impl("FA3")
    except (AttributeError, ImportError, RuntimeError, ValueError):
        return False  # an older PyTorch, or a package built for another one
    return True


def kernels(device: torch.device) -> list[tuple[str, Kernel]]:
    """Those that can be had on a device, the best first; the last one always can."""
    found: list[tuple[str, Kernel]] = [("gathered", gathered)]
    if device.type == "cuda" and importlib.util.find_spec("triton") is not None:
        from podium.generate.device.triton_attention import in_place

        found.insert(0, ("triton", in_place))
    if _flash_works(device):
        found.insert(0, ("flash", flash))
    return found


TOLERANCE = 2e-2
"""Of attention in bf16 over values of unit variance, against fp32: half of that is what rounding the result costs."""


@torch.inference_mode()
def first_right(
    candidates: Sequence[tuple[str, Kernel]],
    device: torch.device,
    dtype: torch.dtype,
    heads: int,
    kv_heads: int,
    size: int,
) -> tuple[str, Kernel]:
    """The first of `candidates` that computes, on random blocks, what attention row by row in fp32 gives.

    A kernel that was built for something else is left out here, not found out by its answers.

    Args:
        size: of a head.

    Raises:
        CompleterError: none does.
    """
    generator = torch.Generator().manual_seed(0)
    pool = torch.randn(1, 2, kv_heads, 9, 32, size, generator=generator).to(dtype).float()
    tables = torch.stack([torch.randperm(9, generator=generator)[:4] for _ in range(5)])
    positions = torch.tensor([0, 31, 32, 100, 127])
    q = torch.randn(5, heads, size, generator=generator).to(dtype).float()
    expected = []
    for row, position in enumerate(positions.tolist()):
        k, v = pool[0][:, :, tables[row]].flatten(2, 3)[:, :, : position + 1].repeat_interleave(heads // kv_heads, 1)
        weights = torch.einsum("hd,hkd->hk", q[row], k).div(size**0.5).softmax(-1)
        expected.append(torch.einsum("hk,hkd->hd", weights, v))
    wanted = torch.stack(expected)
    paged = Paged(pool.to(device, dtype), tables.to(device), positions.to(device))
    for name, kernel in candidates:
        try:
            # Triton starts kernels on the current GPU, whichever the tensors are on.
            with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
                found = kernel(paged)(0, q.to(device, dtype)).float().cpu()
        except Exception:
            continue  # not for this device, dtype or shape; each library and compiler says so in its own way
        if (found - wanted).abs().max() < TOLERANCE:
            return name, kernel
    raise CompleterError(
        f"attention on {device} in {dtype} does not give what it should", "use --device cpu, and report this"
    )
