r"""Notation: what may be written in several ways is written in one, without looking at what it means.

Knows LaTeX as answers use it: boxes, dollar signs, spacing, sizes of brackets, text commands, fractions without
braces, thousands separators, Unicode signs. Linear time; the caller limits the length.
"""

from __future__ import annotations

import re
from fractions import Fraction

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
        "∩": r"\cap ",
        "≠": r"\ne ",
        "≈": r"\approx ",
        "≡": r"\equiv ",
        "∣": r"\mid ",
        "∤": r"\nmid ",
        "…": r"\ldots ",
        "⋯": r"\ldots ",
        "′": "'",
        "’": "'",
        "√": r"\sqrt ",
        "\u00a0": " ",
        "\u202f": " ",
    }
)
_THIN = re.compile(r"(?<=\d)\\[,;:!](?=\s*\d{3}(?!\d))\s*")  # 1\,000
_SPACED = re.compile(r"(?<![\w.,/^}])(?<![\w.,/^}] )(\d{1,3})((?:[ ~]\d{3})+)(?!\d|\s*(?:[/\d_]|\\frac))")  # 1 000
_COLON = re.compile(r"\{\s*:\s*\}|\\colon(?![a-z])")
_COMMA_SPACE = re.compile(r",\s*\\!\s*|\s*\{\s*,\s*\}\s*")  # 1,\!000 and 1{,}000
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
    "dots": "ldots",
    "cdots": "ldots",
    "dotsc": "ldots",
    "dotsb": "ldots",
    "backslash": "setminus",
    "smallsetminus": "setminus",
    "rightarrow": "to",
    "nequiv": "notequiv",
    "prime": "'",
}
_ELLIPSIS = re.compile(r"(?<!\.)\.\.\.(?!\.)")
_NOT = re.compile(r"\\not\s*(=|\\equiv|\\mid|\||\\in(?![a-z]))")
_NEGATED = {"=": r"\ne ", r"\equiv": r"\notequiv ", r"\mid": r"\nmid ", "|": r"\nmid ", r"\in": r"\notin "}
_MODULUS = re.compile(
    r"\\pmod\s*(?:\{\s*([^{}]*?)\s*\}|(\w))|"
    r"\(\s*(?:\\(?:bmod|mod)(?![a-z])|\\text\{\s*mod(?:ulo)?\s*\}|mod(?:ulo)?(?![a-z]))\s*(?:\{\s*([^{}()]*?)\s*\}|([^{}()]*?))\s*\)"
)
_CONGRUENT = re.compile(  # x \equiv 3 \bmod 7
    r"\s*(?:\\(?:bmod|mod)|\\text\{\s*mod(?:ulo)?\s*\}|(?<![\\a-z])mod(?:ulo)?)(?![a-z])\s*(?:\{\s*(\w+)\s*\}|(\w+))\s*$"
)
_CHOOSE = re.compile(r"\{\s*([^{}]+?)\s*\\choose(?![a-z])\s*([^{}]+?)\s*\}")
_CHOSEN = re.compile(
    r"(?<![\w}])(?:\{\s*\})?\s*[_^]\s*(?:\{\s*(\w+)\s*\}|(\w+?))\s*(?:([CP])|\\text\{\s*([CP])\s*\})\s*_\s*(?:\{\s*(\w+)\s*\}|(\w))"
)
_NAMED = re.compile(
    r"\\text\{\s*(gcd|lcm|lg|GCD|LCM|gcf|GCF|exp|ln|log|sin|cos|tan|sgn|mod|det|floor|ceil|abs)\s*\}"
    r"|\\text\{\s*(max|min)\s*\}(?=\s*(?:[({_]|\\\{))"  # 90 min are no minimum
)
_ROMAN = re.compile(r"\\(?:mathrm|rm)\s*\{\s*([eid])\s*\}(?!\s*$)")  # upright e, i and d are the constants and dx
_ORDINAL = re.compile(
    r"(?<=\d)\s*(?:\^\s*(?:\{\s*)?\\text\{\s*(?:st|nd|rd|th)\s*\}(?:\s*\})?|\^\s*\{\s*(?:st|nd|rd|th)\s*\}|\^\s*(?:st|nd|rd|th)(?![a-z])"
    r"|\\text\{\s*(?:st|nd|rd|th)\s*\}|(?:st|nd|rd|th)(?![a-z]))"
)
_REPEATING = re.compile(
    r"(?<![\d.])(\d*)\.(\d*)(?:\\(?:overline|bar)\s*(?:\{\s*(\d+)\s*\}|(\d))|\(\s*(\d+)\s*\)(?!\s*[\w(\^])"
    r"|\\dot\s*(?:\{\s*(\d)\s*\}|(\d))(?:(\d*)\\dot\s*(?:\{\s*(\d)\s*\}|(\d)))?|\s*\\ldots(?![a-z]))"
)
_PRIMES = re.compile(r"\^\s*(?:\{\s*'[\s']*\}|')")
_MOST_REPEATING = 200  # digits
_COMMAND = re.compile(rf"\\({'|'.join(sorted(_COMMANDS, key=len, reverse=True))})(?![a-zA-Z])")
_MATRIX = re.compile(r"\\(begin|end)\s*\{[bBp]?(?:small)?matrix\}")
_FRAC_DIGITS = re.compile(r"\\(frac|binom)\s*(\d)\s*(\d)")
_FRAC_FIRST = re.compile(r"\\(frac|binom)\s*(\d)\s*\{")
_FRAC_SECOND = re.compile(r"\\(frac|binom)\s*\{([^{}]*)\}\s*(\d)")
_ROOT = re.compile(r"\\sqrt\s*(\d)(?!\d)")
_SCRIPT = re.compile(r"([\^_])\s*\{\s*(\w)\s*\}(?!\s*[\d.])")  # x^{2}3 is not x^23
_SPACES = re.compile(r"\s+")
_COMMAS = re.compile(r"(?<![\d,.])(\d{1,3})((?:,\d{3})+)(?!\d|,\d)")
_WORDS = re.compile(r"[A-Za-z][A-Za-z\s'-]*")
_LOOSE = re.compile(r"(?<![0-9A-Za-z]) | (?![0-9A-Za-z])")
_ARTICLE = re.compile(r"^(?:an?|the)\s+", re.IGNORECASE)


