r"""The boxes of a text, \boxed{...}, and the answer in a column that may hold a whole solution.

Knows braces, not mathematics. Linear time, whatever the text.
"""

from __future__ import annotations

import re

# \boxed{ or \fbox{ opens a box; "\boxed 5" is TeX's form without braces; any other escaped character is skipped, so
# that \{ and \} do not count as braces.
_TOKENS = re.compile(r"(?P<box>\\f?box(?:ed)?\s*\{)|\\boxed\s*(?P<bare>-?[\w.,/]+)|\\.|[{}]", re.DOTALL)
_TAIL = re.compile(r"(?:(?<!\\)[,.]|(?<!\\)\s)+\Z")  # the comma of \, is a space of TeX's
_COMMAND = re.compile(r"\\[a-zA-Z]+|\$[^$]*\$")
_PROSE = re.compile(r"[A-Za-z]{2,}")


def last_box(text: str) -> str | None:
    r"""Content of the last balanced \boxed{...} (of the outermost, where boxes are nested), stripped.

    A box that is never closed is passed over. None when there is no box or the last one is empty.
    """
    found = boxes(text)
    return (content(text, found[-1]) or None) if found else None


def answer_in(text: str) -> str:
    r"""The answer in an answer column: the text itself, or, where a whole solution was put there, what it ends with.

    A solution is a text whose box stands in prose or behind an equals sign, or GSM8K's text with `####`. A box inside
    a formula (`(\boxed{3},4)`) is decoration, and the text stays as it is.
    """
    if "####" in text:
        return text.rsplit("####", 1)[1].strip()
    if "box" not in text:
        return text
    found = boxes(text)
    if not found or not content(text, found[-1]):
        return text
    start, end = found[-1]
    before, after = text[: text.rindex("\\", 0, start)], text[end:].removeprefix("}")
    around = _COMMAND.sub(" ", before) + " " + _COMMAND.sub(" ", after)
    alone = not after.strip(" \t\r\n$.,;)]\\*") and re.search(r"(?:\A|=|\\approx)[\s$*\\([]*\Z", before)
    if alone or len(_PROSE.findall(around)) >= 2 or "\n" in before.lstrip():
        return content(text, found[-1])
    return text


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


def content(text: str, span: tuple[int, int]) -> str:
    """What stands in a box, without blanks and the comma or full stop behind it."""
    return _TAIL.sub("", text[span[0] : span[1]].strip())
