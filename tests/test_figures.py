"""Figures for people: the unit that fits, no more digits than are read."""

from __future__ import annotations

from typing import Any

import pytest

from podium.figures import say_flops, say_gain, say_number, say_rate, say_seconds


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0.0 s"),
        (1.24, "1.2 s"),
        (12.4, "12 s"),
        (59.4, "59 s"),
        (60, "1 min 00 s"),
        (185.2, "3 min 05 s"),
        (3599.4, "59 min 59 s"),
        (3600, "1 h 00 min"),
        (7800, "2 h 10 min"),
        (360_000, "100 h 00 min"),
    ],
)
def test_seconds(seconds: float, said: str) -> None:
    assert say_seconds(seconds) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (1234, "1,234"),
        (1234.0, "1,234"),
        (0.45678, "0.4568"),
        (1234.5, "1,234"),
        (12345.6, "1.235e+04"),
        (True, "True"),
        ("word", "word"),
        (None, "None"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
    ],
)
def test_numbers(value: Any, said: str) -> None:
    assert say_number(value) == said


def test_rates_flops_and_gains() -> None:
    assert [say_rate(value) for value in (11790.3, 99.99, 2.44612)] == ["11,790", "99.99", "2.446"]
    assert [say_flops(value) for value in (2e12, 3.5e11, 12.0)] == ["2 TFLOP", "350 GFLOP", "12 FLOP"]
    assert [say_gain(value) for value in (0.181, -0.03, 0.0)] == ["+18.1 %", "-3.0 %", "+0.0 %"]
