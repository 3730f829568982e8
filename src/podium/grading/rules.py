"""What an exam lets pass: where its answer stands, which answers it knows, what of the notation is forgiven.

Knows nothing of mathematics. The rules of a problem are what its `meta["rules"]` says over the defaults; its
`meta["modulo"]` is the rule of that name.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from podium.errors import InputError, nearest
from podium.records import Problem

Finder = Literal["box", "final", "letter", "number", "all"]
Leniency = Literal["forgive", "strict", "ignore"]


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one exam.

    `find` is where a solution's answer is looked for, in this order: the last `box`; the line of a `final` answer in
    words ("Final Answer: 5", "The answer is 5"); the last option `letter`; the last `number`; `all` of the text.

    `units`, `percent`, `degrees` say what a sign means that only one side writes. `forgive`: with or without, both
    are right (50% is 1/2 and 50; 90 degrees are pi/2 and 90; 5 cm is 5). `strict`: it means what it says (50% is 1/2;
    90 degrees are pi/2; 5 cm is not 5). `ignore`: it is not looked at (50% is 50 alone; 5 cm is 5 and 5 m). Units of
    one quantity are converted unless ignored.

    `rounding` 0: a rounded decimal is not what it was rounded from. k: it is, if it is rounded rightly and to at
    least k significant digits.

    `order` is that of several answers between commas without brackets: `written`, 3,1 is (3,1) and not shown to be 1,3;
    `any`, 3,1 is 1,3 and {1,3}, as where all solutions are asked for. A problem whose text asks for all of something,
    separated by commas, has `any` unless its rules say otherwise.

    `case`: `words` keeps it in single letters, which may be variables, and not in words; `strict`; `ignore`.
    """

    find: tuple[Finder, ...] = ("box",)
    low: int | None = None  # integers below and …
    high: int | None = None  # … above are no answers
    modulo: int | None = None  # integers are compared modulo this
    units: Leniency = "forgive"
    percent: Leniency = "forgive"
    degrees: Leniency = "forgive"
    rounding: int = 0
    case: Literal["words", "strict", "ignore"] = "words"
    order: Literal["written", "any"] = "written"

    @property
    def wants_integer(self) -> bool:
        """The exam knows no answers but integers."""
        return self.low is not None or self.high is not None or self.modulo is not None

    def admits(self, value: int) -> bool:
        """Whether an integer is an answer at all. With a modulus every one is."""
        if self.modulo is not None:
            return True
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)


DEFAULT = Rules()
_NAMES = tuple(field.name for field in fields(Rules))


_IN_ANY_ORDER = Rules(order="any")
_COMMAS = re.compile(r"separated? (?:\w+ ){0,2}(?:by|with|using) commas|comma[- ]separated|in any order", re.IGNORECASE)
_ALL = re.compile(
    r"\b(?:find|determine|list|enter|give|state|name|identify|compute)\s+(?:\w+\s+)?(?:all|every|each)\b"
    r"|\ball\s+(?:\w+\s+){0,3}(?:solutions|roots|values|zeros|zeroes|integers|numbers|primes|factors|divisors|triples|pairs)\b"
    r"|\bwhat are the\s+(?:\w+\s+){0,2}(?:solutions|roots|zeros|zeroes)\b|\bsolve\b|\bpossible values\b"
    r"|\bthe (?:\w+ ){0,2}(?:solutions|roots|zeros) of\b",
    re.IGNORECASE,
)
_SORTED = re.compile(
    r"(?:increasing|decreasing|ascending|descending|chronological) order|ordered (?:pair|triple|list)|\bsorted\b|"
    r"from (?:least|smallest|largest|greatest|lowest|highest|left|first)\b",
    re.IGNORECASE,
)
_RESPECTIVE = re.compile(
    r"\brespectively\b|in (?:that|this|the following) order|\bin order\b|coordinates", re.IGNORECASE
)
_MOST_TEXT = 20_000  # characters of a problem that are looked at


def asks_for_all(text: str) -> bool:
    """Whether a problem's text asks for all solutions, so that their order means nothing."""
    text = text[:_MOST_TEXT]
    if _SORTED.search(text):
        return False
    return _COMMAS.search(text) is not None or (_ALL.search(text) is not None and _RESPECTIVE.search(text) is None)


def rules_of(problem: Problem) -> Rules:
    """The rules of a problem.

    Raises:
        InputError: meta["rules"] has an unknown field or value.
    """
    meta = problem.meta
    if "rules" not in meta and "modulo" not in meta:
        return _IN_ANY_ORDER if asks_for_all(problem.text) else DEFAULT
    given: dict[str, Any] = dict(meta.get("rules") or {})
    if "order" not in given and asks_for_all(problem.text):
        given["order"] = "any"
    if meta.get("modulo"):
        given["modulo"] = meta["modulo"]
    try:
        return _checked(
            tuple(sorted((key, tuple(value) if isinstance(value, list) else value) for key, value in given.items()))
        )
    except InputError as error:
        raise InputError(f"problem {problem.id}: {error.message}", error.cure) from error


def make_rules(given: Mapping[str, Any], base: Rules = DEFAULT) -> Rules:
    """`base` with the fields in `given`, checked.

    Raises:
        InputError: an unknown field, or a value it does not take.
    """
    if not given:
        return base
    from pydantic import TypeAdapter, ValidationError

    for name in given:
        if name not in _NAMES:
            raise InputError(f"no grading rule is called {name!r}", nearest(name, _NAMES))
    try:
        checked = TypeAdapter(Rules).validate_python(dict(given))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InputError(f"grading rule {first['loc'][0]!r}: {first['msg']}", "see docs/grading.md") from error
    if checked.modulo is not None and checked.modulo < 1:
        raise InputError(f"grading rule 'modulo': {checked.modulo}", "it must be positive")
    if checked.rounding < 0:
        raise InputError(f"grading rule 'rounding': {checked.rounding}", "0 (exact) or a number of digits")
    return replace(base, **{name: getattr(checked, name) for name in given})


@functools.lru_cache(maxsize=1024)
def _checked(given: tuple[tuple[str, Any], ...]) -> Rules:
    return make_rules(dict(given))
