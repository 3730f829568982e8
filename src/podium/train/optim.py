"""Optimisers by name: AdamW, Muon (with AdamW for what is no hidden matrix), SGD with momentum, LARS and LAMB.

Knows parameters by their shape and place: matrices decay, embeddings, norms and biases do not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, overload

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from podium.train.layerwise import LAMB, LARS


class OptimizerConfig(BaseModel):
    """Which rule updates the weights.

    For muon, `lr` and `betas` are those of the AdamW part and `muon_lr` is the rate of the hidden matrices.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["adamw", "muon", "sgd", "lars", "lamb"] = "adamw"
    lr: float = Field(default=3e-4, gt=0)
    weight_decay: float = Field(default=0.01, ge=0, description="decoupled; of matrices only")
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = Field(default=1e-8, gt=0)
    momentum: float = Field(default=0.95, ge=0, lt=1, description="muon, sgd, lars")
    muon_lr: float = Field(default=0.02, gt=0)
    trust: float = Field(default=0.001, gt=0, description="lars: step of a tensor over its norm, at rate 1")
    newton_schulz_steps: int = Field(default=5, ge=1)


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised (Jordan et al. 2024): each hidden matrix moves by the nearest semi-orthogonal matrix
    to its Nesterov momentum, times lr · sqrt(max(1, rows / columns)).

    Newton-Schulz runs in the precision of the weights, since bf16 products are slow on CPUs. `parts` names, for
    matrices that are several stacked ones (q, k and v; gate and up), the rows of each: these are orthogonalised one
    by one, all matrices of one shape in one batch.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        *,
        lr: float = 0.02,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        steps: int = 5,
        parts: Mapping[nn.Parameter, Sequence[int]] | None = None,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "steps": steps})
        self._parts = parts or {}

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        for group in self.param_groups:
            momentum, lr = group["momentum"], group["lr"]
            by_shape: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(parameter)
                buffer: Tensor = state["momentum_buffer"]
                buffer.lerp_(parameter.grad, 1 - momentum)
                update = parameter.grad.lerp_(buffer, momentum)  # Nesterov
                parameter.mul_(1 - lr * group["weight_decay"])
                rows = self._parts.get(parameter, (parameter.shape[0],))
                for target, part in zip(parameter.split(rows), update.split(rows), strict=True):
                    by_shape[(part.shape[0], part.shape[1])].append((target, part))
            for (height, width), pairs in by_shape.items():
                directions = orthogonalise(torch.stack([part for _, part in pairs]), group["steps"])
                scale = max(1.0, height / width) ** 0.5
                for (target, _), direction in zip(pairs, directions, strict=True):
                    target.add_(direction, alpha=-lr * scale)
        return None


def orthogonalise(matrices: Tensor, steps: int = 5) -> Tensor:
    """Nearest semi-orthogonal matrices to [N, m, n], approximately: singular values end in about [0.7, 1.2].

    Quintic Newton-Schulz iteration with Muon's coefficients, which trade exactness for speed of the small ones.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.transpose(1, 2) if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = torch.bmm(x, x.transpose(1, 2))
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return x.transpose(1, 2) if tall else x


class Optimizers:
    """Several optimisers as one: what the trainer steps, schedules and saves."""

    def __init__(self, *members: torch.optim.Optimizer) -> None:
        self.members = members
        for group in self.param_groups:
            group["base_lr"] = group["lr"]

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [group for member in self.members for group in member.param_groups]

    def set_rate(self, factor: float) -> None:
        """Multiply the base rate of every group by `factor`."""
        for group in self.param_groups:
            group["lr"] = group["base_lr"] * factor

    def step(self) -> None:
        for member in self.members:
            member.step()

    def zero_grad(self) -> None:
        for member in self.members:
            member.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        return {"members": [member.state_dict() for member in self.members]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for member, member_state in zip(self.members, state["members"], strict=True):
            member.load_state_dict(member_state)


def make_optimizer(model: nn.Module, config: OptimizerConfig) -> Optimizers:
    """The optimiser of `config` over the trainable parameters of `model`.

    Embeddings (and a head tied to them) and the output head are no hidden matrices: Muon leaves them to AdamW.
    A model whose matrices hold several stacked ones says so with `fused_parts() -> {parameter name: rows of each}`.
    """
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    decay = [p for p in named.values() if p.ndim >= 2 and id(p) not in embeddings]
    rest = [p for p in named.values() if p.ndim < 2 or id(p) in embeddings]
    if config.name == "sgd":
        return Optimizers(
            torch.optim.SGD(_groups(decay, rest, config.weight_decay), lr=config.lr, momentum=config.momentum)
        )
    if config.name in ("lars", "lamb"):
        return Optimizers(_layerwise(config, named.values()))
    hidden: list[nn.Parameter] = []
    if config.name == "muon":
        heads = {id(p) for name, p in named.items() if name.split(".")[0] in ("unembedding", "lm_head", "head")}
        hidden = [p for p in decay if p.ndim == 2 and id(p) not in heads]
        taken = {id(p) for p in hidden}
        decay = [p for p in decay if id(p) not in taken]
    members: list[torch.optim.Optimizer] = []
    if groups := _groups(decay, rest, config.weight_decay):
        members.append(torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, eps=config.eps, fused=True))
    if hidden:
        fused: Mapping[str, Sequence[int]] = model.fused_parts() if hasattr(model, "fused_parts") else {}  # pyright: ignore[reportCallIssue]
        members.append(
            Muon(
                hidden,
                lr=config.muon_lr,
                momentum=config.momentum,
                weight_decay=config.weight_decay,
                steps=config.newton_schulz_steps,
                parts={named[name]: rows for name, rows in fused.items() if name in named},
            )
        )
    return Optimizers(*members)


def _layerwise(config: OptimizerConfig, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """LARS or LAMB as MLPerf's references use them: every matrix, embeddings too, decays and takes its own rate;
    norms and biases do neither."""
    parameters = list(parameters)
    groups = _groups([p for p in parameters if p.ndim >= 2], [p for p in parameters if p.ndim < 2], config.weight_decay)
    for group in groups:
        group["adapt"] = group["params"][0].ndim >= 2
    if config.name == "lars":
        # The rules of MLPerf pin LARS's epsilon to 0; `eps` is Adam's.
        return LARS(groups, lr=config.lr, momentum=config.momentum, trust=config.trust)
    return LAMB(groups, lr=config.lr, betas=config.betas, eps=config.eps)


def _groups(decay: list[nn.Parameter], rest: list[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    groups = [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]
