r"""What can be decided in the parent process: reading, exact arithmetic, closed forms, parts. No computer algebra.

Knows integers of any length, fractions, mixed numbers, decimals, scientific notation, percent and degree signs, units,
bases, option letters, words, "no solution"; hands closed forms to `values` and several parts to `structure`. Says None
where it cannot decide. What is forgiven stands in the exam's `Rules`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

from podium.grading import arithmetic, formula, structure, values
from podium.grading.notation import plain, squeeze, strip_brackets, tidy, words
from podium.grading.regions import set_as_intervals
from podium.grading.rules import DEFAULT, Rules

MAX_LENGTH = 20_000  # characters; nothing longer is an answer
_MAX_DIGITS = 4_000

_ASSIGNMENT = re.compile(r"([a-zA-Z](?:_\w|\([a-z]\))?)\s*=\s*(?=[^=])|[a-zA-Z](?:_\w)?\s*\\in(?![a-z])\s*")
_GROUPED = re.compile(r"\d,\d{3}(?!\d)")
_INTEGER = re.compile(r"[+-]?\d+")
_LONG_INTEGER = re.compile(r"[+-]?\d{4000,}")  # longer than Python reads
_DECIMAL = re.compile(r"[+-]?(?:\d+\.\d*|\.\d+)")
_RATIO = re.compile(r"([+-]?)\s*(\d+)\s*/\s*([+-]?)\s*(\d+)")
_FRAC = re.compile(r"([+-]?)\s*\\frac\s*(?:\{\s*([+-]?\d+)\s*\}|(\d))\s*(?:\{\s*([+-]?\d+)\s*\}|(\d))")
_MIXED = re.compile(r"([+-]?)(\d+)(?:\s+(\d+)\s*/\s*(\d+)|\s*\\frac\s*\{(\d+)\}\s*\{(\d+)\})")
_SCIENTIFIC = re.compile(
    r"([+-]?\d+(?:\.\d*)?)\s*(?:[eE]([+-]?\d+)|(?:\\times|\\cdot|\*)\s*10\s*\^\s*(?:\{\s*([+-]?\d+)\s*\}|(\d+)))"
)
_PERCENT = re.compile(r"(.*?)\s*(?:\\%|%|\\text\{\s*(?:percent|per cent)\s*\}|percent)", re.DOTALL)
_DEGREES = re.compile(r"(.*?)\s*(?:\^\s*\{?\s*\\circ\s*\}?|\\text\{\s*degrees?\s*\}|(?<![a-z])degrees?)", re.DOTALL)
_COUNTED = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
)
_LONGEST_PRODUCT = 3  # letters; a longer word is no product of variables
_NUMBER_WORDS = {word: Fraction(value) for value, word in enumerate(_COUNTED.split())}
_CALL = re.compile(r"\\?(?:sin|cos|tan|cot|sec|csc)(?![a-z])")  # the sine of 30 degrees is no number of degrees
_BASE = re.compile(r"([0-9a-z]+)_\{?\s*(\d{1,2}|\\text\{\s*(?:two|eight|ten|sixteen)\s*\})\s*\}?", re.IGNORECASE)
_BASE_WORDS = {"two": 2, "eight": 8, "ten": 10, "sixteen": 16}
_TEXT_UNIT = re.compile(
    r"(.*?)\s*\\text\{\s*(?P<unit>[a-zA-Zµ][a-zA-Zµ\s./-]*?)\s*\}\s*(?:\^\s*\{?\s*(?P<power>[23])\s*\}?)?", re.DOTALL
)
_WORD_UNIT = re.compile(
    r"(.*?[\d)}])(?P<space>\s*)(?P<unit>[a-zA-Zµ]+(?:\s[a-zA-Z]+)*)\.?\s*(?:\^\s*\{?\s*(?P<power>[23])\s*\}?)?",
    re.DOTALL,
)
_UNIT_POWERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
_LETTER = re.compile(r"[\(\[]?\s*([A-Za-z])\s*[\)\]]?\.?")
_EMPTY = re.compile(
    r"\\emptyset|\\\{\s*\\\}|\{\s*\}|(?:there (?:is|are) )?no (?:real )?solutions?|none|does not exist|dne|no such \w+",
    re.IGNORECASE,
)
# Units of one quantity and their size; only these are converted into one another.
_UNITS: dict[str, tuple[str, Fraction]] = {
    name: (quantity, Fraction(size))
    for quantity, table in {
        "length": {
            "mm": "1/1000", "millimeter": "1/1000", "cm": "1/100", "centimeter": "1/100", "dm": "1/10", "m": "1",
            "meter": "1", "metre": "1", "km": "1000", "kilometer": "1000", "inch": "127/5000", "inches": "127/5000",
            "foot": "381/1250", "feet": "381/1250", "ft": "381/1250", "yard": "1143/1250", "mile": "201168/125",
        },
        "mass": {"mg": "1/1000", "g": "1", "gram": "1", "kg": "1000", "kilogram": "1000"},
        "time": {
            "s": "1", "sec": "1", "second": "1", "min": "60", "minute": "60", "h": "3600", "hr": "3600",
            "hour": "3600", "day": "86400", "week": "604800",
        },
        "volume": {"ml": "1/1000", "l": "1", "liter": "1", "litre": "1"},
        "money": {"dollar": "1", "cent": "1/100"},
    }.items()
    for name, size in table.items()
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Quantity:
    """A body and what stands behind it: nothing, a percent or degree sign, or a unit of some size."""

    body: str
    kind: str = ""
    size: Fraction = Fraction(1)


def compare_exactly(first: str, second: str, rules: Rules = DEFAULT) -> bool | None:
    """Same, different, or None: this file cannot say."""
    if len(first) > MAX_LENGTH or len(second) > MAX_LENGTH:
        return True if first.strip() == second.strip() else None
    found = _compare(tidy(first), tidy(second), rules, 0)
    if found is not True and (_GROUPED.search(first) or _GROUPED.search(second)):
        # 98,118 may be a list: read as one on both sides it may be the same list.
        lists = tidy(first, thousands=False), tidy(second, thousands=False)
        return True if _compare(*lists, rules, 0) else found
    return found


def _compare(first: str, second: str, rules: Rules, depth: int) -> bool | None:
    """Compare two tidied answers, or parts of such."""
    if squeeze(first) == squeeze(second):
        return True
    bare = squeeze(plain(first)), squeeze(plain(second))
    # Units are words of the text commands: without them 5 m and 5m (five times m) would be one.
    if bare[0] == bare[1] and not (bare[0][:1].isdigit() and ("\\text{" in first) != ("\\text{" in second)):
        return True
    named = _ASSIGNMENT.match(first), _ASSIGNMENT.match(second)
    if not (named[0] and named[1] and named[0][1] != named[1][1]):
        first, second = (
            text[match.end() :] if match else text for text, match in zip((first, second), named, strict=True)
        )
    first, second = set_as_intervals(first), set_as_intervals(second)
    by_words = _same_words(plain(first), plain(second), rules)
    if by_words is not None:
        return by_words
    if depth < 4:
        same = partial(_compare_parts, rules=rules, depth=depth + 1)
        by_parts = structure.same_shape(first, second, same)
        if by_parts is not None:
            return by_parts
    return _same_quantity(first, second, rules)


def _compare_parts(first: str, second: str, *, rules: Rules, depth: int) -> bool | None:
    return _compare(strip_brackets(first), strip_brackets(second), rules, depth)


def _same_words(first: str, second: str, rules: Rules) -> bool | None:
    """Option letters, plain words, and "no solution"; None for anything else."""
    left, right = _LETTER.fullmatch(first), _LETTER.fullmatch(second)
    if left and right:
        if rules.case == "ignore":
            return left[1].lower() == right[1].lower()
        return left[1] == right[1]
    empty = _EMPTY.fullmatch(first), _EMPTY.fullmatch(second)
    if all(empty):
        return True
    if any(empty):
        other = second if empty[0] else first
        return False if read_number(other) is not None or structure.shape_of(other) is not None else None
    said = words(first), words(second)
    if said[0] is None or said[1] is None or min(map(len, said)) < 2:  # pyright: ignore[reportArgumentType]
        return None
    one, other = (text if rules.case == "strict" else text.lower() for text in said if text)
    if one == other:
        return True
    # "ellipse" and "horizontal ellipse" may be one; pi and e are words too.
    if one in other or other in one or any(text in ("pi", "sin", "cos", "ln", "log") for text in (one, other)):
        return None
    return False if max(len(one), len(other)) > _LONGEST_PRODUCT else None


def _same_quantity(first: str, second: str, rules: Rules) -> bool | None:
    bases = read_base(plain(first)), read_base(plain(second))
    if any(bases):
        return _same_in_bases(first, second, bases)
    one, other = quantity_of(first), quantity_of(second)
    scales = _scales(one, other, rules)
    if scales is None:
        return False if _is_numeric(one.body) and _is_numeric(other.body) else None
    answers = [_same_number(one.body, a, other.body, b, rules) for a, b in scales]
    if True in answers:
        return True
    return None if None in answers else False


Scale = Fraction | str  # a factor; "degrees" is pi/180


def _scales(one: Quantity, other: Quantity, rules: Rules) -> list[tuple[Scale, Scale]] | None:
    """Factors on both sides under which they may be equal; None when they are of different kinds."""
    plain_pair: tuple[Scale, Scale] = (Fraction(1), Fraction(1))
    if one.kind == other.kind:
        return [(one.size, other.size)] if one.kind.startswith("unit") and rules.units != "ignore" else [plain_pair]
    if one.kind and other.kind:
        both_units = one.kind.startswith("unit") and other.kind.startswith("unit")
        return [plain_pair] if both_units and rules.units == "ignore" else None
    signed = one if one.kind else other
    lenient = {"percent": rules.percent, "degrees": rules.degrees}.get(signed.kind, rules.units)
    meant: Scale = "degrees" if signed.kind == "degrees" else signed.size
    pair: tuple[Scale, Scale] = (meant, Fraction(1)) if one.kind else (Fraction(1), meant)
    if lenient == "ignore":
        return [plain_pair]
    if lenient == "strict":
        return None if signed.kind.startswith("unit") else [pair]
    return [plain_pair] if pair == plain_pair else [plain_pair, pair]


def _is_numeric(body: str) -> bool:
    if read_number(body) is not None:
        return True
    tree = formula.parse(body)
    return tree is not None and not formula.variables(tree)


def quantity_of(text: str) -> Quantity:
    """Split a tidied answer into body and sign or unit."""
    if match := _PERCENT.fullmatch(text):
        return Quantity(match[1], "percent", Fraction(1, 100))
    if (match := _DEGREES.fullmatch(text)) and not _CALL.search(match[1]):
        return Quantity(match[1], "degrees")
    match = _TEXT_UNIT.fullmatch(text)
    if match is None or not match[1] or "\\text" in match[1]:
        match = _WORD_UNIT.fullmatch(text)
        if match is None or not _is_unit(match["unit"], bool(match["space"])):
            return Quantity(plain(text))
    power = int(match["power"] or 1)
    unit = re.sub(r"\s+", " ", match["unit"]).rstrip(".")
    head, _, tail = unit.partition(" ")
    if tail and head.lower() in _UNIT_POWERS:
        unit, power = tail, _UNIT_POWERS[head.lower()]
    known = _UNITS.get(unit) or _UNITS.get(unit.lower()) or _UNITS.get(unit.lower().removesuffix("s"))
    name, size = known or (unit.lower().removesuffix("s"), Fraction(1))
    return Quantity(match[1].strip(), f"unit {name}^{power}", size**power)


def _is_unit(word: str, spaced: bool) -> bool:
    """Whether letters behind a number, outside a text command, are a unit and no variables."""
    if word in ("pi", "e", "i", "sin", "cos", "tan", "log", "ln", "sqrt", "exp", "or", "and"):
        return False
    if len(word) == 1:
        return spaced and word in _UNITS
    return word.lower().removesuffix("s") in _UNITS or (spaced and len(word) >= 4) or len(word) >= 5


def _same_number(one: str, scale_one: Scale, other: str, scale_other: Scale, rules: Rules) -> bool | None:
    left, right = read_number(one), read_number(other)
    if left is not None and right is not None:
        if isinstance(scale_one, str) or isinstance(scale_other, str):
            return left == right == 0  # a rational number of degrees is a multiple of pi
        left, right = left * scale_one, right * scale_other
        return left == right or _is_rounding(left, right, one, other, scale_one, scale_other, rules)
    long = _LONG_INTEGER.fullmatch(one), _LONG_INTEGER.fullmatch(other)
    if any(long):
        if all(number is not None or text for number, text in zip((left, right), long, strict=True)):
            return _canonical(one) == _canonical(other)
        return None
    left_tree, right_tree = arithmetic.parse(one), arithmetic.parse(other)
    if left_tree is not None and right_tree is not None:
        if isinstance(scale_one, Fraction) and isinstance(scale_other, Fraction):
            decided = arithmetic.same_value(_multiplied(left_tree, scale_one), _multiplied(right_tree, scale_other))
            if decided is not None:
                return decided
    elif _is_tower(left_tree) or _is_tower(right_tree):
        tree = formula.parse(other if _is_tower(left_tree) else one)
        return False if tree is not None and values.constant(tree) is not None else None
    return _same_form(one, scale_one, other, scale_other, rules)


def _multiplied(tree: arithmetic.Expression, scale: Fraction) -> arithmetic.Expression:
    return tree if scale == 1 else arithmetic.Operation("*", tree, arithmetic.Literal(scale))


def _is_tower(tree: arithmetic.Expression | None) -> bool:
    """A whole number too large to be written: a closed form that has a value here is another number."""
    return tree is not None and arithmetic.is_beyond_limit(tree)


def _same_form(one: str, scale_one: Scale, other: str, scale_other: Scale, rules: Rules) -> bool | None:
    seed = one + "\0" + other
    sides = [text.split("=") for text in (one, other)]
    if all(len(side) == 2 for side in sides):
        trees = [[formula.parse(text) for text in side] for side in sides]
        if any(tree is None for side in trees for tree in side):
            return None
        return values.same_equation(tuple(trees[0]), tuple(trees[1]), seed)  # pyright: ignore[reportArgumentType]
    left, right = formula.parse(one), formula.parse(other)
    if left is None or right is None:
        return None
    decided = values.same_value(_scaled(left, scale_one), _scaled(right, scale_other), seed)
    if decided is False and rules.rounding and not formula.variables(left) and not formula.variables(right):
        return _rounds(left, right, one, other, rules) or False
    return decided


def _scaled(tree: formula.Node, scale: Scale) -> formula.Node:
    if isinstance(scale, str):
        return ("*", tree, ("/", ("const", "pi"), ("num", "180")))
    if scale == 1:
        return tree
    return ("*", tree, ("/", ("num", str(scale.numerator)), ("num", str(scale.denominator))))


def _is_rounding(
    left: Fraction, right: Fraction, one: str, other: str, scale_one: Scale, scale_other: Scale, rules: Rules
) -> bool:
    """Whether one side is a decimal and the other, unrounded, rounds to it."""
    if not rules.rounding:
        return False
    for rounded, exact, text, scale in ((left, right, one, scale_one), (right, left, other, scale_other)):
        digits = _decimals(text, rules.rounding)
        if digits is None or not isinstance(scale, Fraction):
            continue
        if abs(rounded - exact) <= abs(scale) * Fraction(1, 2 * 10**digits):
            return True
    return False


def _rounds(left: formula.Node, right: formula.Node, one: str, other: str, rules: Rules) -> bool:
    a, b = values.constant(left), values.constant(right)
    if a is None or b is None:
        return False
    digits = [found for text in (one, other) if (found := _decimals(text, rules.rounding)) is not None]
    return bool(digits) and bool(2 * abs(a - b) * 10 ** min(digits) <= 1)


def _decimals(text: str, least: int) -> int | None:
    """Digits behind the point of a decimal that has at least `least` significant ones; None for anything else."""
    text = text.strip().lstrip("+-")
    if _DECIMAL.fullmatch(text) is None:
        return None
    whole, _, behind = text.partition(".")
    return len(behind) if len((whole + behind).lstrip("0")) >= least else None


def read_base(text: str) -> tuple[Fraction, Fraction | None] | None:
    """(value, value of the digits read as decimal ones) of digits with a base behind them, as 1011_2."""
    match = _BASE.fullmatch(text)
    if match is None or len(text) > 200:
        return None
    named = match[2].removeprefix("\\text{").rstrip("}").strip()
    base = _BASE_WORDS.get(named.lower()) or (int(named) if named.isdigit() else 0)
    if not 2 <= base <= 36:
        return None
    try:
        return Fraction(int(match[1], base)), Fraction(match[1]) if match[1].isdigit() else None
    except ValueError:
        return None


def _same_in_bases(first: str, second: str, bases: tuple[tuple[Fraction, Fraction | None] | None, ...]) -> bool | None:
    if bases[0] and bases[1]:
        return bases[0][0] == bases[1][0]
    written, text = (bases[0], second) if bases[0] else (bases[1], first)
    number = read_number(plain(text))
    return None if number is None or written is None else number in written


def read_number(text: str) -> Fraction | None:
    """A number as it is written: integer, decimal, fraction, mixed number, scientific. At most 4,000 digits."""
    text = text.strip()
    if len(text) > _MAX_DIGITS:
        return None
    if _INTEGER.fullmatch(text) or _DECIMAL.fullmatch(text):
        return Fraction(text)
    if match := _RATIO.fullmatch(text):
        sign = -1 if (match[1] == "-") != (match[3] == "-") else 1
        return _divide(sign * int(match[2]), match[4])
    if match := _FRAC.fullmatch(text):
        value = _divide(match[2] or match[3], match[4] or match[5])
        return -value if value is not None and match[1] == "-" else value
    if match := _MIXED.fullmatch(text):
        part = _divide(match[3] or match[5], match[4] or match[6])
        if part is None:
            return None
        return (int(match[2]) + part) * (-1 if match[1] == "-" else 1)
    if match := _SCIENTIFIC.fullmatch(text):
        exponent = int(match[2] or match[3] or match[4])
        if abs(exponent) > _MAX_DIGITS:
            return None
        return Fraction(match[1]) * Fraction(10) ** exponent
    return _NUMBER_WORDS.get(text.lower())


def _divide(numerator: str | int, denominator: str) -> Fraction | None:
    below = int(denominator)
    return Fraction(int(numerator), below) if below else None


def integer_of(text: str) -> int | None:
    """The integer an answer is written as or comes to; None when it is none, or too large to write."""
    if text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS:
        return int(text)
    if len(text) > MAX_LENGTH:
        return None
    tidied = tidy(text)
    match = _ASSIGNMENT.match(tidied)
    quantity = quantity_of(tidied[match.end() :] if match else tidied)
    value = read_number(quantity.body)
    if value is None:
        tree = arithmetic.parse(quantity.body)
        try:
            value = arithmetic.evaluate(tree) if tree is not None else None
        except arithmetic.TooLarge:
            return None
    if value is None or value.denominator != 1:
        return None
    return int(value)


def _canonical(digits: str) -> str:
    """An integer of any length as text, without plus and leading zeros."""
    return ("-" if digits.startswith("-") else "") + digits.lstrip("+-").lstrip("0")


def key_of(text: str) -> tuple[str, object]:
    """A key for grouping: answers of equal keys are the same; answers of different keys may still be."""
    if len(text) > MAX_LENGTH:
        return "text", text.strip()
    tidied = tidy(text)
    number = read_number(_ASSIGNMENT.sub("", tidied, count=1) if "=" in tidied else tidied)
    return ("number", number) if number is not None else ("text", squeeze(tidied))
