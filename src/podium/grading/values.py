"""Values of closed forms, as numbers of many digits, and whether two are the same.

Two constants are the same if 60 and then 150 digits say so; two expressions with variables if they agree at points
drawn from their own text (Schwartz 1980), different if they part at one. Time and memory are bounded: nothing of more
than 2^20,000 is computed.

mpmath computes; its contexts are not thread-safe, so every thread has its own.
"""

from __future__ import annotations

import random
import threading
import zlib
from collections.abc import Callable
from typing import Any

from podium.grading.formula import Node, variables

_MAX_BITS = 20_000
_DIGITS = (60, 150)
_POINTS = 8
_ENOUGH = 4  # points at which both are defined
_INTEGER_NAMES = frozenset("nmkjpqr")
_local = threading.local()


class TooLarge(ArithmeticError):
    """A value is beyond _MAX_BITS."""


def same_value(first: Node, second: Node, seed: str = "") -> bool | None:
    """Whether two expressions have the same value wherever both have one; None when that cannot be told here."""
    names = sorted(variables(first) | variables(second))
    if not names:
        return _same_constant(first, second)
    return _same_function(first, second, names, seed)


def same_equation(first: tuple[Node, Node], second: tuple[Node, Node], seed: str = "") -> bool | None:
    """Whether two equations, as (left, right), are one up to a constant factor; None when they are not."""
    left, right = ("-", *first), ("-", *second)
    names = sorted(variables(left) | variables(right))
    if not names or variables(left) != variables(right):
        return None
    context = _context(_DIGITS[0])
    ratio: Any = None
    seen = 0
    for point in _points(context, names, seed, whole=False):
        try:
            above, below = _evaluate(left, context, point), _evaluate(right, context, point)
            quotient = above / below
        except (ArithmeticError, ValueError, TypeError):
            continue
        if ratio is not None and not _close(context, quotient, ratio, _DIGITS[0] - 20):
            return None
        ratio, seen = quotient, seen + 1
    return True if seen >= _ENOUGH and ratio != 0 else None


def constant(tree: Node, digits: int = _DIGITS[0]) -> Any | None:
    """The value of a tree (an mpmath number); None where it has variables, no value, or too large a one."""
    if variables(tree):
        return None
    context = _context(digits)
    try:
        return _evaluate(tree, context, {})
    except (ArithmeticError, ValueError, TypeError):
        return None


