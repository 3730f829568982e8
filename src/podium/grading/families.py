r"""Families of numbers over all whole k: \frac\pi2 + k\pi, 2k+1. Each is an offset and a period."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from podium.grading import syntax, values
from podium.grading.syntax import Node

_APART = 1e-40
_MOST_OFFSETS = 500
_LARGEST_RATIO = 1_000


def same_family(first: Sequence[Node], name: str, second: Sequence[Node], other: str) -> bool | None:
    """Whether two unions of families, each linear in its index, are one set of real numbers; None where that is not
    told."""
    sides = [[_line(tree, index) for tree in trees] for trees, index in ((first, name), (second, other))]
    lines = [line for side in sides for line in side if line is not None]
    if len(lines) < len(first) + len(second):
        return None
    longest = lines[0][1]
    for _, period in lines[1:]:
        ratio = _ratio(period, longest)
        if ratio is None:
            return None
        longest *= ratio.numerator  # a multiple of both periods
    offsets: list[list[Any]] = []
    for side in sides:
        found: list[Any] = []
        for line in side:
            assert line is not None
            start, period = line
            times = round(longest / period)
            if times * len(side) > _MOST_OFFSETS:
                return None
            found += [(start + turn * period) / longest for turn in range(times)]
        offsets.append(found)
    return all(
        any(abs((one - two) - round(one - two)) < _APART for two in there)
        for here, there in (offsets, offsets[::-1])
        for one in here
    )


def _line(tree: Node, index: str) -> tuple[Any, Any] | None:
    """Offset and positive period of a linear expression; None for any other."""
    if syntax.variables(tree) != {index}:
        return None
    numbers = [values.real_value(tree, {index: values.number(Fraction(number))}) for number in (0, 1, 2, 7, -5)]
    points: list[Any] = [number for number in numbers if number is not None]
    if len(points) < len(numbers):
        return None
    start, period = points[0], points[1] - points[0]
    straight = all(
        abs(point - start - number * period) < _APART * max(1, abs(period))
        for number, point in zip((2, 7, -5), points[2:], strict=True)
    )
    return (start, abs(period)) if straight and abs(period) > _APART else None


def _ratio(one: Any, other: Any) -> Fraction | None:
    """one / other as a small fraction."""
    quotient = one / other
    near = Fraction(str(quotient)).limit_denominator(_LARGEST_RATIO)
    small = near.numerator <= _LARGEST_RATIO and near > 0
    return near if small and abs(quotient - values.number(near)) < _APART else None