def tidy(text: str, *, thousands: bool = True) -> str:
    r"""The answer without boxes, dollar signs, sizes, spacing and outer brackets, its commands in one spelling.

    Text commands become `\text{...}`: whether a word is a unit or a product of variables shows in that. With
    `thousands` 1,234 is a number, without a list of two.
    """
    text = _unbox(text.strip())
    if text.isascii() and text.isdigit():
        return text
    text = _COMMA_SPACE.sub(",", _THIN.sub("", text.translate(_SIGNS)))
    if ":" in text or "colon" in text:
        text = _COLON.sub(":", text)
    text = _DROP.sub(" ", text)
    commands = "\\" in text
    if commands:
        text = _ROMAN.sub(r"\1", text)
        text = _TEXT_COMMAND.sub(r"\\text{", text)
        for _ in range(3):  # \text inside \text, at most so deep
            text, count = re.subn(r"\\text\{([^{}]*)\\text\{([^{}]*)\}", r"\\text{\1\2", text)
            if not count:
                break
        text = _COMMAND.sub(_one_spelling, text)
    if ".." in text:
        text = _ELLIPSIS.sub(r" \\ldots ", text)
    if "\\not" in text:
        text = _NOT.sub(lambda match: _NEGATED[match[1]], text)
    if "mod" in text:
        text = _MODULUS.sub(lambda match: rf"\pmod{{{next(filter(None, match.groups()), '')}}}", text)
    if "equiv" in text and "mod" in text:
        text = _CONGRUENT.sub(r"\\pmod{\1\2}", text)
    if "\\text{" in text:
        text = _NAMED.sub(lambda match: rf"\{(match[1] or match[2]).lower().replace('gcf', 'gcd')} ", text)
    if "choose" in text:
        for _ in range(4):
            text = _CHOOSE.sub(r"\\binom{\1}{\2}", text)
    if "C" in text or "P" in text:
        text = _CHOSEN.sub(_chosen, text)
    if "'" in text:
        text = _PRIMES.sub(lambda match: re.sub(r"[^']", "", match[0]), text)
    if any(ending in text for ending in ("th", "st", "nd", "rd")):
        text = _ORDINAL.sub(r"\\text{ th}", text)
    if "." in text:
        text = _REPEATING.sub(_as_fraction, text)
    if commands:
        text = _MATRIX.sub(r"\\\1{pmatrix}", text)
        text = _FRAC_DIGITS.sub(r"\\\1{\2}{\3}", text)
        text = _FRAC_FIRST.sub(r"\\\1{\2}{", text)
        text = _FRAC_SECOND.sub(r"\\\1{\2}{\3}", text)
        text = _ROOT.sub(r"\\sqrt{\1}", text)
    if "{" in text:
        text = _SCRIPT.sub(r"\1\2", text)
    text = _SPACES.sub(" ", text).strip()
    while text.endswith((".", ",", ";")) and not text.endswith(".."):
        text = text[:-1].rstrip()
    if thousands and (" " in text or "," in text):
        text = _SPACED.sub(lambda match: match[1] + match[2].replace(" ", "").replace("~", ""), text)
        text = _COMMAS.sub(_ungrouped, text)
    return strip_brackets(text)


