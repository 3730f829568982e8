"""The transducer loss (Graves 2012, arXiv:1211.3711, section 2.4), with its gradient by forward and backward sums.

Knows logits and symbols. The recursion runs over frames only: within a frame, the sums over how many symbols were
emitted there are one cumulative log-sum, since alpha(t, u) = E(u) + log sum_{k <= u} exp(base(k) - E(k)) with E the
running sum of log-probabilities of the symbols in that frame.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_NEVER = -1e30  # the logarithm of nothing; infinities would make NaN when subtracted


def transducer_loss(logits: Tensor, symbols: Tensor, frames: Tensor, lengths: Tensor, blank: int) -> Tensor:
    """-log p(symbols | frames) [B] in nats, over all alignments.

    logits [B, T, U + 1, V]; symbols [B, U], padded with any valid one; frames, lengths [B]: how many frames (at least
    one) and symbols of each sample are real.
    """
    chances = logits.float().log_softmax(-1)
    silent = chances[..., blank]
    chosen = symbols[:, None, :, None].expand(-1, chances.shape[1], -1, 1)
    spoken = chances[:, :, :-1].gather(-1, chosen)[..., 0]
    return _Transducer.apply(silent, spoken, frames, lengths)  # pyright: ignore[reportReturnType]


class _Transducer(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, silent: Tensor, spoken: Tensor, frames: Tensor, lengths: Tensor) -> Tensor:
        """silent [B, T, U + 1] log p(blank), spoken [B, T, U] log p(next symbol) -> [B]."""
        silent_d, spoken_d = silent.double(), spoken.double()
        alpha = _alpha(silent_d, spoken_d)
        batch = torch.arange(len(frames), device=frames.device)
        last = frames - 1
        total = alpha[batch, last, lengths] + silent_d[batch, last, lengths]
        ctx.save_for_backward(silent_d, spoken_d, alpha, total, frames, lengths)
        ctx.dtype = silent.dtype
        return -total.to(silent.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        silent, spoken, alpha, total, frames, lengths = ctx.saved_tensors
        beta = _beta(silent, spoken, frames, lengths)
        # After a blank in frame t the path goes on from (t + 1, u); after the very last one it is done.
        after = torch.cat([beta[:, 1:], torch.full_like(beta[:, :1], _NEVER)], dim=1)
        batch = torch.arange(len(frames), device=frames.device)
        after[batch, frames - 1] = _NEVER
        after[batch, frames - 1, lengths] = 0.0
        scale = grad.double()[:, None, None]
        rest = total[:, None, None]
        grad_silent = -scale * (alpha + silent + after - rest).exp()
        grad_spoken = -scale * (alpha[:, :, :-1] + spoken + beta[:, :, 1:] - rest).exp()
        return grad_silent.to(ctx.dtype), grad_spoken.to(ctx.dtype), None, None


def _running(spoken: Tensor) -> Tensor:
    """E [B, T, U + 1]: log-probability of emitting the first u symbols within one frame."""
    return torch.nn.functional.pad(spoken.cumsum(-1), (1, 0))


def _alpha(silent: Tensor, spoken: Tensor) -> Tensor:
    """log-probability of all ways to (t, u): [B, T, U + 1]."""
    running = _running(spoken)
    base = torch.full_like(silent[:, 0], _NEVER)
    base[:, 0] = 0.0
    rows = []
    for t in range(silent.shape[1]):
        row = running[:, t] + torch.logcumsumexp(base - running[:, t], dim=-1)
        rows.append(row)
        base = row + silent[:, t]
    return torch.stack(rows, dim=1)


def _beta(silent: Tensor, spoken: Tensor, frames: Tensor, lengths: Tensor) -> Tensor:
    """log-probability of all ways from (t, u) to the end: [B, T, U + 1]."""
    running = _running(spoken)
    places = torch.arange(silent.shape[2], device=silent.device)
    ends = places == lengths[:, None]
    row = torch.full_like(silent[:, 0], _NEVER)
    rows = []
    for t in range(silent.shape[1] - 1, -1, -1):
        final = torch.where(ends, silent[:, t], _NEVER)
        base = torch.where(frames.eq(t + 1)[:, None], final, (row + silent[:, t]).clamp(min=_NEVER))
        row = torch.logcumsumexp((base + running[:, t]).flip(-1), dim=-1).flip(-1) - running[:, t]
        row = torch.where(frames.gt(t)[:, None], row, _NEVER)
        rows.append(row)
    return torch.stack(rows[::-1], dim=1)
