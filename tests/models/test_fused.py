"""The hand-written gradients against autograd of the definition in double precision."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from podium.models import fused


@pytest.fixture(autouse=True, params=["kernels", "torch"])
def way(request, monkeypatch):
    """Both ways of computing; without a compiler they are one."""
    if request.param == "torch":
        monkeypatch.setattr(fused, "kernels", lambda: None)


@pytest.mark.parametrize("shape", [(2, 5, 48), (2, 5, 3, 8), (1, 1, 683)])
def test_rms_norm_and_its_gradient(shape):
    torch.manual_seed(0)
    x, weight, grad = torch.randn(shape), torch.randn(shape[-1]), torch.randn(shape)
    check(
        lambda x, weight: fused.rms_norm(x, weight, 1e-5),
        lambda x, weight: x * (x.pow(2).mean(-1, keepdim=True) + 1e-5).rsqrt() * weight,
        (x, weight),
        grad,
    )


@pytest.mark.parametrize("inner", [64, 683, 3])
def test_feed_forward_and_its_gradient(inner):
    torch.manual_seed(0)
    x, gate_up, down = torch.randn(2, 5, 32), torch.randn(2 * inner, 32), torch.randn(32, inner)

    def plain(x, gate_up, down):
        gate, up = F.linear(x, gate_up).chunk(2, dim=-1)
        return F.linear(F.silu(gate) * up, down)

    check(fused.feed_forward, plain, (x, gate_up, down), torch.randn(2, 5, 32))


def check(ours, plain, inputs, grad):
    single = [value.clone().requires_grad_() for value in inputs]
    double = [value.double().requires_grad_() for value in inputs]
    out, expected = ours(*single), plain(*double)
    torch.testing.assert_close(out.double(), expected, rtol=1e-5, atol=1e-5 * float(expected.detach().abs().max()))
    gradients = torch.autograd.grad(out, single, grad)
    wanted = torch.autograd.grad(expected, double, grad.double())
    for gradient, reference in zip(gradients, wanted, strict=True):
        assert gradient.shape == reference.shape
        assert (gradient.double() - reference).norm() / reference.norm() < 5e-7


def test_the_fused_way_is_for_training_in_fp32_only():
    x = torch.zeros(1)
    assert fused.applies(x)
    assert not fused.applies(x.double())
    with torch.no_grad():
        assert not fused.applies(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert not fused.applies(x)
