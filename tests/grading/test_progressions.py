"""Sums and products with dots, against sums that are added up."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podium.grading import formula, values


@settings(max_examples=15, deadline=None)
@given(st.integers(-9, 9), st.integers(1, 7), st.integers(5, 30))
def test_a_constant_step_is_added_up(start: int, step: int, count: int) -> None:
    terms = [start + step * place for place in range(count)]
    shown = "+".join(f"({term})" for term in terms[:3])
    found = formula.parse(rf"{shown}+\ldots+({terms[-1]})")
    assert found is not None
    assert values.exact(found) == sum(terms)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r"1\cdot2\cdot3\ldots 7", math.factorial(7)),
        (r"1^2+2^2+\ldots+12^2", sum(number**2 for number in range(13))),
        (r"1+2+4+\ldots+1024", 2047),
        (r"1!+2!+\ldots+6!", sum(map(math.factorial, range(1, 7)))),
        (r"\frac{1}{2}+\frac{1}{4}+\frac{1}{8}+\ldots", 1),
    ],
)
def test_plain_rules(text: str, value: int) -> None:
    found = formula.parse(text)
    assert found is not None
    assert values.exact(found) == value


@pytest.mark.parametrize(
    "text",
    [
        r"1+2+\ldots+16",  # 16 terms, or 5
        r"1+2+\ldots",
        r"1+3+\ldots+10",
        r"1+1+2+3+5+\ldots+21",
        r"x_1+x_2+\ldots+x_n",
        r"1+2+4+\ldots+1000",
    ],
)
def test_what_is_not_plain_is_not_read(text: str) -> None:
    assert formula.parse(text) is None
