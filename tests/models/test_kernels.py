"""The C kernels against the definitions in double precision, on every instruction set this machine has."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from podium.models import Transformer, TransformerConfig, fused
from podium.models import kernels as kernels_module
from podium.models.kernels import ISAS, kernels, why_not
from podium.models.ops import split_rotate
from podium.train import attention
from podium.train.attention import ByDocument, Dense

loaded = kernels()
needs_kernels = pytest.mark.skipif(loaded is None, reason=f"no kernels: {why_not()}")


@pytest.fixture(params=ISAS)
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    assert loaded is not None
    before = loaded.isa
    if not loaded.set_isa(request.param):
        pytest.skip(f"this machine lacks {request.param}")
    yield request.param
    loaded.set_isa(before)


def without_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    for user in (fused, attention):
        monkeypatch.setattr(user, "kernels", lambda: None)


def close(ours: Tensor, reference: Tensor, tolerance: float = 1e-6) -> None:
    assert ours.shape == reference.shape
    assert (ours.double() - reference).norm() <= tolerance * reference.norm()


@needs_kernels
@pytest.mark.parametrize("shape", [(3, 48), (2, 70, 683), (2, 5, 3, 8), (1, 1)])
def test_adding_and_normalising(isa: str, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    values = [torch.randn(shape), torch.randn(shape), torch.randn(shape[-1])]
    grads = [torch.randn(shape), torch.randn(shape)]
    single = [value.clone().requires_grad_() for value in values]
    double = [value.double().requires_grad_() for value in values]
    ours = fused.add_rms_norm(*single, 1e-5)
    total = double[0] + double[1]
    expected = (total, total * (total.pow(2).mean(-1, keepdim=True) + 1e-5).rsqrt() * double[2])
    for a, b in zip(ours, expected, strict=True):
        close(a, b)
    gradients = torch.autograd.grad(ours, single, grads)
    for a, b in zip(gradients, torch.autograd.grad(expected, double, [g.double() for g in grads]), strict=True):
        close(a, b)


@needs_kernels
@pytest.mark.parametrize("inner", [1, 3, 64, 683])
def test_the_gate_far_from_zero(isa: str, inner: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(37, 8)
    gate_up, down = torch.randn(2 * inner, 8) * 15, torch.randn(8, inner)
    single = [value.clone().requires_grad_() for value in (x, gate_up, down)]
    double = [value.double().requires_grad_() for value in (x, gate_up, down)]
    ours = fused.feed_forward(*single)
    gate, up = (double[0] @ double[1].T).chunk(2, -1)
    expected = (gate * gate.sigmoid() * up) @ double[2].T
    close(ours, expected)
    for a, b in zip(torch.autograd.grad(ours.sum(), single), torch.autograd.grad(expected.sum(), double), strict=True):
        close(a, b, 1e-5)


LAYOUTS = [
    (4, 4, 64, [[63, 30, 100], [1, 2, 190]], 200),
    (6, 2, 24, [[7, 13], [150]], 150),
    (3, 1, 6, [[1], [5, 4]], 11),
    (2, 2, 10, [[61, 60], []], 121),
]


@needs_kernels
@pytest.mark.parametrize(("heads", "kv_heads", "size", "layout", "length"), LAYOUTS)
@pytest.mark.parametrize("qk_norm", [False, True])
def test_a_model_on_the_kernels(isa, heads, kv_heads, size, layout, length, qk_norm) -> None:
    """States and all gradients, padding left out, against the masked model in double precision."""
    kind = "qwen3" if qk_norm else "llama"
    config = TransformerConfig(
        kind=kind, vocab_size=50, hidden_size=48, intermediate_size=45, num_attention_heads=heads,
        num_key_value_heads=kv_heads, head_dim=size, num_hidden_layers=2,
    )  # fmt: skip
    torch.manual_seed(0)
    tokens = torch.randint(50, (len(layout), length))
    real = torch.zeros(len(layout), length, 1)
    for row, lengths in enumerate(layout):
        real[row, : sum(lengths)] = 1
    grad = torch.randn(len(layout), length, 48) * real

    def run(model: Transformer, attend) -> list[Tensor]:
        states = model.hidden(tokens, attend=attend)
        (states * grad.to(states.dtype)).sum().backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        return [states.detach() * real, *gradients]

    ours = run(Transformer(config).initialise(0, std=0.3), ByDocument(layout, length))
    reference = run(Transformer(config).initialise(0, std=0.3).double(), Dense(layout, length))
    assert len(ours) == len(reference)
    for a, b in zip(ours, reference, strict=True):
        close(a, b.double(), 2e-5)


@needs_kernels
@pytest.mark.parametrize("window", [1, 2, 7, 16, 33, 64, 100, 200])
def test_attention_over_a_window(isa, window) -> None:
    """Documents shorter and longer than the window, and than the block of queries, against the dense mask."""
    torch.manual_seed(0)
    layout, length = [[130, 3, 60], [7, 1]], 200
    qkv = torch.randn(2, length, 8, 20)
    turns = torch.polar(torch.ones(1, length, 1, 10), torch.randn(1, length, 1, 10))
    real = torch.zeros(2, length, 1, 1)
    for row, lengths in enumerate(layout):
        real[row, : sum(lengths)] = 1
    grad = torch.randn(2, length, 4, 20) * real

    def run(attend, x: Tensor, turned: bool) -> tuple[Tensor, ...]:
        x.requires_grad_()
        out = attend.unturned(0, x, turns, 2, window) if turned else attend(0, *split_rotate(x, turns, 2), window)
        return (out.detach() * real.to(out.dtype), *torch.autograd.grad(out, x, grad.to(out.dtype)))

    reference = run(Dense(layout, length), qkv.double(), False)
    for turned in (True, False):
        for a, b in zip(run(ByDocument(layout, length), qkv.clone(), turned), reference, strict=True):
            close(a, b, 2e-5)


@needs_kernels
def test_attention_reads_tensors_in_any_layout_and_leaves_padding_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    attend = ByDocument([[9, 20], [5]], 32)
    q, k, v = (torch.randn(2, h, 32, 12).transpose(1, 2).requires_grad_() for h in (4, 2, 2))
    out = attend(0, q, k, v)
    grads = torch.autograd.grad(out, (q, k, v), torch.ones_like(out))
    assert not out[1, 5:].any()
    for gradient in grads:
        assert not gradient[0, 29:].any()
        assert not gradient[1, 5:].any()
    without_kernels(monkeypatch)
    plain = attend(0, q, k, v)
    close(out[0, :29], plain[0, :29].double(), 1e-5)
    keep = torch.ones_like(plain)
    keep[0, 29:], keep[1, 5:] = 0, 0
    for a, b in zip(grads, torch.autograd.grad(plain, (q, k, v), keep), strict=True):
        close(a, b.double(), 1e-5)


@needs_kernels
def test_the_number_of_threads_changes_no_bit() -> None:
    torch.manual_seed(0)
    x, branch, weight = torch.randn(300, 40), torch.randn(300, 40), torch.randn(40)
    qkv = torch.randn(2, 150, 8, 16)
    attend = ByDocument([[40, 70, 30], [150]], 150)
    turns = torch.polar(torch.ones(1, 150, 1, 8), torch.randn(1, 150, 1, 8))

    def everything(threads: int) -> list[Tensor]:
        torch.set_num_threads(threads)
        inputs = [value.clone().requires_grad_() for value in (x, branch, weight, qkv)]
        outputs = [*fused.add_rms_norm(inputs[0], inputs[1], inputs[2], 1e-6), attend.unturned(0, inputs[3], turns, 2)]
        return [*outputs, *torch.autograd.grad(outputs, inputs, [o.detach() for o in outputs])]

    before = torch.get_num_threads()
    try:
        for a, b in zip(everything(1), everything(3), strict=True):
            assert torch.equal(a, b)
    finally:
        torch.set_num_threads(before)


@needs_kernels
def test_what_is_not_finite_shows() -> None:
    qkv = torch.ones(1, 6, 3, 8)
    qkv[0, 2] = torch.nan
    turns = torch.polar(torch.ones(1, 6, 1, 4), torch.zeros(1, 6, 1, 4))
    out = ByDocument([[4, 2]], 6).unturned(0, qkv, turns, 1)
    assert out[0, 2:4].isnan().all()
    assert out[0, 4:].isfinite().all()
    x = torch.full((1, 8), torch.nan)
    assert fused.feed_forward(x, torch.ones(6, 8), torch.ones(8, 3)).isnan().all()


def test_without_pytorchs_threads_there_are_no_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels_module, "_openmp_entry", lambda: None)
    found, reason = kernels_module._loaded.__wrapped__()
    assert found is None
    assert "OpenMP" in reason


def test_half_precision_and_missing_kernels_take_pytorchs_way(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    attend = ByDocument([[9, 7]], 16)
    qkv = torch.randn(1, 16, 6, 8)
    turns = torch.polar(torch.ones(1, 16, 1, 4), torch.randn(1, 16, 1, 4))
    exact = attend.unturned(0, qkv, turns, 2)
    assert attend.unturned(0, qkv.bfloat16(), turns, 2).dtype == torch.bfloat16
    without_kernels(monkeypatch)
    close(attend.unturned(0, qkv, turns, 2), exact.double(), 1e-5)
