r"""What can be decided in the parent process: exact arithmetic, closed forms, parts. No computer algebra of its own.

Knows what two readings of one kind or of two have to do with one another (the table of kinds); integers of any length,
fractions, mixed numbers, decimals, scientific notation, percent and degree signs, units, bases. `readings` says what
kind of thing an answer is, `values` what closed forms are worth. Says None where it cannot decide. What is forgiven
stands in the exam's `Rules`.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from podium.grading import arithmetic, families, formula, letter_sets, readings, regions, statements, syntax, values
from podium.grading.notation import plain, split_top, squeeze, tidy
from podium.grading.readings import Reading, is_label, read
from podium.grading.rules import DEFAULT, Rules

MAX_LENGTH = 20_000  # characters; nothing longer is an answer
_MAX_DIGITS = 4_000

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
_PERCENT = re.compile(
    r"(.*?)\s*(?:\\%|%|\\text\{\s*(?:percent|per cent|pct\.?)\s*\}|(?<![a-z])(?:percent|per cent|pct\.?))", re.DOTALL
)
_DEGREES = re.compile(r"(.*?)\s*(?:\^\s*\{?\s*\\circ\s*\}?|\\text\{\s*degrees?\s*\}|(?<![a-z])degrees?)", re.DOTALL)
_ORDER = (
    "assigned",
    "relation",
    "system",
    "or",
    "congruence",
    "dots",
    "ratio",
    "time",
    "words",
    "empty",
    "domain",
    "letter sets",
    "locus",
    "whole numbers",
    "family",
    "region",
    "matrix",
    "named",
    "tuple",
    "bracketed",
    "list",
    "set",
    "value",
)  # of two readings the one that comes first here has the say
_MOST_RESIDUES = 100_000
_NEGATIONS = ({"=", "\\ne"}, {"\\in", "\\notin"})
_COUNTED = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
)
_NUMBER_WORDS = {word: Fraction(value) for value, word in enumerate(_COUNTED.split())}
_SAID_NUMBERS = "zero nothing nil nobody dozen score pair couple both half once twice thrice single unique several few"
_COUNTING = frozenset(_SAID_NUMBERS.split())
_JOINING = re.compile(r",?\s+(and|or)\s+|,\s*")
_ROMAN = re.compile(r"[IVXLCDM]+")
_CALL = re.compile(r"\\?(?:sin|cos|tan|cot|sec|csc)(?![a-z])")  # the sine of 30 degrees is no number of degrees
_BASE = re.compile(r"([0-9a-z]+)_\{?\s*(\d{1,2}|\\text\{\s*(?:two|eight|ten|sixteen)\s*\})\s*\}?", re.IGNORECASE)
_BASE_WORDS = {"two": 2, "eight": 8, "ten": 10, "sixteen": 16}
_TEXT_UNIT = re.compile(
    r"(.*?)\s*\\text\{\s*(?P<unit>[a-zA-Zµ][a-zA-Zµ\s./-]*?)\s*\}\s*(?:\^\s*\{?\s*(?P<power>[23])\s*\}?)?", re.DOTALL
)
_WORD_UNIT = re.compile(
    r"(.*?[\d)}])(?P<space>\s*)(?P<unit>[a-zA-Zµ]+(?:[\s/][a-zA-Z]+)*)\.?\s*(?:\^\s*\{?\s*(?P<power>[23])\s*\}?)?",
    re.DOTALL,
)
_UNIT_POWERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
_LETTER = re.compile(r"[\(\[]?\s*([A-Za-z])\s*[\)\]]?\.?")
# Units of one quantity and their size; only these are converted into one another.
_UNITS: dict[str, tuple[str, Fraction]] = {
    name: (quantity, Fraction(size))
    for quantity, table in {
        "length": {
            "mm": "1/1000", "millimeter": "1/1000", "cm": "1/100", "centimeter": "1/100", "dm": "1/10", "m": "1",
            "meter": "1", "metre": "1", "km": "1000", "kilometer": "1000", "inch": "127/5000", "inches": "127/5000",
            "foot": "381/1250", "feet": "381/1250", "ft": "381/1250", "yard": "1143/1250", "mile": "201168/125",
            "in": "127/5000", "yd": "1143/1250", "mi": "201168/125", "kilometre": "1000",
            "centimetre": "1/100", "millimetre": "1/1000",
        },
        "mass": {
            "mg": "1/1000", "milligram": "1/1000", "g": "1", "gram": "1", "kg": "1000", "kilogram": "1000",
            "lb": "45359237/100000", "pound": "45359237/100000", "oz": "45359237/1600000",
            "ounce": "45359237/1600000",
        },
        "time": {
            "s": "1", "sec": "1", "second": "1", "min": "60", "minute": "60", "h": "3600", "hr": "3600",
            "hour": "3600", "day": "86400", "week": "604800", "hrs": "3600", "mins": "60", "secs": "1",
        },
        "volume": {"ml": "1/1000", "milliliter": "1/1000", "l": "1", "liter": "1", "litre": "1"},
        "ordinal": {"th": "1"},
        "money": {"dollar": "1", "cent": "1/100"},
    }.items()
    for name, size in table.items()
}  # fmt: skip


_LETTERS_UNITS = {"mph": "mi/h", "kph": "km/h", "kmh": "km/h"}
_COMPOUND = re.compile(r"((?:\d+(?:\.\d+)?\s*[a-zA-Z]+\.?\s*){2,4})")
_COMPOUND_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]+)\.?\s*")


@dataclass(frozen=True, slots=True)
class Quantity:
    """A body and what stands behind it: nothing, a percent or degree sign, or a unit of some size. `compound`: it
    was written in several units, as 5 ft 6 in."""

    body: str
    kind: str = ""
    size: Fraction = Fraction(1)
    compound: bool = False


def compare_exactly(first: str, second: str, rules: Rules = DEFAULT) -> bool | None:
    """Same, different, or None: this file cannot say."""
    return Comparer(rules).compare(first, second)


Algebra = Callable[[str, str], bool | None]


class Comparer:
    """Compares two answers part by part, and remembers what it took.

    A verdict is "same" only if the answers have one value under the rules, "different" only if they have not; every
    kind of pair that is neither by nature is None. So verdicts on three answers fit together: what equals the same is
    never called different (but for what the rules forgive: 5 cm and 5 m are both 5).
    """

    def __init__(self, rules: Rules = DEFAULT, algebra: Algebra | None = None) -> None:
        self.rules = rules
        self.algebra = algebra
        self.numeric = False  # numbers at points, or of many digits, gave a part of the verdict
        self.asks_algebra = False  # a part was read whole and left undecided
        self.used_algebra = False

    def compare(self, first: str, second: str) -> bool | None:
        """Compare two answers as they were written."""
        if len(first) > MAX_LENGTH or len(second) > MAX_LENGTH:
            return True if first.strip() == second.strip() else None
        numbers = tidy(first), tidy(second)
        found = self.tidied(*numbers)
        if found is True or not (_GROUPED.search(first) or _GROUPED.search(second)):
            return found
        # 98,118 is a number, and may be a list: it is the same as either of them, which is then not shown different.
        lists = tidy(first, thousands=False), tidy(second, thousands=False)
        grouped = lists[0] != numbers[0], lists[1] != numbers[1]
        as_list = self.tidied(*lists)
        if as_list is not True:
            return found
        return None if all(grouped) else True

    def tidied(self, first: str, second: str) -> bool | None:
        """Compare two tidied answers."""
        if squeeze(first) == squeeze(second):
            return True
        one, other = read(first), read(second)
        if one.kind == other.kind == "words":
            numbers = [read_number(said.texts[0]) for said in (one, other)]
            if numbers.count(None) == 1:  # "ten" and "net"
                return self._word_for_number(*[said.texts[0].lower() for said in (one, other)])
        return self.readings(self.settled(one), self.settled(other))

    def _word_for_number(self, one: str, other: str) -> bool | None:
        """A number word and another word; None where that may count too ("dozen", "none")."""
        return None if " " in one + other or _COUNTING.intersection((one, other)) else False

    def settled(self, reading: Reading) -> Reading:
        """An equation between numbers is their number (13 + 100 = 113), name = a = b gives the name a value."""
        if reading.kind == "words" and (number := read_number(reading.texts[0])) is not None:
            return Reading("value", str(number))
        if reading.kind == "assigned":
            inner = self.settled(reading.parts[0])
            return reading if inner is reading.parts[0] else replace(reading, parts=(inner,))
        if reading.kind != "relation":
            return reading
        sides, signs = reading.texts, reading.names
        if set(signs) == {"="}:
            *names, last = sides
            bare = all(readings.is_name(name) and not _is_amount(name) for name in names)
            if bare and 1 < len(names) == len(set(map(squeeze, names))) and _is_amount(last):  # a = b = 2
                value = self.settled(read(last))
                return readings.named_values(reading.text, list(map(squeeze, names)), [value] * len(names))
            named = not _is_amount(sides[0])
            rest = sides[1:] if named else sides
            if len(rest) > 1 and all(map(_is_amount, rest)):
                if any(self.tidied(rest[0], other) is not True for other in rest[1:]):
                    return Reading("unread", reading.text)
                return self.settled(read(f"{sides[0]}={rest[-1]}" if named else rest[-1]))
        if signs == ("\\approx",):
            if _is_numeric(sides[0]):
                return reading
            found = read(f"{sides[0]}={sides[1]}")
            return found if found.kind == "assigned" else reading
        return reading

    def readings(self, a: Reading, b: Reading) -> bool | None:
        """Compare two readings: the table of kinds."""
        if squeeze(a.text) == squeeze(b.text):
            return True
        if "unread" in (a.kind, b.kind):
            return None
        if a.kind == b.kind:
            found = getattr(self, f"_both_{a.kind.replace(' ', '_')}")(a, b)
        else:
            if _ORDER.index(a.kind) > _ORDER.index(b.kind):
                a, b = b, a
            found = getattr(self, f"_{a.kind.replace(' ', '_')}_and_others")(a, b)
        if found is None and statements.KINDS & {a.kind, b.kind}:
            found = statements.same_statement(a, b)
            self.numeric = self.numeric or found is not None
        return found

    # the same kind

    def _both_value(self, a: Reading, b: Reading) -> bool | None:
        letters = _LETTER.fullmatch(plain(a.text)), _LETTER.fullmatch(plain(b.text))
        if letters[0] and letters[1]:
            one, other = letters[0][1], letters[1][1]
            return one.lower() == other.lower() if self.rules.case == "ignore" else one == other
        return self.quantities(a.text, b.text)

    def _both_words(self, a: Reading, b: Reading) -> bool | None:
        one, other = (said.texts[0] if self.rules.case == "strict" else said.texts[0].lower() for said in (a, b))
        if one == other:
            return True
        if one in (f"not {other}", f"non {other}", f"non-{other}") or other in (
            f"not {one}",
            f"non {one}",
            f"non-{one}",
        ):
            return False
        joined = [_JOINING.findall(said) for said in (one, other)]
        if joined[0] and joined[1]:
            return _same_enumeration(one, other)
        if any(said.split()[0] in _NUMBER_WORDS or _COUNTING.intersection(said.split()) for said in (one, other)):
            return None  # two dozen, twenty-four
        if f" {one} " in f" {other} " or f" {other} " in f" {one} ":
            return None  # "ellipse" and "horizontal ellipse" may be one
        if min(len(one), len(other)) > 3 and (one in other or other in one):
            return None
        return False if max(one.count(" "), other.count(" ")) < 2 else None  # sentences may say the same

    def _both_empty(self, a: Reading, b: Reading) -> bool | None:
        return True

    def _both_time(self, a: Reading, b: Reading) -> bool | None:
        return a.size == b.size

    def _both_ratio(self, a: Reading, b: Reading) -> bool | None:
        left, right = ([int(text) for text in one.texts] for one in (a, b))
        if left == right or len(left) != len(right):
            return left == right
        return None if all(p * right[0] == q * left[0] for p, q in zip(left, right, strict=True)) else False

    def _both_tuple(self, a: Reading, b: Reading) -> bool | None:
        same = self.in_order(a.parts, b.parts)
        if same is False and a.names != b.names and self._in_some_order(a.parts, b.parts) is not False:
            return None  # (y, x) = (2, 1)
        return same

    def _both_bracketed(self, a: Reading, b: Reading) -> bool | None:
        return self.in_order(a.parts, b.parts)

    def _both_matrix(self, a: Reading, b: Reading) -> bool | None:
        return False if a.size != b.size else self.in_order(a.parts, b.parts)

    def _both_set(self, a: Reading, b: Reading) -> bool | None:
        return self._unless_other_word(a, b, self.in_any_order(a.parts, b.parts))

    def _unless_other_word(self, a: Reading, b: Reading, same: bool | None) -> bool | None:
        """`x = 1 and x = 2` may mean both at once, which `x = 1 or x = 2` does not."""
        return None if same and {*a.names, *b.names} == {"and", "or"} else same

    def _both_list(self, a: Reading, b: Reading) -> bool | None:
        if self.rules.order == "any":
            return self.in_any_order(a.parts, b.parts, repeated=True)
        if self.in_order(a.parts, b.parts):
            return True
        return False if self.in_any_order(a.parts, b.parts, repeated=True) is False else None

    def _both_named(self, a: Reading, b: Reading) -> bool | None:
        if a.names == b.names:
            return self.in_order(a.parts, b.parts)
        return False if self.in_any_order(a.parts, b.parts, repeated=True) is False else None

    def _both_dots(self, a: Reading, b: Reading) -> bool | None:
        """Sequences with something left out: different where terms that both show differ."""
        heads = [one.parts[: one.size] for one in (a, b)]
        tails = [one.parts[one.size :][::-1] for one in (a, b)]
        for left, right in (heads, tails):
            for one, other in zip(left, right, strict=False):
                if self.readings(one, other) is False:
                    return False
        if len(heads[0]) == len(heads[1]) and len(tails[0]) == len(tails[1]) and a.names == b.names:
            pairs = zip(a.parts, b.parts, strict=True)
            return True if all(self.readings(one, other) for one, other in pairs) else None
        return None

    def _both_domain(self, a: Reading, b: Reading) -> bool | None:
        return a.texts == b.texts

    def _both_letter_sets(self, a: Reading, b: Reading) -> bool | None:
        """A \\cup B and B \\cup A: by the table of what is in which set."""
        return letter_sets.same_sets(a.text, b.text)

    def _both_locus(self, a: Reading, b: Reading) -> bool | None:
        return self.readings(a.parts[0], b.parts[0]) if a.names == b.names else None

    def _both_whole_numbers(self, a: Reading, b: Reading) -> bool | None:
        return a.texts == b.texts

    def _both_family(self, a: Reading, b: Reading) -> bool | None:
        self.numeric = True
        sides = [[tree for text in one.texts if (tree := formula.parse(text)) is not None] for one in (a, b)]
        return families.same_family(sides[0], a.names[0], sides[1], b.names[0])

    def _both_region(self, a: Reading, b: Reading) -> bool | None:
        texts = a.texts[0], b.texts[0]
        pieces = regions.pieces_of(texts[0]), regions.pieces_of(texts[1])
        if pieces[0] is not None and pieces[1] is not None:
            same = regions.same_pieces(pieces[0], pieces[1])
            whole = any(name in regions.WHOLE for name in (*a.names, *b.names))
            if not same and whole and regions.same_whole_numbers(pieces[0], pieces[1]):
                return None  # n > 5 and n >= 6
            return None if same and a.names and b.names and a.names != b.names else same  # x > 1 and y > 1
        parts = [[part.strip() for part in split_top(text.replace("\\cup", "\0"), "\0")] for text in texts]
        if len(parts[0]) != len(parts[1]):
            return None
        found = [[self._same_interval(one, other) for other in parts[1]] for one in parts[0]]
        if len(parts[0]) == 1:
            return found[0][0]
        return True if all(True in row for row in found) else None

    def _same_interval(self, one: str, other: str) -> bool | None:
        if not all(text and text[0] in "([" and text[-1] in ")]" for text in (one, other)):
            return None
        ends = split_top(one[1:-1]), split_top(other[1:-1])
        if len(ends[0]) != 2 or len(ends[1]) != 2:
            return None
        if one[0] + one[-1] != other[0] + other[-1]:
            return False
        same = [
            a == b if "\\infty" in a + b else self.tidied(a, b)
            for a, b in zip(*([squeeze(end) for end in each] for each in ends), strict=True)
        ]
        return False if False in same else None if None in same else True

    def _both_assigned(self, a: Reading, b: Reading) -> bool | None:
        same = self.readings(a.parts[0], b.parts[0])
        names = a.names[0], b.names[0]
        if names[0] == names[1]:
            return same
        if names[0].count("'") != names[1].count("'"):
            return False if names[0].replace("'", "") == names[1].replace("'", "") else None
        if same is not False:
            return None  # x = 5 and y = 5 are both 5
        trees = [(formula.parse(one.names[0]), formula.parse(one.parts[0].text)) for one in (a, b)]
        if any(tree is None or syntax.variables(tree) for _, tree in trees):
            if any(name is None or tree is None for name, tree in trees):
                return None  # f(x) = 2x and f(t) = 2t
            self.numeric = True
            return False if values.same_equation(*trees) is False else None  # pyright: ignore[reportArgumentType]
        return False

    def _both_relation(self, a: Reading, b: Reading) -> bool | None:
        if a.names == b.names == ("\\approx",):
            return self.tidied(a.texts[0], b.texts[0])
        trees = [[formula.parse(side) for side in one.texts] for one in (a, b)]
        plain_signs = readings.ORDERED_SIGNS.issuperset((*a.names, *b.names))
        if plain_signs and all(tree is not None for sides in trees for tree in sides):
            return self._same_relation(a.names, trees[0], b.names, trees[1])  # pyright: ignore[reportArgumentType]
        sides = [self.tidied(*pair) for pair in zip(a.texts, b.texts, strict=False)]
        if len(a.texts) != len(b.texts) or not all(sides):
            return None
        if a.names == b.names:
            return True
        return False if len(a.names) == 1 and {a.names[0], b.names[0]} in _NEGATIONS else None

    def _same_relation(
        self, signs: Sequence[str], sides: list[syntax.Node], others: Sequence[str], trees: list[syntax.Node]
    ) -> bool | None:
        self.numeric = True
        if tuple(signs) == tuple(others) == ("=",):
            return values.same_equation((sides[0], sides[1]), (trees[0], trees[1]))
        names = sorted({name for tree in (*sides, *trees) for name in syntax.variables(tree)})
        if len(signs) == len(others) == 1 and "=" not in (*signs, *others):
            multiple = values.is_multiple(("-", *sides), ("-", *trees), names)
            if multiple is not None:
                if "\\ne" in (signs[0], others[0]):
                    return signs[0] == others[0]
                turned = regions.TURNED[others[0]] if multiple < 0 else others[0]
                return turned == signs[0]
        elif len(signs) == len(others):
            turned = [regions.TURNED[sign] for sign in others[::-1]]
            for chain, chain_signs in ((trees, list(others)), (trees[::-1], turned)):
                if chain_signs == list(signs) and all(
                    values.same_value(one, other) for one, other in zip(sides, chain, strict=True)
                ):
                    return True
        for point in values.sample_points(names):
            held = values.truth(sides, signs, point), values.truth(trees, others, point)
            if None not in held and held[0] != held[1]:
                return False
        return None

    def _both_system(self, a: Reading, b: Reading) -> bool | None:
        return True if self.in_any_order(a.parts, b.parts) else None

    def _both_or(self, a: Reading, b: Reading) -> bool | None:
        return True if self.in_any_order(a.parts, b.parts) else None

    def _both_congruence(self, a: Reading, b: Reading) -> bool | None:
        r"""Residues of one modulus; divisors as the residue 0. Positive and negated ones differ."""
        left = self.tidied(a.texts[0], b.texts[0])
        same_modulus = self.tidied(a.texts[1], b.texts[1])
        residues = [[Reading("value", text) for text in one.texts[2:]] for one in (a, b)]
        moduli = [abs(number) for one in (a, b) if (number := _whole(one.texts[1]))]
        numbers = [[number for part in row if (number := _whole(part.text)) is not None] for row in residues]
        found: bool | None = None
        if len(moduli) == 2 and list(map(len, numbers)) == list(map(len, residues)):
            common = math.lcm(*moduli)
            if common <= _MOST_RESIDUES:
                sets = [
                    {number % step + step * turn for number in row for turn in range(common // step)}
                    for step, row in zip(moduli, numbers, strict=True)
                ]
                if a.names != b.names:
                    sets[1] = set(range(common)) - sets[1]
                found = sets[0] == sets[1]
                if found is False and not all(len(squeeze(one.texts[0])) <= 1 for one in (a, b)):
                    return None  # 2x = 1 and 2x = 3 (mod 4) have the same solutions: none
        elif same_modulus and self.in_any_order(residues[0], residues[1]):
            found = a.names == b.names
        if left is True or not (a.texts[0] and b.texts[0]):
            return found
        return None  # other left sides: 2x = 2 (mod 4) may be x = 1 (mod 2)

    # different kinds, in the order of _ORDER: the first has the say

    def _assigned_and_others(self, a: Reading, b: Reading) -> bool | None:
        if "'" in a.names[0] and b.kind != "relation":
            return None
        if b.kind == "relation":
            name, tree = formula.parse(a.names[0]), formula.parse(a.parts[0].text)
            trees = [formula.parse(side) for side in b.texts]
            if name is None or tree is None or b.names != ("=",) or None in trees:
                return None
            self.numeric = True
            found = values.same_equation((name, tree), (trees[0], trees[1]))  # pyright: ignore[reportArgumentType]
            if found is True and "'" not in a.names[0] and name[0] == "var" and syntax.variables(tree):
                # x + y = 5 can be solved for either: it is y = 5 - x, and not shown to be x = 5 - y
                return True if name[1] > max(syntax.variables(tree)) else None
            return found
        return self.readings(a.parts[0], b)

    def _relation_and_others(self, a: Reading, b: Reading) -> bool | None:
        if b.kind in ("region", "tuple"):
            return self._relation_and_region(a, b)
        if b.kind != "value":
            return None
        if a.names == ("\\approx",):
            exact = self.tidied(a.texts[0], b.text)
            return exact if exact is not False else None if self.tidied(a.texts[1], b.text) is not False else False
        trees = [formula.parse(side) for side in a.texts]
        value = formula.parse(quantity_of(b.text).body)
        if value is None or None in trees or not readings.ORDERED_SIGNS.issuperset(a.names):
            return None
        if a.names != ("=",):
            return None if syntax.variables(value) else False
        left: syntax.Node = ("-", *trees)
        names = syntax.variables(left)
        if not names:
            return None
        self.numeric = True
        for name in names - syntax.variables(value):
            meant: syntax.Node = ("-", ("var", name), value)
            if values.is_multiple(left, meant, sorted(names | syntax.variables(value))) is not None:
                return None  # 2x = 10 says x = 5
        return False

    def _relation_and_region(self, a: Reading, b: Reading) -> bool | None:
        pieces = regions.pieces_of(b.texts[0] if b.kind == "region" else b.text)
        trees = [formula.parse(side) for side in a.texts]
        if pieces is None or None in trees or not readings.ORDERED_SIGNS.issuperset(a.names) or "=" in a.names:
            return None
        names = {name for tree in trees if tree is not None for name in syntax.variables(tree)}
        if len(names) != 1:
            return None
        self.numeric = True
        (name,) = names
        for point in values.sample_points([name]):
            held = values.truth(trees, a.names, point)  # pyright: ignore[reportArgumentType]
            if held is not None and held != regions.holds_in(pieces, values.number(point[name])):
                return False
        return None

    def _system_and_others(self, a: Reading, b: Reading) -> bool | None:
        if a.names == ("and",) and b.kind == "region" and readings.says_or(b.text):
            return False
        return None

    def _or_and_others(self, a: Reading, b: Reading) -> bool | None:
        names = {part.names[0] for part in a.parts if part.kind == "assigned"}
        return False if b.kind == "named" and len(names) == len(a.parts) > 1 else None

    def _congruence_and_others(self, a: Reading, b: Reading) -> bool | None:
        if b.kind != "value" or not a.texts[0]:
            return None  # 1 (mod 3), without a left side, may be the number
        trees = [formula.parse(text) for text in a.texts]
        value = formula.parse(quantity_of(b.text).body)
        if value is None or None in trees:
            return None
        names = frozenset().union(*(syntax.variables(tree) for tree in trees if tree is not None))
        return False if syntax.variables(value) <= names else None  # 3k + 1 says that x = 1 (mod 3)

    def _dots_and_others(self, a: Reading, b: Reading) -> bool | None:
        if b.kind not in ("list", "tuple", "bracketed"):
            return None
        shown = [*zip(a.parts[: a.size], b.parts, strict=False)]
        shown += zip(a.parts[a.size :][::-1], b.parts[::-1], strict=False)
        same = [self.readings(one, other) for one, other in shown]
        return False if False in same and a.names[0] == b.kind else None

    def _ratio_and_others(self, a: Reading, b: Reading) -> bool | None:
        if b.kind != "time" or len(a.texts) != 2:
            return None
        hour, minute = map(int, a.texts)
        if len(a.texts[1]) != 2 or hour > 23 or minute > 59:
            return False
        if hour > 12 or hour == 0:
            return hour * 60 + minute == b.size
        return None if (hour * 60 + minute - b.size) % 720 == 0 else False

    def _time_and_others(self, a: Reading, b: Reading) -> bool | None:
        return None

    def _words_and_others(self, a: Reading, b: Reading) -> bool | None:
        if b.kind == "value" and len(plain(b.text)) == 1 and all(map(_ROMAN.fullmatch, (a.texts[0], plain(b.text)))):
            return False  # II and I
        return None

    def _empty_and_others(self, a: Reading, b: Reading) -> bool | None:
        if b.kind == "region":
            pieces = regions.pieces_of(b.texts[0])
            return not pieces if pieces is not None else None
        if b.kind == "value":
            number = read_number(plain(b.text))
            return None if number is None or (number == 0 and plain(a.text).lower() == "none") else False
        return False if b.is_read and b.parts else None

    def _domain_and_others(self, a: Reading, b: Reading) -> bool | None:
        if b.kind == "set":
            return False if b.is_read and all(part.kind == "value" for part in b.parts) else None
        if b.kind == "region" and a.texts[1] == "1":
            pieces = regions.pieces_of(b.texts[0])
            return None if pieces is None else False  # a union of intervals is none of N, Z, Q, C
        return None

    def _letter_sets_and_others(self, a: Reading, b: Reading) -> bool | None:
        return letter_sets.same_sets(a.text, b.text) if b.kind == "value" and len(b.text) == 1 else None

    def _locus_and_others(self, a: Reading, b: Reading) -> bool | None:
        return None

    def _whole_numbers_and_others(self, a: Reading, b: Reading) -> bool | None:
        if b.kind == "region":
            return False if regions.pieces_of(b.texts[0]) is not None else None
        if b.kind == "set" and any(".." in text and "None" in text for text in a.texts):
            return False if b.is_read and all(part.kind == "value" for part in b.parts) else None
        return None

    def _family_and_others(self, a: Reading, b: Reading) -> bool | None:
        return None

    def _region_and_others(self, a: Reading, b: Reading) -> bool | None:
        pieces = regions.pieces_of(a.texts[0])
        if b.kind in ("tuple", "set"):
            written = b.text if b.kind == "tuple" else rf"\{{{','.join(part.text for part in b.parts)}\}}"
            other = regions.pieces_of(written)
            if pieces is not None and other is not None:
                return regions.same_pieces(pieces, other)
            if b.kind == "tuple":
                if len(b.parts) != 2:
                    return False if b.is_read and (pieces is not None or a.parts) else None
                if pieces is not None and self._is_number_all(b.parts):
                    return False
                return self._same_interval(a.texts[0], b.text)
            return None
        if b.kind == "value" and _is_amount(b.text):
            if pieces is None:
                return False if a.parts else None
            return None if len(pieces) == 1 and pieces[0].low == pieces[0].high else False
        return None

    def _is_number_all(self, parts: Sequence[Reading]) -> bool:
        return all(part.kind == "value" and _is_amount(part.text) for part in parts)

    def _matrix_and_others(self, a: Reading, b: Reading) -> bool | None:
        if b.kind == "tuple" and len(a.parts) == len(b.parts) and a.size in (1, len(a.parts)):
            return False if self.in_order(a.parts, b.parts) is False else None  # a column may be meant as a point
        return self._several_and_one(a, b) if b.kind == "value" else None

    def _named_and_others(self, a: Reading, b: Reading) -> bool | None:
        if b.kind == "value":
            return self._several_and_one(a, b)
        if b.kind in ("tuple", "list") and a.size and b.names != ("odd",):
            in_order = self.in_order(a.parts, b.parts)
            if b.kind == "tuple" or (self.rules.order != "any" and in_order):
                return in_order
        return False if self.in_any_order(a.parts, b.parts, repeated=True) is False else None

    def _tuple_and_others(self, a: Reading, b: Reading) -> bool | None:
        if b.kind == "value":
            return self._several_and_one(a, b)
        if b.kind == "set":
            simple = a.is_read and b.is_read and all(part.kind == "value" for part in b.parts)
            return False if simple and len(b.parts) > 1 else None
        if b.kind == "list" and self.rules.order != "any":
            return self.in_order(a.parts, b.parts)
        same = self.in_order if b.kind == "bracketed" else self._in_some_order
        return False if same(a.parts, b.parts) is False else None

    def _in_some_order(self, left: Sequence[Reading], right: Sequence[Reading]) -> bool | None:
        return self.in_any_order(left, right, repeated=True)

    def _bracketed_and_others(self, a: Reading, b: Reading) -> bool | None:
        if b.kind == "value":
            return self._several_and_one(a, b)
        return False if self._in_some_order(a.parts, b.parts) is False and b.kind == "list" else None

    def _list_and_others(self, a: Reading, b: Reading) -> bool | None:
        if b.kind == "value":
            return self._several_and_one(a, b)
        if a.names == ("and",) and b.names == ("or",) and self.rules.order != "any":
            return False  # 1 and 2 are two things, 1 or 2 is one of them
        same = self.in_any_order(a.parts, b.parts)
        return self._unless_other_word(a, b, same) if same is False or self.rules.order == "any" else None

    def _set_and_others(self, a: Reading, b: Reading) -> bool | None:
        return self._several_and_one(a, b)

    def _several_and_one(self, a: Reading, b: Reading) -> bool | None:
        """Several against one: different if the one is a number, and not each of the several."""
        if a.names in (("and",), ("or",)) and _LETTER.fullmatch(plain(b.text)):
            same = [self.readings(part, b) for part in a.parts]
            return False if True in same and False in same else None  # A and B are not A
        if not a.is_read or is_label(b.text) or not _is_amount(b.text):
            return None
        if any(part.kind in ("words", "relation", "region", "dots") for part in a.parts):
            return None
        if a.kind in ("list", "tuple") and self._may_be_grouped(a, b):
            return None
        if a.kind in ("set", "matrix", "list", "bracketed") and all(
            self.readings(part, b) is not False for part in a.parts
        ):
            return None  # {5}, and 75, 75
        return False

    def _may_be_grouped(self, several: Reading, one: Reading) -> bool:
        """1,234 may be a list and may be 1234."""
        number = plain(one.text)
        parts = [squeeze(part.text) for part in several.parts]
        if not number.isdigit() or not all(map(str.isdigit, parts)):
            return False
        groups = [number[max(0, end - 3) : end] for end in range(len(number), 0, -3)]
        return sorted(groups) == sorted(parts)

    # parts

    def in_order(self, left: Sequence[Reading], right: Sequence[Reading]) -> bool | None:
        """Part by part."""
        if len(left) != len(right):
            return False if all(part.is_read for part in (*left, *right)) else None
        undecided = False
        for a, b in zip(left, right, strict=True):
            found = self.readings(a, b)
            if found is False:
                return False
            undecided = undecided or found is None
        return None if undecided else True

    def in_any_order(self, left: Sequence[Reading], right: Sequence[Reading], *, repeated: bool = False) -> bool | None:
        """As sets; with `repeated`, how often a part stands there counts."""
        table = [[self.readings(a, b) for b in right] for a in left]
        columns = [list(column) for column in zip(*table, strict=True)]
        if any(all(found is False for found in line) for line in (*table, *columns)):
            return False
        if not all(True in line for line in (*table, *columns)):
            return None
        if repeated or any(line.count(True) > 1 for line in (*table, *columns)):
            if len(left) == len(right):
                return self._matched(table)
            return None if not repeated else False if not any(None in line for line in table) else None
        return True if len(left) == len(right) else None

    def _matched(self, table: list[list[bool | None]]) -> bool | None:
        """Whether rows and columns can be paired off, each pair the same."""
        partner: dict[int, int] = {}

        def find(row: int, seen: set[int]) -> bool:
            for column, same in enumerate(table[row]):
                if same and column not in seen:
                    seen.add(column)
                    if column not in partner or find(partner[column], seen):
                        partner[column] = row
                        return True
            return False

        if all(find(row, set()) for row in range(len(table))):
            return True
        return None if any(None in line for line in table) else False

    # one value

    def quantities(self, first: str, second: str) -> bool | None:
        """Two values with their signs and units."""
        bases = read_base(plain(first)), read_base(plain(second))
        if any(bases):
            return _same_in_bases(first, second, bases, self.rules)
        one, other = quantity_of(first), quantity_of(second)
        if "\\text" in one.body + other.body:
            return None
        if one.kind != other.kind and "" in (one.kind, other.kind):
            signed, bare = (first, second) if one.kind else (second, first)
            if squeeze(plain(signed)).replace(" ", "") == squeeze(bare):
                return None  # 5 m and 5m: metres, or five times m
        scales = _scales(one, other, self.rules)
        if scales is None:
            return False if _is_numeric(one.body) and _is_numeric(other.body) else None
        answers = [self.numbers(one.body, a, other.body, b) for a, b in scales]
        if True in answers:
            return True
        doubtful = None in answers or ((one.compound or other.compound) and "" in (one.kind, other.kind))
        return None if doubtful else False

    def numbers(self, one: str, scale_one: Scale, other: str, scale_other: Scale) -> bool | None:
        """Two bodies of values times their factors."""
        left, right = read_number(one), read_number(other)
        if left is not None and right is not None:
            if isinstance(scale_one, str) or isinstance(scale_other, str):
                return left == right == 0  # a rational number of degrees is a multiple of pi
            left, right = left * scale_one, right * scale_other
            return left == right or _is_rounding(left, right, one, other, scale_one, scale_other, self.rules)
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
        return self.forms(one, scale_one, other, scale_other)

    def forms(self, one: str, scale_one: Scale, other: str, scale_other: Scale) -> bool | None:
        """Two closed forms times their factors."""
        left, right = formula.parse(one), formula.parse(other)
        if left is None or right is None:
            return None
        self.numeric = True
        decided = values.same_value(_scaled(left, scale_one), _scaled(right, scale_other))
        if decided is None and scale_one == scale_other == 1:
            self.asks_algebra = True
            if self.algebra is not None:
                decided = self.algebra(one, other)
                self.used_algebra = self.used_algebra or decided is not None
        if decided is False and self.rules.rounding and not syntax.variables(left) and not syntax.variables(right):
            return _rounds(left, right, one, other, self.rules) or False
        return decided


def _same_enumeration(one: str, other: str) -> bool | None:
    """ "Tom and Ann" against "Ann or Bob": different with another word between, or a name that the other has not."""
    words = [{word for word in _JOINING.findall(said) if word} for said in (one, other)]
    parts = [{part.strip() for part in re.split(r",?\s+(?:and|or)\s+|,\s*", said)} for said in (one, other)]
    if any(" " in part or not part for each in parts for part in each):
        return None
    if parts[0] != parts[1]:
        return False
    return True if words[0] == words[1] else False if all(words) else None


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


def _is_amount(text: str) -> bool:
    """A number, with or without a unit."""
    return _is_numeric(quantity_of(text).body)


def _is_numeric(body: str) -> bool:
    if read_number(body) is not None:
        return True
    tree = formula.parse(body)
    return tree is not None and not syntax.variables(tree)


def quantity_of(text: str) -> Quantity:
    """Split a tidied answer into body and sign or unit."""
    if text.isalnum() and not text[-1:].isalpha():
        return Quantity(text)
    if match := _PERCENT.fullmatch(text):
        return Quantity(match[1], "percent", Fraction(1, 100))
    if (match := _DEGREES.fullmatch(text)) and not _CALL.search(match[1]):
        return Quantity(match[1], "degrees")
    if (together := _compound(plain(text))) is not None:
        return together
    match = _TEXT_UNIT.fullmatch(text)
    if match is None or not match[1] or "\\text" in match[1]:
        match = _WORD_UNIT.fullmatch(text)
        if match is None or not _is_unit(match["unit"], bool(match["space"])):
            return Quantity(text if "\\text{" in text.strip() and not _WORDY.fullmatch(text) else plain(text))
    if match["unit"].strip().lower().rstrip(".") in ("rad", "radian", "radians"):
        return Quantity(match[1].strip())  # a number of radians is that number
    name, size = _unit(match["unit"], int(match["power"] or 1))
    return Quantity(match[1].strip(), f"unit {name}", size)


_WORDY = re.compile(r"\s*\\text\{[^{}]*\}\s*")


def _unit(written: str, power: int) -> tuple[str, Fraction]:
    """Quantity and size of a unit; a unit nobody knows is a quantity of its own."""
    unit = re.sub(r"\s+", " ", written).strip().rstrip(".").replace(" per ", "/").replace(" / ", "/")
    unit = _LETTERS_UNITS.get(unit.lower(), unit)
    if unit.count("/") == 1:
        above, below = (_unit(part, 1) for part in unit.split("/"))
        return f"({above[0]}/{below[0]})^{power}", (above[1] / below[1]) ** power
    head, _, tail = unit.partition(" ")
    if tail and head.lower() in _UNIT_POWERS:
        unit, power = tail, _UNIT_POWERS[head.lower()]
    known = _known_unit(unit)
    name, size = known or (unit.lower().removesuffix("s"), Fraction(1))
    return f"{name}^{power}", size**power


def _known_unit(unit: str) -> tuple[str, Fraction] | None:
    return _UNITS.get(unit) or _UNITS.get(unit.lower()) or _UNITS.get(unit.lower().removesuffix("s"))


def _compound(text: str) -> Quantity | None:
    """5 ft 6 in, 2 hours 30 minutes: parts of one quantity, each unit smaller than the one before, in the smallest."""
    if _COMPOUND.fullmatch(text) is None:
        return None
    parts = [(Fraction(match[1]), _known_unit(match[2])) for match in _COMPOUND_PART.finditer(text)]
    units = [unit for _, unit in parts if unit is not None]
    if len(units) < len(parts) or len({name for name, _ in units}) > 1:
        return None
    if any(one[1] <= other[1] for one, other in itertools.pairwise(units)):
        return None
    total = sum((number * size for number, (_, size) in zip((n for n, _ in parts), units, strict=True)), Fraction(0))
    name, size = units[-1]
    return Quantity(str(total / size), f"unit {name}^1", size, compound=True)


def _is_unit(word: str, spaced: bool) -> bool:
    """Whether letters behind a number, outside a text command, are a unit and no variables."""
    if word in ("pi", "e", "i", "sin", "cos", "tan", "log", "ln", "sqrt", "exp", "or", "and", "mod"):
        return False
    if len(word) == 1:
        return spaced and word in _UNITS
    if word.lower() in _LETTERS_UNITS or "/" in word:
        return all(_known_unit(part) for part in _LETTERS_UNITS.get(word.lower(), word).split("/"))
    return word.lower().removesuffix("s") in _UNITS or (spaced and len(word) >= 4) or len(word) >= 5


def _whole(text: str) -> int | None:
    """A whole number that is written as one, or as a short sum or product."""
    number = read_number(plain(text))
    return int(number) if number is not None and number.denominator == 1 and abs(number) < 10**9 else None


def _multiplied(tree: arithmetic.Expression, scale: Fraction) -> arithmetic.Expression:
    return tree if scale == 1 else arithmetic.Operation("*", tree, arithmetic.Literal(scale))


def _is_tower(tree: arithmetic.Expression | None) -> bool:
    """A whole number too large to be written: a closed form that has a value here is another number."""
    return tree is not None and arithmetic.is_beyond_limit(tree)


def _scaled(tree: syntax.Node, scale: Scale) -> syntax.Node:
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


def _rounds(left: syntax.Node, right: syntax.Node, one: str, other: str, rules: Rules) -> bool:
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


def _same_in_bases(
    first: str, second: str, bases: tuple[tuple[Fraction, Fraction | None] | None, ...], rules: Rules
) -> bool | None:
    if bases[0] and bases[1]:
        return bases[0][0] == bases[1][0]
    written, text = (bases[0], second) if bases[0] else (bases[1], first)
    number = read_number(plain(text))
    if number is None or written is None:
        return None
    return number in (written[:1] if rules.units == "strict" else written)


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
        if part is None or part >= 1:
            return None  # 2\\frac{3}{2} is a product
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
    """The integer an answer is written as or comes to; None when it is none, or too large to write.

    The last side of an equation counts (m + n = 113, 13 + 100 = 113), and what is said to be about a number.
    """
    if text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS:
        return int(text)
    if len(text) > MAX_LENGTH:
        return None
    tidied = tidy(text)
    if "=" in tidied or "\\approx" in tidied:
        sides, signs = readings.relation_sides(tidied)
        if set(signs) <= {"=", "\\approx"}:
            tidied = tidy(sides[-1]) if sides[-1] else sides[0]
    quantity = quantity_of(tidied)
    if quantity.compound:
        return None  # 5 ft 6 in are two numbers
    body = quantity.body
    value = read_number(body)
    if value is None:
        tree = arithmetic.parse(body)
        try:
            value = arithmetic.evaluate(tree) if tree is not None else None
        except arithmetic.TooLarge:
            return None
        if value is None and tree is None and (closed := formula.parse(body)) is not None:
            try:
                value = values.exact(closed)
            except (ArithmeticError, ValueError, KeyError):
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
    number = read_number(tidied)
    return ("number", number) if number is not None else ("text", squeeze(tidied))
