"""Mathematical equivalence by computer algebra. Runs only inside a worker process: it may hang or eat memory.

Knows Math-Verify and how to hand answers to it; the deadline is the parent's. Sums and integrals are computed as
numbers first, because summing 10^9 terms or looking for a closed form that does not exist never ends.
"""

from __future__ import annotations

import re
from typing import Any

_DEGREES = re.compile(r"\^\s*\{?\s*\\circ\s*\}?")
_EVALUATED = ("Sum", "Integral", "Product", "Limit")
_AGREE = 1e-12


def equivalent(gold: str, answer: str) -> bool | None:
    """Whether two tidied answers are the same mathematical object; None when one of them cannot be read."""
    from math_verify import parse, verify

    if bool(_DEGREES.search(gold)) != bool(_DEGREES.search(answer)):
        gold, answer = (_DEGREES.sub(r"\\cdot\\frac{\\pi}{180}", text) for text in (gold, answer))
    parsed_gold: Any = parse(f"${gold}$", parsing_timeout=0)
    if not _is_read(parsed_gold):
        return None
    parsed_answer: Any = parse(f"${answer}$", parsing_timeout=0)
    if not _is_read(parsed_answer):
        return None
    by_value = _by_value(parsed_gold[0], parsed_answer[0])
    if by_value is not None:
        return by_value
    # Either order: some comparisons (set against tuple, relation against value) are one-sided.
    return bool(
        verify(parsed_gold, parsed_answer, strict=True, timeout_seconds=None)
        or verify(parsed_answer, parsed_gold, strict=True, timeout_seconds=None)
    )


def _is_read(parsed: list[Any]) -> bool:
    """Math-Verify gives the expression and the text; the text alone when it could not read it."""
    return bool(parsed) and not isinstance(parsed[0], str)


def _by_value(gold: Any, answer: Any) -> bool | None:
    """Compare as numbers what holds a sum, product, integral or limit; None when there is none, or no number."""
    import sympy

    sides = (gold, answer)
    if any(not isinstance(side, sympy.Expr) or side.free_symbols for side in sides):
        return None
    kinds = tuple(getattr(sympy, name) for name in _EVALUATED)
    if not any(side.has(*kinds) for side in sides):
        return None
    numbers = [complex(side.evalf(20)) for side in sides]
    if any(number != number for number in numbers):
        return None
    if abs(numbers[0] - numbers[1]) > _AGREE * max(1.0, *map(abs, numbers)):
        return False
    return None  # so close may still be different: algebra decides, if it can
