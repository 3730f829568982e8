"""Values of closed forms and whether two expressions are the same: exact rationals first, then numbers of many digits.

Two constants are the same if 60 and then 150 digits say so. Two expressions with variables are the same if they agree
at points that belong to their variables' names (Schwartz 1980), different if they part at one where both are real all
the way. The points are the same for every pair, so that verdicts on three expressions fit together. Time and memory are
bounded: nothing of more than 2^20,000 is computed.

mpmath computes; its contexts are not thread-safe, so every thread has its own.
"""

from __future__ import annotations

import functools
import itertools
import math
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

from podium.grading.syntax import Node, kinds, variables

_MAX_BITS = 20_000
_DIGITS = (60, 150)
_ENOUGH = 4  # points at which both are defined
_MAX_TERMS = 2_000  # of a sum or product
_INTEGER_NAMES = frozenset("nmkjpqr")
_WHOLE_KINDS = frozenset(("sum", "prod", "mod", "gcd", "lcm", "!", "!!", "binom", "perm"))  # mean whole numbers
_SERIES = frozenset(("sum", "prod"))
_STEPS = frozenset(("floor", "ceil", "abs", "max", "min", "mod", "gcd", "lcm"))  # may part at few points alone
_MAX_STEPS = 20_000  # nodes evaluated for one value; sums in sums are many
_HEAVY = frozenset(("int", "lim", "inf"))  # only computer algebra has values for these
_ENDLESS = (("const", "inf"), ("neg", ("const", "inf")))
_local = threading.local()

Point = Mapping[str, Any]


class TooLarge(ArithmeticError):
    """A value is beyond _MAX_BITS, or has too many terms."""


@functools.lru_cache(maxsize=1024)  # an answer that goes on to computer algebra is read and compared once more
def same_value(first: Node, second: Node) -> bool | None:
    """Whether two expressions have the same value wherever both have one; None when that cannot be told here."""
    if kinds(first) & _HEAVY or kinds(second) & _HEAVY:
        if first == second:
            return True
        ends = [tree in _ENDLESS for tree in (first, second)]
        finite = [constant(tree) is not None for tree in (first, second)]
        return False if any(ends) and all(end or has for end, has in zip(ends, finite, strict=True)) else None
    names = sorted(variables(first) | variables(second))
    bases = _bases(first, second)
    found = {
        _same_function(*trees, names) if names else _same_constant(*trees)
        for trees in ((_with_base(first, base), _with_base(second, base)) for base in bases)
    }
    return found.pop() if len(found) == 1 else None


def same_equation(first: tuple[Node, Node], second: tuple[Node, Node]) -> bool | None:
    """Whether two equations, as (left, right), have the same solutions: True if one is a multiple of the other by a
    number, False if a solution of one is none of the other, None where neither is shown."""
    left, right = ("-", *first), ("-", *second)
    if (kinds(left) | kinds(right)) & (_HEAVY | {"log"}):
        return None
    names = sorted(variables(left) | variables(right))
    if not names:
        return None
    if is_multiple(left, right, names) is not None:
        return True
    return False if _solves_one_alone(left, right, names) or _solves_one_alone(right, left, names) else None


def is_multiple(left: Node, right: Node, names: Sequence[str]) -> int | None:
    """The sign of the number by which the right side must be multiplied to give the left; None when there is none."""
    ratio: Any = None
    seen = 0
    context = _context(_DIGITS[0])
    for point in _points(names, whole=False):
        exact = _exact_or_none(left, point), _exact_or_none(right, point)
        try:
            if exact[0] is not None and exact[1] is not None:
                quotient: Any = context.mpf(exact[0].numerator * exact[1].denominator) / (
                    exact[0].denominator * exact[1].numerator
                )
            else:
                numbers = _Numbers(context, as_complex=False)
                values = [numbers.value(tree, numbers.point(point)) for tree in (left, right)]
                if numbers.left_reals:
                    continue
                quotient = values[0] / values[1]
        except (ArithmeticError, ValueError, TypeError):
            continue
        if not context.isfinite(quotient) or (ratio is not None and not _close(context, quotient, ratio, 40)):
            return None
        ratio, seen = quotient, seen + 1
    if seen < _ENOUGH or ratio == 0 or isinstance(ratio, context.mpc):
        return None
    return 1 if ratio > 0 else -1


