"""Schedules, optimisers, the guard and throughput, each against its definition."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from podium.models.families.family import Mixture
from podium.train.guard import Guard
from podium.train.objective import NextToken
from podium.train.optim import OptimizerConfig, make_optimizer, orthogonalise
from podium.train.packing import make_batch
from podium.train.schedule import ScheduleConfig
from podium.train.throughput import Peak, measure_gemm_peak

from .conftest import counting_documents, tiny_model


def test_cosine_with_warmup_goes_up_then_down_to_its_ratio():
    schedule = ScheduleConfig(name="cosine", warmup=0.1, final_ratio=0.001)
    factors = [schedule.factor(step, 1000) for step in range(1001)]
    assert factors[0] == 0.01
    assert factors[99] == 1
    assert factors[550] == pytest.approx(0.001 + 0.999 * 0.5)
    assert factors[1000] == pytest.approx(0.001)
    assert all(a < b for a, b in pairwise(factors[:100]))
    assert all(a > b for a, b in pairwise(factors[100:]))


def test_decay_after_keeps_the_rate_flat_before():
    schedule = ScheduleConfig(name="linear", warmup=5, decay_after=0.4)
    assert [schedule.factor(step, 100) for step in (4, 20, 40)] == [1, 1, 1]
    assert schedule.factor(70, 100) == pytest.approx(0.5)
    assert ScheduleConfig(name="constant").factor(99, 100) == 1


def test_polynomial_decay_is_quadratic():
    schedule = ScheduleConfig(name="polynomial", warmup=10, final_ratio=0.01)
    assert [schedule.factor(step, 110) for step in (9, 10)] == [1, 1]
    assert schedule.factor(60, 110) == pytest.approx(0.01 + 0.99 * 0.25)
    assert schedule.factor(110, 110) == pytest.approx(0.01)


def test_unknown_names_are_refused():
    with pytest.raises(ValidationError, match="cosine"):
        ScheduleConfig(name="cosin")
    with pytest.raises(ValidationError, match="weight_decy"):
        OptimizerConfig(weight_decy=0.1)


def test_newton_schulz_is_its_polynomial_on_the_singular_values():
    torch.manual_seed(0)
    for shape in ((24, 24), (16, 48), (48, 16)):
        matrices = torch.randn(5, *shape)
        u, values, v = torch.linalg.svd(matrices.double(), full_matrices=False)
        values = values / values.norm(dim=1, keepdim=True)
        for _ in range(5):
            values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
        torch.testing.assert_close(orthogonalise(matrices), (u * values[:, None] @ v).float(), rtol=1e-4, atol=1e-4)


def test_muon_orthogonalises_stacked_matrices_one_by_one():
    """A step on the fused matrix is the step on its parts kept apart."""
    torch.manual_seed(0)
    weight, gradient = torch.randn(3 * 16, 16), torch.randn(3 * 16, 16)

    class Fused(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(16, 48, bias=False)

        def fused_parts(self):
            return {"inner.weight": (16, 16, 16)}

    class Apart(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.ModuleList(nn.Linear(16, 16, bias=False) for _ in range(3))

    fused, apart = Fused(), Apart()
    fused.inner.weight.data.copy_(weight)
    fused.inner.weight.grad = gradient.clone()
    for part, w, g in zip(apart.inner, weight.chunk(3), gradient.chunk(3), strict=True):
        part.weight.data.copy_(w)
        part.weight.grad = g.clone()
    for model in (fused, apart):
        make_optimizer(model, OptimizerConfig(name="muon")).step()
    torch.testing.assert_close(fused.inner.weight, torch.cat([part.weight for part in apart.inner]))
    assert not torch.allclose(fused.inner.weight, weight)


@pytest.mark.parametrize("name", ["adamw", "muon", "sgd"])
def test_only_matrices_decay(name):
    """With gradients of zero, the only thing that moves a weight is decay."""
    model = tiny_model(tie_word_embeddings=True)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    make_optimizer(model, OptimizerConfig(name=name, lr=0.1, muon_lr=0.1, weight_decay=0.5)).step()
    for n, parameter in model.named_parameters():
        if parameter.ndim == 2 and n != "embedding.weight":
            torch.testing.assert_close(parameter.detach(), before[n] * 0.95)
        else:
            assert torch.equal(parameter, before[n]), n


def test_muon_takes_the_matrices_of_experts_and_of_their_router_one_by_one():
    model = tiny_model(kind="qwen3_moe", mixture=Mixture(3, 2, 24))
    NextToken()(model, make_batch([counting_documents(3)], 96)).total.backward()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    make_optimizer(model, OptimizerConfig(name="muon", muon_lr=0.1, weight_decay=0.0)).step()
    for name, parameter in model.named_parameters():
        if ".feed_forward." not in name or not name.endswith("weight") or "norm" in name:
            continue
        # A gate and its up are two matrices; every one moves by a nearly semi-orthogonal one.
        for moved in (parameter.detach() - before[name]).split(24 if "gate_up" in name else len(parameter)):
            values = torch.linalg.svdvals(moved) / (0.1 * max(1.0, moved.shape[0] / moved.shape[1]) ** 0.5)
            assert 0.5 < values.max() < 1.3, name


def test_muon_leaves_embedding_and_head_to_adamw():
    model = tiny_model()
    adamw, muon = make_optimizer(model, OptimizerConfig(name="muon")).members
    names = {id(p): n for n, p in model.named_parameters()}
    in_muon = {names[id(p)] for group in muon.param_groups for p in group["params"]}
    in_adamw = {names[id(p)] for group in adamw.param_groups for p in group["params"]}
    assert {"embedding.weight", "unembedding.weight", "norm.weight"} <= in_adamw
    assert "layers.0.attention.qkv.weight" in in_muon
    assert in_muon | in_adamw == set(names.values())
    assert not in_muon & in_adamw


def test_guard_skips_spikes_and_adapts_to_a_new_level():
    guard = Guard(sigmas=6, window=16)
    assert guard.judge(100.0, 1.0) == "ok"  # nothing to compare with yet
    for i in range(40):
        assert guard.judge(2.0 + 0.1 * (i % 3), 1.0 + 0.1 * (i % 2)) == "ok"
    assert guard.judge(2.1, 50.0) == "outlier"
    assert guard.judge(9.0, 1.0) == "outlier"
    verdicts = [guard.judge(9.0 + 0.1 * (i % 3), 1.0) for i in range(16)]
    assert verdicts[-1] == "ok"


def test_guard_lets_a_fall_and_rounding_noise_pass_but_nothing_infinite():
    guard = Guard(sigmas=6, window=16)
    for _ in range(16):
        assert guard.judge(2.0, 1.0) == "ok"
    assert guard.judge(2.0 + 1e-7, 1.0) == "ok"
    assert guard.judge(0.5, 0.1) == "ok"
    assert guard.judge(math.nan, 1.0) == "not_finite"
    assert guard.judge(1.0, math.inf) == "not_finite"


def test_guard_without_sigmas_only_looks_for_finite_numbers():
    guard = Guard(sigmas=0, window=4)
    assert {guard.judge(1.0, 1.0) for _ in range(10)} | {guard.judge(1e9, 1e9)} == {"ok"}


def test_chunks_of_logits_change_nothing():
    model, batch = tiny_model(), make_batch([counting_documents(4)], 128)
    results = []
    for at_once in (1 << 25, 7 * 40):
        model.zero_grad()
        loss = NextToken(at_once)(model, batch)
        loss.total.backward()
        results.append((loss.total.detach(), [p.grad.clone() for p in model.parameters()]))
    torch.testing.assert_close(*results)


def test_gemm_peak_grows_no_faster_than_the_clock_allows():
    peak = measure_gemm_peak(repetitions=2)
    assert 1e8 < peak < 1e14


def test_a_step_that_beats_the_peak_raises_it():
    peak = Peak(torch.device("cpu"), torch.float32, known=1e6)
    assert peak.share(1e5, 1.0) == pytest.approx(0.1)
    measured = peak.share(2e6, 1.0)
    assert measured is not None
    assert 0 < measured < 0.1, "it was measured again"
    assert peak.share(1e20, 1.0) == 1, "no measurement comes near: the step itself shows what can be done"
    assert peak.share(5e19, 1.0) == pytest.approx(0.5)
    assert peak.share(0, 1.0) is None
