r"""Notation: what may be written in several ways is written in one, without looking at what it means.

Knows LaTeX as answers use it: boxes, dollar signs, spacing, sizes of brackets, text commands, fractions without
braces, thousands separators, Unicode signs. Linear time; the caller limits the length.
"""

from __future__ import annotations

import re

_BOX = re.compile(r"\\f?boxed\s*\{")
_SIGNS = str.maketrans(
    {
        "−": "-",
        "–": "-",
        "×": r"\times ",
        "·": r"\cdot ",
        "÷": r"\div ",
        "π": r"\pi ",
        "∞": r"\infty ",
        "≤": r"\le ",
        "≥": r"\ge ",
        "°": r"^\circ ",
        "∪": r"\cup ",
        "∅": r"\emptyset ",
        "±": r"\pm ",
        "∈": r"\in ",
        "\u00a0": " ",
        "\u202f": " ",
    }
)
_THIN = re.compile(r"(?<=\d)\\[,;:!](?=\s*\d{3}(?!\d))\s*")  # 1\,000
_COMMA_SPACE = re.compile(r",\s*\\!\s*|\{,\}\s*")  # 1,\!000 and 1{,}000
_DROP = re.compile(
    r"\\(?:left|right)\s*\.(?![\d])|"
    r"\\(?:left|right|middle|displaystyle|textstyle|limits|[bB]igg?[lrm]?)(?![a-zA-Z])|"
    r"(?<!\\)\\[,;:!\s]|\\q?quad(?![a-zA-Z])|~|\\\$|\$|\\\(|\\\)|(?<!\\)\\\[|(?<!\\)\\\]"
)
_TEXT_COMMAND = re.compile(
    r"\\(?:text|textbf|textit|textrm|textnormal|mathrm|mathbf|mathit|mathsf|mbox|hbox|operatorname\*?|rm)\s*\{"
)
_TEXT = re.compile(r"\\text\{([^{}]*)\}")
_COMMANDS = {
    "dfrac": "frac",
    "tfrac": "frac",
    "cfrac": "frac",
    "leq": "le",
    "leqslant": "le",
    "geq": "ge",
    "geqslant": "ge",
    "lt": "<",
    "gt": ">",
    "neq": "ne",
    "varnothing": "emptyset",
    "lbrace": r"\{",
    "rbrace": r"\}",
    "lvert": "|",
    "rvert": "|",
    "vert": "|",
    "ast": "cdot",
    "degree": r"^\circ",
    "vee": "lor",
    "dbinom": "binom",
    "tbinom": "binom",
}
_COMMAND = re.compile(rf"\\({'|'.join(sorted(_COMMANDS, key=len, reverse=True))})(?![a-zA-Z])")
_MATRIX = re.compile(r"\\(begin|end)\s*\{[bBp]?(?:small)?matrix\}")
_FRAC_DIGITS = re.compile(r"\\frac\s*(\d)\s*(\d)")
_FRAC_FIRST = re.compile(r"\\frac\s*(\d)\s*\{")
_FRAC_SECOND = re.compile(r"\\frac\s*\{([^{}]*)\}\s*(\d)")
_ROOT = re.compile(r"\\sqrt\s*(\d)(?!\d)")
_SCRIPT = re.compile(r"([\^_])\s*\{\s*(\w)\s*\}")
_SPACES = re.compile(r"\s+")
_COMMAS = re.compile(r"(?<![\d,.])(\d{1,3})((?:,\d{3})+)(?![\d,])")
_WORDS = re.compile(r"[A-Za-z][A-Za-z\s'-]*")
_LOOSE = re.compile(r"(?<![0-9A-Za-z]) | (?![0-9A-Za-z])")
_ARTICLE = re.compile(r"^(?:an?|the)\s+", re.IGNORECASE)


