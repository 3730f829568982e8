r"""Sets of letters, A \cup B, A \cap (B \setminus C): are two expressions the same set for all sets?

An element is in each letter's set or not; the table of all cases decides.
"""

from __future__ import annotations

import itertools
import re

_TOKEN = re.compile(r"\s*(\\(?:cup|cap|setminus)|[A-Z()])")
_MOST_LETTERS = 6


def same_sets(first: str, second: str) -> bool | None:
    r"""Whether two expressions of \cup, \cap and \setminus are one set; None where brackets are missing."""
    letters = sorted(set(re.findall("[A-Z]", first + second)))
    if len(letters) > _MOST_LETTERS:
        return None
    try:
        tables = [
            [_holds(text, dict(zip(letters, case, strict=True)))
             for case in itertools.product((False, True), repeat=len(letters))]
            for text in (first, second)
        ]  # fmt: skip
    except ValueError:
        return None
    return tables[0] == tables[1]


def _holds(text: str, inside: dict[str, bool]) -> bool:
    tokens = _TOKEN.findall(text)
    if "".join(tokens) != re.sub(r"\s+", "", text):
        raise ValueError("no expression of sets")
    value, rest = _chain(tokens, inside)
    if rest:
        raise ValueError("brackets do not match")
    return value


def _chain(tokens: list[str], inside: dict[str, bool]) -> tuple[bool, list[str]]:
    value, tokens = _operand(tokens, inside)
    known = ""
    while tokens and tokens[0] != ")":
        sign = tokens[0]
        if sign[0] != "\\" or (known and (sign != known or sign == "\\setminus")):
            raise ValueError("which sign comes first is not said")
        known = sign
        other, tokens = _operand(tokens[1:], inside)
        value = {"\\cup": value or other, "\\cap": value and other, "\\setminus": value and not other}[sign]
    return value, tokens


def _operand(tokens: list[str], inside: dict[str, bool]) -> tuple[bool, list[str]]:
    if not tokens:
        raise ValueError("a set is missing")
    if tokens[0] != "(":
        if tokens[0] not in inside:
            raise ValueError("a set is missing")
        return inside[tokens[0]], tokens[1:]
    value, rest = _chain(tokens[1:], inside)
    if not rest:
        raise ValueError("brackets do not match")
    return value, rest[1:]
