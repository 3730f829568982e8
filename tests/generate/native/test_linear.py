"""The packed linear kernels against torch in float64, on every instruction set of this machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from podium.errors import InputError
from podium.generate.formats import WEIGHT_FORMATS
from podium.generate.native.build import native_library
from podium.generate.native.linear import ISAS, PackedLinear, available_isas, isa, set_isa

pytestmark = pytest.mark.skipif(native_library().library is None, reason=native_library().reason)

# Relative error on Gaussian data that rounding alone explains (int4: q4_0's, about 9 %).
TOLERANCE = {"fp32": 2e-6, "fp16": 3e-4, "bf16": 4e-3, "int8": 1.6e-2, "w8a16": 1.1e-2, "fp8": 3.5e-2, "w4a16": 0.12}
SHAPES = [(1, 1), (32, 64), (40, 37), (17, 300), (96, 512), (130, 777)]


@pytest.fixture(autouse=True)
def default_isa() -> Iterator[None]:
    before = isa()
    yield
    set_isa(before)


def isas() -> list[str]:
    return available_isas() if native_library().library is not None else []


def relative_error(y: Tensor, x: Tensor, weight: Tensor, bias: Tensor | float) -> float:
    expected = x.double() @ weight.double().T + bias
    return ((y - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("name", isas())
@pytest.mark.parametrize("format", WEIGHT_FORMATS)
def test_agrees_with_float64(format: str, name: str) -> None:
    set_isa(name)
    for seed, (n, k) in enumerate(SHAPES):
        torch.manual_seed(seed)
        weight, bias = torch.randn(n, k), torch.randn(n)
        plain, biased = PackedLinear(weight, None, format), PackedLinear(weight, bias, format)
        for m in (1, 5, 31, 260):
            x = torch.randn(m, k) * 3
            y = biased(x)
            assert relative_error(y, x, weight, bias) < TOLERANCE[format], (n, k, m)
            # A wrong single row or column would drown in the norm of all.
            expected = x.double() @ weight.double().T + bias
            assert (y - expected).abs().max() < 6 * TOLERANCE[format] * 3 * k**0.5 + 1e-5, (n, k, m)
            torch.testing.assert_close(plain(x) + bias, y, atol=1e-4 * k**0.5, rtol=1e-5)


@pytest.mark.parametrize("name", isas())
@pytest.mark.parametrize("format", WEIGHT_FORMATS)
def test_a_row_does_not_depend_on_how_many_there_are(format: str, name: str) -> None:
    set_isa(name)
    torch.manual_seed(1)
    for n, k in [(104, 600), (33, 51)]:
        packed = PackedLinear(torch.randn(n, k), torch.randn(n), format)
        x = torch.randn(300, k) * torch.logspace(-3, 3, 300)[:, None]
        together = packed(x)
        for m in range(1, 41):
            assert torch.equal(packed(x[:m]), together[:m]), m
            assert torch.equal(packed(x[m : 2 * m]), together[m : 2 * m]), m
        order = torch.randperm(300)
        assert torch.equal(packed(x[order]), together[order])


@pytest.mark.parametrize("name", isas())
@pytest.mark.parametrize("format", WEIGHT_FORMATS)
def test_a_column_does_not_depend_on_how_the_work_is_cut(format: str, name: str) -> None:
    set_isa(name)
    torch.manual_seed(2)
    packed = PackedLinear(torch.randn(200, 130), None, format)
    for m in (1, 2, 7, 19, 40):
        x = torch.randn(m, 130)
        whole = packed(x)
        for splits in [(32,), (64, 96), (32, 64, 96, 128, 160, 192)]:
            assert torch.equal(packed(x, splits), whole), (m, splits)


@pytest.mark.parametrize("format", ["fp32", "fp16", "w8a16", "fp8", "w4a16"])
def test_all_sets_with_fused_multiply_add_give_the_same_bits(format: str) -> None:
    names = [name for name in isas() if name != "portable"]
    outputs = []
    for name in names:
        set_isa(name)
        torch.manual_seed(3)
        packed = PackedLinear(torch.randn(70, 333), torch.randn(70), format)
        outputs.append(packed(torch.randn(29, 333)))
    assert all(torch.equal(outputs[0], other) for other in outputs[1:])


@settings(max_examples=60, deadline=None)
@given(
    m=st.integers(1, 40),
    n=st.integers(1, 100),
    k=st.integers(1, 300),
    scale=st.sampled_from([1e-38, 1e-6, 1.0, 1e6, 1e30]),
    seed=st.integers(0, 2**31),
)
def test_int8_is_the_same_integer_arithmetic_everywhere(m: int, n: int, k: int, scale: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(n, k, generator=generator)
    weight[0] = torch.sign(weight[0])  # codes of +-127 alone: the worst case for saturating instructions
    x = torch.randn(m, k, generator=generator) * scale
    x[0] = torch.sign(x[0]) * scale
    x[m // 2] = 0 if m > 2 else x[m // 2]
    codes, scales = int8_codes(weight)
    activations, row_scales = int8_codes(x)
    sums = (activations.long() @ codes.long().T).float()  # exact: below 2^24 for these k
    expected = sums * scales * row_scales[:, None]
    for name in isas():
        set_isa(name)
        assert torch.equal(PackedLinear(weight, None, "int8")(x), expected + 0.0), name
    set_isa(isas()[-1])


def int8_codes(x: Tensor) -> tuple[Tensor, Tensor]:
    """Symmetric codes per row and their scales; rows of less than 1e-30 are zero."""
    largest = x.abs().amax(-1)
    nothing = largest < 1e-30
    factor = torch.where(nothing, 0.0, torch.tensor(127.0) / largest)
    return torch.round(x * factor[:, None]), torch.where(nothing, 0.0, largest / 127)


@pytest.mark.parametrize("name", isas())
def test_eight_bit_codes_round_as_torch_does(name: str) -> None:
    """Weights that are on the format's grid already come back exactly, seen through an identity matrix."""
    set_isa(name)
    for format, dtype, largest in [
        ("fp16", torch.float16, None),
        ("bf16", torch.bfloat16, None),
        ("fp8", torch.float8_e4m3fn, 448.0),
    ]:
        torch.manual_seed(4)
        weight = torch.randn(48, 64) * torch.logspace(-9, 2, 64)
        if largest is not None:
            weight[:, 0] = largest  # the row's scale becomes one
            weight = weight.clamp(-largest, largest)
        got = PackedLinear(weight, None, format)(torch.eye(64)).T
        assert torch.equal(got, weight.to(dtype).float()), format


