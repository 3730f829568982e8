"""Closed forms against sympy as the oracle: expressions built at random, written as LaTeX, read back as numbers."""

import math
from fractions import Fraction

import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from podium.grading import arithmetic, values
from podium.grading.formula import parse
from podium.grading.notation import tidy

x, y = sympy.symbols("x y")
leaves = st.one_of(st.integers(1, 12).map(sympy.Integer), st.sampled_from([x, y, sympy.pi, sympy.E, sympy.sqrt(2)]))
expressions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda pair: pair[0] + pair[1]),
        st.tuples(inner, inner).map(lambda pair: pair[0] * pair[1]),
        st.tuples(inner, inner).map(lambda pair: pair[0] - 2 * pair[1]),
        inner.map(lambda one: one**2),
        inner.map(lambda one: 1 / (one + 13)),
        inner.map(lambda one: sympy.sqrt(one**2 + 1)),
        inner.map(sympy.sin),
        inner.map(lambda one: sympy.exp(sympy.cos(one))),
        inner.map(lambda one: sympy.log(one**2 + 2)),
    ),
    max_leaves=6,
).filter(lambda expression: not expression.has(sympy.zoo, sympy.oo, sympy.nan))


@settings(max_examples=150, deadline=None)
@given(expressions, st.integers(1, 50))
def test_what_sympy_writes_has_the_value_sympy_gives(expression: sympy.Expr, at: int) -> None:
    point = Fraction(at, 7)
    tree = parse(tidy(sympy.latex(expression)))
    assert tree is not None, sympy.latex(expression)
    put = expression.subs({x: sympy.Rational(at, 7), y: sympy.Rational(at + 3, 7)})
    if not put.is_finite:
        return
    written = sympy.latex(expression)
    for name, value in (("x", point), ("y", Fraction(at + 3, 7))):
        written = _replace(written, name, f"({value.numerator}/{value.denominator})")
    found = values.constant(parse(tidy(written)) or ("num", "nan"))
    assert found is not None, written
    exact = put.evalf(30)
    assert abs(complex(found) - complex(exact)) <= 1e-9 * max(1.0, abs(complex(exact))), written


def _replace(latex: str, name: str, value: str) -> str:
    """A variable put into LaTeX, not into the names of commands."""
    import re

    return re.sub(rf"(?<![a-zA-Z\\]){name}(?![a-zA-Z])", lambda _: value, latex)


@settings(max_examples=100, deadline=None)
@given(expressions)
def test_an_expression_is_its_expansion_and_not_itself_plus_a_bit(expression: sympy.Expr) -> None:
    first = parse(tidy(sympy.latex(expression)))
    second = parse(tidy(sympy.latex(sympy.expand(expression))))
    other = parse(tidy(sympy.latex(expression + sympy.Rational(1, 1000))))
    assert first is not None
    assert second is not None
    assert other is not None
    assert values.same_value(first, second) in (True, None)
    assert values.same_value(first, other) in (False, None)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2^10", 1024),
        ("-2^2", -4),
        ("2^{3^2}", 512),
        ("1/2x", None),
        ("2\\frac{1}{2}", 2.5),
        ("2\\frac{3}{2}", 3),
        ("\\sqrt[3]{-27}", -3),
        ("\\sin^{-1} 1", math.pi / 2),
        ("\\sin^2 1 + \\cos^2 1", 1),
        ("\\log_2 8", 3),
        ("\\ln e", 1),
        ("|2-|{-5}||", 3),
        ("3!!", 3),
        ("5!!", 15),
        ("6!!", 48),
        ("(3!)!", 720),
        ("5!!!", None),
        ("\\binom{10}{3}", 120),
        ("\\lceil 2.1 \\rceil", 3),
        ("sqrt(16)", 4),
        ("60^\\circ", math.pi / 3),
        ("1/0", None),
        ("0^0", None),
        ("\\sqrt{", None),
        ("", None),
        ("x y z w", None),
        ("hello there", None),
        ("10^{10^{10}}", None),
        ("100000!", None),
        ("\\sin(10^{4000})", None),
    ],
)
def test_values_of_closed_forms(text: str, value: float | None) -> None:
    tree = parse(text)
    found = None if tree is None else values.constant(tree)
    if value is None:
        assert found is None
    else:
        assert found is not None
        assert float(found) == pytest.approx(value, rel=1e-12)


def test_numbers_that_agree_in_thirty_digits_are_told_apart() -> None:
    # the Ramanujan constant is 7.5e-13 below an integer of 18 digits
    near = parse("e^{\\pi\\sqrt{163}}")
    whole = parse("262537412640768744")
    assert near is not None
    assert whole is not None
    assert values.same_value(near, whole) is False
    nested, sum_ = parse("\\sqrt{5+2\\sqrt{6}}"), parse("\\sqrt{2}+\\sqrt{3}")
    assert nested is not None
    assert sum_ is not None
    assert values.same_value(nested, sum_) is True


def test_equal_at_whole_numbers_alone_is_not_decided_here() -> None:
    first, second = parse("(-1)^n"), parse("\\cos(\\pi n)")
    assert first is not None
    assert second is not None
    assert values.same_value(first, second) is None


@settings(deadline=None)
@given(st.integers(0, 60), st.integers(0, 60))
def test_factorials_and_their_residues(n: int, m: int) -> None:
    left, right = arithmetic.parse(f"{n}!"), arithmetic.parse(f"{m}!")
    assert left is not None
    assert right is not None
    assert arithmetic.evaluate(left) == math.factorial(n)
    assert arithmetic.same_value(left, right) is (math.factorial(n) == math.factorial(m))


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("(10^6)!", "(10^6)!+1", False),
        ("(10^6)!", "(10^6)!", True),
        ("((9!)!)!", "7", False),
        ("20000!", "20001!", None),  # both are divisible by all the moduli below them
        ("2^{20000!}", "3^{20000!}", None),
    ],
)
def test_factorials_beyond_the_limit(first: str, second: str, same: bool | None) -> None:
    trees = arithmetic.parse(first), arithmetic.parse(second)
    assert trees[0] is not None
    assert trees[1] is not None
    found = arithmetic.same_value(trees[0], trees[1])
    assert found is same or (same is None and found is False)