def _solves_one_alone(solved: Node, other: Node, names: Sequence[str]) -> bool:
    """Whether some real zero of the first expression is clearly no zero of the second, which has a value there."""
    context = _context(_DIGITS[0])
    for point in _points(names, whole=False)[:4]:
        fixed = {name: number(value) for name, value in point.items()}
        for name in sorted(variables(solved)):
            for zero in _real_zeros(solved, fixed, name):
                there = real_value(other, {**fixed, name: zero})
                if there is not None and abs(there) > context.mpf(10) ** -9:
                    return True
    return False


def real_value(tree: Node, point: Point) -> Any | None:
    """The value at a point of numbers; None where there is none, or a step is not real."""
    numbers = _Numbers(_context(_DIGITS[0]), as_complex=False)
    try:
        value = numbers.value(tree, point)
    except (ArithmeticError, ValueError, TypeError):
        return None
    return None if numbers.left_reals else value


def _real_zeros(tree: Node, fixed: Point, name: str) -> Iterator[Any]:
    """Zeros in one variable, the others fixed, where the sign changes on a grid; halved until 30 digits are there."""
    context = _context(_DIGITS[0])
    grid = [context.mpf(step) * 7 / 5 + context.mpf(1) / 9 for step in range(-9, 10)]
    known = [(where, real_value(tree, {**fixed, name: where})) for where in grid]
    for (low, below), (high, above) in itertools.pairwise(known):
        if below is None or above is None or not below * above < 0:
            continue
        value: Any = below
        for _ in range(120):
            middle = (low + high) / 2
            value = real_value(tree, {**fixed, name: middle})
            if value is None:
                break
            low, high = (middle, high) if value * below > 0 else (low, middle)
        if value is not None and abs(value) <= context.mpf(10) ** -25:  # else a pole, or a step
            yield low


def number(value: Fraction) -> Any:
    """A rational as a number of many digits."""
    return _context(_DIGITS[0]).mpf(value.numerator) / value.denominator


def truth(sides: Sequence[Node], signs: Sequence[str], point: Point) -> bool | None:
    """Whether a chain of relations holds at a point of Fractions; None where a side has no real value."""
    numbers = [real_value(side, {name: number(value) for name, value in point.items()}) for side in sides]
    return None if any(found is None for found in numbers) else chain_holds(numbers, signs)


def chain_holds(numbers: Sequence[Any], signs: Sequence[str]) -> bool:
    """Whether a chain of relations holds between numbers; those that agree in 40 digits are equal."""
    context = _context(_DIGITS[0])
    for left, sign, right in zip(numbers, signs, numbers[1:], strict=False):
        if _close(context, left, right, 40):
            held = sign in ("=", "\\le", "\\ge")
        else:
            held = {"<": left < right, "\\le": left < right, ">": left > right, "\\ge": left > right}.get(
                sign, sign == "\\ne"
            )
        if not held:
            return False
    return True


def many_digits(digits: int) -> Any:
    """This thread's mpmath context of so many digits."""
    return _context(digits)


def constant(tree: Node, digits: int = _DIGITS[0]) -> Any | None:
    """The value of a tree (an mpmath number); None where it has variables, no value, or too large a one."""
    if variables(tree):
        return None
    context = _context(digits)
    try:
        return _Numbers(context, as_complex="i" in kinds(tree)).value(tree, {})
    except (ArithmeticError, ValueError, TypeError):
        return None


def exact(tree: Node, point: Point | None = None) -> Fraction:
    """The value as a rational number.

    Raises:
        ArithmeticError, ValueError: it is none, has none, or is too large.
    """
    return _Exact().value(tree, point or {})


def _exact_or_none(tree: Node, point: Point) -> Fraction | None:
    try:
        return exact(tree, point)
    except (ArithmeticError, ValueError):
        return None


