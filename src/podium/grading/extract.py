r"""Find the answer in a text: the last \boxed{...}, or where the exam's rules say it stands.

Knows braces and a few words, not mathematics. Linear time, whatever the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from podium.boxes import boxes, content, last_box
from podium.grading.rules import DEFAULT, Finder, Rules

# What announces an answer. A heading of Markdown begins with #### too; its words are no answer, so a number or a
# formula has to follow.
_FINAL = re.compile(
    r"(?:\bfinal\s+answer\b|\b(?:the|my|our)\s+(?:correct\s+|right\s+|best\s+)?(?:answer|option|choice)"
    r"(?=[*_\s]*(?::|=|is\b|should\s+be\b|must\s+be\b|would\s+be\b))|^\W{0,4}answer\b|####(?=\W*(?:\d|\w\b|[-$\\(])))"
    r"[*_\s]{0,4}(?:(?:is|should\s+be|must\s+be|would\s+be)\b)?(?:[*_\s:=]|-\s){0,8}(?:(?:therefore|thus|then)\s+)?"
    r"(?P<said>[^\n]{0,2000})",
    re.IGNORECASE | re.MULTILINE,
)
_MATHS = re.compile(r"\s*(?:\$\$(?P<display>[^$]+)\$\$|\$(?P<inline>(?:\\\$|[^$])+)\$|\\\((?P<round>.+?)\\\))")
_ENDS_SENTENCE = re.compile(r"[*_.!?,;:\s]*(?:\Z|[.!?]\s|[,;]?\s*(?:because|since|as|which|so)\b)", re.IGNORECASE)
# "5. I hope it is correct" ends after the 5; "10:30 a.m. on Monday" and "3.5" go on.
_SENTENCE = re.compile(r"(?<!\.[A-Za-z])[.!?]\**\s+(?=[A-Z(\\$])|[,;]?\s+(?:because|since)\b", re.DOTALL)
_STYLE = r"(?:\\(?:text|math|mbox|hbox|operatorname)[a-z]*\s*\{\s*)"
_WORD = r"(?:(?:option|choice|answer)\s*:?\s*)?"
_LETTER = re.compile(
    rf"{_STYLE}{{1,3}}{_WORD}\(?\s*(?P<styled>[A-J])(?![A-Za-z'’])|"
    r"(?<![A-Za-z\\])\(\s*(?P<round>[A-J])\s*\)|"
    r"\*\*\(?(?P<bold>[A-J])(?:\)|\*\*(?![A-Za-z])|[.:]|\s+[-–—])|"
    r"(?<![A-Za-z\\(_^{])(?P<bare>[A-J])(?![A-Za-z'’_^(=]|\s*=|\s[a-z])|(?<![A-Za-z\\(])(?P<said>[A-J])"
    r"(?=\s+(?:because|since|as|is|for|by)\b)",
)
# A second option beside the first: two answers are none.
_SECOND = re.compile(
    rf"\W{{0,4}}{_STYLE}?(?:,|;|/|&|(?<![A-Za-z])(?:and|or)(?![A-Za-z]))\W{{0,4}}{_STYLE}{{0,3}}\(?[A-J](?![A-Za-z'’])",
)
_WHOLE_LETTER = re.compile(rf"[\s$*_(\[{{]*{_STYLE}{{0,3}}\(?\s*([A-Ja-j])\s*[)\]}}\s$*_.]*")
_LEADING = re.compile(r"[\s$*_]*\(?([A-J])(?:[).:]|\s*[*_]+(?![A-Za-z*_])|\s+[-–—]\s)")
_NUMBER = re.compile(r"(?<![\w.])-?\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\d,]\d)|(?<![\w.])-?(?:\d+(?:\.\d+)?|\.\d+)")
_EDGE = " \t\r\n*_`"


def extract_answer(text: str, rules: Rules = DEFAULT) -> str | None:
    """The answer of a solution by the rules of its exam; None when there is none.

    Where only integers are answers, the last candidate that states an admitted integer is taken and the others are
    passed over; if none does, there is no answer. A candidate that says more than the integer (`m+n=113`) is cut down
    to it.
    """
    for finder in rules.find:
        for candidate in _FINDERS[finder](text):
            if not candidate:
                if not rules.wants_integer:
                    break  # an empty last box is no answer, whatever stands in the one before
                continue
            if not rules.wants_integer:
                return candidate
            value = read_integer(candidate)
            if value is not None and rules.admits(value):
                return _bare_integer(candidate, value)
    return None


def read_integer(text: str) -> int | None:
    """The integer that an answer states, arithmetic and notation included; None when it states none."""
    from podium.grading.stated import stated_integer  # extraction alone needs no mathematics

    return stated_integer(text)


def _bare_integer(candidate: str, value: int) -> str:
    from podium.grading.exact import integer_of

    says_more = "=" in candidate or "\\approx" in candidate
    return candidate if not says_more and integer_of(candidate) == value else str(value)


_CANDIDATES = 64  # so many are looked at, from the end; more boxes are noise


def _box(text: str) -> Iterator[str]:
    for span in reversed(boxes(text)[-_CANDIDATES:]):
        yield content(text, span)


def _final(text: str) -> Iterator[str]:
    for match in reversed(list(_FINAL.finditer(text))[-_CANDIDATES:]):
        said = match["said"]
        while inside := _FINAL.search(said):  # "Final Answer: The final answer is $5$."
            said = inside["said"]
        if found := _said(said):
            yield found


def _said(text: str) -> str:
    """What an announcement says: its box, its formula if that is all of the sentence, else its first sentence."""
    inner = last_box(text)
    if inner is not None:
        return inner
    maths = _MATHS.match(text.lstrip(_EDGE))
    if maths and _ENDS_SENTENCE.match(text.lstrip(_EDGE), maths.end()):
        return (maths["display"] or maths["inline"] or maths["round"]).strip()
    text = _SENTENCE.split(text.strip(_EDGE), maxsplit=1)[0]
    if boxes(text):
        return ""  # "The final answer is in \\boxed{}, so ..." repeats the question's words
    return text.strip(_EDGE).removesuffix(".").strip(_EDGE)


def _letter(text: str) -> Iterator[str]:
    """Option letters: of the last box, of what is said to be the answer, the one that the text is, ends or begins
    with, then any in brackets or bold print, the last one first. Two options side by side are no answer."""
    if match := _WHOLE_LETTER.fullmatch(text):
        yield match[1].upper()
    for said in [*_box(text), *_final(text)]:
        if match := _WHOLE_LETTER.fullmatch(said):
            yield match[1].upper()
        elif match := _LETTER.search(said):  # "(B) 12 A" is B
            if not _SECOND.match(said, match.end()):
                yield next(group for group in match.groups() if group)
            else:
                return
    lines = [line for line in text.strip().splitlines() if line.strip()]
    if len(lines) > 1 and (match := _WHOLE_LETTER.fullmatch(lines[-1])):
        yield match[1].upper()
    # "A: 5 / B: 6 / C: 7" lists the options; only one such line is a choice.
    leading = {match[1] for line in lines if (match := _LEADING.match(line))}
    if len(leading) == 1 and (match := _LEADING.match(text)) and not _SECOND.match(text, match.end()):
        yield match[1]
    # "A" and "I" are words too: alone in running text only those in brackets, text commands or bold print count.
    for match in reversed(list(_LETTER.finditer(text))[-_CANDIDATES:]):
        if letter := match["styled"] or match["round"] or match["bold"]:
            yield letter


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
