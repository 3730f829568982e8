"""An interval reads as what is said of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.solve.wording import digits_for, say_change, say_share, signed


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ((2.6, 0.04, 5.2), ("+2.60", "+0.04, +5.20")),
        ((2.6, 0.4, 5.2), ("+2.6", "+0.4, +5.2")),
        ((2.6, 0.0, 5.2), ("+2.6", "0.0, +5.2")),
        ((2.6, -0.004, 5.2), ("+2.600", "-0.004, +5.200")),
        ((-2.6, -5.2, -0.0004), ("-2.6000", "-5.2000, -0.0004")),
        ((0.0, -1e-17, 1e-17), ("0.0", "0.0, 0.0")),
    ],
)
def test_differences(numbers, said):
    assert say_change(*numbers) == said


@pytest.mark.parametrize(
    ("share", "said"),
    [
        ((0.02, 0.0004, 0.3), ("2", "0.04–30.00")),
        ((0.98, 0.7, 0.9996), ("98", "70.00–99.96")),
        ((0.0, 0.0, 0.3), ("0", "0–30")),
        ((1.0, 0.7, 1.0), ("100", "70–100")),
        ((0.5, 0.3, 0.7), ("50", "30–70")),
    ],
)
def test_shares(share, said):
    assert say_share(*share, 0, "–") == said


@given(st.floats(-100, 100), st.floats(-100, 100), st.integers(0, 3))
def test_what_excludes_zero_reads_so(one, other, least):
    low, high = sorted((one, other))
    _, said = say_change((low + high) / 2, low, high, least=least, between=" ")
    first, last = map(float, said.split(" "))
    if abs(low) > 1e-6 and abs(high) > 1e-6:
        assert (first > 0 or last < 0) == (low > 0 or high < 0)
        assert (first <= 0 <= last) == (low <= 0 <= high)


def test_other_bounds_than_zero_are_kept_apart_too():
    assert digits_for((-4.96, 3.0), 0, (0.0, -5.0)) == 2
    assert digits_for((-4.4, 3.0), 0, (0.0, -5.0)) == 0
    assert signed(-0.04, 1) == "0.0"
