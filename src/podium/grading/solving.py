r"""Where a relation of one variable holds: x^2 < 9, |2x - 1| \ge 3, \frac{x-1}{x+2} > 0.

Knows quotients of polynomials with rational coefficients and absolute values of these. Every point where the truth can
change is a zero of a numerator or denominator, with the absolute values taken either way; between two such points one
sample decides. Rational zeros are exact, the others have 60 digits.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from podium.grading import syntax, values
from podium.grading.syntax import Node

_MAX_DEGREE = 6
_MAX_ABSOLUTES = 2
_DIGITS = 100
_APART = 1e-40

Polynomial = list[Fraction]  # coefficients, the constant first


class Unsolved(Exception):
    """The relation is none that is solved here."""


@dataclass(frozen=True, slots=True)
class Root:
    """A point on the line, as a text that `formula` reads and as a number of many digits."""

    text: str
    value: Any


@dataclass(frozen=True, slots=True)
class Span:
    """An interval; None is an infinite end."""

    low: Root | None
    high: Root | None
    low_closed: bool = False
    high_closed: bool = False


def solution_spans(sides: Sequence[Node], signs: Sequence[str], name: str) -> list[Span]:
    """The intervals and points on which a chain of relations holds, from left to right; neighbours may touch.

    Raises:
        Unsolved: it has other variables, or functions that are not known here.
    """
    trees: list[Node] = [("-", left, right) for left, right in itertools.pairwise(sides)]
    if any(syntax.variables(tree) - {name} for tree in trees):
        raise Unsolved
    changes = _changes(trees, name)
    spans: list[Span] = []
    ends: list[Root | None] = [None, *changes, None]
    for low, high in itertools.pairwise(ends):
        if low is not None and _holds_at(sides, signs, name, low.value, edge=True):
            spans.append(Span(low, low, low_closed=True, high_closed=True))
        if _holds_at(sides, signs, name, _between(low, high), edge=False):
            spans.append(Span(low, high))
    return spans


def _changes(trees: Sequence[Node], name: str) -> list[Root]:
    """All points where a difference or what stands in an absolute value can change its sign."""
    absolutes = sorted({node for tree in trees for node in _absolutes(tree)}, key=repr)
    if len(absolutes) > _MAX_ABSOLUTES:
        raise Unsolved
    roots: list[Root] = []
    for chosen in itertools.product((1, -1), repeat=len(absolutes)):
        taken = dict(zip(absolutes, chosen, strict=True))
        for tree in (*trees, *(node[1] for node in absolutes)):
            for polynomial in _quotient(tree, name, taken):
                roots += _real_roots(polynomial)
    kept: list[Root] = []
    for root in sorted(roots, key=lambda each: each.value):
        if not kept or abs(root.value - kept[-1].value) > _APART:
            kept.append(root)
    return kept


def _between(low: Root | None, high: Root | None) -> Any:
    if low is None:
        return values.number(Fraction(0)) if high is None else high.value - 1
    return low.value + 1 if high is None else (low.value + high.value) / 2


def _holds_at(sides: Sequence[Node], signs: Sequence[str], name: str, where: Any, *, edge: bool) -> bool:
    numbers = [values.real_value(side, {name: where}) for side in sides]
    if any(found is None or (edge and abs(found) > 1e30) for found in numbers):
        return False  # a pole
    return values.chain_holds(numbers, signs)


def _absolutes(tree: Node) -> list[Node]:
    found = [node for part in tree[1:] if isinstance(part, tuple) for node in _absolutes(part)]
    return [*found, tree] if tree[0] == "abs" else found


def _quotient(tree: Node, name: str, taken: Mapping[Node, int]) -> tuple[Polynomial, Polynomial]:
    kind = tree[0]
    if kind == "num":
        return [Fraction(tree[1])], [Fraction(1)]
    if kind == "var" and tree[1] == name:
        return [Fraction(0), Fraction(1)], [Fraction(1)]
    if kind == "abs":
        above, below = _quotient(tree[1], name, taken)
        return [taken[tree] * number for number in above], below
    if kind == "^":
        if tree[2][0] != "num" or not tree[2][1].isdigit() or int(tree[2][1]) > _MAX_DEGREE:
            raise Unsolved
        above, below = _quotient(tree[1], name, taken)
        power: tuple[Polynomial, Polynomial] = [Fraction(1)], [Fraction(1)]
        for _ in range(int(tree[2][1])):
            power = _times(power[0], above), _times(power[1], below)
        return power
    if kind not in ("neg", "+", "-", "*", "/", "frac"):
        raise Unsolved
    parts = [_quotient(part, name, taken) for part in tree[1:]]
    (above, below) = parts[0]
    if kind == "neg":
        return [-number for number in above], below
    over, under = parts[1]
    if kind == "*":
        return _times(above, over), _times(below, under)
    if kind in ("/", "frac"):
        return _times(above, under), _times(below, over)
    sign = 1 if kind == "+" else -1
    left, right = _times(above, under), [sign * number for number in _times(over, below)]
    size = max(len(left), len(right))
    padded = [[*each, *[Fraction(0)] * (size - len(each))] for each in (left, right)]
    return [a + b for a, b in zip(*padded, strict=True)], _times(below, under)


def _times(one: Polynomial, other: Polynomial) -> Polynomial:
    if len(one) + len(other) > _MAX_DEGREE + 2:
        raise Unsolved
    product = [Fraction(0)] * (len(one) + len(other) - 1)
    for i, a in enumerate(one):
        for j, b in enumerate(other):
            product[i + j] += a * b
    return product


def _trimmed(polynomial: Polynomial) -> Polynomial:
    while polynomial and polynomial[-1] == 0:
        polynomial = polynomial[:-1]
    return polynomial


def _divided(one: Polynomial, other: Polynomial) -> tuple[Polynomial, Polynomial]:
    """Quotient and remainder; the divisor is trimmed."""
    rest, quotient = list(one), [Fraction(0)] * max(1, len(one) - len(other) + 1)
    while len(rest) >= len(other):
        factor = rest[-1] / other[-1]
        shift = len(rest) - len(other)
        quotient[shift] = factor
        rest = _trimmed([number - factor * (other[place - shift] if place >= shift else 0)
                         for place, number in enumerate(rest)][:-1])  # fmt: skip
    return quotient, rest


def _real_roots(polynomial: Polynomial) -> list[Root]:
    """The different real zeros."""
    polynomial = _trimmed(polynomial)
    if len(polynomial) < 2:
        return []
    common, rest = polynomial, _trimmed([place * number for place, number in enumerate(polynomial)][1:])
    while rest:
        common, rest = rest, _divided(common, rest)[1]
    simple = _trimmed(_divided(polynomial, common)[0])
    context = values.many_digits(_DIGITS)
    try:
        found = context.polyroots(
            [context.mpf(number.numerator) / number.denominator for number in reversed(simple)],
            maxsteps=200,
            extraprec=200,
        )
    except (context.NoConvergence, ArithmeticError, ValueError) as error:
        raise Unsolved from error
    real = [context.re(root) for root in found if abs(context.im(root)) < context.mpf(10) ** -60]
    roots: list[Root] = []
    irrational: list[Any] = []
    for value in real:
        near = Fraction(str(context.nstr(value, 60))).limit_denominator(10**6)
        if sum(number * near**power for power, number in enumerate(simple)) == 0:
            roots.append(Root(str(near), values.number(near)))
            simple, _ = _divided(simple, [-near, Fraction(1)])
        else:
            irrational.append(value)
    simple = _trimmed(simple)
    for value in irrational:
        text = context.nstr(value, 60)
        if len(simple) == 3:
            c, b, a = simple
            sign = "+" if 2 * a * value + b > 0 else "-"
            text = rf"\frac{{-({b}){sign}\sqrt{{{b * b - 4 * a * c}}}}}{{{2 * a}}}"
        roots.append(Root(text, values.many_digits(60).mpf(context.nstr(value, 70))))
    return roots
