r"""Sets of real numbers given by a condition on one variable, written as intervals: {x : x > 5} is (5, \infty).

Knows inequalities that have the variable alone on one side (or between two ends), x \ne a, x = a, what `solving`
solves, and these joined by "and" and "or". Ends may be closed forms. A text is written out
only where the set is certain: {n : n > 5} and {x \in \mathbb{Z} : x > 5} are no intervals.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from podium.grading import formula, solving, syntax, values
from podium.grading.notation import partners, plain, split_top, squeeze

_NAME = r"(\\[a-z]+|[a-zA-Z])(?:_\w)?"
_REALS = r"\\in\s*(?:\\mathbb\s*\{?\s*R\s*\}?|\(\s*-\s*\\infty\s*,\s*\\infty\s*\))"
_SET = re.compile(rf"\\\{{\s*({_NAME})\s*(?P<real>{_REALS})?\s*(?::|\\colon|\\mid(?![a-z])|\|)(?P<condition>.*)\\\}}")
_CONDITIONAL = re.compile(r":|\\colon|\\mid(?![a-z])|^\s*[a-zA-Z]\s*(?:\\in[^|]*)?\|")
_OR = re.compile(r"(?<![a-zA-Z\\])or(?![a-zA-Z])|\\lor(?![a-z])")
_AND = re.compile(r"(?<![a-zA-Z\\])and(?![a-zA-Z])|\\(?:land|wedge)(?![a-z])")
_JOINED = re.compile(f"{_OR.pattern}|{_AND.pattern}")
_RELATION = re.compile(r"(<=|>=|!=|\\(?:le|ge|ne)(?![a-z])|<|>|=)")
SPELLING = {"<=": "\\le", ">=": "\\ge", "!=": "\\ne"}
TURNED = {"<": ">", ">": "<", "\\le": "\\ge", "\\ge": "\\le", "=": "=", "\\ne": "\\ne"}
_SET_SIGN = re.compile(r"\\(cup|cap|setminus)(?![a-z])")
_LESS, _MORE = ("<", "\\le"), (">", "\\ge")
WHOLE = frozenset("kmn")  # by convention whole numbers, unless \mathbb{R} is said
_MAX_LENGTH = 500  # characters
_MAX_PIECES = 16
_APART = 1e-40  # ends that are nearer are one


@dataclass(frozen=True, slots=True)
class _End:
    """An end of an interval. `value` is None where it holds other letters."""

    text: str
    value: Any
    closed: bool


@dataclass(frozen=True, slots=True)
class Interval:
    low: _End
    high: _End

    def __str__(self) -> str:
        if self.low.text == self.high.text:
            return rf"\{{{self.low.text}\}}"
        return f"{'[' if self.low.closed else '('}{self.low.text},{self.high.text}{']' if self.high.closed else ')'}"


_LEFT = _End("-\\infty", float("-inf"), closed=False)
_RIGHT = _End("\\infty", float("inf"), closed=False)


class _Unread(Exception):
    """The condition is none that this file knows."""


def is_conditional(text: str) -> bool:
    """Whether a tidied answer holds a set given by a condition, read here or not."""
    return _CONDITIONAL.search(text.partition("\\{")[2]) is not None


def set_as_intervals(text: str) -> str:
    r"""A tidied answer; if it is a set given by a condition on one real variable, as intervals joined by \cup."""
    if "\\{" not in text or len(text) > _MAX_LENGTH or (match := _SET.fullmatch(text)) is None:
        return text
    if not match["real"] and match[1][0] in WHOLE:
        return text
    written = _written(plain(match["condition"]), match[1], commas=True)
    return text if written is None else written


def condition_as_intervals(text: str) -> str | None:
    r"""x \le 2, or x < 1 or x > 3, as intervals joined by \cup; None when it is no inequality of one variable.

    An empty set is not meant: who writes x < 1 and x > 3 lists two.
    """
    if len(text) > _MAX_LENGTH or not re.search(r"[<>]|\\[lgn]e(?![a-z])", text):
        return None
    bare = plain(text)
    for side in _RELATION.split(bare)[:4:2]:  # the variable is the first side, or the one after it
        if match := re.search(rf"(?:^|\s)({_NAME})\s*$", side):
            written = _written(bare, match[1], commas=False)
            if written is not None:
                return None if written == "\\emptyset" else written
    trees = [formula.parse(side) for piece in _JOINED.split(bare) for side in _RELATION.split(piece)[::2]]
    names = {name for tree in trees if tree is not None for name in syntax.variables(tree)}
    if None in trees or len(names) != 1:
        return None
    (name,) = names
    written = _written(bare, name if len(name) == 1 or "_" in name else f"\\{name}", commas=False)
    return None if written == "\\emptyset" else written


def pieces_of(text: str) -> tuple[Interval, ...] | None:
    r"""The disjoint intervals, from left to right, of a set of real numbers: intervals, finite sets and \mathbb{R}
    joined by \cup, \cap and \setminus. None where an end is no number or something else stands there."""
    if len(text) > _MAX_LENGTH:
        return None
    try:
        return tuple(_set_pieces(text.strip(), 0))
    except _Unread:
        return None


def whole_pieces(condition: str, variable: str, least: int | None) -> list[tuple[int | None, int | None]] | None:
    """The runs (first, last) of whole numbers, none below `least`, for which a condition on a variable holds; None for
    an end that is not there. None where the condition is not read."""
    written = _written(plain(condition), variable, commas=True)
    pieces = pieces_of(written) if written is not None else None
    if pieces is None:
        return None
    runs: list[tuple[int | None, int | None]] = []
    for piece in pieces:
        low, high = piece.low, piece.high
        first = None if low is _LEFT or low.text == "-\\infty" else _first_from(low, 1)
        last = None if high.text == "\\infty" else _first_from(high, -1)
        if least is not None:
            first = least if first is None else max(least, first)
        if first is not None and last is not None and first > last:
            continue
        if runs and first is not None and runs[-1][1] is not None and runs[-1][1] + 1 >= first:
            runs[-1] = (runs[-1][0], last)
        else:
            runs.append((first, last))
    return runs


def _first_from(end: _End, step: int) -> int:
    """The first whole number of an interval, from its low end upwards (step 1) or its high end downwards (-1)."""
    nearest = round(end.value)
    if abs(end.value - nearest) <= _APART:
        return nearest if end.closed else nearest + step
    return int(math.ceil(end.value) if step > 0 else math.floor(end.value))


def same_pieces(first: Sequence[Interval], second: Sequence[Interval]) -> bool:
    """Whether two lists that `pieces_of` gave are one set."""
    return len(first) == len(second) and all(
        _order(a, b) == 0 and a.closed == b.closed
        for one, other in zip(first, second, strict=True)
        for a, b in ((one.low, other.low), (one.high, other.high))
    )


def holds_in(pieces: Sequence[Interval], number: Any) -> bool:
    """Whether a number lies in one of the pieces."""
    return any(
        (piece.low.value < number or (piece.low.closed and piece.low.value == number))
        and (number < piece.high.value or (piece.high.closed and number == piece.high.value))
        for piece in pieces
    )


def same_whole_numbers(first: Sequence[Interval], second: Sequence[Interval]) -> bool:
    """Whether two lists of intervals hold the same whole numbers, as n > 5 and n \\ge 6 do, as far as 2,000."""
    numbers = range(-2_000, 2_001)
    return all(holds_in(first, number) == holds_in(second, number) for number in numbers)


def _set_pieces(text: str, depth: int) -> list[Interval]:
    if depth > 6:
        raise _Unread
    signs = [
        (match.start(), match.end(), match[1])
        for match in _SET_SIGN.finditer(text)
        if text[: match.start()].count(r"\{") == text[: match.start()].count(r"\}")
        and text[: match.start()].count("(") + text[: match.start()].count("[")
        == text[: match.start()].count(")") + text[: match.start()].count("]")
    ]
    if signs:
        if len({sign for _, _, sign in signs}) > 1 or (signs[0][2] == "setminus" and len(signs) > 1):
            raise _Unread  # which comes first is not said
        starts, ends = [0, *(end for _, end, _ in signs)], [*(start for start, _, _ in signs), len(text)]
        sets = [_set_pieces(text[a:b].strip(), depth + 1) for a, b in zip(starts, ends, strict=True)]
        if signs[0][2] == "cup":
            return _joined([piece for pieces in sets for piece in pieces])
        met = sets[0]
        for other in sets[1:]:
            met = _intersection(met, other if signs[0][2] == "cap" else _complement(other))
        return _joined(met)
    bare = squeeze(text)
    if re.fullmatch(r"\\mathbb ?\{?R\}?", bare):
        return [Interval(_LEFT, _RIGHT)]
    if bare in ("\\emptyset", r"\{\}"):
        return []
    if bare.startswith(r"\{") and bare.endswith(r"\}"):
        ends = [_end(part, "", closed=True) for part in split_top(bare[2:-2])]
        if any(end.value is None or not end.closed for end in ends):
            raise _Unread
        return _joined([Interval(end, end) for end in ends])
    if len(text) > 2 and text[0] in "([" and text[-1] in ")]" and partners(text).get(0) == len(text) - 1:
        parts = split_top(text[1:-1])
        if len(parts) == 1 and text[0] + text[-1] == "()":
            return _set_pieces(parts[0], depth + 1)
        if len(parts) == 2:
            low = _end(parts[0], "", closed=text[0] == "[")
            high = _end(parts[1], "", closed=text[-1] == "]")
            order = _order(low, high)
            if order > 0 or (order == 0 and not (low.closed and high.closed)):
                raise _Unread  # (3,1) is no interval
            return [Interval(low, low if order == 0 else high)]
    raise _Unread


def _complement(pieces: Sequence[Interval]) -> list[Interval]:
    rest: list[Interval] = []
    low = _LEFT
    for piece in pieces:
        high = _End(piece.low.text, piece.low.value, closed=not piece.low.closed)
        order = _order(low, high)
        if order < 0 or (order == 0 and low.closed and high.closed):
            rest.append(Interval(low, high))
        low = _End(piece.high.text, piece.high.value, closed=not piece.high.closed)
    if low.text != "\\infty":
        rest.append(Interval(low, _RIGHT))
    return rest


def _written(condition: str, variable: str, *, commas: bool) -> str | None:
    try:
        pieces: list[Interval] = []
        for case in _OR.split(condition):
            atoms = [atom for part in _AND.split(case) for atom in (split_top(part) if commas else [part])]
            met = [Interval(_LEFT, _RIGHT)]
            for atom in atoms:
                met = _intersection(met, _solutions(atom, variable))
            pieces += met
        return " \\cup ".join(map(str, _joined(pieces))) or "\\emptyset"
    except _Unread:
        return None


def _solutions(atom: str, variable: str) -> list[Interval]:
    """The intervals on which one relation, or a chain a < x < b, holds. Raises _Unread."""
    sides = [side.strip() for side in _RELATION.split(atom)]
    sides[1::2] = [SPELLING.get(sign, sign) for sign in sides[1::2]]
    name = squeeze(variable)
    if not all(sides):
        raise _Unread
    if (
        len(sides) < 3
        or [squeeze(side) for side in sides[::2]].count(name) != 1
        or (squeeze(sides[2]) != name if len(sides) > 3 else any(_holds_name(side, name) for side in sides[::2]))
    ):
        return _solved(sides, variable)
    if len(sides) == 5:
        if sides[1] in _MORE:
            sides = [sides[4], TURNED[sides[3]], sides[2], TURNED[sides[1]], sides[0]]
        if sides[1] not in _LESS or sides[3] not in _LESS:
            raise _Unread
        low, high = (_end(sides[place], variable, closed=sides[sign] == "\\le") for place, sign in ((0, 1), (4, 3)))
        if low.value is None or high.value is None:
            return [Interval(low, high)]
        return _intersection([Interval(low, _RIGHT)], [Interval(_LEFT, high)])
    if len(sides) != 3:
        raise _Unread
    left, sign, right = sides
    if squeeze(right) == name:
        left, sign, right = right, TURNED[sign], left
    end = _end(right, variable, closed=sign in ("\\le", "\\ge", "="))
    pieces = {"=": [Interval(end, end)], "\\ne": [Interval(_LEFT, end), Interval(end, _RIGHT)]}.get(sign)
    pieces = pieces or [Interval(_LEFT, end) if sign in _LESS else Interval(end, _RIGHT)]
    if any(piece.low.text == piece.high.text and not piece.low.closed for piece in pieces):
        raise _Unread  # x = \infty
    return pieces


def _holds_name(side: str, name: str) -> bool:
    """Whether a side that is not the variable itself holds it."""
    if squeeze(side) == name:
        return False
    tree = formula.parse(side)
    return tree is not None and name.removeprefix("\\") in syntax.variables(tree)


def _solved(sides: Sequence[str], variable: str) -> list[Interval]:
    """The intervals on which a chain of relations holds that must be solved first. Raises _Unread."""
    trees = [formula.parse(side) for side in sides[::2]]
    name = formula.parse(variable)
    known = [tree for tree in trees if tree is not None]
    if len(known) < len(trees) or len(known) < 2 or name is None or name[0] != "var":
        raise _Unread
    try:
        spans = solving.solution_spans(known, sides[1::2], name[1])
    except solving.Unsolved as error:
        raise _Unread from error
    ends = [
        (
            _LEFT if span.low is None else _End(span.low.text, span.low.value, span.low_closed),
            _RIGHT if span.high is None else _End(span.high.text, span.high.value, span.high_closed),
        )
        for span in spans
    ]
    return _joined([Interval(low, high) for low, high in ends])


def _end(text: str, variable: str, *, closed: bool) -> _End:
    bare = squeeze(text).removeprefix("+")
    if bare in ("\\infty", "-\\infty"):
        return _End(bare, float(bare.replace("\\infty", "inf")), closed=False)
    tree = formula.parse(text)
    if tree is None or variable.removeprefix("\\") in syntax.variables(tree):
        raise _Unread
    if syntax.variables(tree):
        return _End(text, None, closed)
    value = values.constant(tree)
    if value is None or value != value.real:
        raise _Unread
    return _End(text, value, closed)


def _order(one: _End, other: _End) -> int:
    """-1, 0 or 1. Raises _Unread where an end holds letters."""
    if one.value is None or other.value is None:
        raise _Unread
    if one.value == other.value or abs(one.value - other.value) <= _APART:
        return 0
    return -1 if one.value < other.value else 1


def _intersection(first: Sequence[Interval], second: Sequence[Interval]) -> list[Interval]:
    if len(first) * len(second) > _MAX_PIECES:
        raise _Unread
    met: list[Interval] = []
    for one in first:
        for other in second:
            if one == Interval(_LEFT, _RIGHT):  # nothing was asked yet: letters are no obstacle
                met.append(other)
                continue
            low, high = _inner(one.low, other.low, 1), _inner(one.high, other.high, -1)
            order = _order(low, high)
            if order < 0 or (order == 0 and low.closed and high.closed):
                met.append(Interval(low, low if order == 0 else high))
    return met


def _inner(one: _End, other: _End, sign: int) -> _End:
    """The end that is further inside; the open one of two that are equal."""
    order = _order(one, other) * sign
    if order == 0:
        return other if one.closed else one
    return one if order > 0 else other


def _joined(pieces: Sequence[Interval]) -> list[Interval]:
    """The pieces from left to right, those that touch made one. Letters are in order if they stand alone."""
    if len(pieces) < 2 or (len(pieces) == 2 and pieces[0].high == pieces[1].low and not pieces[0].high.closed):
        return list(pieces)
    if len(pieces) > _MAX_PIECES or any(end.value is None for piece in pieces for end in (piece.low, piece.high)):
        raise _Unread
    joined: list[Interval] = []
    for piece in sorted(pieces, key=lambda each: (each.low.value, not each.low.closed)):
        order = 1 if not joined else _order(piece.low, joined[-1].high)
        if order > 0 or (order == 0 and not piece.low.closed and not joined[-1].high.closed):
            joined.append(piece)
            continue
        last = joined[-1]
        further = _order(piece.high, last.high)
        high = piece.high if further > 0 or (further == 0 and piece.high.closed) else last.high
        joined[-1] = Interval(last.low, high)
    return joined