def _same_constant(first: Node, second: Node) -> bool | None:
    same: bool | None = None
    for digits in _DIGITS:
        left, right = constant(first, digits), constant(second, digits)
        if left is None or right is None:
            return None
        same = _close(_context(digits), left, right, digits - 20)
        if not same:
            # 20 digits may be lost to cancellation; numbers that part only beyond that are computed again
            if digits != _DIGITS[-1] and _close(_context(digits), left, right, digits // 2):
                continue
            return False
    return same


def _same_function(first: Node, second: Node, names: list[str], seed: str) -> bool | None:
    context = _context(_DIGITS[0])
    whole = all(name[0] in _INTEGER_NAMES for name in names)
    for integers in (False, True) if whole else (False,):
        agreed = parted = 0
        for point in _points(context, names, seed, whole=integers):
            try:
                left = _evaluate(first, context, point)
                right = _evaluate(second, context, point)
            except (ArithmeticError, ValueError, TypeError):
                continue
            if _close(context, left, right, _DIGITS[0] - 20):
                agreed += 1
            else:
                parted += 1
        if parted == 0:
            # Agreement at whole numbers alone may be what was asked ((-1)^n); that is not for us to say.
            return (True if not integers else None) if agreed >= _ENOUGH else None
        if not whole:
            return False
    return False


def _points(context: Any, names: list[str], seed: str, whole: bool) -> list[dict[str, Any]]:
    draw = random.Random(zlib.crc32(seed.encode("utf-8", "replace")))
    points: list[dict[str, Any]] = []
    for number in range(_POINTS):
        point: dict[str, Any] = {}
        for name in names:
            size = draw.randint(2, 12) if whole else context.mpf(draw.randint(10**6, 4 * 10**6)) / (10**6 + 3)
            point[name] = size if whole else size * ((-1) ** (number + draw.randint(0, 1)) if number >= 4 else 1)
        points.append(point)
    return points


def _close(context: Any, left: Any, right: Any, digits: int) -> bool:
    scale = max(context.mpf(1), abs(left), abs(right))
    return bool(abs(left - right) <= scale * context.mpf(10) ** -digits)


def _context(digits: int) -> Any:
    contexts: dict[int, Any] | None = getattr(_local, "contexts", None)
    if contexts is None:
        contexts = _local.contexts = {}
    if digits not in contexts:
        import mpmath

        contexts[digits] = mpmath.MPContext()
        contexts[digits].dps = digits
    return contexts[digits]


def _evaluate(node: Node, context: Any, point: dict[str, Any]) -> Any:
    """Value at a point. Raises ArithmeticError, ValueError or TypeError where there is none."""
    kind = node[0]
    if kind == "num":
        return context.mpf(node[1])
    if kind == "const":
        return {"pi": +context.pi, "e": +context.e, "i": context.mpc(0, 1)}[node[1]]
    if kind == "var":
        return point[node[1]]
    if kind == "+":  # long sums lean to the left: a loop walks them
        terms = [node]
        while terms[-1][1][0] == "+":
            terms.append(terms[-1][1])
        value = _evaluate(terms[-1][1], context, point)
        for term in reversed(terms):
            value = value + _evaluate(term[2], context, point)
        return _bounded(context, value)
    parts = [_evaluate(part, context, point) for part in node[1:]]
    return _bounded(context, _OPERATIONS[kind](context, *parts))


def _bounded(context: Any, value: Any) -> Any:
    if not context.isfinite(value):
        raise ValueError("no finite value")
    if value != 0 and abs(context.mag(value)) > _MAX_BITS:
        raise TooLarge
    # An imaginary part of nothing but rounding is none: a real root of a negative number must compare as real.
    if isinstance(value, context.mpc) and abs(value.imag) <= abs(value.real) * context.eps * 2**20:
        return value.real
    return value


def _power(context: Any, base: Any, exponent: Any) -> Any:
    if base == 0:
        if context.re(exponent) <= 0:
            raise ZeroDivisionError
        return base
    if abs(exponent) * (abs(context.mag(base)) + 2) > _MAX_BITS:
        raise TooLarge
    return context.power(base, exponent)


def _root(context: Any, value: Any, index: Any) -> Any:
    if index != context.nint(index) or not 1 <= index <= 1000:
        raise ValueError("no such root")
    if value < 0 and int(index) % 2:
        return -context.root(-value, int(index))
    return context.root(value, int(index))


def _factorial(context: Any, value: Any) -> Any:
    if abs(value) > 1_500 or (value == context.nint(value) and value < 0):
        raise TooLarge
    return context.factorial(value)


def _binomial(context: Any, above: Any, below: Any) -> Any:
    if abs(above) > 10_000 or abs(below) > 10_000:
        raise TooLarge
    return context.binomial(above, below)


def _small(function: str) -> Callable[[Any, Any], Any]:
    """An elementary function, refused where its argument has too many digits to reduce."""

    def call(context: Any, value: Any) -> Any:
        if value != 0 and context.mag(value) > 1_000:
            raise TooLarge
        if function == "exp" and abs(value) > _MAX_BITS:
            raise TooLarge
        return getattr(context, function)(value)

    return call


def _divide(context: Any, above: Any, below: Any) -> Any:
    if below == 0:
        raise ZeroDivisionError
    return above / below


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "-": lambda context, left, right: left - right,
    "*": lambda context, left, right: left * right,
    "/": _divide,
    "frac": _divide,
    "neg": lambda context, value: -value,
    "^": _power,
    "sqrt": lambda context, value: context.sqrt(value),
    "cbrt": lambda context, value: _root(context, value, context.mpf(3)),
    "root": _root,
    "!": _factorial,
    "binom": _binomial,
    "abs": lambda context, value: abs(value),
    "floor": lambda context, value: context.floor(value),
    "ceil": lambda context, value: context.ceil(value),
    "arcsin": _small("asin"),
    "arccos": _small("acos"),
    "arctan": _small("atan"),
    "ln": lambda context, value: context.ln(value),
    "log": lambda context, value: context.ln(value),
    **{name: _small(name) for name in ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "exp")},
}