def _ungrouped(match: re.Match[str]) -> str:
    """1,234 as a number; as it is where it stands in brackets, as the arguments of gcd(100,250) do."""
    before = match.string[: match.start()]
    if any(
        before.count(opening) > before.count(closing) for opening, closing in (("(", ")"), ("[", "]"), (r"\{", r"\}"))
    ):
        return match[0]
    return match[1] + match[2].replace(",", "")


def _as_fraction(match: re.Match[str]) -> str:
    r"""A repeating decimal as a fraction: 0.1\overline{6}, 0.1(6), 0.1\dot6, 0.1666\ldots; what does not show its
    period stays as it is."""
    whole, fixed = match[1], match[2]
    period = match[3] or match[4] or match[5]
    if period is None and (first := match[6] or match[7]):
        period = first + (match[8] or "") + (match[9] or match[10] or "")
    if period is None:
        found = repeated_block(fixed)
        if found is None:
            return match[0]
        fixed, period = found
    if not whole + fixed and match[5]:
        return match[0]  # .(3) is no usual notation
    if len(whole) + len(fixed) + len(period) > _MOST_REPEATING:
        return match[0]
    above = int((whole or "0") + fixed + period) - int((whole or "0") + fixed)
    value = Fraction(above, (10 ** len(period) - 1) * 10 ** len(fixed))
    return rf"{{\frac{{{value.numerator}}}{{{value.denominator}}}}}" if value.denominator != 1 else str(value.numerator)


def repeated_block(digits: str) -> tuple[str, str] | None:
    """Digits before an ellipsis as (what stands before the period, the period); None where no period shows: a digit
    three times, a longer block three times, or twice if nothing stands before it."""
    for size in range(1, len(digits) // 2 + 1):
        period = digits[-size:]
        times = 0
        while digits[: len(digits) - times * size].endswith(period):
            times += 1
        fixed = digits[: len(digits) - times * size]
        # the period may have begun in the middle: 0.3131 31 and 0.13131 are written with the same block
        if times >= 3 or (times == 2 and size > 1 and not fixed):
            return fixed, period
    return None


def _chosen(match: re.Match[str]) -> str:
    above, below = match[1] or match[2], match[5] or match[6]
    return rf"\binom{{{above}}}{{{below}}}" if (match[3] or match[4]) == "C" else f"P({above},{below})"


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
