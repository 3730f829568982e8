"""Mathematical equivalence by computer algebra. Runs only inside a worker process: it may hang or eat memory.

Knows Math-Verify and how to hand answers to it; the deadline is the parent's.
"""

from __future__ import annotations

import re
from typing import Any

_BOUND = r"(-?(?:\\infty|\\[dt]?frac\s*\{[^{}]*\}\s*\{[^{}]*\}|\\sqrt\s*\{[^{}]*\}|[\w.]+(?:\s*/\s*\w+)?))"
_LE, _LT = r"(?:\\leq?(?![a-z])|\\leqslant|<=|≤)", r"(?:<|\\lt(?![a-z]))"
_GE, _GT = r"(?:\\geq?(?![a-z])|\\geqslant|>=|≥)", r"(?:>|\\gt(?![a-z]))"
_ONE_SIDED = re.compile(rf"^[a-z]\s*({_LE}|{_LT}|{_GE}|{_GT})\s*{_BOUND}$")
_TWO_SIDED = re.compile(rf"^{_BOUND}\s*({_LE}|{_LT})\s*[a-z]\s*({_LE}|{_LT})\s*{_BOUND}$")
_INTERVAL = re.compile(r"^[(\[].*,.*[)\]]$|\\cup", re.DOTALL)
_DEGREES = re.compile(r"\^\s*\{?\s*\\circ\s*\}?|°|\\degree(?![a-z])")
_PLUS_MINUS = re.compile(r"^(?:([a-zA-Z])\s*=\s*)?(.*?)\\pm\s*(.+)$", re.DOTALL)
_OR = re.compile(r"\s*(?:,|;|\\text\s*\{\s*(?:or|and)\s*\}|\bor\b|\band\b|\\lor|\\vee)\s*")


def equivalent(gold: str, answer: str) -> bool | None:
    """Whether the two are the same mathematical object; None when the gold answer cannot be read."""
    from math_verify import parse, verify

    gold, answer = _prepare(gold), _prepare(answer)
    if bool(_INTERVAL.search(gold)) != bool(_INTERVAL.search(answer)):
        gold, answer = _as_interval(gold), _as_interval(answer)
    if bool(_DEGREES.search(gold)) != bool(_DEGREES.search(answer)):
        gold, answer = (_DEGREES.sub(r"\\cdot\\frac{\\pi}{180}", text) for text in (gold, answer))
    parsed_gold: Any = parse(f"${gold}$", parsing_timeout=0)
    if not parsed_gold:
        return None
    parsed_answer: Any = parse(f"${answer}$", parsing_timeout=0)
    if not parsed_answer:
        return False
    # Either order: some comparisons (set against tuple, relation against value) are one-sided.
    return bool(
        verify(parsed_gold, parsed_answer, strict=True, timeout_seconds=None)
        or verify(parsed_answer, parsed_gold, strict=True, timeout_seconds=None)
    )


def _prepare(text: str) -> str:
    text = text.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac")
    text = _spread_plus_minus(text)
    values = [part for part in _OR.split(text) if part] if " or " in text or "text" in text else [text]
    names = {part.split("=")[0].strip() for part in values if "=" in part}
    if len(values) > 1 and len(names) == 1 and all("=" in part for part in values):
        return r"\{" + ", ".join(part.split("=", 1)[1].strip() for part in values) + r"\}"
    return text


def _spread_plus_minus(text: str) -> str:
    r"""x = a \pm b, written out as the set of its two values."""
    match = _PLUS_MINUS.match(text)
    if match is None or "\\pm" in match[3]:
        return text
    before = match[2].strip()
    return rf"\{{ {before} + {match[3]}, {before} - {match[3]} \}}"


def _as_interval(text: str) -> str:
    if match := _TWO_SIDED.match(text):
        left = "[" if re.fullmatch(_LE, match[2]) else "("
        right = "]" if re.fullmatch(_LE, match[3]) else ")"
        return f"{left}{match[1]}, {match[4]}{right}"
    if match := _ONE_SIDED.match(text):
        relation, bound = match[1], match[2]
        if re.fullmatch(_LE, relation):
            return rf"(-\infty, {bound}]"
        if re.fullmatch(_LT, relation):
            return rf"(-\infty, {bound})"
        return rf"[{bound}, \infty)" if re.fullmatch(_GE, relation) else rf"({bound}, \infty)"
    return text
