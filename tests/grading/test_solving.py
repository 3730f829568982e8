"""Where relations of one variable hold, against brute force over many points."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podium.grading import formula, syntax, values
from podium.grading.solving import Span, Unsolved, solution_spans


def tree(text: str) -> syntax.Node:
    found = formula.parse(text)
    assert found is not None
    return found


def inside(spans: list[Span], where: Fraction) -> bool:
    number = values.number(where)
    return any(
        (span.low is None or span.low.value < number or (span.low_closed and span.low.value == number))
        and (span.high is None or number < span.high.value or (span.high_closed and span.high.value == number))
        for span in spans
    )


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(-4, 4), min_size=1, max_size=4), st.sampled_from(["<", "\\le", ">", "\\ge", "\\ne"]))
def test_products_are_solved_where_they_hold(roots: list[int], sign: str) -> None:
    product = "".join(f"(x-({root}))" for root in roots)
    spans = solution_spans([tree(product), tree("0")], [sign], "x")
    for step in range(-20, 21):
        number = Fraction(step, 4)
        value = Fraction(1)
        for root in roots:
            value *= number - root
        held = {"<": value < 0, "\\le": value <= 0, ">": value > 0, "\\ge": value >= 0, "\\ne": value != 0}[sign]
        assert inside(spans, number) == held


@settings(max_examples=12, deadline=None)
@given(st.integers(-3, 3), st.integers(-3, 3), st.integers(1, 6))
def test_absolute_values_are_solved_where_they_hold(a: int, b: int, most: int) -> None:
    spans = solution_spans([tree(f"|x-({a})|+|2x-({b})|"), tree(str(most))], ["\\le"], "x")
    for step in range(-20, 21):
        number = Fraction(step, 5)
        assert inside(spans, number) == (abs(number - a) + abs(2 * number - b) <= most)


@pytest.mark.parametrize("text", [r"\sin x", "2^x", "xy", r"\sqrt{x}"])
def test_other_functions_are_not_solved(text: str) -> None:
    with pytest.raises(Unsolved):
        solution_spans([tree(text), tree("0")], ["<"], "x")
