r"""Sums, products and lists with something left out: 1 + 2 + \cdots + n, 2 \cdot 4 \cdots (2n), 1, 2, \ldots, 10.

A rule is fitted to the terms that are shown: a constant difference or ratio, or one form whose numbers go on evenly
(1/(1\cdot2), 1/(2\cdot3)), powers, factorials. It counts only if it gives the last terms too, and if every rule that
does so gives one value. Otherwise nothing is read: 1 + 2 + \cdots + 16 may have 16 terms or 5.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction

from podium.grading import syntax, values
from podium.grading.syntax import Node

MAX_EXPANDED = 2_000  # terms of 1, 2, ..., n
_INDEX = " k"  # no name that an answer can hold
_K: Node = ("var", _INDEX)
_ONE: Node = ("num", "1")
_MOST_TERMS = 12  # shown
_MOST_IRRATIONAL = 200  # terms that are looked for by numbers of many digits


@functools.lru_cache(maxsize=1_024)
def whole_series(kind: str, heads: tuple[Node, ...], tails: tuple[Node, ...]) -> Node | None:
    """A "sum" or "prod" of the terms before and after the dots; without any after them, the sum of a geometric series.
    None where the rule is not plain."""
    if len(heads) < 2 or len(heads) + len(tails) > _MOST_TERMS:
        return None
    if not tails:
        return _endless(heads) if kind == "sum" else None
    found: list[Node] = []
    written = any(head[0] not in ("num", "neg", "var") for head in heads)
    for body in _bodies(heads):
        if found and written:
            break  # the form of what is written comes first: 1^2 + 2^2 does not go on with 7
        for length in _lengths(body, heads, tails):
            whole: Node = (kind, _INDEX, _ONE, length, body)
            if not any(values.same_value(whole, other) for other in found):
                found.append(whole)
    return found[0] if len(found) == 1 else None


def continued(before: Sequence[int | None], after: Sequence[int | None]) -> list[int] | None:
    """The whole numbers of a progression whose middle is left out; None where its rule or its end is not plain."""
    if len(before) < 2 or not after or None in before or None in after:
        return None
    known = [number for number in before if number is not None]
    end = [number for number in after if number is not None]
    step = known[1] - known[0]
    found: list[list[int]] = []
    if step and all(b - a == step for a, b in itertools.pairwise(known)):
        count, rest = divmod(end[-1] - known[0], step)
        if rest == 0 and len(known) + len(end) <= count + 1 <= MAX_EXPANDED:
            found.append([known[0] + step * place for place in range(count + 1)])
    ratio = known[1] // known[0] if known[0] and known[1] % known[0] == 0 else 0
    if abs(ratio) > 1 and all(b == a * ratio for a, b in itertools.pairwise(known)):
        row = [known[0]]
        while abs(row[-1]) < abs(end[-1]) and len(row) < 64:
            row.append(row[-1] * ratio)
        if row[-1] == end[-1]:
            found.append(row)
    found = [row for row in found if row[len(row) - len(end) :] == end]
    return found[0] if len(found) == 1 else None


def _endless(heads: Sequence[Node]) -> Node | None:
    numbers = [_rational(head) for head in heads]
    if len(numbers) < 3 or None in numbers or 0 in numbers:
        return None
    known = [number for number in numbers if number is not None]
    ratio = known[1] / known[0]
    if abs(ratio) >= 1 or any(b != a * ratio for a, b in itertools.pairwise(known)):
        return None
    return _number(known[0] / (1 - ratio))


def _bodies(heads: Sequence[Node]) -> Iterator[Node]:
    """The rules that give the terms shown, as expressions in the index, which begins at 1."""
    if (formed := _formed(_alike(heads))) is not None:
        yield formed
    step, ratio = _settled(("-", heads[1], heads[0])), ("frac", heads[1], heads[0])
    pairs = list(itertools.pairwise(heads))
    before: Node = ("-", _K, _ONE)
    numbers = [_rational(head) for head in heads]
    if all(values.same_value(("-", b, a), step) for a, b in pairs) and not values.same_value(step, ("num", "0")):
        yield ("+", heads[0], ("*", before, step))
    grows = 0 not in numbers and not values.same_value(ratio, _ONE)
    if grows and all(values.same_value(("frac", b, a), ratio) for a, b in pairs):
        yield ("*", heads[0], ("^", ratio, before))
    if heads[1][0] == "neg" and all((head[0] == "neg") == bool(place % 2) for place, head in enumerate(heads)):
        stripped = [head[1] if head[0] == "neg" else head for head in heads]
        for body in _bodies(stripped):
            yield ("*", ("^", ("neg", _ONE), before), body)
    if len(heads) < 3:
        return
    for power in (2, 3, 4):
        for base in (_K, ("-", ("*", ("num", "2"), _K), _ONE)):
            body: Node = ("^", base, ("num", str(power)))
            if numbers == [_rational(_put(body, _number(Fraction(place + 1)))) for place in range(len(heads))]:
                yield body
    if numbers == [math.factorial(place + 1) for place in range(len(heads))]:
        yield ("!", _K)


def _alike(heads: Sequence[Node]) -> list[Node]:
    """1 beside fractions is 1/1, and beside squares 1^2."""
    shapes = {head[0] for head in heads if head[0] != "num"}
    if len(shapes) != 1 or all(head[0] != "num" for head in heads):
        return list(heads)
    if shapes == {"frac"}:
        return [("frac", head, _ONE) if head[0] == "num" else head for head in heads]
    exponents = {head[2] for head in heads if head[0] == "^"}
    if shapes == {"^"} and len(exponents) == 1:
        return [("^", head, *exponents) if head == _ONE else head for head in heads]
    return list(heads)


def _formed(heads: Sequence[Node]) -> Node | None:
    """One form for all terms, whose whole numbers stay, go on by a constant step, or by a constant factor."""
    first = heads[0]
    if all(head == first for head in heads):
        return first
    if any(len(head) != len(first) or head[0] != first[0] for head in heads):
        return None
    if first[0] == "num":
        if any("." in head[1] for head in heads):
            return None
        numbers = [int(head[1]) for head in heads]
        step = numbers[1] - numbers[0]
        before: Node = ("-", _K, _ONE)
        if all(b - a == step for a, b in itertools.pairwise(numbers)):
            return ("+", first, ("*", before, _number(Fraction(step))))
        if (
            len(numbers) > 2
            and numbers[0]
            and all(b * numbers[0] == a * numbers[1] for a, b in itertools.pairwise(numbers))
        ):
            return ("*", first, ("^", _number(Fraction(numbers[1], numbers[0])), before))
        return None
    if first[0] in ("var", "const"):
        return None
    parts: list[Node] = []
    for column in zip(*(head[1:] for head in heads), strict=True):
        if not all(isinstance(part, tuple) for part in column):
            return None
        part = _formed(column)
        if part is None:
            return None
        parts.append(part)
    return (first[0], *parts)


def _lengths(body: Node, heads: Sequence[Node], tails: Sequence[Node]) -> Iterator[Node]:
    """The numbers of terms with which the rule gives the last terms."""
    last = tails[-1]
    free = sorted(syntax.variables(last))
    if not free and not any(map(syntax.variables, heads)):
        target = _rational(last)
        if target is not None and _is_even_step(body):
            steps = (target - values.exact(body[1])) / values.exact(body[2][2])
            if steps.denominator == 1 and _gives(body, length := _number(steps + 1), tails) and steps >= len(heads):
                yield length
            return
        sizes = [abs(found) for head in heads[:2] if (found := _rational(head)) is not None]
        least, most = len(heads) + len(tails), MAX_EXPANDED if target is not None else _MOST_IRRATIONAL
        for count in range(least, most):
            length = _number(Fraction(count))
            if target is not None:
                found = _rational(_put(body, length))
                if found is None or len(sizes) < 2:
                    return
                if (sizes[0] - sizes[1]) * (abs(found) - abs(target)) < 0:
                    return  # the terms have grown, or shrunk, beyond the last one
                if found != target:
                    continue
            if _gives(body, length, tails):
                yield length
        return
    lengths: list[Node] = []
    for name in free:
        for factor, shift in itertools.product((1, 2), range(-3, 4)):
            start: Node = ("var", name) if factor == 1 else ("*", ("num", "2"), ("var", name))
            lengths.append(("+", start, _number(Fraction(shift))))
    lengths += [_number(Fraction(count)) for count in _near(last) if count >= len(heads) + len(tails)]
    if _is_even_step(body):
        lengths.append(("+", ("frac", ("-", last, body[1]), body[2][2]), _ONE))
    for length in lengths:
        if _gives(body, length, tails):
            yield length


def _is_even_step(body: Node) -> bool:
    """Whether a rule is a first term and a multiple of one number."""
    return body[0] == "+" and body[2][0] == "*" and body[1] != body[2] and not syntax.variables(body[2][2])


def _near(tree: Node) -> set[int]:
    """Whole numbers in a tree and those beside them."""
    found: set[int] = set()
    stack = [tree]
    while stack:
        node = stack.pop()
        if node[0] == "num" and node[1].isdigit() and len(node[1]) < 4:
            found |= {int(node[1]) + shift for shift in (-1, 0, 1, 2)}
        stack.extend(part for part in node[1:] if isinstance(part, tuple))
    return found


def _gives(body: Node, length: Node, tails: Sequence[Node]) -> bool:
    return all(
        values.same_value(_put(body, ("-", length, _number(Fraction(back)))), tail) is True
        for back, tail in enumerate(reversed(tails))
    )


def _put(tree: Node, index: Node) -> Node:
    if tree == _K:
        return index
    return tuple(_put(part, index) if isinstance(part, tuple) else part for part in tree)


def _rational(tree: Node) -> Fraction | None:
    try:
        return values.exact(tree)
    except (ArithmeticError, ValueError):
        return None


def _settled(tree: Node) -> Node:
    """A tree whose value does not depend on its letters, as n - (n - 1), as its number."""
    names = syntax.variables(tree)
    try:
        found = [values.exact(tree, dict.fromkeys(names, Fraction(number))) for number in (5, 7)]
    except (ArithmeticError, ValueError):
        return tree
    number = _number(found[0])
    return number if found[0] == found[1] and values.same_value(tree, number) else tree


def _number(value: Fraction) -> Node:
    size: Node = ("num", str(abs(value.numerator)))
    if value.denominator != 1:
        size = ("frac", size, ("num", str(value.denominator)))
    return ("neg", size) if value < 0 else size
