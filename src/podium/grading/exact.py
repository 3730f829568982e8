r"""The cheap rules of equivalence: what can be decided by reading the two answers, without computer algebra.

Knows notation: signs, leading zeros, thousands separators, fractions, mixed numbers, decimals, scientific notation,
percent and degree signs, units, base subscripts, option letters, "no solution". Says None where it cannot decide.
Policies: a unit, percent sign, degree sign or base that only one side writes is forgiven; a rounded decimal is not
the fraction it came from.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from podium.grading import arithmetic

MAX_LENGTH = 20_000  # characters; nothing longer is an answer

_DROP = re.compile(
    r"\\left(?![a-zA-Z])|\\right(?![a-zA-Z])|\\[,;:!]|\\\s|~|\\displaystyle|\\big[lr]?(?![a-zA-Z])|\\Big[lr]?(?![a-zA-Z])|"
    r"\\\$|\$|\\\(|\\\)|\\\[|\\\]"
)
_TEXT = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mbox|operatorname|rm)\s*\{([^{}]*)\}")
_BOX = re.compile(r"\\f?boxed\s*\{")
_SPACES = re.compile(r"\s+")
_COMMAS = re.compile(r"(?<![\d,])(\d{1,3})((?:,\s?\d{3})+)(?!\d|,)")
_ASSIGNMENT = re.compile(r"^[a-zA-Z](?:_\{?\w\}?)?\s*=\s*(?=[^=])")
_INTEGER = re.compile(r"[+-]?\d+")
_LONG_INTEGER = re.compile(r"[+-]?\d{4000,}")  # longer than Python reads
_DECIMAL = re.compile(r"[+-]?(?:\d+\.\d*|\.\d+)")
_RATIO = re.compile(r"([+-]?)\s*(\d+)\s*/\s*([+-]?)\s*(\d+)")
_FRAC = re.compile(r"([+-]?)\s*\\[dt]?frac\s*(?:\{\s*([+-]?\d+)\s*\}|(\d))\s*(?:\{\s*([+-]?\d+)\s*\}|(\d))")
_MIXED = re.compile(r"([+-]?)(\d+)(?:\s+(\d+)\s*/\s*(\d+)|\s*\\[dt]?frac\s*\{(\d+)\}\s*\{(\d+)\})")
_SCIENTIFIC = re.compile(
    r"([+-]?\d+(?:\.\d*)?)\s*(?:[eE]([+-]?\d+)|(?:\\times|\\cdot|\*|×)\s*10\s*\^\s*(?:\{\s*([+-]?\d+)\s*\}|(\d)))"
)
_PERCENT = re.compile(r"(.*?)\s*(?:\\%|%|percent)", re.DOTALL)
_DEGREES = re.compile(r"(.*?)\s*(?:\^\s*\{?\s*\\circ\s*\}?|°|\\degree|degrees?)", re.DOTALL)
_BASE = re.compile(r"([0-9a-z]+)_\{?(\d{1,2})\}?", re.IGNORECASE)
_UNIT = re.compile(r"(.*?[\d}])\s*(?:([a-zA-Zµ]{1,12}\.?)(?:\^\{?([23])\}?)?)", re.DOTALL)
_LETTER = re.compile(r"\(?\s*([A-Z])\s*\)?\.?")
_EMPTY = re.compile(
    r"(?:\\emptyset|\\varnothing|∅|\\\{\s*\\\}|\{\s*\}|no (?:real )?solutions?|none|does not exist|dne)\.?",
    re.IGNORECASE,
)
# Units of one quantity and their size; only these are converted into one another.
_UNITS: dict[str, tuple[str, Fraction]] = {
    name: (quantity, Fraction(size))
    for quantity, table in {
        "length": {"mm": "1/1000", "cm": "1/100", "dm": "1/10", "m": "1", "km": "1000"},
        "mass": {"mg": "1/1000", "g": "1", "kg": "1000"},
        "time": {"s": "1", "sec": "1", "seconds": "1", "min": "60", "minutes": "60", "h": "3600", "hours": "3600"},
        "volume": {"ml": "1/1000", "l": "1"},
    }.items()
    for name, size in table.items()
}


@dataclass(frozen=True, slots=True)
class Reading:
    """A number as read. `values[0]` is what is written; the others are forgiven (50% is 50 and 1/2). `kind` says
    which notation made it so; two readings of one kind are compared by what is written."""

    values: tuple[Fraction, ...]
    kind: str = ""


def normalise(text: str) -> str:
    """The answer without boxes, dollar signs, spacing commands, text commands, outer brackets and outer braces."""
    text = text.strip()
    while match := _BOX.match(text):
        if not text.endswith("}"):
            break
        text = text[match.end() : -1].strip()
    text = _DROP.sub(" ", text.replace("{,}", ",").replace("−", "-"))
    for _ in range(4):  # \text inside \text, at most so deep
        text, count = _TEXT.subn(r" \1 ", text)
        if not count:
            break
    text = _SPACES.sub(" ", text).strip()
    if text.endswith(".") and not text.endswith(".."):
        text = text[:-1].rstrip()
    text = _COMMAS.sub(lambda match: match[1] + re.sub(r"[,\s]", "", match[2]), text)
    return _strip_brackets(text)


def _strip_brackets(text: str) -> str:
    """Take away brackets and braces that enclose everything; a pair with a comma inside is a tuple and stays."""
    start, end = 0, len(text)
    partner = _partners(text)
    while start < end - 1 and text[start] in "({" and partner.get(start) == end - 1:
        start, end = start + 1, end - 1
        while start < end and text[start] == " ":
            start += 1
        while end > start and text[end - 1] == " ":
            end -= 1
    inner = text[start:end]
    return inner if "," not in inner and inner else text


def _partners(text: str) -> dict[int, int]:
    stack: list[int] = []
    partner: dict[int, int] = {}
    for index, character in enumerate(text):
        if character in "({[":
            stack.append(index)
        elif character in ")}]" and stack:
            partner[stack.pop()] = index
    return partner


def read_number(text: str) -> Reading | None:
    """Read a normalised answer as a number, if it is written as one. At most 4,000 digits."""
    if len(text) > 4_000:
        return None
    text = _ASSIGNMENT.sub("", text)
    plain = _plain_number(text)
    if plain is not None:
        return Reading((plain,))
    if match := _PERCENT.fullmatch(text):
        value = _plain_number(match[1])
        return None if value is None else Reading((value, value / 100), "percent")
    if match := _DEGREES.fullmatch(text):
        value = _plain_number(match[1])
        return None if value is None else Reading((value,), "degrees")
    if match := _BASE.fullmatch(text):
        base = int(match[2])
        if not 2 <= base <= 36:
            return None
        try:
            value = Fraction(int(match[1], base))
        except ValueError:
            return None
        return Reading((value, Fraction(match[1])) if match[1].isdigit() else (value,), f"base {base}")
    if match := _UNIT.fullmatch(text):
        value = _plain_number(match[1].strip())
        if value is None:
            return None
        power = int(match[3] or 1)
        unit = match[2].rstrip(".")
        quantity, size = _UNITS.get(unit, _UNITS.get(unit.lower(), (unit.lower(), Fraction(1))))
        return Reading((value * size**power, value), f"unit {quantity}^{power}")
    return None


def _plain_number(text: str) -> Fraction | None:
    text = text.strip()
    if len(text) > 4_000:
        return None
    if _INTEGER.fullmatch(text) or _DECIMAL.fullmatch(text):
        return Fraction(text)
    if match := _RATIO.fullmatch(text):
        return _ratio(match[1] + match[2], match[3] + match[4])
    if match := _FRAC.fullmatch(text):
        value = _ratio(match[2] or match[3], match[4] or match[5])
        return -value if value is not None and match[1] == "-" else value
    if match := _MIXED.fullmatch(text):
        part = _ratio(match[3] or match[5], match[4] or match[6])
        if part is None:
            return None
        value = int(match[2]) + part
        return -value if match[1] == "-" else value
    if match := _SCIENTIFIC.fullmatch(text):
        exponent = int(match[2] or match[3] or match[4])
        return Fraction(match[1]) * Fraction(10) ** exponent if abs(exponent) <= 1_000 else None
    return None


def _ratio(numerator: str, denominator: str) -> Fraction | None:
    below = int(denominator)
    return Fraction(int(numerator), below) if below else None


def same_reading(first: Reading, second: Reading) -> bool:
    """Whether two numbers are the same, with what only one side writes forgiven."""
    if first.kind == second.kind:
        return first.values[0] == second.values[0]
    if first.kind.startswith("unit") and second.kind.startswith("unit"):
        return False  # metres are not square metres, nor kilograms
    if first.kind and second.kind:
        return first.values[0] == second.values[0]
    return any(value in second.values for value in first.values)


def compare_exactly(first: str, second: str) -> bool | None:
    """Same, different, or None: these rules cannot say."""
    if len(first) > MAX_LENGTH or len(second) > MAX_LENGTH:
        return True if first.strip() == second.strip() else None
    first, second = normalise(first), normalise(second)
    if first == second or first.replace(" ", "") == second.replace(" ", ""):
        return True
    left, right = read_number(first), read_number(second)
    if left is not None and right is not None:
        return same_reading(left, right)
    if _LONG_INTEGER.fullmatch(first) or _LONG_INTEGER.fullmatch(second):
        if all(number or _LONG_INTEGER.fullmatch(text) for number, text in ((left, first), (right, second))):
            return _canonical(first) == _canonical(second)
        return None
    letter, other = _LETTER.fullmatch(first), _LETTER.fullmatch(second)
    if letter and other:
        return letter[1] == other[1]
    if _EMPTY.fullmatch(first) and _EMPTY.fullmatch(second):
        return True
    trees = arithmetic.parse(_ASSIGNMENT.sub("", first)), arithmetic.parse(_ASSIGNMENT.sub("", second))
    if trees[0] is not None and trees[1] is not None:
        return arithmetic.same_value(trees[0], trees[1])
    return None


def _canonical(digits: str) -> str:
    """An integer of any length as text, without plus and leading zeros."""
    return ("-" if digits.startswith("-") else "") + digits.lstrip("+-").lstrip("0")


def key_of(text: str) -> tuple[str, object]:
    """A key for grouping: answers of equal keys are the same; answers of different keys may still be."""
    if len(text) > MAX_LENGTH:
        return "text", text.strip()
    text = normalise(text)
    reading = read_number(text)
    if reading is not None and not reading.kind:
        return "number", reading.values[0]
    return "text", text.replace(" ", "")
