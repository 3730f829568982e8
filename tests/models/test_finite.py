"""The check of weights against torch's own, element by element."""

from __future__ import annotations

import pytest
import torch

from podium.models.finite import all_finite

FORMATS = [torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.float8_e5m2, torch.float8_e4m3fn]


@pytest.mark.parametrize("dtype", FORMATS)
def test_every_bit_pattern_is_judged_as_torch_does(dtype):
    if dtype.itemsize > 2:
        largest = torch.finfo(dtype).max
        values = torch.tensor(
            [0.0, -0.0, largest, -largest, 5e-324, torch.inf, -torch.inf, torch.nan, 1.0], dtype=dtype
        )
    else:
        whole = torch.int16 if dtype.itemsize == 2 else torch.int8
        values = torch.arange(2 ** (8 * dtype.itemsize)).to(whole).view(dtype)
    expected = values.float().isfinite() if dtype.itemsize == 1 else values.isfinite()
    every = max(1, len(values) // 4096)
    for value, finite in zip(values[::every], expected[::every], strict=True):
        assert all_finite(value) == bool(finite), value
    assert all_finite(values[expected])
    assert not all_finite(values)


@pytest.mark.parametrize("place", [0, 300_000, 699_999])
def test_one_element_is_found_wherever_it_is(place):
    weights = torch.zeros(700, 1000)
    assert all_finite(weights)
    weights.view(-1)[place] = -torch.inf
    assert not all_finite(weights)
    assert not all_finite(weights.T)


def test_gaps_between_rows_are_not_looked_at():
    """Rows may begin at multiples of 64 bytes, with anything between them."""
    store = torch.full((50, 8), torch.nan)
    store[:, :5] = 1
    assert all_finite(store[:, :5])
    assert not all_finite(store[:, :6])
    assert all_finite(torch.nn.Parameter(store[:, :5]))


def test_nothing_and_whole_numbers_are_finite():
    assert all_finite(torch.empty(0, 4))
    assert all_finite(torch.tensor(3))
