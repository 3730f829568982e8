"""LARS and LAMB against published reference values, the equations in plain numpy, and the trainer's own groups."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from podium.train.layerwise import LAMB, LARS
from podium.train.optim import OptimizerConfig, make_optimizer

Array = np.ndarray

# Twelve steps of timm 1.0.31 (timm.optim.Lars: trust 0.001, eps 0, momentum 0.9, weight decay 0.01 at rate 20;
# timm.optim.Lamb: betas 0.9 and 0.99, eps 1e-6, weight decay 0.01 at rate 0.02, no clipping) on `problem()`.
TIMM_LARS = [
    [-0.577155302302, -0.310557032996, -0.280936579074, -0.384901219443],
    [-0.021708258863, 0.078470417277, 0.106503753657, 0.167243659921],
    [0.455917000106, 0.42750258163, 0.528546780447, 0.796775655982],
]
TIMM_LAMB = [
    [-0.600666028841, -0.457396196915, -0.313964236785, -0.397993396997],
    [-0.031179483083, 0.112034205921, 0.034225533759, 0.173946248003],
    [0.536466703607, 0.456752635517, 0.600320179473, 0.745363319],
]
TIMM_LAMB_BIAS = [0.267273796955, -0.036583948031, -0.099182857885]


def problem() -> tuple[nn.Parameter, nn.Parameter, Callable[[], torch.Tensor]]:
    """Least squares in float64, made of sines, so that it is the same everywhere."""
    weight = nn.Parameter((torch.arange(12, dtype=torch.float64).reshape(3, 4) - 5) / 7)
    bias = nn.Parameter(torch.tensor([0.5, -0.25, 0.125], dtype=torch.float64))
    x = torch.sin(torch.arange(40, dtype=torch.float64)).reshape(10, 4)
    y = torch.cos(torch.arange(30, dtype=torch.float64)).reshape(10, 3)
    return weight, bias, lambda: ((x @ weight.T + bias - y) ** 2).mean()


def run(make: Callable[[list[dict[str, object]]], torch.optim.Optimizer], steps: int = 12) -> list[Array]:
    weight, bias, loss = problem()
    optimizer = make(
        [{"params": [weight], "weight_decay": 0.01}, {"params": [bias], "weight_decay": 0.0, "adapt": False}]
    )
    for _ in range(steps):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    return [weight.detach().numpy(), bias.detach().numpy()]


def test_lars_is_timms() -> None:
    weight, bias = run(lambda groups: LARS(groups, lr=20.0))  # type: ignore[arg-type]
    # The unadapted bias runs away at rate 20 in both; it does so to the same place.
    np.testing.assert_allclose(weight, TIMM_LARS, atol=1e-11)
    np.testing.assert_allclose(bias, [2211350294369.627, -892529161003.1622, 1510263133370.217], rtol=1e-12)


def test_lamb_is_timms() -> None:
    weight, bias = run(lambda groups: LAMB(groups, lr=0.02, betas=(0.9, 0.99)))  # type: ignore[arg-type]
    np.testing.assert_allclose(weight, TIMM_LAMB, atol=1e-11)
    np.testing.assert_allclose(bias, TIMM_LAMB_BIAS, atol=1e-11)


def lars_by_hand(w: Array, gradients: list[Array], rates: list[float], *, nesterov: bool) -> Array:
    v, decay, momentum = np.zeros_like(w), 0.02, 0.9
    for g, rate in zip(gradients, rates, strict=True):
        size, slope = np.sqrt((w * w).sum()), np.sqrt((g * g).sum())
        local = 0.001 * size / (slope + decay * size) if size and slope else 1.0
        step = rate * local * (g + decay * w)
        v = momentum * v + step
        w = w - (momentum * v + step if nesterov else v)
    return w


def lamb_by_hand(w: Array, gradients: list[Array], rates: list[float]) -> Array:
    m, s, decay = np.zeros_like(w), np.zeros_like(w), 0.02
    for t, (g, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        m, s = 0.8 * m + 0.2 * g, 0.95 * s + 0.05 * g * g
        u = (m / (1 - 0.8**t)) / (np.sqrt(s / (1 - 0.95**t)) + 1e-5) + decay * w
        size, length = np.sqrt((w * w).sum()), np.sqrt((u * u).sum())
        w = w - rate * (size / length if size and length else 1.0) * u
    return w


@pytest.mark.parametrize("kind", ["lars", "nesterov", "lamb"])
@pytest.mark.parametrize("start", ["random", "zero"])
def test_the_equations_with_a_rate_that_changes(kind: str, start: str) -> None:
    """The rate is inside LARS's momentum: a schedule tells the two ways of writing it apart."""
    rng = np.random.default_rng(0)
    shape = (5, 3, 2)
    first = rng.normal(size=shape) if start == "random" else np.zeros(shape)
    gradients = [rng.normal(size=shape) for _ in range(6)]
    rates = [1.0, 4.0, 2.0, 1.0, 0.5, 0.1]
    parameter = nn.Parameter(torch.tensor(first))
    if kind == "lamb":
        optimizer: torch.optim.Optimizer = LAMB([parameter], lr=1.0, betas=(0.8, 0.95), eps=1e-5, weight_decay=0.02)
        expected = lamb_by_hand(first, gradients, rates)
    else:
        optimizer = LARS([parameter], lr=1.0, weight_decay=0.02, nesterov=kind == "nesterov")
        expected = lars_by_hand(first, gradients, rates, nesterov=kind == "nesterov")
    for gradient, rate in zip(gradients, rates, strict=True):
        optimizer.param_groups[0]["lr"] = rate
        parameter.grad = torch.tensor(gradient)
        optimizer.step()
        assert np.array_equal(parameter.grad.numpy(), gradient)  # what others may still read is left alone
    np.testing.assert_allclose(parameter.detach().numpy(), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["lars", "lamb"])
def test_the_trainers_groups_and_its_checkpoints(name: str) -> None:
    """Matrices and embeddings adapt and decay, norms and biases do neither; a saved state continues bit for bit."""

    def make() -> nn.Sequential:
        torch.manual_seed(0)
        return nn.Sequential(nn.Embedding(7, 6), nn.Linear(6, 6), nn.LayerNorm(6), nn.Linear(6, 2))

    config = OptimizerConfig(name=name, lr=0.1, weight_decay=0.1, momentum=0.9)  # type: ignore[arg-type]

    def steps(model: nn.Module, optimizer: object, count: int, seed: int) -> None:
        torch.manual_seed(seed)
        for _ in range(count):
            optimizer.zero_grad()  # type: ignore[attr-defined]
            model(torch.randint(0, 7, (4, 3))).square().mean().backward()
            optimizer.step()  # type: ignore[attr-defined]

    model = make()
    optimizer = make_optimizer(model, config)
    adapting = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    for parameter in model.parameters():
        group = adapting[id(parameter)]
        assert group["adapt"] == (parameter.ndim >= 2)
        assert group["weight_decay"] == (0.1 if parameter.ndim >= 2 else 0.0)
    steps(model, optimizer, 3, seed=1)
    again = make()
    again.load_state_dict(model.state_dict())
    continued = make_optimizer(again, config)
    continued.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    steps(model, optimizer, 3, seed=2)
    steps(again, continued, 3, seed=2)
    for ours, theirs in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(ours, theirs)
