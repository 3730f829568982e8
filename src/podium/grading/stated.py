r"""Which integer does an answer state as its value? For exams that know no answers but integers.

Such a box often holds more than the number: `m+n=113`, `\approx 113`, `n = 113 \text{ cm}`. What it states is the last
side of its last equation. How the number came about is not graded: `12+100=113` states 113, as it would for a reader
who looks for the answer. Several values, bounds, and anything that is read only in part state nothing.
"""

from __future__ import annotations

import re

from podium.grading import arithmetic, exact, formula, syntax, values
from podium.grading.notation import tidy

_MAX_DIGITS = 4_000
_TOKEN = re.compile(r"\\[a-zA-Z]+|\\.|.", re.DOTALL)


def _signs(written: str) -> frozenset[str]:
    return frozenset(written.split())


_ARROWS = _signs(
    r"\Rightarrow \implies \Longrightarrow \rightarrow \longrightarrow \to \leadsto \therefore \iff \Leftrightarrow "
    "⇒ → ∴"
)
_EQUALS = _signs(r"= \approx \simeq \cong \sim \equiv \doteq ≈ ≡ ≃")
# A bound, a membership or a divisor says something about a number and does not state it.
_OTHER_RELATIONS = _signs(
    r"< > \le \ge \ne \in \ni \notin \mid \nmid \subset \subseteq \ll \gg \pm \mp \propto \cup \cap \lor \land \not ≠ ≢"
)
_OPEN, _CLOSE = (
    frozenset(("(", "[", "{", r"\{", r"\lfloor", r"\lceil")),
    frozenset((")", "]", "}", r"\}", r"\rfloor", r"\rceil")),
)
_HEDGED = re.compile(
    r"(?<![a-z\\])(?:or|and|not|least|most|more|less|fewer|greater|than|between|over|under|above|below|minimum of|"
    r"maximum of|from|up to|factorial|squared|cubed|percent of|half|halves|thirds?|quarters?|tenths?|hundredths?|"
    r"base|unknown|undefined|none)(?![a-z])",
    re.IGNORECASE,
)
_CONDITION = re.compile(
    r"(?:\\text\{[\s,;:(]*)?(?<![a-zA-Z\\])(?:where|when|if|with|given|since|because|for|at|as|so that|such that)"
    r"(?![a-zA-Z])"
)
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\s*\{(?:align|aligned|gather|gathered|split|equation)\*?\}")
_COLOUR = re.compile(r"\\color\s*\{[^{}]*\}|\\textcolor\s*\{[^{}]*\}(?=\s*\{)")
_SIZE = re.compile(r"\\(?:tiny|small|normalsize|large|Large|LARGE|huge|Huge|bf|it|tt|sf|bfseries)(?![a-zA-Z])")
_WRAPPED = re.compile(
    r"\\(?:underline|bm|boldsymbol|pmb|emph|mathtt|texttt|textsf|ensuremath|phantom\{\})\s*\{([^{}]*)\}"
)
_IS = re.compile(r"\\text\{\s*(?:is|equals|is equal to|equal to)\s*:?\s*\}")
_DECORATION = re.compile(
    r"(?:\s*(?:\\(?:blacksquare|square|Box|checkmark|qed)(?![a-zA-Z])|✓|✔|∎|■|□|\\text\{\s*\([^{}()]*\)\s*\}))+\Z"
)
_OPTION = re.compile(r"(?:\\text\{\s*)?\([A-J]\)\s*\}?\s*(?=[-\d\\])")
_TEMPERATURE = re.compile(r"(\\circ\s*\}?)\s*\\text\{\s*[CF]\s*\}\Z")
_ALL_TEXT = re.compile(r"\\text\{([^{}]*)\}")
_SAYING = re.compile(
    r"(?:\\text\{)?\s*(?:(?:so|thus|hence|therefore|then|the|our|final|correct|there|we|get|have|answer|is|are|"
    r"equals|equal to|equal|exactly|approximately|about|roughly|around|value|result|total|sum|number|"
    r"remainder|integer|of)(?![a-zA-Z])[\s,:]*)+\}?[\s:~]*",
    re.IGNORECASE,
)
_ASIDE = re.compile(r"\s*[(\[]\s*(?:[^()\[\]]*(?:[<>=]|\\text|\\le|\\ge|\\approx)[^()\[\]]*)[)\]]\s*")
_ORDINAL = re.compile(r"(\d)\s*\^?\s*\{?\s*(?:\\text\{\s*(?:st|nd|rd|th)\s*\}|(?:st|nd|rd|th))\s*\}?")
_DECIMAL_BASE = re.compile(r"(.*\d)\s*_\s*\{?\s*(?:10|\\text\{\s*ten\s*\}|\\text\{\s*10\s*\})\s*\}?")
_SPACED = re.compile(r"[-+]?\d{1,3}(?: \d{3})+")
_SCALE = re.compile(r"(.*\d)\s*(?:\\text\{\s*)?(dozen|hundred|thousand|million|billion)s?\s*\}?", re.IGNORECASE)
_SCALES = {"dozen": 12, "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9}
_MODULUS = re.compile(
    r"(?P<number>.+?)\s*(?:\\pmod\s*\{?\s*|\\b?mod(?![a-zA-Z])\s*\{?\s*|\(\s*(?:\\b?mod|\\text\{\s*mod\s*\}|mod)"
    r"(?![a-zA-Z])\s*)(?P<modulus>\d+)\s*[)}]?"
)
_NAME = re.compile(r"[a-zA-Z](?:_\w+)?")
_COMMON = re.compile(r"\s*\$?\s*(?:[a-zA-Z]\s*=\s*)?([-+]?\d{1,4000})\s*\$?\.?\s*")
_PLAIN = re.compile(r"[\d+\-*/^(){}$]+\.?\$?\.?")  # figures and signs alone: nothing to look for between them
_SINGLE = re.compile(r"\\\{([^{},]*)\\\}")
_FIGURES = re.compile(r"\d+")
_AGREE = 10**40  # a closed form this near to an integer is one


def stated_integer(text: str) -> int | None:
    r"""The integer that an answer states as its value; None when it states none, several, or a bound.

    Arithmetic and closed forms are computed (`2^6+9`, `\sqrt{12769}`, `\binom{10}{3}`); units, signs of degree and
    percent are passed over; `1113 \pmod{1000}` is the least residue, 113.
    """
    if text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS:
        return int(text)
    if len(text) > exact.MAX_LENGTH:
        return None
    if match := _COMMON.fullmatch(text):
        return int(match[1])
    if _PLAIN.fullmatch(text):
        return exact.integer_of(text)
    text = _ENVIRONMENT.sub(" ", text)
    if "&" in text or "\\\\" in text:
        text = re.sub(r"\\\\\s*(?=&?\s*(?:=|\\approx))", " ", text.replace("&", " ")).replace("\\\\", ", ")
    text = tidy(_SIZE.sub(" ", _COLOUR.sub(" ", _WRAPPED.sub(r"\1", text))))
    if _HEDGED.search(text):
        return None
    if match := _ALL_TEXT.fullmatch(text):
        text = match[1]
    text = _TEMPERATURE.sub(r"\1", _DECORATION.sub("", _OPTION.sub("", _IS.sub("=", text), count=1)))
    if match := _SINGLE.fullmatch(text):
        text = match[1]
    text = _split(text, _ARROWS)[-1]
    if match := _CONDITION.search(text):
        text = text[: match.start()].rstrip(" ,;:(")
    parts = [part for part in _split(text, frozenset(",;")) if part]
    if len(parts) > 1:
        return _derived(parts)
    return _last_side(parts[0])[1] if parts else None


def _last_side(text: str) -> tuple[str, int | None]:
    """What an equation says something of, and the integer it says; without an equals sign it is of nothing."""
    sides = _split(text, _EQUALS)
    if any(len(_split(side, _OTHER_RELATIONS)) > 1 for side in sides):
        return "", None
    before, last = sides[:-1], sides[-1]
    value = _value(last)
    if value is None and len(before) == 1 and _is_symbolic(last):
        before, value = [last], _value(sides[0])  # 113 = m+n
    named = next((side for side in before if _is_symbolic(side)), "")
    if value == 0 and any(_FIGURES.fullmatch(term) for term in _split(named, frozenset("+-"))):
        return named, None  # x-113=0 has to be solved first; m+n=0 has not
    return named, value


def _derived(parts: list[str]) -> int | None:
    """`m=100, n=13, m+n=113`: the last equation states the value if it follows from the ones before."""
    known: dict[str, int] = {}
    for part in parts[:-1]:
        named, value = _last_side(part)
        if value is None or _NAME.fullmatch(named) is None:
            return None
        known[named] = value
    named, value = _last_side(parts[-1])
    if value is None or _NAME.fullmatch(named) is not None or not named:
        return None
    written = _NAME.sub(lambda name: f"({known[name[0]]})" if name[0] in known else name[0], named)
    tree = arithmetic.parse(written)
    try:
        return value if tree is not None and arithmetic.evaluate(tree) == value else None
    except arithmetic.TooLarge:
        return None


def _value(side: str) -> int | None:
    """The integer that one side is written as or comes to."""
    if match := _SAYING.match(side):
        side = side[match.end() :]
    if match := _MODULUS.fullmatch(side):
        number, modulus = _value(match["number"]), int(match["modulus"])
        return number % modulus if number is not None and modulus else None
    side = _before_aside(side)
    if match := _ORDINAL.search(side):
        side = side[: match.end(1)] if match.end() == len(side) else side
    if match := _DECIMAL_BASE.fullmatch(side):
        side = match[1]
    if match := _SCALE.fullmatch(side):
        number = _value(match[1])
        return None if number is None else number * _SCALES[match[2].lower()]
    side = side.strip()
    if _SPACED.fullmatch(side):
        side = side.replace(" ", "")
    value = exact.integer_of(side)
    if value is not None or "=" in side or "," in side:
        return value
    quantity = exact.quantity_of(tidy(side))
    return None if quantity.compound else _closed_form(quantity.body)


def _closed_form(body: str) -> int | None:
    tree = formula.parse(body)
    if tree is None or syntax.variables(tree):
        return None
    number = values.constant(tree)
    if number is None or number.imag:
        return None
    nearest = round(number.real)
    return int(nearest) if abs(number.real - nearest) * _AGREE < 1 else None


def _before_aside(side: str) -> str:
    """`113 (m=100, n=13)` without the remark."""
    found = list(_ASIDE.finditer(side))
    return side[: found[-1].start()] if found and found[-1].end() == len(side) and found[-1].start() else side


def _is_symbolic(side: str) -> bool:
    """Whether a side names something instead of being a number."""
    return re.search(r"(?<![a-zA-Z\\])[a-zA-Z]|\\text\{|\|", side) is not None and _value(side) is None


def _split(text: str, signs: frozenset[str]) -> list[str]:
    """Split at signs that stand in no bracket."""
    parts: list[str] = []
    depth, start = 0, 0
    for token in _TOKEN.finditer(text):
        if token[0] in _OPEN:
            depth += 1
        elif token[0] in _CLOSE:
            depth = max(0, depth - 1)
        elif depth == 0 and token[0] in signs:
            parts.append(text[start : token.start()].strip())
            start = token.end()
    parts.append(text[start:].strip())
    return parts
