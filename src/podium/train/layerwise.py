"""LARS and LAMB: every tensor gets a step in proportion to its own size, so that very large batches still train.

Both measure whole tensors by the Euclidean norm; a group with `adapt` False (norms, biases) takes the plain step of
momentum SGD or of Adam, as the reference implementations of MLPerf Training do. Gradients are clipped elsewhere.
"""

# torch's own optimisers are built of these list operations; they carry an underscore all the same.
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor

Groups = Iterable[Tensor] | Iterable[dict[str, Any]]


class LARS(torch.optim.Optimizer):
    """Layer-wise adaptive rate scaling with momentum (You, Gitman, Ginsburg 2017, algorithm 1).

    With weights w, gradient g, rate lr, momentum mu, weight decay b, trust coefficient eta:

        local = eta * |w| / (|g| + b * |w| + eps)         (1 where |w| or |g| is zero, or `adapt` is False)
        v     = mu * v + lr * local * (g + b * w)
        w     = w - v

    The rate stands inside the momentum, as in the paper and in MLPERF_LARSOptimizer: a new rate leaves the momentum
    that is there as it is. MLPerf v1.1 fixes eta = 0.001 in its reference and eps = 0 by rule. `nesterov` takes
    w - (mu * v + lr * local * (g + b * w)) instead.
    """

    def __init__(
        self,
        params: Groups,
        *,
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 0.001,
        eps: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust, "eps": eps}
        super().__init__(params, {**defaults, "nesterov": nesterov, "adapt": True})

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        for group in self.param_groups:
            weights = [p for p in group["params"] if p.grad is not None]
            if not weights:
                continue
            gradients = [p.grad for p in weights]
            velocities = [_slot(self.state[p], "momentum_buffer", p) for p in weights]
            decayed = torch._foreach_add(gradients, weights, alpha=group["weight_decay"])
            if group["adapt"]:
                sizes, slopes = torch._foreach_norm(weights), torch._foreach_norm(gradients)
                steps = [_lars_rate(size, slope, group) for size, slope in zip(sizes, slopes, strict=True)]
                torch._foreach_mul_(decayed, steps)
            else:
                torch._foreach_mul_(decayed, group["lr"])
            torch._foreach_mul_(velocities, group["momentum"])
            torch._foreach_add_(velocities, decayed)
            if group["nesterov"]:
                torch._foreach_add_(decayed, velocities, alpha=group["momentum"])
                torch._foreach_sub_(weights, decayed)
            else:
                torch._foreach_sub_(weights, velocities)
        return None


def _lars_rate(size: Tensor, slope: Tensor, group: dict[str, Any]) -> Tensor:
    local = group["trust"] * size / (slope + group["weight_decay"] * size + group["eps"])
    return group["lr"] * torch.where((size > 0) & (slope > 0), local, torch.ones_like(local))


class LAMB(torch.optim.Optimizer):
    """Layer-wise adaptive moments (You et al. 2020, "Large batch optimization for deep learning", algorithm 2).

    With weights w, gradient g, step t (from 1), rate lr, decay b and the identity for the paper's phi:

        m = beta1 * m + (1 - beta1) * g                   v = beta2 * v + (1 - beta2) * g^2
        r = (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)
        u = r + b * w
        w = w - lr * |w| / |u| * u                        (ratio 1 where |w| or |u| is zero, or `adapt` is False)
    """

    def __init__(
        self,
        params: Groups,
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "adapt": True})

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        for group in self.param_groups:
            weights = [p for p in group["params"] if p.grad is not None]
            if not weights:
                continue
            gradients = [p.grad for p in weights]
            beta1, beta2 = group["betas"]
            firsts = [_slot(self.state[p], "exp_avg", p) for p in weights]
            seconds = [_slot(self.state[p], "exp_avg_sq", p) for p in weights]
            counts = [_count(self.state[p]) for p in weights]
            torch._foreach_lerp_(firsts, gradients, 1 - beta1)
            torch._foreach_mul_(seconds, beta2)
            torch._foreach_addcmul_(seconds, gradients, gradients, value=1 - beta2)
            updates = torch._foreach_sqrt(torch._foreach_div(seconds, [1 - beta2**t for t in counts]))
            torch._foreach_add_(updates, group["eps"])
            updates = torch._foreach_div(torch._foreach_div(firsts, [1 - beta1**t for t in counts]), updates)
            torch._foreach_add_(updates, weights, alpha=group["weight_decay"])
            if group["adapt"]:
                sizes, lengths = torch._foreach_norm(weights), torch._foreach_norm(updates)
                ratios = [
                    torch.where((size > 0) & (length > 0), size / length, torch.ones_like(size))
                    for size, length in zip(sizes, lengths, strict=True)
                ]
                torch._foreach_mul_(updates, ratios)
            torch._foreach_add_(weights, updates, alpha=-group["lr"])
        return None


def _slot(state: dict[str, Any], name: str, like: Tensor) -> Tensor:
    if name not in state:
        state[name] = torch.zeros_like(like)
    return state[name]


def _count(state: dict[str, Any]) -> int:
    state["step"] = int(state.get("step", 0)) + 1
    return state["step"]
