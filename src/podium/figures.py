"""Figures as they are written for people, alike in the terminal and on pages. Knows numbers only."""

from __future__ import annotations

from typing import Any


def say_seconds(seconds: float) -> str:
    """1.2 s, 12 s, 3 min 05 s, 2 h 10 min."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def say_number(value: Any) -> str:
    """A figure short enough for a line: 1,234, 0.4568, 1.235e+04; what is no number is written as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or value.is_integer():
        return f"{int(value):,}"
    return f"{value:,.4g}"


def say_rate(value: float) -> str:
    """A figure that changes while it is read, such as items per second: 11,790 or 2.446."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4g}"


def say_flops(flops: float) -> str:
    """2 TFLOP, 350 GFLOP."""
    for unit, size in (("E", 1e18), ("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if flops >= size:
            return f"{flops / size:.3g} {unit}FLOP"
    return f"{flops:.0f} FLOP"


def say_gain(share: float) -> str:
    """A change as a share of what was before, in per cent: +18.1 %, -3.0 %."""
    return f"{100 * share:+.1f} %"
