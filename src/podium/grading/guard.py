"""Which answers may be shown to a scorer that evaluates them.

Some of reasoning-gym's scorers pass the answer to Python's eval or to sympy's parse_expr (which is eval). A model's
answer is hostile input: only literals and formulas of known names get through.
"""

from __future__ import annotations

import ast
import re

EVALUATING_TASKS = frozenset(
    {
        "binary_matrix",
        "countdown",
        "intermediate_integration",
        "n_queens",
        "polynomial_multiplication",
        "puzzle24",
        "simple_integration",
        "spiral_matrix",
        "string_insertion",
    }
)
MAX_LENGTH = 2_000  # characters
_FORMULA = re.compile(r"[A-Za-z0-9\s+\-*/^().,]*")
_WORDS = re.compile(r"[\w\s]*")  # names alone call nothing
_ATTRIBUTE = re.compile(r"\.\s*[A-Za-z]")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_TRIGONOMETRIC = ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "coth")
_FUNCTIONS = frozenset(
    {*_TRIGONOMETRIC, *(f"a{name}" for name in _TRIGONOMETRIC), "sqrt", "exp", "log", "ln", "Abs", "pi"}
)


def harmless(answer: str) -> bool:
    """Whether evaluating the answer can do nothing but compute (how long it computes is the worker's deadline)."""
    if len(answer) > MAX_LENGTH:
        return False
    if _WORDS.fullmatch(answer):
        return True
    if _FORMULA.fullmatch(answer):
        names = _NAME.findall(answer)
        return not _ATTRIBUTE.search(answer) and all(len(name) == 1 or name in _FUNCTIONS for name in names)
    try:
        ast.literal_eval(answer)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True
