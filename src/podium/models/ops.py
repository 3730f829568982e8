"""Rotation of queries and keys, as one complex product with a hand-written gradient.

Inside the model the two halves that Hugging Face rotates against each other (x[i], x[i + Dh/2]) lie side by side, so
that a pair is one complex number and a rotation one product. Eager autograd of the split form costs eight passes over
memory and short inner loops; this costs one, in either direction. Knows tensors, no modules.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def rotate(x: Tensor, turns: Tensor) -> Tensor:
    """Multiply each neighbouring pair of x [B, T, H, Dh] by its unit complex number in turns [B or 1, T, 1, Dh/2]."""
    return _Rotate.apply(x, turns)  # pyright: ignore[reportReturnType]


def split_rotate(qkv: Tensor, turns: Tensor, kv_heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """q, k and v out of qkv [B, T, H + 2 Hkv, Dh], q and k rotated."""
    return _SplitRotate.apply(qkv, turns, kv_heads)  # pyright: ignore[reportReturnType]


def _pairs(x: Tensor) -> Tensor:
    # Complex numbers come in fp32; in lower precision the product is made in fp32 and rounded once.
    x = x.float()
    if x.stride(-1) != 1 or x.storage_offset() % 2 or any(stride % 2 for stride in x.stride()[:-1]):
        x = x.contiguous()
    return torch.view_as_complex(x.unflatten(-1, (-1, 2)))


def _turn_into(out: Tensor, x: Tensor, turns: Tensor) -> None:
    if out.dtype == torch.float32:
        torch.mul(_pairs(x), turns, out=_pairs(out))
    else:
        out.copy_(torch.view_as_real(_pairs(x) * turns).flatten(-2))


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, turns: Tensor) -> Tensor:
        ctx.save_for_backward(turns)
        out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        _turn_into(out, x, turns)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (turns,) = ctx.saved_tensors
        out = torch.empty(grad.shape, dtype=grad.dtype, device=grad.device)
        _turn_into(out, grad, turns.conj_physical())
        return out, None


class _SplitRotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor, turns: Tensor, kv_heads: int) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(turns)
        batch, length, heads, size = qkv.shape
        rotated = torch.empty((batch, length, heads - kv_heads, size), dtype=qkv.dtype, device=qkv.device)
        _turn_into(rotated, qkv[:, :, :-kv_heads], turns)
        return rotated[:, :, :-kv_heads], rotated[:, :, -kv_heads:], qkv[:, :, -kv_heads:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        turns = ctx.saved_tensors[0].conj_physical()
        grad_q, grad_k, grad_v = grads
        batch, length, heads, size = grad_q.shape
        kv_heads = grad_k.shape[2]
        # One buffer for all three: the gradient of a split would be a concatenation.
        out = torch.empty((batch, length, heads + 2 * kv_heads, size), dtype=grad_q.dtype, device=grad_q.device)
        _turn_into(out[:, :, :heads], grad_q, turns)
        _turn_into(out[:, :, heads:-kv_heads], grad_k, turns)
        out[:, :, -kv_heads:].copy_(grad_v)
        return out, None, None
