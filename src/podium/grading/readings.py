r"""What kind of thing an answer is: a value, a tuple, a set, a list, an interval, an equation, named values, a time …

Each answer is read whole into one typed reading, or not at all ("unread"). Knows brackets, separators, signs of
relation and a few words; what two readings have to do with one another is decided in `exact`.

A bare list `3,1` keeps its order (it is the tuple (3,1) written without brackets), unless the rules of the exam say
that several answers may come in any order. "Or", \pm and a repeated name (x = 1, x = 3) make a set.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from podium.grading import formula, matrices, syntax
from podium.grading.notation import partners, plain, split_top, squeeze, strip_brackets, words
from podium.grading.progressions import continued
from podium.grading.regions import (
    SPELLING,
    condition_as_intervals,
    is_conditional,
    pieces_of,
    set_as_intervals,
    whole_pieces,
)

MAX_PARTS = 64
_MAX_DEPTH = 6

_NAME = (
    r"(?:\\(?:alpha|beta|gamma|delta|theta|lambda|mu|phi|varphi|psi|omega|sigma|rho|tau|ell|eta|kappa|xi|nu|"
    r"angle\s*[A-Z]+)(?![a-zA-Z])|[a-zA-Z])"
)
_SUB = r"(?:_(?:\w|\{[\w,\s]+\}|\([a-z]\)))?"
_ASSIGNED = re.compile(rf"({_NAME}{_SUB})('*)(?:\s*\(([^()=<>]{{1,30}})\))?('*)")
_SET = re.compile(r"\\\{(.*)\\\}", re.DOTALL)
_OR = re.compile(r"\\text\{\s*or\s*\}|(?<![a-zA-Z\\])or(?![a-zA-Z])|\\lor(?![a-z])")
_AND = re.compile(
    r",?\s*(?:\\text\{\s*(?:,\s*)?and\s*\}|(?<![a-zA-Z\\])and(?![a-zA-Z])|\\(?:land|wedge)(?![a-z])|\\text\{\s*,\s*\})|;"
)
_PLUS_MINUS = re.compile(r"\\pm(?![a-z])")
_ELLIPSIS = re.compile(r"\\ldots(?![a-z])")
_MEMBER = re.compile(rf"{_NAME}{_SUB}\s*\\in(?![a-z])\s*")
_RELATION = re.compile(
    r"(<=|>=|!=|\\(?:le|ge|ne|approx|sim|simeq|cong|in|notin|subset|subseteq|supset|parallel|perp|propto|to|Rightarrow|"
    r"implies|iff|Leftrightarrow|mapsto|mid|nmid|equiv|notequiv)(?![a-zA-Z])|<|>|=)"
)
ORDERED_SIGNS = frozenset(("=", "<", ">", "\\le", "\\ge", "\\ne"))
_JOINED = re.compile(f"{_OR.pattern}|{_AND.pattern}")
_DIVIDES = re.compile(r"\\n?mid(?![a-z])")
_MODULUS = re.compile(r"\\pmod\{([^{}]*)\}\s*$")
_TIME = re.compile(r"(\d{1,2})(?:\s*:\s*(\d{2}))?\s*(?:(noon|midnight)|([ap])\s*\.?\s*m\s*\.?(?![a-z]))", re.IGNORECASE)
_COLON = re.compile(r"\d{1,9}(?:\s*:\s*\d{1,9}){1,5}")
_CLOCK_WORDS = {"noon": 720, "midnight": 0}
_LABEL = re.compile(r"[A-Z]\s*\(")
_EMPTY = re.compile(
    r"\\emptyset|\\\{\s*\\\}|\{\s*\}|(?:there (?:is|are) )?no (?:real )?solutions?|none|does not exist|dne|no such \w+",
    re.IGNORECASE,
)
_FREE = re.compile(r"\\(?:cup|cap|setminus)(?![a-z])")
_TEXT_LIST = re.compile(r"\\text\{[^{},\d]*[,\d][^{}]*\}")  # \text{A, B}, \text{5 cm}
_OPTION = re.compile(r"(?:\\text\{\s*)?\(\s*[A-Z]\s*\)\s*\}?\s*[^\s+\-*/^=<>)}\\]")  # (B) 12 is an option and its text
_DOMAIN = re.compile(r"\\mathbb\s*\{?\s*([NZQRC])\s*\}?(?:\s*\^\s*\{?\s*(\d)\s*\}?)?")
_LETTER_SETS = re.compile(r"(?:\s|[A-Z](?![a-zA-Z])|\\(?:cup|cap|setminus)(?![a-z])|[()])+")
_REAL_LINE = re.compile(r"\\mathbb\s*\{?\s*R\s*\}?")


_PAIRS = re.compile(
    rf"\\\{{\s*\(\s*({_NAME}{_SUB})\s*,\s*({_NAME}{_SUB})\s*\)\s*(?::|\\mid(?![a-z])|\|)(?P<condition>[^:|]*)\\\}}"
)
_WHOLE_SET = re.compile(
    rf"\\\{{\s*(?P<name>{_NAME}{_SUB})\s*\\in\s*\\mathbb\s*\{{?\s*(?P<domain>[NZ]\s*\}}?\s*(?:\^\s*\{{?\+\}}?|_\s*\+)?)\s*"
    r"(?::|\\mid(?![a-z])|\|)(?P<condition>.*)\\\}"
)
_FAMILY = re.compile(
    r"(?:\\\{\s*(?P<body>[^:|{}]*(?:\{[^{}]*\}[^:|{}]*)*)(?::|\\mid(?![a-z])|\|)\s*|(?P<plain>[^:|]+?),?\s*(?:\\text\{\s*,?\s*(?:where|for|with)?\s*\})?\s*,?\s*)"
    rf"(?P<name>{_NAME})\s*\\in\s*\\mathbb\s*\{{?\s*Z\s*\}}?\s*(?(body)\\\}})"
)


@dataclass(frozen=True, slots=True)
class Reading:
    """One answer, read.

    `kind`: value, words, empty, tuple, list, set, bracketed, matrix, region, domain, letter sets, locus, whole numbers,
    family, assigned, named, relation, system, or, congruence, time, ratio, dots, unread. `parts` are the readings
    inside; `names` those of named values, of the variables of a locus or family, or the sides' signs of a relation, or
    the "and" or "or" between the parts; `texts` the sides, terms or runs; `size` a matrix's width or the minutes of a
    time.
    """

    kind: str
    text: str
    parts: tuple[Reading, ...] = ()
    names: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    size: int = 0

    @property
    def is_read(self) -> bool:
        """Whether all of it was read."""
        return self.kind != "unread" and all(part.is_read for part in self.parts)


def read(text: str, depth: int = 0) -> Reading:
    """The reading of a tidied answer or of a part of one."""
    text = strip_brackets(text.strip())
    if depth > _MAX_DEPTH:
        return Reading("unread", text)
    if text.isdigit() or len(text) == 1:
        return Reading("value", text)
    if _TEXT_LIST.fullmatch(text):
        text = plain(text)
    if _OPTION.match(text):
        return Reading("unread", text)
    bare = plain(text)
    if _EMPTY.fullmatch(bare):
        return Reading("empty", text)
    for attempt in (_time, _matrix, _sets, _congruence, _region, _alternatives, _several, _bracketed, _related, _said):
        found = attempt(text, depth)
        if found is not None:
            return found
    if _FREE.search(text) or ("\\ldots" in text and formula.parse(text) is None):
        return Reading("unread", text)
    return Reading("value", text)


def _time(text: str, depth: int) -> Reading | None:
    bare = plain(text)
    if ":" not in bare and not re.search(r"[mMnN]", bare):
        return None
    if (minutes := _CLOCK_WORDS.get(bare.lower())) is not None:
        return Reading("time", text, size=minutes)
    if match := _TIME.fullmatch(bare):
        hour, minute = int(match[1]), int(match[2] or 0)
        if not 1 <= hour <= 12 or minute > 59:
            return Reading("unread", text)
        if match[3]:
            if hour != 12 or minute:
                return Reading("unread", text)
            return Reading("time", text, size=_CLOCK_WORDS[match[3].lower()])
        return Reading("time", text, size=hour % 12 * 60 + minute + (720 if match[4].lower() == "p" else 0))
    if match := _COLON.fullmatch(bare):
        return Reading("ratio", text, texts=tuple(part.strip() for part in bare.split(":")))
    return None


def _sets(text: str, depth: int) -> Reading | None:
    r"""Sets that are no sets of written numbers: \mathbb{Z}, A \cup B, sets of whole numbers and pairs."""
    if match := _DOMAIN.fullmatch(text):
        return None if match[1] == "R" and not match[2] else Reading("domain", text, texts=(match[1], match[2] or "1"))
    if _FREE.search(text) and _LETTER_SETS.fullmatch(text):
        return Reading("letter sets", text)
    if match := _PAIRS.fullmatch(text):
        condition = read(match["condition"], depth + 1)
        names = tuple(squeeze(name) for name in (match[1], match[2]))
        if condition.kind in ("assigned", "relation") and len(set(names)) == 2:
            return Reading("locus", text, (condition,), names)
        return Reading("unread", text)
    if match := _WHOLE_SET.fullmatch(text):
        return _whole_numbers(text, match["name"], match["domain"], match["condition"])
    if match := _FAMILY.fullmatch(text):
        name = squeeze(match["name"])
        parts = _spread(split_top(match["body"] or match["plain"]))
        if parts is None:
            return Reading("unread", text)
        bodies = [body for part in parts for body in [re.sub(r"^\s*[a-zA-Z]\s*=", "", part)]]
        trees = [formula.parse(body) for body in bodies]
        if any(tree is None or syntax.variables(tree) != {name} for tree in trees):
            return Reading("unread", text)
        return Reading("family", text, names=(name,), texts=tuple(bodies))
    return None


def _whole_numbers(text: str, name: str, domain: str, condition: str) -> Reading:
    """The whole numbers of a condition: a set of numbers where there are finitely many, else intervals in `texts`."""
    pieces = whole_pieces(condition, squeeze(name), {"Z": None, "N": 1}["N" if "N" in domain or "+" in domain else "Z"])
    if pieces is None or ("N" in domain and pieces != whole_pieces(condition, squeeze(name), 0)):
        return Reading("unread", text)
    if any(low is None or high is None for low, high in pieces):
        return Reading("whole numbers", text, texts=tuple(f"{low}..{high}" for low, high in pieces))
    numbers = [number for low, high in pieces for number in range(low or 0, (high or 0) + 1)]
    if len(numbers) > MAX_PARTS:
        return Reading("whole numbers", text, texts=tuple(f"{low}..{high}" for low, high in pieces))
    if not numbers:
        return Reading("empty", text)
    return Reading("set", text, tuple(Reading("value", str(number)) for number in numbers))


def _matrix(text: str, depth: int) -> Reading | None:
    if "\\begin" not in text:
        return None
    bare = matrices.without_determinants(text)
    if "\\begin" not in bare:
        return read(bare, depth + 1)
    if (assigned := _assigned(text, depth)) is not None:
        return assigned
    try:
        rows = matrices.computed(bare)
    except matrices.NotComputed:
        return Reading("unread", text)
    return Reading("matrix", text, tuple(read(cell, depth + 1) for row in rows for cell in row), size=len(rows[0]))


def _congruence(text: str, depth: int) -> Reading | None:
    r"""x \equiv 1, 2 \pmod 5; its negation; a \mid n and its negation. Commas and "or" between residues."""
    if text.count("\\pmod") > 1 or len(_DIVIDES.findall(text)) > 1:
        return None  # several statements
    if match := _MODULUS.search(text):
        rest, modulus = text[: match.start()].strip(), match[1]
        sign = "\\notequiv" if "\\notequiv" in rest else "\\equiv"
        sides = re.split(r"\\(?:not)?equiv(?![a-z])|=", rest)
        if len(sides) > 2 or not sides[-1].strip():
            return Reading("unread", text)
        left = sides[0].strip() if len(sides) == 2 else ""
        residues = [part for piece in _OR.split(sides[-1]) for part in split_top(_AND.sub(",", piece)) if part]
        spread = _spread(residues)
        if spread is None:
            return Reading("unread", text)
        return Reading("congruence", text, names=(sign,), texts=(left, modulus, *spread))
    if "\\equiv" in text or "\\notequiv" in text:
        return None if "\\pmod" in text else Reading("unread", text)
    sides = _DIVIDES.split(text)
    if len(sides) == 1 and text.count("|") == 1 and "\\{" not in text:
        sides = split_top(text, "|")
        if len(sides) == 2 and any(formula.parse(side) is None for side in sides):
            return None
    if len(sides) == 2 and "\\{" not in text and not _RELATION.search(sides[0] + sides[1]):
        if any(map(_JOINED.search, sides)) or any(len(split_top(side)) > 1 for side in sides):
            return None
        sign = "\\notequiv" if "\\nmid" in text else "\\equiv"
        return Reading("congruence", text, names=(sign,), texts=(sides[1].strip(), sides[0].strip(), "0"))
    return None


def _region(text: str, depth: int) -> Reading | None:
    """Sets of real numbers: intervals, their unions and intersections, conditions. `texts`: what regions reads."""
    if _MEMBER.match(text):
        inner = read(text[_MEMBER.match(text).end() :], depth + 1)  # pyright: ignore[reportOptionalMemberAccess]
        if inner.kind in ("region", "set", "tuple", "empty", "bracketed", "domain", "whole numbers", "family"):
            return replace(inner, kind="region", texts=inner.texts or (inner.text,)) if inner.kind == "tuple" else inner
        return Reading("unread", text)
    if text.startswith("\\{") and is_conditional(text) and _closes_last(text):
        written = set_as_intervals(text)
        return Reading("region", text, texts=(written,)) if written != text else Reading("unread", text)
    if (_FREE.search(text) and not _RELATION.search(text)) or _REAL_LINE.fullmatch(text):
        return Reading("region", text, texts=(text,))
    written = condition_as_intervals(text)
    if written is not None and pieces_of(written) is not None:
        letters = re.findall(
            r"(?<![\\a-zA-Z])[a-zA-Z](?![a-zA-Z])|\\(?!le|ge|ne|infty|frac|sqrt|text|pi|lor|land)[a-z]+", text
        )
        return Reading("region", text, texts=(written,), names=tuple(sorted(set(letters))))
    return None


def _alternatives(text: str, depth: int) -> Reading | None:
    pieces = _split_words(text, _OR)
    if len(pieces) < 2:
        return None
    parts = [part for piece in pieces for part in split_top(piece) if part]
    if len(parts) > MAX_PARTS:
        return Reading("unread", text)
    return _as_set(text, parts, depth, "or") or Reading("or", text, tuple(read(part, depth + 1) for part in pieces))


def _as_set(text: str, parts: Sequence[str], depth: int, word: str = "") -> Reading | None:
    """Values of one name, or of none, as a set; None where the parts are something else. `word`: what joins them."""
    spread = _spread(parts)
    if spread is None:
        return Reading("unread", text)
    inner = [read(part, depth + 1) for part in spread]
    names = {part.names[0] for part in inner if part.kind == "assigned"}
    if len(names) > 1 or (names and any(part.kind not in ("assigned", "value") for part in inner)):
        return None
    if names and inner[0].kind != "assigned":
        return None
    inner = [part.parts[0] if part.kind == "assigned" else part for part in inner]
    if any(part.kind in ("relation", "region", "named", "system", "congruence", "list", "words") for part in inner):
        return None
    return Reading("set", text, tuple(inner), (word,) if word else ())


def _several(text: str, depth: int) -> Reading | None:
    """Parts between commas that stand in no bracket, or a part with plus-minus."""
    pieces = _split_words(text, _AND)
    word = "and" if len(pieces) > 1 and ";" not in text else ""
    parts = [part for piece in pieces for part in split_top(piece)]
    if parts and not parts[-1]:
        parts.pop()
    if len(parts) > MAX_PARTS or (len(parts) > 1 and not all(parts)):
        return Reading("unread", text)
    if any(map(_ELLIPSIS.search, parts)) and len(parts) > 1:
        return _dotted(text, parts, depth, "list")
    if _PLUS_MINUS.search(text) and (len(parts) > 1 or not _opens_with_bracket(text)):
        return _as_set(text, parts, depth, word) or Reading("unread", text)
    if len(parts) < 2:
        return None
    inner = tuple(read(part, depth + 1) for part in parts)
    kinds = [part.kind for part in inner]
    if all(kind == "assigned" for kind in kinds):
        names = [part.names[0] for part in inner]
        if len(set(names)) == len(names):
            return named_values(text, names, [part.parts[0] for part in inner])
        return _as_set(text, parts, depth, word) or Reading("unread", text)
    if kinds[0] == "assigned" and all(kind == "value" for kind in kinds[1:]):
        return _as_set(text, parts, depth, word)
    if any(kind in ("relation", "region", "assigned", "congruence", "named", "system") for kind in kinds):
        tuples = all(
            kind == "region" and _opens_with_bracket(part.text) for kind, part in zip(kinds, inner, strict=True)
        )
        return Reading("list" if tuples else "system", text, inner, (word,) if word else ())
    if any(kind in ("tuple", "matrix", "bracketed") for kind in kinds):
        return Reading("set", text, inner, (word,) if word else ())  # points are solutions, in any order
    return Reading("list", text, inner, (word,) if word else ())


def named_values(text: str, names: Sequence[str], values: Sequence[Reading]) -> Reading:
    """Several names with a value each, in the order of the names."""
    order = sorted(range(len(names)), key=lambda place: names[place])
    return Reading(
        "named",
        text,
        tuple(values[place] for place in order),
        tuple(names[place] for place in order),
        size=int(order == sorted(order)),
    )


def _spread(parts: Sequence[str]) -> tuple[str, ...] | None:
    r"""Parts with one \pm each written out as two; None where one has more."""
    spread: list[str] = []
    for part in parts:
        count = len(_PLUS_MINUS.findall(part))
        if count > 1 or "\\mp" in part:
            return None
        if count:
            spread += [re.sub(r"(^|=)\s*\+\s*", r"\1", _PLUS_MINUS.sub("+", part)), _PLUS_MINUS.sub("-", part)]
        else:
            spread.append(part)
    return tuple(spread)


def _dotted(text: str, parts: Sequence[str], depth: int, kind: str) -> Reading:
    """1, 2, \\ldots, 10 written out where the rule is plain; otherwise as it stands."""
    places = [place for place, part in enumerate(parts) if _ELLIPSIS.fullmatch(part.strip())]
    if len(places) == 1:
        place = places[0]
        numbers = [int(part) if re.fullmatch(r"-?\d{1,9}", part.strip()) else None for part in parts]
        before, after = numbers[:place], numbers[place + 1 :]
        written = continued(before, after)
        if written is not None:
            return Reading(kind, text, tuple(Reading("value", str(number)) for number in written))
        ends = (read(part, depth + 1) for part in (*parts[:place], *parts[place + 1 :]))
        return Reading("dots", text, tuple(ends), size=place, names=(kind,))
    return Reading("unread", text)


def _opens_with_bracket(text: str) -> bool:
    closing = partners(text).get(0 if text[:1] in ("(", "[") else 1 if text.startswith("\\{") else -1)
    return closing == len(text) - 1


def _bracketed(text: str, depth: int) -> Reading | None:
    if match := _SET.fullmatch(text):
        if "\\}" in match[1] and not _closes_last(text):
            return None
        parts = [part for part in split_top(_AND.sub(",", match[1])) if part]
        if any(map(_ELLIPSIS.search, parts)):
            return _dotted(text, parts, depth, "set")
        spread = _spread(parts) if len(parts) <= MAX_PARTS else None
        if spread is None:
            return Reading("unread", text)
        return Reading("set", text, tuple(read(part, depth + 1) for part in spread))
    if len(text) > 2 and text[0] in "([" and text[-1] in ")]" and partners(text).get(0) == len(text) - 1:
        parts = split_top(text[1:-1])
        if len(parts) < 2:
            return None
        if len(parts) > MAX_PARTS or not all(parts):
            return Reading("unread", text)
        if any(map(_ELLIPSIS.search, parts)):
            return _dotted(text, parts, depth, "tuple" if text[0] + text[-1] == "()" else "bracketed")
        endless = len(parts) == 2 and any("\\infty" in part for part in parts)
        if (text[0] + text[-1] != "()" and len(parts) == 2) or endless:
            return Reading("region", text, tuple(read(part, depth + 1) for part in parts), texts=(text,))
        inner = tuple(read(part, depth + 1) for part in parts)
        kind = {"()": "tuple", "[]": "bracketed"}.get(text[0] + text[-1], "unread")
        return Reading(kind, text, inner)
    return None


def _closes_last(text: str) -> bool:
    """Whether the brace that opens a text is closed at its end."""
    nested = 0
    for match in re.finditer(r"\\[{}]", text):
        nested += 1 if match[0] == "\\{" else -1
        if nested == 0:
            return match.end() == len(text)
    return False


def _inside(text: str) -> list[int]:
    """How many brackets of any kind are open at each place; brackets of two kinds may close each other."""
    nested = 0
    depths: list[int] = []
    for character in text:
        depths.append(nested)
        nested += (character in "({[") - (character in ")}]")
    return depths


def _split_words(text: str, pattern: re.Pattern[str]) -> list[str]:
    """Split at words that stand in no bracket."""
    pieces: list[str] = []
    start, inside = 0, _inside(text)
    for match in pattern.finditer(text):
        if inside[match.start()] == 0:
            pieces.append(text[start : match.start()].strip())
            start = match.end()
    pieces.append(text[start:].strip())
    return pieces


def relation_sides(text: str) -> tuple[list[str], list[str]]:
    """Sides and signs of a chain of relations outside of all brackets."""
    sides: list[str] = []
    signs: list[str] = []
    start, inside = 0, _inside(text)
    for match in _RELATION.finditer(text):
        if inside[match.start()]:
            continue
        sides.append(text[start : match.start()].strip())
        signs.append(SPELLING.get(match[0], match[0]))
        start = match.end()
    sides.append(text[start:].strip())
    return sides, signs


def _assigned(text: str, depth: int) -> Reading | None:
    """name = something, f(2) = something, or the other way round."""
    sides, signs = relation_sides(text)
    if signs != ["="] or not all(sides):
        return None
    left, right = sides
    if _ASSIGNED.fullmatch(left) is None:
        left, right = right, left
        if _ASSIGNED.fullmatch(left) is None:
            return None
    turned = _ASSIGNED.fullmatch(right)
    if turned and not turned[3] and squeeze(right) > squeeze(left) and right not in ("e", "i"):
        left, right = right, left  # x = y is y = x
    match = _ASSIGNED.fullmatch(left)
    assert match is not None
    value = read(right, depth + 1)
    name = squeeze(left)
    if value.kind == "value" and not match[3]:
        tree = formula.parse(value.text)
        bare = re.sub(r"^\\", "", squeeze(match[1]).replace("{", "").replace("}", "")) + match[2]
        if tree is not None and bare in syntax.variables(tree):
            return None  # x = x^2 - 2 gives x no value
    return Reading("assigned", text, (value,), (name,))


def _related(text: str, depth: int) -> Reading | None:
    sides, signs = relation_sides(text)
    if not signs:
        return None
    if signs[0] == "\\approx" and not sides[0] and len(signs) == 1:
        return read(sides[1], depth + 1)
    if not all(sides):
        return Reading("unread", text)
    if signs == ["="]:
        if _opens_with_bracket(sides[0]) and sides[0][0] == "(" and "," in sides[0]:
            names = split_top(sides[0][1:-1])
            values = read(sides[1], depth + 1)
            if all(map(_ASSIGNED.fullmatch, names)) and len(set(names)) == len(names):
                if values.kind == "tuple" and len(values.parts) == len(names):
                    named = named_values(text, list(map(squeeze, names)), values.parts)
                    return named if named.size else replace(values, text=text, names=("odd",))
                if values.kind == "set" and len(values.parts) > 1:
                    return values
            return Reading("unread", text)
        if (assigned := _assigned(text, depth)) is not None:
            return assigned
    if "\\approx" in signs:
        if set(signs) == {"\\approx"} and len(sides) == 2:
            return Reading("relation", text, names=tuple(signs), texts=tuple(sides))
        if signs[-1] == "\\approx" and signs[:-1] == ["="] * (len(signs) - 1):
            return Reading("unread", text)
    return Reading("relation", text, names=tuple(signs), texts=tuple(sides))


def _said(text: str, depth: int) -> Reading | None:
    """Words: all of the answer is letters, in a text command or plain and too long to be a product."""
    said = words(plain(text))
    if said is None or ("-" in said and "\\text{" not in text and formula.parse(said) is not None):
        return None  # ad - bc
    if len(said) > 3 or " " in said or "\\text{" in text or said.lower() in formula.SHORT_WORDS:
        return Reading("words", text, texts=(said,))
    return None


def is_label(text: str) -> bool:
    """P(1,2) may be a point with its name."""
    return _LABEL.match(text) is not None


def is_name(text: str) -> bool:
    """Whether a side of an equation is a name alone."""
    return _ASSIGNED.fullmatch(text.strip()) is not None


def says_or(text: str) -> bool:
    """Whether "or" stands between parts of an answer."""
    return _OR.search(text) is not None
