"""Normalisation and feed-forward with hand-written gradients, for training in fp32 on CPUs.

What eager autograd loses there: the gradients of a split and of RMSNorm take a dozen passes over memory, and MKL
multiplies at half its speed into a matrix whose rows do not begin at multiples of 64 bytes (683 columns). What is not
a product runs in podium.models.kernels, in one pass over memory each, or without them in PyTorch's operations, to the
same results up to rounding. Knows tensors, no modules.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from podium.models.kernels import kernels

_ALIGNMENT = 16  # floats in 64 bytes


def applies(x: Tensor) -> bool:
    """Whether the functions here are the faster choice: training, fp32, CPU. Elsewhere PyTorch's own kernels are."""
    return (
        torch.is_grad_enabled()
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
    )


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x / sqrt(mean(x²) + eps) · weight over the last dimension (arXiv:1910.07467, equation 4)."""
    return _RMSNorm.apply(x, weight, eps)  # pyright: ignore[reportReturnType]


def add_rms_norm(x: Tensor, branch: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """x + branch, and that normalised as by `rms_norm`."""
    if kernels() is None:
        total = x + branch
        return total, rms_norm(total, weight, eps)
    return _AddRMSNorm.apply(x, branch, weight, eps)  # pyright: ignore[reportReturnType]


def feed_forward(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """SwiGLU without biases: down · (silu(gate · x) ⊙ up · x) for gate_up [2 F, D] and down [D, F]."""
    return _FeedForward.apply(x, gate_up, down)  # pyright: ignore[reportReturnType]


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        native = kernels()
        if native is not None:
            flat = _rows(x)
            _, out, scale = native.norm_forward(flat, None, weight, eps)
            ctx.save_for_backward(flat, weight, scale)
            return out.view(x.shape)
        scale = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, scale)
        return (x * scale).mul_(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, weight, scale = ctx.saved_tensors
        native = kernels()
        if native is not None:
            grad_x, grad_weight = native.norm_backward(_rows(grad), None, x, weight, scale)
            return grad_x.view(grad.shape), grad_weight, None
        size = x.shape[-1]
        products = (grad * x).reshape(-1, size)
        # Along x the output does not grow: that part of the gradient is taken out.
        along = products.mv(weight).view(scale.shape).mul_(scale.pow(3)).div_(-size)
        # Not a matrix-vector product: MKL adds its terms one after the other, which costs a digit.
        grad_weight = products.mul_(scale.reshape(-1, 1)).sum(0)
        grad_x = (grad * weight).mul_(scale).addcmul_(x, along)
        return grad_x, grad_weight, None


class _AddRMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, branch: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        native = kernels()
        assert native is not None
        total, out, scale = native.norm_forward(_rows(x), _rows(branch), weight, eps)
        ctx.save_for_backward(total, weight, scale)
        return total.view(x.shape), out.view(x.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_total: Tensor, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        native = kernels()
        assert native is not None
        total, weight, scale = ctx.saved_tensors
        flat, grad_weight = native.norm_backward(_rows(grad), _rows(grad_total), total, weight, scale)
        grad_x = flat.view(grad.shape)
        return grad_x, grad_x, grad_weight, None


class _FeedForward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        flat = x.reshape(-1, x.shape[-1])
        both = _product(flat, gate_up.t())
        inner = _aligned(both.shape[0], both.shape[1] // 2, x)
        native = kernels()
        if native is not None:
            native.gated_forward(both, inner)
            ctx.save_for_backward(flat, gate_up, down, both)
        else:
            gate, up = both.chunk(2, dim=-1)
            opened = F.silu(gate)
            torch.mul(opened, up, out=inner)
            ctx.save_for_backward(flat, gate_up, down, both, opened, inner)
        return (inner @ down.t()).view(*x.shape[:-1], down.shape[0])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, gate_up, down, both, *more = ctx.saved_tensors
        flat = grad.reshape(-1, grad.shape[-1])
        grad_inner = _product(flat, down)
        grad_both = _aligned(both.shape[0], both.shape[1], both)
        native = kernels()
        if native is not None:
            native.gated_backward(both, grad_inner, grad_both)
            grad_down = flat.t() @ grad_inner  # which holds inner now
        else:
            opened, inner = more
            gate, up = both.chunk(2, dim=-1)
            grad_gate, grad_up = grad_both.chunk(2, dim=-1)
            torch.mul(grad_inner, opened, out=grad_up)
            torch.ops.aten.silu_backward.grad_input(grad_inner.mul_(up), gate, grad_input=grad_gate)
            grad_down = flat.t() @ inner
        return (grad_both @ gate_up).view_as(grad), grad_both.t() @ x, grad_down


def _rows(x: Tensor) -> Tensor:
    """[..., N] as a matrix whose rows are contiguous; copied only where it must be."""
    flat = x.reshape(-1, x.shape[-1])
    return flat if flat.stride(-1) == 1 else flat.contiguous()


def _product(a: Tensor, b: Tensor) -> Tensor:
    return torch.mm(a, b, out=_aligned(a.shape[0], b.shape[1], a))


def _aligned(rows: int, columns: int, like: Tensor) -> Tensor:
    """An empty matrix whose rows begin at multiples of 64 bytes."""
    stride = -(-columns // _ALIGNMENT) * _ALIGNMENT
    return torch.empty((rows, stride), dtype=like.dtype, device=like.device)[:, :columns]
