r"""Values of closed forms: LaTeX or plain notation -> expression tree -> numbers of many digits.

Knows arithmetic, roots, elementary functions, factorials, binomials, pi, e, i and variables; refuses to know sets,
sums, integrals and words. Two constants are the same if 60 and then 150 digits say so; two expressions with variables
if they agree at points drawn from their own text (Schwartz 1980), different if they part at one. Time and memory are
bounded: nothing of more than 2^20,000 is computed, no tree of more than 2,000 nodes is read.

mpmath computes; its contexts are not thread-safe, so every thread has its own.
"""

from __future__ import annotations

import random
import re
import threading
import zlib
from collections.abc import Callable
from typing import Any, TypeAlias

Node: TypeAlias = tuple[Any, ...]  # (kind, parts...): ("num", text), ("var", name), ("+", left, right), ("sin", x) …

_MAX_LENGTH = 2_000  # characters
_MAX_NODES = 2_000
_MAX_DEPTH = 50
_MAX_BITS = 20_000
_DIGITS = (60, 150)
_POINTS = 8
_ENOUGH = 4  # points at which both are defined
_TOKEN = re.compile(r"\s*(?:(\d+(?:\.\d*)?|\.\d+)|(\\[a-zA-Z]+|\\[|{}%])|([a-zA-Z]+)|(\*\*|[-+*/^_!()\[\]{}|,]))")
_FUNCTION_NAMES = "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln log exp sqrt cbrt abs floor ceil"
_FUNCTIONS = frozenset(_FUNCTION_NAMES.split())
_ALIASES = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "lg": "log", "Abs": "abs"}
_INVERSE = {"sin": "arcsin", "cos": "arccos", "tan": "arctan"}
_CONSTANTS = ("pi", "e", "i")
_GREEK = (
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta kappa lambda mu nu xi rho sigma tau phi varphi "
    "chi psi omega Gamma Delta Theta Lambda Sigma Phi Psi Omega ell"
)
_VARIABLES = frozenset(_GREEK.split())
_ENDS = frozenset((*"+-/^_!)]},", "\\div", "\\}", "\\%", "\\rceil", "\\rfloor"))  # no factor starts with these
_PRODUCT_SIGNS = {"*", "\\cdot", "\\times"}
_INTEGER_NAMES = frozenset("nmkjpqr")
_local = threading.local()


class Unreadable(ValueError):
    """The text is no closed form that this file knows."""


class TooLarge(ArithmeticError):
    """A value is beyond _MAX_BITS."""


def parse(text: str) -> Node | None:
    """The expression tree of a tidied answer; None when it is anything else, too long or too deep."""
    if len(text) > _MAX_LENGTH:
        return None
    tokens: list[str] = []
    position, text = 0, text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            return None
        if match[3]:
            tokens.extend(_spell(match[3]))
        else:
            tokens.append("^" if match[0].strip() == "**" else match[0].strip())
        position = match.end()
    if not tokens or len(tokens) > _MAX_NODES:
        return None
    reader = _Reader(tokens)
    try:
        tree = reader.sum(0)
    except Unreadable:
        return None
    return tree if reader.at == len(tokens) else None


def _spell(word: str) -> list[str]:
    """A word as tokens: a function's or constant's name, or a product of variables."""
    word = _ALIASES.get(word, word)
    if word in _FUNCTIONS or word == "pi":
        return [f"\\{word}"]
    for name in ("sqrt", "sin", "cos", "tan", "log", "ln", "pi"):
        if word.endswith(name):  # 2xsin(x)
            return [*word[: -len(name)], f"\\{name}"]
    if len(word) > 3:
        return ["\\unknown"]
    return list(word)


