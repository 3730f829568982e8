"""Exact arithmetic on answer strings: + - * / ^ ! and brackets over integers and decimals.

Refuses to know symbols, functions and LaTeX beyond fractions and products. Time and memory are bounded: a value of
more than 2^200,000 is never computed; two such towers are told apart by their residues (Euler's theorem).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

_MAX_BITS = 200_000
_MAX_FACTORIAL = 15_000  # 15,000! has 187,000 bits
_MAX_LENGTH = 20_000  # characters
_MAX_DEPTH = 60
_TOKEN = re.compile(r"\s*(?:(\d+\.\d*|\.\d+|\d+)|(\*\*|[-+*/^()!]))")
_SIGNS = (
    (re.compile(r"\\(?:cdot|times|ast)(?![a-zA-Z])|×|·"), "*"),
    (re.compile(r"\\div(?![a-zA-Z])|÷"), "/"),
)
_REWRITES = (
    (re.compile(r"\\[dt]?frac\s*(\d)\s*(\d)"), r"((\1)/(\2))"),
    (re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}"), r"((\1)/(\2))"),
)
_MIXED = re.compile(  # 7\\frac{5}{6}, but not the exponent and the factor of 2^7\\frac{5}{6}
    r"(?<![\d.^_}\w])(?<![\^_]\s)(\d{1,9})\s*\\[dt]?frac\s*(?:\{\s*(\d{1,9})\s*\}\s*\{\s*(\d{1,9})\s*\}|(\d)\s*(\d))(?!\s*[\^!])"
)
_MODULI = (100_003, 65_537, 7_919)


@dataclass(frozen=True, slots=True)
class Literal:
    value: Fraction


@dataclass(frozen=True, slots=True)
class Operation:
    sign: str  # + - * / ^ or, with right None, "neg", "!" and "!!" (the double factorial)
    left: Expression
    right: Expression | None = None


Expression: TypeAlias = Literal | Operation


class TooLarge(ArithmeticError):
    """The value has more than _MAX_BITS bits."""


def parse(text: str) -> Expression | None:
    """The expression, or None when the text is anything else or longer or deeper than the limits."""
    if len(text) > _MAX_LENGTH:
        return None
    for pattern, sign in _SIGNS:
        text = pattern.sub(sign, text)
    if "frac" in text:
        text = _MIXED.sub(_as_sum, text)
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    text = text.replace("{", "(").replace("}", ")").replace("−", "-")
    tokens: list[str] = []
    position = 0
    text = text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            return None
        tokens.append("^" if match[2] == "**" else match[1] or match[2])
        position = match.end()
    if not tokens:
        return None
    parser = _Parser(tokens)
    try:
        tree = parser.sum(0)
    except ValueError:
        return None
    return tree if parser.position == len(tokens) else None


def _as_sum(match: re.Match[str]) -> str:
    """A mixed number as a sum in brackets; a whole number before an improper fraction is a factor."""
    above, below = match[2] or match[4], match[3] or match[5]
    return f"({match[1]}+{above}/{below})" if int(above) < int(below) else match[0]


class _Parser:
    """Recursive descent; ValueError where the tokens are no expression. Power binds to the right and before sign."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.position = 0

    def peek(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self.position += 1
        return token

    def sum(self, depth: int) -> Expression:
        if depth > _MAX_DEPTH:
            raise ValueError("too deep")
        tree = self.product(depth)
        while self.peek() in ("+", "-"):
            tree = Operation(self.take(), tree, self.product(depth))
        return tree

    def product(self, depth: int) -> Expression:
        tree = self.signed(depth)
        while self.peek() in ("*", "/") or self.peek() == "(":
            sign = self.take() if self.peek() != "(" else "*"
            tree = Operation(sign, tree, self.signed(depth))
        return tree

    def signed(self, depth: int) -> Expression:
        if depth > _MAX_DEPTH:
            raise ValueError("too deep")
        if self.peek() == "-":
            self.take()
            return Operation("neg", self.signed(depth + 1))
        if self.peek() == "+":
            self.take()
            return self.signed(depth + 1)
        base = self.atom(depth)
        marks = 0
        while self.peek() == "!":
            self.take()
            marks += 1
        if marks > 2:
            raise ValueError("n!!! may be the triple factorial")
        if marks:
            base = Operation("!" * marks, base)
        if self.peek() == "^":
            self.take()
            return Operation("^", base, self.signed(depth + 1))
        return base

    def atom(self, depth: int) -> Expression:
        token = self.take()
        if token == "(":
            tree = self.sum(depth + 1)
            if self.take() != ")":
                raise ValueError("bracket not closed")
            return tree
        if not token or token in "+-*/^)!":
            raise ValueError("number expected")
        if len(token) > 4_000:  # Python refuses to read longer integers
            raise ValueError("number too long")
        return Literal(Fraction(token))


def evaluate(tree: Expression) -> Fraction | None:
    """The exact value; None where there is none (division by zero, irrational power).

    Raises:
        TooLarge: the value, or one on the way, is beyond the limit.
    """
    if isinstance(tree, Literal):
        return tree.value
    # Sums of thousands of terms lean to the left: a loop, not recursion, walks them.
    spine: list[Operation] = []
    while isinstance(tree, Operation):
        spine.append(tree)
        tree = tree.left
    value: Fraction | None = tree.value
    for node in reversed(spine):
        right = evaluate(node.right) if node.right is not None else Fraction(0)
        if value is None or right is None:
            return None
        value = _apply(node.sign, value, right)
    return value


def _apply(sign: str, left: Fraction, right: Fraction) -> Fraction | None:
    if sign == "neg":
        return -left
    if sign == "!":
        return _factorial(left)
    if sign == "!!":
        return _double_factorial(left)
    if sign == "^":
        return _power(left, right)
    if sign == "/" and right == 0:
        return None
    if _bits(left) + _bits(right) > _MAX_BITS:
        raise TooLarge
    if sign == "+":
        return left + right
    if sign == "-":
        return left - right
    return left * right if sign == "*" else left / right


def _power(base: Fraction, exponent: Fraction) -> Fraction | None:
    if exponent.denominator != 1:
        return None
    if base == 0 and exponent <= 0:
        return None
    if base in (0, 1, -1):
        return base if exponent % 2 else base * base
    if _bits(exponent) > 40 or _bits(base) * abs(int(exponent)) > _MAX_BITS:
        raise TooLarge
    return base ** int(exponent)


def _factorial(value: Fraction) -> Fraction | None:
    if value.denominator != 1 or value < 0:
        return None
    if value > _MAX_FACTORIAL:
        raise TooLarge
    return Fraction(math.factorial(int(value)))


def _double_factorial(value: Fraction) -> Fraction | None:
    if value.denominator != 1 or value < 0:
        return None
    if value > _MAX_FACTORIAL:
        raise TooLarge
    return Fraction(math.prod(range(int(value), 0, -2)))


def _bits(value: Fraction) -> int:
    return value.numerator.bit_length() + value.denominator.bit_length()


def same_value(first: Expression, second: Expression) -> bool | None:
    """Whether two expressions have the same value; None when neither their values nor their residues decide."""
    values: list[Fraction | None] = []
    huge = 0
    for tree in (first, second):
        try:
            values.append(evaluate(tree))
        except TooLarge:
            huge += 1
            values.append(None)
            if not _only_grows(tree):
                return None
        else:
            if values[-1] is None:
                return None
    if huge == 0:
        return values[0] == values[1]
    if huge == 1:
        return False  # one is beyond the limit, the other is not
    if any(_residue(first, modulus) != _residue(second, modulus) for modulus in _MODULI):
        return False
    return True if first == second else None


def is_beyond_limit(tree: Expression) -> bool:
    """Whether the value is a whole number of more than _MAX_BITS bits."""
    try:
        evaluate(tree)
    except TooLarge:
        return _only_grows(tree)
    return False


def _only_grows(tree: Expression) -> bool:
    """Sums, products and powers of positive integers: no step can make the value small again."""
    if isinstance(tree, Literal):
        return tree.value.denominator == 1 and tree.value >= 1
    if tree.sign == "!":
        return _only_grows(tree.left)
    return tree.sign in "+*^" and _only_grows(tree.left) and tree.right is not None and _only_grows(tree.right)


def _residue(tree: Expression, modulus: int) -> int:
    """Value modulo `modulus` of an expression that only grows. a^e = a^(e mod phi + phi) for e >= log2(modulus)."""
    if isinstance(tree, Literal):
        return int(tree.value) % modulus
    if tree.sign == "!":
        return _factorial_residue(tree.left, modulus)
    assert tree.right is not None
    left = _residue(tree.left, modulus)
    if tree.sign != "^":
        right = _residue(tree.right, modulus)
        return (left + right if tree.sign == "+" else left * right) % modulus
    try:
        exponent = evaluate(tree.right)
    except TooLarge:
        totient = _totient(modulus)
        return pow(left, _residue(tree.right, totient) + totient, modulus)
    assert exponent is not None
    return pow(left, int(exponent), modulus)


def _factorial_residue(argument: Expression, modulus: int) -> int:
    """n! modulo `modulus`, which divides it from n = modulus on."""
    try:
        value = evaluate(argument)
    except TooLarge:
        return 0
    assert value is not None
    product = 1 if value < modulus else 0
    for factor in range(2, int(value) + 1 if product else 0):
        product = product * factor % modulus
    return product


def _totient(number: int) -> int:
    result, rest, divisor = number, number, 2
    while divisor * divisor <= rest:
        if rest % divisor == 0:
            result -= result // divisor
            while rest % divisor == 0:
                rest //= divisor
        divisor += 1
    return result - result // rest if rest > 1 else result
