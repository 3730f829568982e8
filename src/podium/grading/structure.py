r"""Answers that are several: lists, tuples, intervals, unions, sets, matrices, and plus-minus and "or" as lists.

Knows brackets and separators; what the parts mean is asked of a comparison handed in. Three-valued throughout: True,
False, or None where a part could not be decided or the shapes have no common reading.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from podium.grading.notation import partners, split_top
from podium.grading.regions import condition_as_intervals, is_conditional
from podium.grading.sizes import is_prose

Same = Callable[[str, str], bool | None]

_MAX_PARTS = 64
_SET = re.compile(r"\\\{(.*)\\\}", re.DOTALL)
_MATRIX = re.compile(r"\\begin\{pmatrix\}(.*)\\end\{pmatrix\}", re.DOTALL)
_OR = re.compile(r"\s*(?:\\text\{\s*(?:or|and)\s*\}|(?<![a-zA-Z\\])(?:or|and)(?![a-zA-Z])|\\lor(?![a-z]))\s*|\s*;\s*")
_PLUS_MINUS = re.compile(r"\\pm(?![a-z])")
_MEMBER = re.compile(r"[a-zA-Z](?:_\w)?\s*\\in(?![a-z])\s*")
_NAMED = re.compile(r"\s*([a-zA-Z](?:_\w)?)\s*=\s*(?=[^=])")
_REGIONS = frozenset({"tuple", "union"})


@dataclass(frozen=True, slots=True)
class Shape:
    """Parts and how they hang together. `brackets` are those of a tuple or interval; a matrix has its row `width`."""

    kind: str  # list, tuple, set, union, matrix
    parts: tuple[str, ...]
    brackets: str = ""
    width: int = 0


def shape_of(text: str) -> Shape | None:
    """The shape of a tidied answer; None when it is one thing."""
    text = _MEMBER.sub("", text, count=1) if _MEMBER.match(text) else text
    if match := _MATRIX.fullmatch(text):
        rows = [
            [cell.strip() for cell in row.split("&")] for row in match[1].strip().removesuffix("\\\\").split("\\\\")
        ]
        if len({len(row) for row in rows}) != 1 or "\\begin" in match[1]:
            return None
        return Shape("matrix", tuple(cell for row in rows for cell in row), width=len(rows[0]))
    if "\\cup" in text:
        parts = _split_word(text, "\\cup")
        return Shape("union", tuple(parts)) if len(parts) > 1 else None
    if match := _SET.fullmatch(text):
        if "\\{" not in match[1] and not is_conditional(text):
            return Shape("set", _spread(split_top(match[1])))
        return None
    if len(text) > 2 and text[0] in "([" and text[-1] in ")]" and partners(text).get(0) == len(text) - 1:
        parts = split_top(text[1:-1])
        return Shape("tuple", tuple(parts), text[0] + text[-1]) if len(parts) > 1 and all(parts) else None
    parts = [piece for part in _OR.split(text) for piece in split_top(part) if piece]
    parts = list(_spread(parts))
    return Shape("list", tuple(parts)) if len(parts) > 1 else None


def _split_word(text: str, word: str) -> list[str]:
    return [part.strip() for part in split_top(text.replace(word, "\x00"), "\x00")]


def _spread(parts: Sequence[str]) -> tuple[str, ...]:
    r"""Parts with one \pm each written out as two; a name in front of all of them is taken away."""
    names = {match[1] for part in parts if (match := _NAMED.match(part))}
    if len(names) == 1:
        parts = [_NAMED.sub("", part, count=1) for part in parts]
    spread: list[str] = []
    for part in parts:
        if len(_PLUS_MINUS.findall(part)) == 1:
            spread += [_PLUS_MINUS.sub("+", part).lstrip("+ "), _PLUS_MINUS.sub("-", part)]
        else:
            spread.append(part)
    return tuple(spread)


def same_shape(first: str, second: str, same: Same) -> bool | None:
    """Compare two tidied answers of which at least one has parts; None also where neither has."""
    left, right = shape_of(first), shape_of(second)
    bare = left is None and right is None
    if bare or (left is not None and left.kind in _REGIONS):
        right = _region(second, right)
    if bare or (right is not None and right.kind in _REGIONS):
        left = _region(first, left)
    if left is None:
        return None if right is None or bare else _against_one(right, first)
    if right is None:
        return None if bare else _against_one(left, second)
    return _same_parts(left, right, same)


def _region(text: str, shape: Shape | None) -> Shape | None:
    """A condition as the intervals on which it holds; the shape as it is where the text is none."""
    if shape is not None and shape.kind != "list":
        return shape
    written = condition_as_intervals(text)
    return shape if written is None else shape_of(written)


def _against_one(shape: Shape, single: str) -> bool | None:
    """Several against one: different if the one is plainly a number, and the several no sentence."""
    if shape.kind == "union" or not re.fullmatch(r"[-+\d./\s]+", single) or any(map(is_prose, shape.parts)):
        return None
    return False


def _same_parts(left: Shape, right: Shape, same: Same) -> bool | None:
    if max(len(left.parts), len(right.parts)) > _MAX_PARTS:
        return None
    kinds = {left.kind, right.kind}
    if kinds == {"matrix"}:
        return False if left.width != right.width else _in_order(left.parts, right.parts, same)
    if kinds == {"tuple"}:
        if left.brackets != right.brackets and len(left.parts) == len(right.parts) == 2:
            return False  # an end belongs to one interval and not to the other
        return _in_order(left.parts, right.parts, same)
    if kinds <= {"list", "set", "union"}:
        if "union" in kinds and len(kinds) > 1:
            return None
        found = _in_any_order(left.parts, right.parts, same)
        return found if "union" not in kinds or found else None  # adjacent intervals may join
    # Notations that have a common reading if the parts agree one by one; otherwise that is not for us to say.
    return True if _in_order(left.parts, right.parts, same) else None


def _in_order(left: Sequence[str], right: Sequence[str], same: Same) -> bool | None:
    if len(left) != len(right):
        return False
    undecided = False
    for a, b in zip(left, right, strict=True):
        found = same(a, b)
        if found is False:
            return False
        undecided = undecided or found is None
    return None if undecided else True


def _in_any_order(left: Sequence[str], right: Sequence[str], same: Same) -> bool | None:
    if len(left) != len(right):
        # A number written twice is one number; without repetition the counts tell.
        few, many = sorted((left, right), key=len)
        return None if len(set(many)) <= len(few) else _some_missing(many, few, same)
    free = list(right)
    undecided = False
    for a in left:
        answers = [same(a, b) for b in free]
        if True in answers:
            free.pop(answers.index(True))
        elif None in answers:
            undecided = True
        else:
            return False
    return None if undecided else True


def _some_missing(many: Sequence[str], few: Sequence[str], same: Same) -> bool | None:
    for a in many:
        answers = [same(a, b) for b in few]
        if True not in answers and None not in answers:
            return False
    return None
