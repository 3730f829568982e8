"""FP8 products: against PyTorch's own operator for them, and against the exact ones within what e4m3 can do."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from podium.errors import InputError
from podium.generate.device.fp8 import E4M3, LARGEST, Fp8Linear, quantise_rows
from podium.generate.device.place import place_model
from podium.generate.layered import layered
from tests.generate.conftest import random_model

CPU = torch.device("cpu")
HALF_STEP = 2.0**-4  # of a number with three bits behind the leading one, relative
SMALLEST_HALF = 2.0**-10  # half a step of e4m3's subnormal numbers, absolute


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-30, 1e-6, 1.0, 1e4, 1e30]))
def test_rows_are_rounded_within_half_a_step(seed, scale):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(5, 40, generator=generator) * torch.randn(5, 1, generator=generator).exp() * scale
    x[0] = 0
    rounded, scales = quantise_rows(x)
    assert rounded.dtype == E4M3
    assert scales.shape == (5, 1)
    found = rounded.float() * scales
    assert found.isfinite().all()
    bound = torch.maximum(x.abs() * HALF_STEP, scales * SMALLEST_HALF) * (1 + 1e-5)
    assert ((found - x).abs() <= bound).all()
    assert (rounded[1:].float().abs().amax(-1) == LARGEST).all(), "the whole range is used"


def test_the_products_are_those_of_pytorchs_operator():
    """What a GPU is asked to compute, by the very operator, which PyTorch also has on the CPU."""
    generator = torch.Generator().manual_seed(1)
    linear = nn.Linear(96, 64)
    with torch.no_grad():
        linear.weight.copy_(torch.randn(64, 96, generator=generator))
        linear.bias.copy_(torch.randn(64, generator=generator))
    x = torch.randn(7, 96, generator=generator)
    eight = Fp8Linear(linear, CPU, torch.float32)
    rows, scales = quantise_rows(x)
    expected = torch._scaled_mm(rows, eight.weight.T, scales, eight.scales, out_dtype=torch.float32) + linear.bias
    torch.testing.assert_close(eight(x), expected, rtol=1e-5, atol=1e-4)


def test_products_are_near_the_exact_ones_whatever_a_row_or_an_output_is_scaled_by():
    generator = torch.Generator().manual_seed(2)
    linear = nn.Linear(512, 256)
    with torch.no_grad():
        linear.weight.copy_(torch.randn(256, 512, generator=generator) * torch.logspace(-3, 3, 256)[:, None])
        linear.bias.zero_()
        x = torch.randn(64, 512, generator=generator) * torch.logspace(-4, 4, 64)[:, None]
        exact = linear(x)
        found = Fp8Linear(linear, CPU, torch.float32)(x)
    # Each factor is off by at most HALF_STEP and evenly so; independent errors of 512 terms add up in squares:
    # two roundings with a mean square of (2^-4)^2 / 3 or less each.
    spread = x.norm(dim=1, keepdim=True) * linear.weight.norm(dim=1) / 512**0.5
    assert ((found - exact) / spread).std() < (2 / 3) ** 0.5 * HALF_STEP
    assert ((found - exact) / spread).abs().max() < 6 * HALF_STEP


def test_a_token_does_not_depend_on_the_others():
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(9, 64, generator=generator) * torch.logspace(-3, 3, 9)[:, None]
    together, scales = quantise_rows(x)
    for i in range(9):
        alone, scale = quantise_rows(x[i : i + 1])
        assert torch.equal(alone.float(), together[i : i + 1].float())
        assert torch.equal(scale, scales[i : i + 1])


def test_a_model_in_fp8_is_half_as_large_and_says_nearly_the_same(tokenizer):
    # Small weights: large random ones make a chaotic network, in which any rounding grows.
    model = random_model(tokenizer, "qwen2", hidden_size=128, intermediate_size=256, head_dim=32).initialise(
        0, std=0.05
    )
    eight, name = place_model(layered(model), CPU, "fp8")
    assert name == "fp8"
    matrices = [module for module in eight.modules() if isinstance(module, Fp8Linear)]
    assert len(matrices) == 4 * model.config.num_hidden_layers
    assert sum(m.weight.nbytes for m in matrices) * 4 == sum(
        m.weight.nbytes for m in model.layers.modules() if isinstance(m, nn.Linear)
    )
    tokens = torch.randint(0, tokenizer.vocab_size, (4, 50), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        exact, found = model(tokens), eight(tokens)
    error = (found - exact).std() / exact.std()
    assert 1e-3 < error < 2 * HALF_STEP


def test_shapes_that_the_tensor_cores_do_not_take():
    with pytest.raises(InputError, match="48 x 40"):
        Fp8Linear(nn.Linear(40, 48), CPU, torch.float32)
