"""Closed forms that only computer algebra has values for. Runs only inside a worker process: it may hang or eat memory.

Knows sums, products, integrals and limits as `formula` reads them (whole, or not at all), and sympy; the deadline is
the parent's. They are computed as numbers first, because looking for a closed form that does not exist never ends.
Equal is said where sympy brings the difference to zero, different where numbers part, nothing in between.
"""

from __future__ import annotations

from typing import Any

from podium.grading import formula, syntax, values
from podium.grading.syntax import Node

_DIGITS = 30
_APART = 1e-12
_CLOSED = frozenset(("sum", "prod", "int", "lim"))  # what sympy finds closed forms for


def equivalent(gold: str, answer: str) -> bool | None:
    """Whether two tidied closed forms are the same; None when one of them cannot be read or nothing is shown."""
    trees = formula.parse(gold), formula.parse(answer)
    if trees[0] is None or trees[1] is None:
        return None
    sides = [_expression(tree) for tree in trees if tree is not None]
    if not any(side.free_symbols for side in sides):
        numbers = [found for side in sides if (found := _number(side)) is not None]
        if len(numbers) == 2 and _are_apart(*numbers):
            return False
    return _by_symbols(*sides, closing=any(syntax.kinds(tree) & _CLOSED for tree in trees if tree is not None))


def _number(expression: Any) -> complex | None:
    """The value in 20 digits, if sympy vouches for them."""
    found = expression.evalf(_DIGITS)
    try:
        value = complex(found)
    except TypeError:
        return None
    return None if value != value or abs(value) == float("inf") else value


def _are_apart(left: complex, right: complex) -> bool:
    return abs(left - right) > _APART * max(1.0, abs(left), abs(right))


def _by_symbols(left: Any, right: Any, *, closing: bool) -> bool | None:
    import sympy

    closed = [side.doit() for side in (left, right)]
    kinds = (sympy.Integral, sympy.Sum, sympy.Product, sympy.Limit)
    difference = closed[0] - closed[1]
    if difference == 0 or sympy.simplify(difference) == 0:
        return True
    if closing and not any(side.has(*kinds) for side in closed):
        return _by_points(*closed)
    return None


def _by_points(left: Any, right: Any) -> bool | None:
    """Closed forms that sympy found, at the points of their names."""
    import sympy

    symbols = sorted(left.free_symbols | right.free_symbols, key=str)
    for point in values.sample_points([str(symbol) for symbol in symbols], 12) if symbols else [{}]:
        put = {symbol: sympy.Rational(*point[str(symbol)].as_integer_ratio()) for symbol in symbols}
        found = [number for side in (left, right) if (number := _number(side.subs(put))) is not None]
        if len(found) == 2 and _are_apart(*found):
            return False
    return None


def _expression(node: Node) -> Any:
    """A tree as a sympy expression. Raises KeyError for a kind of node that sympy is not asked about."""
    import sympy

    kind = node[0]
    if kind == "num":
        return sympy.Rational(node[1])
    if kind == "const":
        return {"pi": sympy.pi, "e": sympy.E, "i": sympy.I, "inf": sympy.oo}[node[1]]
    if kind == "var":
        return sympy.Symbol(node[1])
    if kind in ("sum", "prod", "int"):
        name, low, high, body = sympy.Symbol(node[1]), *map(_expression, node[2:])
        return {"sum": sympy.Sum, "prod": sympy.Product, "int": sympy.Integral}[kind](body, (name, low, high))
    if kind == "lim":
        return sympy.Limit(_expression(node[3]), sympy.Symbol(node[1]), _expression(node[2]), "+-")
    parts = [_expression(part) for part in node[1:]]
    operations: dict[str, Any] = {
        "+": lambda a, b: a + b,
        "-": lambda a, b: a - b,
        "*": lambda a, b: a * b,
        "/": lambda a, b: a / b,
        "frac": lambda a, b: a / b,
        "neg": lambda a: -a,
        "^": lambda a, b: a**b,
        "sqrt": sympy.sqrt,
        "cbrt": sympy.cbrt,
        "root": sympy.root,
        "abs": sympy.Abs,
        "arcsin": sympy.asin,
        "arccos": sympy.acos,
        "arctan": sympy.atan,
        "ceil": sympy.ceiling,
        "!": sympy.factorial,
        "!!": sympy.factorial2,
        "binom": sympy.binomial,
        "ln": sympy.log,
    }
    names = ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "exp", "floor")
    return (operations.get(kind) or {name: getattr(sympy, name) for name in names}[kind])(*parts)