def tidy(text: str, *, thousands: bool = True) -> str:
    r"""The answer without boxes, dollar signs, sizes, spacing and outer brackets, its commands in one spelling.

    Text commands become `\text{...}`: whether a word is a unit or a product of variables shows in that. With
    `thousands` 1,234 is a number, without a list of two.
    """
    text = _unbox(text.strip())
    text = _COMMA_SPACE.sub(",", _THIN.sub("", text.translate(_SIGNS)))
    text = _DROP.sub(" ", text)
    text = _TEXT_COMMAND.sub(r"\\text{", text)
    for _ in range(3):  # \text inside \text, at most so deep
        text, count = re.subn(r"\\text\{([^{}]*)\\text\{([^{}]*)\}", r"\\text{\1\2", text)
        if not count:
            break
    text = _COMMAND.sub(_one_spelling, text)
    text = _MATRIX.sub(r"\\\1{pmatrix}", text)
    text = _FRAC_DIGITS.sub(r"\\frac{\1}{\2}", text)
    text = _FRAC_FIRST.sub(r"\\frac{\1}{", text)
    text = _FRAC_SECOND.sub(r"\\frac{\1}{\2}", text)
    text = _ROOT.sub(r"\\sqrt{\1}", text)
    text = _SCRIPT.sub(r"\1\2", text)
    text = _SPACES.sub(" ", text).strip()
    while text.endswith((".", ",", ";")) and not text.endswith(".."):
        text = text[:-1].rstrip()
    if thousands and not text.startswith(("(", "[", r"\{")):
        text = _COMMAS.sub(lambda match: match[1] + match[2].replace(",", ""), text)
    return strip_brackets(text)


def _one_spelling(match: re.Match[str]) -> str:
    name = _COMMANDS[match[1]]
    return f"\\{name}" if name.isalpha() else name


def _unbox(text: str) -> str:
    """Boxes that enclose everything, taken away from outside to inside in one pass."""
    start, end = 0, len(text)
    while (match := _BOX.match(text, start)) and end > match.end() and text[end - 1] == "}":
        start, end = match.end(), end - 1
        while start < end and text[start].isspace():
            start += 1
        while end > start and text[end - 1].isspace():
            end -= 1
    return text[start:end]


def normalise(text: str) -> str:
    r"""`tidy`, with the text commands taken away too: \text{(B)} is B."""
    return plain(tidy(text))


def plain(tidied: str) -> str:
    r"""A tidied answer without its \text commands."""
    if "\\text{" not in tidied:
        return tidied
    return strip_brackets(_SPACES.sub(" ", _TEXT.sub(r" \1 ", tidied)).strip().rstrip("."))


def squeeze(text: str) -> str:
    """Without the spaces that mean nothing: those between two letters or digits stay (3 1/2 is not 31/2)."""
    return _LOOSE.sub("", text)


def words(text: str) -> str | None:
    """A normalised answer that consists of words alone, without its article; None for anything else."""
    if len(text) < 2 or _WORDS.fullmatch(text) is None:
        return None
    return _ARTICLE.sub("", text).strip() or None


def strip_brackets(text: str) -> str:
    """Take away brackets and braces that enclose everything; a pair with a comma inside is a tuple and stays."""
    start, end = 0, len(text)
    if not text or text[0] not in "({":
        return text
    partner = partners(text)
    while start < end - 1 and text[start] in "({" and partner.get(start) == end - 1:
        start, end = start + 1, end - 1
        while start < end and text[start] == " ":
            start += 1
        while end > start and text[end - 1] == " ":
            end -= 1
    inner = text[start:end]
    return inner if "," not in inner and inner else text


def partners(text: str) -> dict[int, int]:
    """Where each opening bracket is closed; a bracket of another kind closes it too, as in half-open intervals."""
    stack: list[int] = []
    partner: dict[int, int] = {}
    for index, character in enumerate(text):
        if character in "({[":
            stack.append(index)
        elif character in ")}]" and stack:
            partner[stack.pop()] = index
    return partner


def split_top(text: str, separator: str = ",") -> list[str]:
    """Split at separators that stand in no bracket."""
    parts: list[str] = []
    depth, start = 0, 0
    for index, character in enumerate(text):
        if character in "({[":
            depth += 1
        elif character in ")}]":
            depth = max(0, depth - 1)
        elif character == separator and depth == 0:
            parts.append(text[start:index].strip())
            start = index + 1
    parts.append(text[start:].strip())
    return parts