@pytest.mark.parametrize("name", isas())
@pytest.mark.parametrize(
    ("format", "group", "low", "high"),
    [("w8a16", 96, -127, 127), ("int8", 96, -127, 127), ("w4a16", 32, -8, 7), ("w4a16", 64, -8, 7)],
)
def test_codes_rounded_elsewhere_are_taken_as_they_are(format: str, group: int, low: int, high: int, name: str) -> None:
    set_isa(name)
    torch.manual_seed(5)
    n, k = 50, 96
    codes = torch.randint(low, high + 1, (n, k), dtype=torch.int8)
    scale = torch.rand(n, -(-k // group)) + 0.5
    packed = PackedLinear(torch.randn(n, k), torch.randn(n), format, group=32 if format != "w4a16" else group)
    packed.load_codes(codes, scale)
    weight = codes * scale.repeat_interleave(group, 1)[:, :k]
    torch.testing.assert_close(packed(torch.eye(k)).T, weight, rtol=1e-6, atol=0)


def test_packed_bytes_are_those_of_the_format() -> None:
    weight = torch.zeros(256, 512)
    bits = {format: PackedLinear(weight, None, format).bytes * 8 / weight.numel() for format in WEIGHT_FORMATS}
    expected = {"fp32": 32, "fp16": 16, "bf16": 16, "int8": 8, "w8a16": 8, "fp8": 8, "w4a16": 5}
    assert bits == pytest.approx({format: expected[format] + 12 * 8 / 512 for format in expected}, abs=0.07)


def test_impossible_requests_are_refused() -> None:
    with pytest.raises(InputError, match="groups of 48"):
        PackedLinear(torch.zeros(4, 4), None, "w4a16", group=48)
    for name in set(ISAS) - set(isas()):
        with pytest.raises(InputError, match=name):
            set_isa(name)


@pytest.mark.parametrize("name", isas())
@pytest.mark.parametrize("format", WEIGHT_FORMATS)
def test_nothing_is_written_outside_the_asked_columns(format: str, name: str) -> None:
    set_isa(name)
    packed = PackedLinear(torch.randn(90, 40), None, format)
    for m in (1, 3, 20, 40):
        x, y = torch.randn(m, 40), torch.full((m + 1, 128), 7.0)
        scratch = torch.empty(packed.kernels.linear_scratch(packed.layer, m) + 64, dtype=torch.uint8)
        at = (scratch.data_ptr() + 63) // 64 * 64
        packed.kernels.linear_quantise(packed.layer, x.data_ptr(), 40, 0, m, at)
        packed.kernels.linear_run(packed.layer, x.data_ptr(), 40, at, m, y.data_ptr(), 128, 64, 90)
        assert torch.equal(y[:m, 64:90], packed(x)[:, 64:])
        y[:m, 64:90] = 7.0
        assert (y == 7.0).all()
