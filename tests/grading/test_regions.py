r"""Sets given by a condition on one real variable, held against the intervals they are."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podium.grading.compare import Sameness, compare
from podium.grading.exact import compare_exactly
from podium.grading.notation import tidy
from podium.grading.regions import set_as_intervals


def both_ways(first: str, second: str) -> Sameness:
    found = {compare(first, second).sameness, compare(second, first).sameness}
    assert len(found) == 1
    return found.pop()


@pytest.mark.parametrize(
    ("condition", "intervals"),
    [
        (r"\{x : x > 5\}", r"(5,\infty)"),
        (r"\{x \mid x > 5\}", r"(5,\infty)"),
        (r"\{x | x > 5\}", r"(5,\infty)"),
        (r"\left\{\,y \in \mathbb{R} \,\middle|\, 1 < y \leq \sqrt{2}\right\}", r"(1,\sqrt2]"),
        (r"S = \{x: 5 \ge x > \frac12\}", "(0.5, 5]"),
        (r"\{\theta : 0\le\theta<2\pi\}", r"[0,2\pi)"),
        (r"\{x : x \le 2 \text{ and } x > -1\}", "(-1,2]"),
        (r"\{x : x>1, x<5\}", "(1,5)"),
        (r"\{x : x < 1 \text{ or } x > 3\}", r"(3,\infty)\cup(-\infty,1)"),
        (r"\{x\in\mathbb{R} : x \neq 3\}", r"(-\infty,3)\cup(3,\infty)"),
        (r"\{x : x < 5 \lor x \ge 5\}", r"(-\infty,\infty)"),
        (r"\{x : a < x < b\}", "(a,b)"),
        (r"\{x : x = 2\}", r"\{2\}"),
        (r"\{x : x < 1 \land x > 3\}", r"\emptyset"),
        (r"\{n \in \mathbb{R} : n > 5\}", r"(5,\infty)"),
        (r"\{x : x > 5\}", "x > 5"),
        (r"\{x : x > 5\}", r"\{t \mid 5 < t\}"),
        (r"x < 1 \text{ or } x > 3", r"(-\infty,1)\cup(3,\infty)"),
        ("5 < x", r"(5,\infty)"),
        ("2 > x > 1", "(1,2)"),
    ],
)
def test_a_condition_is_the_intervals_it_holds_on(condition: str, intervals: str) -> None:
    assert both_ways(condition, intervals) is Sameness.EQUAL


@pytest.mark.parametrize(
    ("condition", "other"),
    [
        (r"\{x : x > 5\}", r"[5,\infty)"),
        (r"\{x : x > 5\}", r"(4,\infty)"),
        (r"\{x : x > 5\}", r"(-\infty,5)"),
        (r"\{x : x > 5\}", "5"),
        (r"\{x : x > 5\}", r"\{x \mid x > 6\}"),
        (r"\{x : x < 1 \text{ or } x > 3\}", r"(-\infty,1)\cup(4,\infty)"),
        (r"\{x : 1 < x < 2\}", "[1,2]"),
    ],
)
def test_another_set_is_different(condition: str, other: str) -> None:
    assert both_ways(condition, other) is Sameness.DIFFERENT


@pytest.mark.parametrize(
    "condition",
    [
        r"\{n : n > 5\}",  # whole numbers, by convention
        r"\{x : x > y + 5, y > 0\}",
        r"\{x : 1 < x > 5\}",
        r"\{x : x = \infty\}",
    ],
)
def test_what_is_not_read_is_undecided(condition: str) -> None:
    assert both_ways(condition, r"(5,\infty)") is Sameness.PARSE


def test_a_set_of_numbers_is_no_condition() -> None:
    for text in (r"\{|a|, 2\}", r"\{1, 2\}", "(1, 2)", "x", r"\{x\}"):
        assert set_as_intervals(text) == text
    assert compare_exactly(r"\{|-3|, 2\}", r"\{2, 3\}") is True


_SIGNS = {
    "<": lambda x, a: x < a,
    ">": lambda x, a: x > a,
    r"\le": lambda x, a: x <= a,
    r"\ge": lambda x, a: x >= a,
    r"\ne": lambda x, a: x != a,
    "=": lambda x, a: x == a,
}
_RELATIONS = st.tuples(st.sampled_from(sorted(_SIGNS)), st.integers(0, 6))
_CONDITIONS = st.lists(st.lists(_RELATIONS, min_size=1, max_size=3), min_size=1, max_size=3)


def intervals_of(condition: list[list[tuple[str, int]]]) -> str:
    """The set by trying: between whole ends, membership changes only at whole numbers, so halves and wholes say all."""
    points = [Fraction(number, 2) for number in range(-1, 14)]
    inside = [any(all(_SIGNS[sign](x, end) for sign, end in case) for case in condition) for x in points]
    written: list[str] = []
    place = 0
    while place < len(points):
        if not inside[place]:
            place += 1
            continue
        first = place
        while place + 1 < len(points) and inside[place + 1]:
            place += 1
        low, high = points[first], points[place]
        left = "(-\\infty" if first == 0 else f"[{low}" if low.denominator == 1 else f"({low - Fraction(1, 2)}"
        right = "\\infty)" if place == len(points) - 1 else f"{high}]"
        if right != "\\infty)" and high.denominator != 1:
            right = f"{high + Fraction(1, 2)})"
        written.append(f"\\{{{low}\\}}" if low == high and low.denominator == 1 else f"{left},{right}")
        place += 1
    return " \\cup ".join(written) or "\\emptyset"


@settings(max_examples=300, deadline=None)
@given(_CONDITIONS)
def test_random_conditions_are_written_as_trying_finds_them(condition: list[list[tuple[str, int]]]) -> None:
    said = r" \text{ or } ".join(r" \text{ and } ".join(f"x {sign} {end}" for sign, end in case) for case in condition)
    assert set_as_intervals(tidy(rf"\{{x : {said}\}}")) == intervals_of(condition)
