r"""Find the answer in a text: the last \boxed{...}, or where the exam's rules say it stands.

Knows braces and a few words, not mathematics. Linear time, whatever the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from podium.grading.rules import DEFAULT, Finder, Rules

# \boxed{ opens a box; "\boxed 5" is TeX's form without braces; any other escaped character is skipped, so that
# \{ and \} do not count as braces.
_TOKENS = re.compile(r"(?P<box>\\f?boxed\s*\{)|\\boxed\s*(?P<bare>-?[\w.,/]+)|\\.|[{}]", re.DOTALL)
_FINAL = re.compile(
    r"(?:\bfinal\s+answer\b|\bthe\s+(?:correct\s+)?answer\s+is\b|^\W{0,4}answer\b|####)[*_\s]{0,4}(?:is\b)?[*_\s:=]{0,8}"
    r"(?P<said>[^\n]{0,2000})",
    re.IGNORECASE | re.MULTILINE,
)
_LETTER = re.compile(
    r"\\text(?:bf)?\s*\{\s*\(?([A-J])\)?\s*\}|(?<![A-Za-z\\])\(([A-J])\)|(?<![A-Za-z\\(])([A-J])(?![A-Za-z'’])"
)
_LEADING = re.compile(r"\s*\$?\(?([A-J])(?:[).:]|\$?\s*\Z)")
_NUMBER = re.compile(r"(?<![\w.])-?\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\d,]\d)|(?<![\w.])-?(?:\d+(?:\.\d+)?|\.\d+)")
_EDGE = " \t\r\n*_`"


def extract(text: str) -> str | None:
    r"""Content of the last balanced \boxed{...} (of the outermost, where boxes are nested), stripped.

    A box that is never closed is passed over. None when there is no box or the last one is empty.
    """
    found = boxes(text)
    return (_content(text, found[-1]) or None) if found else None


def extract_answer(text: str, rules: Rules = DEFAULT) -> str | None:
    """The answer of a solution by the rules of its exam; None when there is none.

    Where only integers are answers, the last candidate that is an admitted integer is taken and the others are passed
    over; if none is, there is no answer.
    """
    for finder in rules.find:
        for candidate in _FINDERS[finder](text):
            if not candidate:
                if not rules.wants_integer:
                    break  # an empty last box is no answer, whatever stands in the one before
                continue
            if rules.wants_integer:
                value = read_integer(candidate)
                if value is None or not rules.admits(value):
                    continue
            return candidate
    return None


def read_integer(text: str) -> int | None:
    """The integer that an answer is written as, arithmetic and notation included; None when it is none."""
    from podium.grading.exact import integer_of  # extraction alone needs no mathematics

    return integer_of(text)


def boxes(text: str) -> list[tuple[int, int]]:
    """Start and end of the contents of all closed boxes, in the order of their ends. Nested ones come before theirs."""
    starts: list[int] = []  # where the content of each open brace starts; -1 for a brace that is not a box
    found: list[tuple[int, int]] = []
    for token in _TOKENS.finditer(text):
        if token["box"]:
            starts.append(token.end())
        elif token["bare"]:
            found.append(token.span("bare"))
        elif token[0] == "{":
            starts.append(-1)
        elif token[0] == "}" and starts:
            start = starts.pop()
            if start >= 0:
                found.append((start, token.start()))
    return found


def _content(text: str, span: tuple[int, int]) -> str:
    return text[span[0] : span[1]].strip().rstrip(",.").strip()


_CANDIDATES = 64  # so many are looked at, from the end; more boxes are noise


def _box(text: str) -> Iterator[str]:
    for span in reversed(boxes(text)[-_CANDIDATES:]):
        yield _content(text, span)


def _final(text: str) -> Iterator[str]:
    for match in reversed(list(_FINAL.finditer(text))[-_CANDIDATES:]):
        said = match["said"]
        inner = extract(said)
        said = inner if inner is not None else said.strip(_EDGE).removesuffix(".").strip(_EDGE)
        if said:
            yield said


def _letter(text: str) -> Iterator[str]:
    """Option letters: the one that the text is or begins with, those said to be the answer, then any in brackets, the
    last one first."""
    if match := _LEADING.match(text):
        yield match[1]
    for said in [*_box(text), *_final(text), text]:
        matches = list(_LETTER.finditer(said))[-_CANDIDATES:]
        if said is not text and matches:
            yield next(group for group in matches[0].groups() if group)  # "(B) 12 A" is B
        elif said is text:
            # "A" and "I" are words too: alone in running text only those in brackets count.
            yield from (group for match in reversed(matches) if (group := match[1] or match[2]))


def _number(text: str) -> Iterator[str]:
    for match in reversed(list(_NUMBER.finditer(text))[-_CANDIDATES:]):
        yield match[0]


def _all(text: str) -> Iterator[str]:
    yield text.strip()


_FINDERS: dict[Finder, Callable[[str], Iterator[str]]] = {
    "box": _box,
    "final": _final,
    "letter": _letter,
    "number": _number,
    "all": _all,
}