def _bases(first: Node, second: Node) -> tuple[str, ...]:
    """A logarithm without a base may be the natural or the decimal one: a verdict must hold for both."""
    return ("e", "10") if "log" in kinds(first) | kinds(second) else ("",)


def _with_base(tree: Node, base: str) -> Node:
    if not base or tree[0] in ("num", "const", "var"):
        return tree
    parts = tuple(_with_base(part, base) if isinstance(part, tuple) else part for part in tree[1:])
    if tree[0] != "log":
        return (tree[0], *parts)
    return ("ln", *parts) if base == "e" else ("/", ("ln", *parts), ("ln", ("num", "10")))


def _same_constant(first: Node, second: Node) -> bool | None:
    rational = _exact_or_none(first, {}), _exact_or_none(second, {})
    if rational[0] is not None and rational[1] is not None:
        return rational[0] == rational[1]
    as_complex = "i" in kinds(first) | kinds(second)
    same: bool | None = None
    for digits in _DIGITS:
        context = _context(digits)
        try:
            left, right = (_Numbers(context, as_complex=as_complex).value(tree, {}) for tree in (first, second))
        except (ArithmeticError, ValueError, TypeError):
            return None
        same = _close(context, left, right, digits - 20)
        if not same:
            # 20 digits may be lost to cancellation; numbers that part only beyond that are computed again
            if digits != _DIGITS[-1] and _close(context, left, right, digits // 2):
                continue
            return False
    return same


def _same_function(first: Node, second: Node, names: list[str]) -> bool | None:
    both = kinds(first) | kinds(second)
    series = bool(both & _SERIES)
    whole_names = all(name[0] in _INTEGER_NAMES for name in names)
    if both & _STEPS:
        edges = _edge_points(tuple(names))
        natural = [point for point in edges if _is_natural(point)]
        if _at_points(first, second, natural, as_complex="i" in both, least=1) is False:
            return False
        if not both & _WHOLE_KINDS and _at_points(first, second, edges, as_complex="i" in both, least=1) is False:
            return None if whole_names else False
    if not series:
        found = _at_points(first, second, _points(names, whole=False), as_complex="i" in both)
        if found is True or (found is False and not whole_names):
            return found
    if not whole_names and not both & _WHOLE_KINDS:
        return None
    found = _at_points(first, second, _points(names, whole=True), as_complex="i" in both)
    if found is True and not (both & _WHOLE_KINDS):
        # Agreement at whole numbers alone may be what was asked ((-1)^n); that is not for us to say.
        return None
    return found


def _at_points(
    first: Node, second: Node, points: Sequence[Point], *, as_complex: bool, least: int = _ENOUGH
) -> bool | None:
    """True: they agree wherever one of them is real all the way, or, with `as_complex`, defined. False: they part where
    both are."""
    agreed, doubtful, steps = 0, False, 0
    context = _context(_DIGITS[0])
    for point in points:
        if steps > _MAX_STEPS:
            return None
        rational = _exact_or_none(first, point), _exact_or_none(second, point)
        if rational[0] is not None and rational[1] is not None:
            if rational[0] != rational[1]:
                return False
            agreed += 1
            continue
        values, left_reals = [], []
        for tree in (first, second):
            numbers = _Numbers(context, as_complex=as_complex)
            try:
                values.append(numbers.value(tree, numbers.point(point)))
            except (ArithmeticError, ValueError, TypeError):
                values.append(None)
            left_reals.append(numbers.left_reals and not as_complex)
            steps += numbers.steps
        if any(value is None for value in values) or all(left_reals):
            continue
        if _close(context, values[0], values[1], _DIGITS[0] - 20) or (
            not any(left_reals) and _only_rounded(first, second, point, abs(values[0] - values[1]), as_complex)
        ):
            agreed += not any(left_reals)
        elif any(left_reals):
            doubtful = True
        else:
            return False
    if doubtful or agreed < least:
        return None
    return True


def _only_rounded(first: Node, second: Node, point: Point, apart: Any, as_complex: bool) -> bool:
    """Whether two values part by rounding alone: with more digits they come nearer by as much."""
    context = _context(_DIGITS[1])
    numbers = _Numbers(context, as_complex=as_complex)
    try:
        left, right = (numbers.value(tree, numbers.point(point)) for tree in (first, second))
    except (ArithmeticError, ValueError, TypeError):
        return False
    return bool(abs(left - right) <= abs(apart) * context.mpf(10) ** -60)


def _points(names: Sequence[str], *, whole: bool) -> list[dict[str, Any]]:
    """The points of these names: positive, negative, small and large ones; natural numbers if `whole`."""
    columns = {name: random.Random(name) for name in names}
    points: list[dict[str, Any]] = []
    for number in range(16 if whole else 12):
        point: dict[str, Any] = {}
        for name, draw in columns.items():
            if whole:
                point[name] = Fraction(draw.randint(1 + number // 4, 12 + number))
                continue
            size = Fraction(draw.randint(10**6, 4 * 10**6), 10**6 + 3)
            sign = draw.choice((1, -1)) if number >= 4 else 1
            if number >= 10:  # far out and far in
                size = size**5 * 7 if number == 10 else size / 1_009
            point[name] = sign * size
        points.append(point)
    return points


def _is_natural(point: Point) -> bool:
    return all(value.denominator == 1 and value > 0 for value in point.values())


_EDGES = (
    *(Fraction(number) for number in range(-13, 32)),
    *(Fraction(number, below) for below in (2, 3, 4) for number in (-7, -5, -1, 1, 5, 7, 11)),
    *(Fraction(sign * (size + step)) for size in (36, 60, 64, 100, 128, 210, 256, 365, 720, 1_000, 1_001, 2_520, 10_000,
      30_030, 10**6, 10**9, 2**31, 10**12, 10**20) for step in (-1, 0, 1) for sign in (1, -1)),
    *(Fraction(sign, size) for size in (100, 1_000, 10**6, 10**12) for sign in (1, -1)),
)  # fmt: skip


@functools.lru_cache(maxsize=256)
def _edge_points(names: tuple[str, ...]) -> tuple[dict[str, Fraction], ...]:
    """Points where floors, absolute values, remainders and the like change: whole ones, halves, zero, ties, numbers far
    out and near zero, each of either sign."""
    if len(names) == 1:
        return tuple({names[0]: value} for value in _EDGES)
    columns = {name: random.Random("edge" + name) for name in names}
    points = [dict.fromkeys(names, value) for value in _EDGES[13:45:3]]  # ties
    for number in range(160):
        drawn = {name: draw.choice(_EDGES[:45] if number % 3 else _EDGES) for name, draw in columns.items()}
        points.append(drawn)
        if number % 4 == 0 and len(names) == 2:
            points.append(dict(zip(names, (drawn[names[0]], -drawn[names[0]]), strict=True)))
    return tuple(points)


def sample_points(names: Sequence[str], count: int = 60) -> list[dict[str, Fraction]]:
    """Points of the names for holding relations against one another: near zero, further out, whole and not."""
    columns = {name: random.Random("r" + name) for name in names}
    return [
        {name: Fraction(draw.randint(-(9 << number % 5), 9 << number % 5), (1, 2, 7)[number % 3])
         for name, draw in columns.items()}
        for number in range(count)
    ]  # fmt: skip


def _close(context: Any, left: Any, right: Any, digits: int) -> bool:
    scale = max(abs(left), abs(right))
    return bool(abs(left - right) <= max(scale, context.mpf(10) ** -10) * context.mpf(10) ** -digits)


def _context(digits: int) -> Any:
    contexts: dict[int, Any] | None = getattr(_local, "contexts", None)
    if contexts is None:
        contexts = _local.contexts = {}
    if digits not in contexts:
        import mpmath

        contexts[digits] = mpmath.MPContext()
        contexts[digits].dps = digits
    return contexts[digits]


def _terms(low: Fraction, high: Fraction) -> range:
    if low.denominator != 1 or high.denominator != 1:
        raise ValueError("bounds are no whole numbers")
    if high - low >= _MAX_TERMS:
        raise TooLarge
    return range(int(low), int(high) + 1)


class _Exact:
    """Rational values. ValueError where there is none."""

    def __init__(self) -> None:
        self.steps = 0

    def value(self, node: Node, point: Point) -> Fraction:
        kind = node[0]
        self.steps += 1
        if self.steps > _MAX_STEPS:
            raise TooLarge
        if kind == "num":
            return Fraction(node[1])
        if kind == "var":
            if node[1] not in point:
                raise ValueError("no value given")
            return point[node[1]]
        if kind in _SERIES:
            total = Fraction(kind == "prod")
            for index in _terms(self.value(node[2], point), self.value(node[3], point)):
                term = self.value(node[4], {**point, node[1]: Fraction(index)})
                total = self.bounded(total + term if kind == "sum" else total * term)
            return total
        if kind == "+":  # long sums lean to the left: a loop walks them
            terms = [node]
            while terms[-1][1][0] == "+":
                terms.append(terms[-1][1])
            value = self.value(terms[-1][1], point)
            for term in reversed(terms):
                value += self.value(term[2], point)
            return self.bounded(value)
        operation = _RATIONAL.get(kind)
        if operation is None:
            raise ValueError(kind)
        return self.bounded(operation(*[self.value(part, point) for part in node[1:]]))

    def bounded(self, value: Fraction) -> Fraction:
        bits = value.numerator.bit_length() + value.denominator.bit_length()
        self.steps += bits // 1024  # long numbers take as long as many short ones
        if bits > _MAX_BITS:
            raise TooLarge
        return value


def _whole(value: Fraction) -> int:
    if value.denominator != 1:
        raise ValueError("no whole number")
    return int(value)


def _rational_power(base: Fraction, exponent: Fraction) -> Fraction:
    power = _whole(exponent)
    if base == 0 and power <= 0:
        raise ZeroDivisionError
    if (base.numerator.bit_length() + base.denominator.bit_length()) * abs(power) > 2 * _MAX_BITS:
        raise TooLarge
    return base**power


def _natural(value: Fraction, most: int) -> int:
    number = _whole(value)
    if number < 0:
        raise ValueError("negative")
    if number > most:
        raise TooLarge
    return number


def _double_factorial(value: Fraction) -> Fraction:
    return Fraction(math.prod(range(_natural(value, 1_500), 0, -2)))


def _rational_binomial(above: Fraction, below: Fraction) -> Fraction:
    if above < 0:
        raise ValueError("negative")
    return Fraction(math.comb(_natural(above, 10_000), _natural(below, 10_000)))


def _remainder(value: Fraction, modulus: Fraction) -> Fraction:
    if modulus == 0:
        raise ZeroDivisionError
    return Fraction(_whole(value) % _whole(modulus))


def _divided(above: Fraction, below: Fraction) -> Fraction:
    if below == 0:
        raise ZeroDivisionError
    return above / below


_RATIONAL: dict[str, Callable[..., Any]] = {
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": _divided,
    "frac": _divided,
    "neg": lambda value: -value,
    "^": _rational_power,
    "!": lambda value: Fraction(math.factorial(_natural(value, 1_500))),
    "!!": _double_factorial,
    "binom": _rational_binomial,
    "perm": lambda n, k: Fraction(math.perm(_natural(n, 1_500), _natural(k, 1_500))),
    "abs": abs,
    "floor": lambda value: Fraction(math.floor(value)),
    "ceil": lambda value: Fraction(math.ceil(value)),
    "mod": _remainder,
    "gcd": lambda *parts: Fraction(math.gcd(*map(_whole, parts))),
    "lcm": lambda *parts: Fraction(math.lcm(*map(_whole, parts))),
    "max": lambda *parts: max(parts),
    "min": lambda *parts: min(parts),
}


class _Numbers:
    """Values of many digits. Notes in `left_reals` when a step was not real; with `as_complex` roots of negative
    numbers are the principal ones. ArithmeticError, ValueError or TypeError where there is no value."""

    def __init__(self, context: Any, *, as_complex: bool) -> None:
        self.context = context
        self.as_complex = as_complex
        self.left_reals = False
        self.steps = 0

    def point(self, point: Point) -> dict[str, Any]:
        return {name: self.context.mpf(value.numerator) / value.denominator for name, value in point.items()}

    def value(self, node: Node, point: Point) -> Any:
        kind, context = node[0], self.context
        self.steps += 1
        if self.steps > _MAX_STEPS:
            raise TooLarge
        if kind == "num":
            return context.mpf(node[1])
        if kind == "const":
            if node[1] == "inf":
                raise ValueError("infinite")
            return {"pi": +context.pi, "e": +context.e, "i": context.mpc(0, 1)}[node[1]]
        if kind == "var":
            return point[node[1]]
        if kind in _SERIES:
            return self.series(node, point)
        if kind in _HEAVY:
            raise ValueError("left to computer algebra")
        if kind == "+":
            terms = [node]
            while terms[-1][1][0] == "+":
                terms.append(terms[-1][1])
            value = self.value(terms[-1][1], point)
            for term in reversed(terms):
                value = value + self.value(term[2], point)
            return self.bounded(value)
        parts = [self.value(part, point) for part in node[1:]]
        if kind == "^" and not self.as_complex and isinstance(parts[0], context.mpf) and parts[0] < 0:
            ratio = _exact_or_none(node[2], {})
            if ratio is not None and ratio.denominator % 2 and ratio.denominator > 1:
                root = -context.root(-parts[0], ratio.denominator)  # x^{1/3} is the real root
                return self.bounded(_power(context, root, context.mpf(ratio.numerator)))
        if kind == "^" and self.as_complex and context.im(parts[0]) == 0 and context.re(parts[0]) < 0:
            ratio = _exact_or_none(node[2], {})
            if ratio is not None and ratio.denominator % 2 and ratio.denominator > 1:
                raise ValueError("a real root or a complex one")
        return self.bounded(_OPERATIONS[kind](context, *parts))

    def series(self, node: Node, point: Point) -> Any:
        context = self.context
        bounds = [self.value(bound, point) for bound in node[2:4]]
        if any(bound != context.nint(bound) or abs(bound) > 10**9 for bound in bounds):
            raise ValueError("bounds are no whole numbers")
        total = context.mpf(node[0] == "prod")
        for index in _terms(Fraction(int(bounds[0])), Fraction(int(bounds[1]))):
            term = self.value(node[4], {**point, node[1]: context.mpf(index)})
            total = self.bounded(total + term if node[0] == "sum" else total * term)
        return total

    def bounded(self, value: Any) -> Any:
        context = self.context
        if not context.isfinite(value):
            raise ValueError("no finite value")
        if value != 0 and abs(context.mag(value)) > _MAX_BITS:
            raise TooLarge
        # An imaginary part of nothing but rounding is none: a real root of a negative number must compare as real.
        if isinstance(value, context.mpc):
            if abs(value.imag) <= abs(value.real) * context.eps * 2**20:
                return value.real
            self.left_reals = True
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
    if context.im(value) == 0 and context.re(value) < 0 and int(index) % 2:
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


def _of_whole(function: Callable[..., Fraction]) -> Callable[..., Any]:
    """A function of whole numbers, at numbers that are whole."""

    def call(context: Any, *parts: Any) -> Any:
        if any(part != context.nint(part) or abs(part) > 10**15 for part in parts):
            raise ValueError("no whole number")
        return context.mpf(int(function(*[Fraction(int(part)) for part in parts])))

    return call


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
    "!!": _of_whole(_double_factorial),
    "binom": _binomial,
    "perm": _of_whole(_RATIONAL["perm"]),
    "mod": _of_whole(_remainder),
    "gcd": _of_whole(_RATIONAL["gcd"]),
    "lcm": _of_whole(_RATIONAL["lcm"]),
    "max": lambda context, *parts: max(parts),
    "min": lambda context, *parts: min(parts),
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
