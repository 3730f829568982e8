r"""Statements about numbers: do two of them hold for the same ones?

Knows congruences, divisibility, relations and conditions, and these joined by "and" and "or". Two statements differ if
a natural number (or a point of several) satisfies one and not the other. They are the same only if they hold for the
same numbers of a complete period: congruences between polynomials with whole coefficients. A letter p or q is prime.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from podium.grading import formula, regions, syntax, values
from podium.grading.notation import plain
from podium.grading.readings import ORDERED_SIGNS, Reading
from podium.grading.syntax import Node

KINDS = frozenset(("congruence", "or", "system"))
_LARGEST_PERIOD = 20_000  # points of a complete period that are looked at
_PRIMES = [number for number in range(2, 200) if all(number % divisor for divisor in range(2, number))]
_POLYNOMIAL = frozenset(("num", "var", "+", "-", "*", "neg", "^"))


@dataclass(frozen=True, slots=True)
class _Congruent:
    left: Node
    modulus: Node
    residues: tuple[Node, ...]
    negated: bool


@dataclass(frozen=True, slots=True)
class _Related:
    sides: tuple[Node, ...]
    signs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Within:
    pieces: tuple[regions.Interval, ...]
    name: str


@dataclass(frozen=True, slots=True)
class _Joined:
    parts: tuple[_Statement, ...]
    word: str


_Statement = _Congruent | _Related | _Within | _Joined


def same_statement(first: Reading, second: Reading) -> bool | None:
    """Whether two readings hold for the same numbers; None where that is not shown, or one of them is no statement."""
    one, other = _statement(first), _statement(second)
    if one is None or other is None:
        return None
    names = [sorted(_names(each)) for each in (one, other)]
    if not names[0] or not names[1]:
        return None
    if names[0] != names[1] and any(map(_has_relation, (one, other))):
        return None  # n = 4k, for some k, says that n is divisible by 4
    renamed = len(names[0]) == len(names[1]) == 1 and names[0] != names[1]
    together = ["n"] if renamed else sorted({*names[0], *names[1]})
    whole = _is_about_whole(one) or _is_about_whole(other)

    def held(statement: _Statement, own: Sequence[str], point: Mapping[str, Fraction]) -> bool | None:
        return _holds(statement, {own[0]: point["n"]} if renamed else point)

    for point in _naturals(together) if whole else values.sample_points(together):
        answers = held(one, names[0], point), held(other, names[1], point)
        if None not in answers and answers[0] != answers[1]:
            return False
    if renamed:
        return None
    return _over_a_period(one, other, together)


def _over_a_period(one: _Statement, other: _Statement, names: Sequence[str]) -> bool | None:
    """True if both hold for the same numbers of a complete period, and for some and not for all."""
    moduli = [*_moduli(one), *_moduli(other)]
    if None in moduli:
        return None
    period = math.lcm(*[modulus for modulus in moduli if modulus is not None])
    if period ** len(names) > _LARGEST_PERIOD:
        return None
    seen: set[bool] = set()
    for numbers in itertools.product(range(period), repeat=len(names)):
        point = {name: Fraction(number) for name, number in zip(names, numbers, strict=True)}
        answers = _holds(one, point), _holds(other, point)
        if answers[0] is None or answers[1] is None:
            return None
        if answers[0] != answers[1]:
            return False
        seen.add(answers[0])
    return True if len(seen) == 2 else None


def _statement(reading: Reading) -> _Statement | None:
    if reading.kind == "congruence":
        trees = [formula.parse(plain(text)) if text else None for text in reading.texts]
        left, modulus, *residues = trees
        if left is None or modulus is None or not residues or None in residues:
            return None
        known = tuple(tree for tree in residues if tree is not None)
        return _Congruent(left, modulus, known, reading.names == ("\\notequiv",))
    if reading.kind == "relation" and ORDERED_SIGNS.issuperset(reading.names):
        return _related(reading.texts, reading.names)
    if reading.kind == "assigned" and reading.parts[0].kind == "value" and "(" not in reading.names[0]:
        return _related((reading.names[0], reading.parts[0].text), ("=",))
    if reading.kind == "region" and len(reading.names) == 1:
        pieces = regions.pieces_of(reading.texts[0])
        return None if pieces is None else _Within(pieces, reading.names[0].lstrip("\\"))
    if reading.kind == "named":
        sides = zip(reading.names, reading.parts, strict=True)
        related = [_related((name, part.text), ("=",)) if part.kind == "value" else None for name, part in sides]
        return _joined(related, "and")
    if reading.kind in ("or", "system"):
        parts = [_statement(part) for part in reading.parts]
        bounds = [part.name for part in parts if isinstance(part, _Within)]
        if reading.kind == "system" and len(set(bounds)) < len(bounds):
            return None  # x < 1, x > 3 may list the parts of the solution
        return _joined(parts, "or" if reading.kind == "or" else "and")
    return None


def _related(sides: Sequence[str], signs: Sequence[str]) -> _Related | None:
    trees = [formula.parse(side) for side in sides]
    known = tuple(tree for tree in trees if tree is not None)
    return _Related(known, tuple(signs)) if len(known) == len(trees) else None


def _joined(parts: Sequence[_Statement | None], word: str) -> _Joined | None:
    known = tuple(part for part in parts if part is not None)
    return _Joined(known, word) if known and len(known) == len(parts) else None


def _names(statement: _Statement) -> frozenset[str]:
    if isinstance(statement, _Congruent):
        trees = (statement.left, statement.modulus, *statement.residues)
    elif isinstance(statement, _Related):
        trees = statement.sides
    elif isinstance(statement, _Within):
        return frozenset((statement.name,))
    else:
        return frozenset().union(*map(_names, statement.parts))
    return frozenset().union(*map(syntax.variables, trees))


def _has_relation(statement: _Statement) -> bool:
    if isinstance(statement, _Joined):
        return any(map(_has_relation, statement.parts))
    return isinstance(statement, _Related)


def _is_about_whole(statement: _Statement) -> bool:
    """Whether a congruence is part of it: then its letters are whole numbers."""
    if isinstance(statement, _Joined):
        return any(map(_is_about_whole, statement.parts))
    return isinstance(statement, _Congruent)


def _moduli(statement: _Statement) -> Iterator[int | None]:
    """The numbers whose least common multiple is a period; None where there is none."""
    if isinstance(statement, _Joined):
        for part in statement.parts:
            yield from _moduli(part)
        return
    if not isinstance(statement, _Congruent) or syntax.variables(statement.modulus):
        yield None
        return
    modulus = _whole(statement.modulus, {})
    periodic = all(map(_is_polynomial, (statement.left, *statement.residues)))
    yield abs(modulus) if modulus and periodic else None


def _is_polynomial(tree: Node) -> bool:
    """With whole coefficients: its remainders repeat with the modulus."""
    if tree[0] not in _POLYNOMIAL:
        return False
    if tree[0] == "num":
        return "." not in tree[1]
    if tree[0] == "^":
        return tree[2][0] == "num" and tree[2][1].isdigit() and _is_polynomial(tree[1])
    return tree[0] == "var" or all(map(_is_polynomial, tree[1:]))


def _holds(statement: _Statement, point: Mapping[str, Fraction]) -> bool | None:
    if isinstance(statement, _Joined):
        held = [_holds(part, point) for part in statement.parts]
        deciding = statement.word == "or"
        return deciding if deciding in held else None if None in held else not deciding
    if isinstance(statement, _Related):
        return values.truth(statement.sides, statement.signs, point)
    if isinstance(statement, _Within):
        return regions.holds_in(statement.pieces, values.number(point[statement.name]))
    left, modulus = _whole(statement.left, point), _whole(statement.modulus, point)
    residues = [_whole(tree, point) for tree in statement.residues]
    if left is None or not modulus or None in residues:
        return None
    return any((left - number) % modulus == 0 for number in residues if number is not None) != statement.negated


def _whole(tree: Node, point: Mapping[str, Fraction]) -> int | None:
    try:
        value = values.exact(tree, point)
    except (ArithmeticError, ValueError):
        return None
    return int(value) if value.denominator == 1 else None


def _naturals(names: Sequence[str]) -> Iterator[dict[str, Fraction]]:
    """Natural numbers, small ones first; primes for p and q; of several names ties and multiples among them."""
    columns = {name: random.Random("statement" + name) for name in names}
    count = 400 if len(names) == 1 else 240
    for turn in range(count):
        if len(names) == 1 and turn < 320 and names[0][0] not in "pq":
            yield {names[0]: Fraction(turn + 1)}
            continue
        most = 12 if turn % 3 == 0 else 60 if turn % 3 == 1 else 10**6
        point = {name: draw.choice(_PRIMES) if name[0] in "pq" else draw.randint(1, most)
                 for name, draw in columns.items()}  # fmt: skip
        if turn % 5 == 4 and names[0][0] not in "pq":
            point[names[0]] *= point[names[-1]]
        if turn % 5 == 3 and names[-1][0] not in "pq":
            point[names[-1]] *= point[names[0]]
        yield {name: Fraction(value) for name, value in point.items()}