class _Reader:
    """Recursive descent; Unreadable where the tokens are no expression."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.at = 0
        self.bars = 0  # open absolute values

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, expected: str = "") -> str:
        token = self.peek()
        if not token or (expected and token != expected):
            raise Unreadable
        self.at += 1
        return token

    def sum(self, depth: int) -> Node:
        if depth > _MAX_DEPTH:
            raise Unreadable
        tree = self.product(depth)
        while self.peek() in ("+", "-"):
            tree = (self.take(), tree, self.product(depth))
        return tree

    def product(self, depth: int) -> Node:
        tree = self.signed(depth)
        while True:
            token = self.peek()
            if token in _PRODUCT_SIGNS:
                self.take()
                tree = ("*", tree, self.signed(depth))
            elif token in ("/", "\\div"):
                self.take()
                tree = ("/", tree, self.signed(depth))
            elif self.starts_factor(token):
                right = self.power(depth)
                tree = ("+", tree, right) if _is_mixed(tree, right) else ("*", tree, right)
            else:
                return tree

    def starts_factor(self, token: str) -> bool:
        if not token or token in _ENDS:
            return False
        return not (token in ("|", "\\|") and self.bars > 0) and token not in _PRODUCT_SIGNS

    def signed(self, depth: int) -> Node:
        if depth > _MAX_DEPTH:
            raise Unreadable
        if self.peek() == "-":
            self.take()
            return ("neg", self.signed(depth + 1))
        if self.peek() == "+":
            self.take()
            return self.signed(depth + 1)
        return self.power(depth)

    def power(self, depth: int) -> Node:
        base = self.postfix(depth)
        if self.peek() != "^":
            return base
        self.take()
        if self.peek() == "\\circ":
            self.take()
            return ("*", base, ("/", ("const", "pi"), ("num", "180")))
        return ("^", base, self.script(depth + 1))

    def script(self, depth: int) -> Node:
        if self.peek() == "{":
            return self.group(depth)
        return self.signed(depth)

    def postfix(self, depth: int) -> Node:
        tree = self.atom(depth)
        while self.peek() == "!":
            self.take()
            tree = ("!", tree)
        return tree

    def group(self, depth: int, opening: str = "{", closing: str = "}") -> Node:
        self.take(opening)
        bars, self.bars = self.bars, 0
        tree = self.sum(depth + 1)
        self.bars = bars
        self.take(closing)
        return tree

    def argument(self, depth: int) -> Node:
        """What follows \\frac or \\sqrt: a group, or one token."""
        if self.peek() == "{":
            return self.group(depth)
        if self.peek() == "(":
            return self.group(depth, "(", ")")
        return self.atom(depth + 1)

    def atom(self, depth: int) -> Node:
        if depth > _MAX_DEPTH:
            raise Unreadable
        token = self.peek()
        for opening, closing in (("(", ")"), ("{", "}"), ("[", "]")):
            if token == opening:
                return self.group(depth, opening, closing)
        self.take()
        if token[0].isdigit() or token[0] == ".":
            return ("num", token)
        if token == "|":
            self.bars += 1
            tree = self.sum(depth + 1)
            self.bars -= 1
            self.take("|")
            return ("abs", tree)
        if token.startswith("\\"):
            return self.command(token[1:], depth)
        if token.isalpha():
            if token in _CONSTANTS:
                return ("const", token)
            return self.variable(token, depth)
        raise Unreadable

    def variable(self, name: str, depth: int) -> Node:
        if self.peek() == "_":
            self.take()
            if self.peek() == "{":
                self.take()
                while self.peek() not in ("}", ""):
                    name += "_" + self.take()
                self.take("}")
            else:
                name += "_" + self.take()
        return ("var", name)

    def command(self, name: str, depth: int) -> Node:
        if name == "frac":
            return ("frac", self.argument(depth), self.argument(depth))
        if name == "binom":
            return ("binom", self.argument(depth), self.argument(depth))
        if name == "sqrt":
            if self.peek() == "[":
                index = self.group(depth, "[", "]")
                return ("root", self.argument(depth), index)
            return ("sqrt", self.argument(depth))
        if name in ("lfloor", "lceil"):
            kind, closing = ("floor", "\\rfloor") if name == "lfloor" else ("ceil", "\\rceil")
            tree = self.sum(depth + 1)
            self.take(closing)
            return (kind, tree)
        if name in _CONSTANTS:
            return ("const", name)
        if name in _FUNCTIONS:
            return self.function(name, depth)
        if name in _VARIABLES:
            return self.variable(name, depth)
        raise Unreadable

    def function(self, name: str, depth: int) -> Node:
        base: Node | None = None
        exponent: Node | None = None
        for _ in range(2):  # log_2^3 and log^3_2
            if self.peek() == "_" and name == "log":
                self.take()
                base = self.argument(depth)
            elif self.peek() == "^":
                self.take()
                exponent = self.script(depth + 1)
        if self.peek() in ("(", "{"):
            inner = self.argument(depth)
        else:
            inner = self.signed(depth + 1) if self.peek() in ("+", "-") else self.power(depth + 1)
            # sin 2x is sin(2x): plain factors follow into the argument, functions do not
            while self.starts_factor(self.peek()) and not self._opens_function(self.peek()) and self.peek() != "(":
                inner = ("*", inner, self.power(depth + 1))
        if exponent == ("neg", ("num", "1")) and name in _INVERSE:
            name, exponent = _INVERSE[name], None
        tree: Node = (name, inner) if base is None else ("/", ("ln", inner), ("ln", base))
        return tree if exponent is None else ("^", tree, exponent)

    def _opens_function(self, token: str) -> bool:
        return token.startswith("\\") and (token[1:] in _FUNCTIONS)


def _is_mixed(left: Node, right: Node) -> bool:
    """3 1/2 in LaTeX: a whole number followed by a proper fraction of whole numbers."""
    if left[0] != "num" or right[0] != "frac" or "." in left[1]:
        return False
    above, below = right[1], right[2]
    if above[0] != "num" or below[0] != "num" or "." in above[1] + below[1]:
        return False
    return len(above[1]) < 10 and len(below[1]) < 10 and int(above[1]) < int(below[1])


def variables(tree: Node) -> frozenset[str]:
    """Names of the variables in a tree."""
    names: set[str] = set()
    stack = [tree]
    while stack:
        node = stack.pop()
        if node[0] == "var":
            names.add(node[1])
        elif node[0] not in ("num", "const"):
            stack.extend(node[1:])
    return frozenset(names)


def same_value(first: Node, second: Node, seed: str = "") -> bool | None:
    """Whether two expressions have the same value wherever both have one; None when that cannot be told here."""
    names = sorted(variables(first) | variables(second))
    if not names:
        return _same_constant(first, second)
    return _same_function(first, second, names, seed)


def same_equation(first: tuple[Node, Node], second: tuple[Node, Node], seed: str = "") -> bool | None:
    """Whether two equations, as (left, right), are one up to a constant factor; None when they are not."""
    left, right = ("-", *first), ("-", *second)
    names = sorted(variables(left) | variables(right))
    if not names or variables(left) != variables(right):
        return None
    context = _context(_DIGITS[0])
    ratio: Any = None
    seen = 0
    for point in _points(context, names, seed, whole=False):
        try:
            above, below = _evaluate(left, context, point), _evaluate(right, context, point)
            quotient = above / below
        except (ArithmeticError, ValueError, TypeError):
            continue
        if ratio is not None and not _close(context, quotient, ratio, _DIGITS[0] - 20):
            return None
        ratio, seen = quotient, seen + 1
    return True if seen >= _ENOUGH and ratio != 0 else None


def constant(tree: Node, digits: int = _DIGITS[0]) -> Any | None:
    """The value of a tree (an mpmath number); None where it has variables, no value, or too large a one."""
    if variables(tree):
        return None
    context = _context(digits)
    try:
        return _evaluate(tree, context, {})
    except (ArithmeticError, ValueError, TypeError):
        return None


def _same_constant(first: Node, second: Node) -> bool | None:
    same: bool | None = None
    for digits in _DIGITS:
        left, right = constant(first, digits), constant(second, digits)
        if left is None or right is None:
            return None
        same = _close(_context(digits), left, right, digits - 20)
        if not same:
            # 20 digits may be lost to cancellation; numbers that part only beyond that are computed again
            if digits != _DIGITS[-1] and _close(_context(digits), left, right, digits // 2):
                continue
            return False
    return same


def _same_function(first: Node, second: Node, names: list[str], seed: str) -> bool | None:
    context = _context(_DIGITS[0])
    whole = all(name[0] in _INTEGER_NAMES for name in names)
    for integers in (False, True) if whole else (False,):
        agreed = parted = 0
        for point in _points(context, names, seed, whole=integers):
            try:
                left = _evaluate(first, context, point)
                right = _evaluate(second, context, point)
            except (ArithmeticError, ValueError, TypeError):
                continue
            if _close(context, left, right, _DIGITS[0] - 20):
                agreed += 1
            else:
                parted += 1
        if parted == 0:
            # Agreement at whole numbers alone may be what was asked ((-1)^n); that is not for us to say.
            return (True if not integers else None) if agreed >= _ENOUGH else None
        if not whole:
            return False
    return False


def _points(context: Any, names: list[str], seed: str, whole: bool) -> list[dict[str, Any]]:
    draw = random.Random(zlib.crc32(seed.encode("utf-8", "replace")))
    points: list[dict[str, Any]] = []
    for number in range(_POINTS):
        point: dict[str, Any] = {}
        for name in names:
            size = draw.randint(2, 12) if whole else context.mpf(draw.randint(10**6, 4 * 10**6)) / (10**6 + 3)
            point[name] = size if whole else size * ((-1) ** (number + draw.randint(0, 1)) if number >= 4 else 1)
        points.append(point)
    return points


def _close(context: Any, left: Any, right: Any, digits: int) -> bool:
    scale = max(context.mpf(1), abs(left), abs(right))
    return bool(abs(left - right) <= scale * context.mpf(10) ** -digits)


def _context(digits: int) -> Any:
    contexts: dict[int, Any] | None = getattr(_local, "contexts", None)
    if contexts is None:
        contexts = _local.contexts = {}
    if digits not in contexts:
        import mpmath

        contexts[digits] = mpmath.MPContext()
        contexts[digits].dps = digits
    return contexts[digits]


def _evaluate(node: Node, context: Any, point: dict[str, Any]) -> Any:
    """Value at a point. Raises ArithmeticError, ValueError or TypeError where there is none."""
    kind = node[0]
    if kind == "num":
        return context.mpf(node[1])
    if kind == "const":
        return {"pi": +context.pi, "e": +context.e, "i": context.mpc(0, 1)}[node[1]]
    if kind == "var":
        return point[node[1]]
    if kind == "+":  # long sums lean to the left: a loop walks them
        terms = [node]
        while terms[-1][1][0] == "+":
            terms.append(terms[-1][1])
        value = _evaluate(terms[-1][1], context, point)
        for term in reversed(terms):
            value = value + _evaluate(term[2], context, point)
        return _bounded(context, value)
    parts = [_evaluate(part, context, point) for part in node[1:]]
    return _bounded(context, _OPERATIONS[kind](context, *parts))


def _bounded(context: Any, value: Any) -> Any:
    if not context.isfinite(value):
        raise ValueError("no finite value")
    if value != 0 and abs(context.mag(value)) > _MAX_BITS:
        raise TooLarge
    # An imaginary part of nothing but rounding is none: a real root of a negative number must compare as real.
    if isinstance(value, context.mpc) and abs(value.imag) <= abs(value.real) * context.eps * 2**20:
        return value.real
    return value


def _power(context: Any, base: Any, exponent: Any) -> Any:
    if base == 0:
        if context.re(exponent) <= 0:
            raise ZeroDivisionError
        return base
    if abs(exponent) * (abs(context.mag(base)) + 2) > _MAX_BITS:
        raise TooLarge
    return context.power(base, exponent)


def _root(context: Any, value: Any, index: Any) -> Any:
    if index != context.nint(index) or not 1 <= index <= 1000:
        raise ValueError("no such root")
    if value < 0 and int(index) % 2:
        return -context.root(-value, int(index))
    return context.root(value, int(index))


def _factorial(context: Any, value: Any) -> Any:
    if abs(value) > 1_500 or (value == context.nint(value) and value < 0):
        raise TooLarge
    return context.factorial(value)


def _binomial(context: Any, above: Any, below: Any) -> Any:
    if abs(above) > 10_000 or abs(below) > 10_000:
        raise TooLarge
    return context.binomial(above, below)


def _small(function: str) -> Callable[[Any, Any], Any]:
    """An elementary function, refused where its argument has too many digits to reduce."""

    def call(context: Any, value: Any) -> Any:
        if value != 0 and context.mag(value) > 1_000:
            raise TooLarge
        if function == "exp" and abs(value) > _MAX_BITS:
            raise TooLarge
        return getattr(context, function)(value)

    return call


def _divide(context: Any, above: Any, below: Any) -> Any:
    if below == 0:
        raise ZeroDivisionError
    return above / below


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "-": lambda context, left, right: left - right,
    "*": lambda context, left, right: left * right,
    "/": _divide,
    "frac": _divide,
    "neg": lambda context, value: -value,
    "^": _power,
    "sqrt": lambda context, value: context.sqrt(value),
    "cbrt": lambda context, value: _root(context, value, context.mpf(3)),
    "root": _root,
    "!": _factorial,
    "binom": _binomial,
    "abs": lambda context, value: abs(value),
    "floor": lambda context, value: context.floor(value),
    "ceil": lambda context, value: context.ceil(value),
    "arcsin": _small("asin"),
    "arccos": _small("acos"),
    "arctan": _small("atan"),
    "ln": lambda context, value: context.ln(value),
    "log": lambda context, value: context.ln(value),
    **{name: _small(name) for name in ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "exp")},
}
