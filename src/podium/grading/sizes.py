r"""What is not handed to computer algebra, because reading it fails or computing it never ends.

Judges the text alone, in linear time: brackets that do not match, characters that are no mathematics, words, towers of
powers, chains of factorials, binomials of powers, large powers of sums, sets given by
a condition. What is refused is undecided, not different.
"""

from __future__ import annotations

import re

from podium.grading.notation import words
from podium.grading.regions import is_conditional

MAX_LENGTH = 2_000  # characters
_MAX_EXPONENT = 2_500  # of a number
_MAX_POWER_OF_SUM = 40
_MAX_NESTING = 30
_ALLOWED = re.compile(r"[\x20-\x7e\n\tα-ωΑ-Ω√≠≈]*")
_EXPONENT = re.compile(r"(\)?)\s*(?:\^|\*\*)\s*\{?\s*\(?\s*-?(\d+)")
_TOWER = re.compile(r"(?:\^|\*\*)\s*[{(]*[^{}()^*+\s]{1,40}(?:\^|\*\*)\s*[{(]*[^{}()^*+\s]{1,40}(?:\^|\*\*)")
_NUMBER_TOWER = re.compile(r"\d\s*(?:\^|\*\*)\s*[{(]*\d+\s*(?:\^|\*\*)\s*[{(]*\d")
_FACTORIALS = re.compile(r"!\s*[)}]*\s*!|\d{5,}\s*[)}]*\s*!|\^[^!+=]{1,40}[)}]\s*!")
_BINOMIAL_OF_POWERS = re.compile(r"\\binom\s*\{[^{}]{0,40}\^|\\binom\s*\{[^{}]*\d{5}")
_WORD = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]{4,}")
_NAMES = frozenset(
    ["sqrt", "sinh", "cosh", "tanh", "asin", "acos", "atan", "pmatrix", "matrix", "array", "cases", "aligned"]
)
_LONG_NUMBER = re.compile(r"\d{1000}")
_ENDLESS = (_TOWER, _NUMBER_TOWER, _FACTORIALS, _BINOMIAL_OF_POWERS, _LONG_NUMBER)


def fit_for_algebra(text: str) -> bool:
    """Whether a tidied answer may be handed to computer algebra (whose deadline may still pass)."""
    if len(text) > MAX_LENGTH or not _ALLOWED.fullmatch(text) or not any(map(str.isalnum, text)):
        return False
    if not _is_balanced(text) or is_prose(text) or is_conditional(text):
        return False
    if any(pattern.search(text) for pattern in _ENDLESS):
        return False
    return all(
        len(match[2]) < 9 and int(match[2]) <= (_MAX_POWER_OF_SUM if match[1] else _MAX_EXPONENT)
        for match in _EXPONENT.finditer(text)
    )


def is_prose(text: str) -> bool:
    """Words, which computer algebra would read as products of letters."""
    said = words(text)
    if said is not None and (len(said) > 3 or " " in said):
        return True
    return any(word not in _NAMES for word in _WORD.findall(text))


def _is_balanced(text: str) -> bool:
    """Braces match exactly; brackets, whose ends may differ in intervals, match in number; nesting is not too deep."""
    braces = depth = round_square = 0
    escaped = False
    for character in text:
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == "{":
            braces += 1
            depth = max(depth, braces)
        elif character == "}":
            braces -= 1
            if braces < 0:
                return False
        elif character in "([":
            round_square += 1
            depth = max(depth, round_square)
        elif character in ")]":
            round_square -= 1
            if round_square < 0:
                return False
    return braces == 0 and round_square == 0 and depth <= _MAX_NESTING
