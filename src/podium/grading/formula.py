r"""Closed forms read: LaTeX or plain notation -> expression tree. What a tree is worth is the business of `values`.

Knows arithmetic, roots, elementary functions, (double) factorials, binomials, absolute values, remainders, gcd, lcm,
max, min, sums, products, integrals and limits with their bounds, pi, e, i and variables; refuses to know sets,
relations, derivatives and words. A text is read whole or not at all. Bounded in length, nodes and depth.
"""

from __future__ import annotations

import re

from podium.grading import progressions
from podium.grading.syntax import Node, variables

_MAX_LENGTH = 2_000  # characters
_MAX_NODES = 2_000
_MAX_DOTTED = 200  # characters of a text with something left out
_MAX_DEPTH = 50
_TOKEN = re.compile(r"\s*(?:(\d+(?:\.\d*)?|\.\d+)|(\\[a-zA-Z]+|\\[|{}%])|([a-zA-Z]+)|(\*\*|[-+*/^_!()\[\]{}|,=']))")
_FUNCTION_NAMES = "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln log exp sqrt cbrt abs floor ceil"
_FUNCTIONS = frozenset(_FUNCTION_NAMES.split())
_SEVERAL = frozenset(("gcd", "lcm", "max", "min"))  # functions of a list of arguments
_REMAINDERS = ("\\bmod", "\\mod")
_ALIASES = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "Abs": "abs"}
_INVERSE = {"sin": "arcsin", "cos": "arccos", "tan": "arctan"}
_CONSTANTS = ("pi", "e", "i")
_GREEK = (
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta kappa lambda mu nu xi rho sigma tau phi varphi "
    "chi psi omega Gamma Delta Theta Lambda Sigma Phi Psi Omega ell"
)
_VARIABLES = frozenset(_GREEK.split())
_ENDS = frozenset(
    (*"+-/^_!)]},='", "\\ldots", "\\div", "\\}", "\\%", "\\rceil", "\\rfloor", "\\to", *_REMAINDERS)
)  # no factor starts with these
_PRODUCT_SIGNS = {"*", "\\cdot", "\\times"}
_DERIVATIVE = re.compile(
    r"\\frac\s*\{\s*d(?:\^\d)?\s*[a-zA-Z]?\s*\}\s*\{\s*d\s*[a-zA-Z]|(?<![a-zA-Z])d[a-z]\s*/\s*d[a-z](?![a-z])"
)
_DY_DX = re.compile(r"\\frac\s*\{\s*d\s*(\^\s*2\s*)?y\s*\}\s*\{\s*d\s*x\s*(?(1)\^\s*2\s*)\}(?!\s*['(])")  # y'
# Words of two or three letters; other such groups of letters are products of variables.
_SHORT_WORDS = (
    "or and if is no not the of to for yes odd all any in ft mi lb lbs mph pct am pm km cm mm kg "
    "min hr sec day one two six ten st nd rd th dne"
)
SHORT_WORDS = frozenset(_SHORT_WORDS.split())


class Unreadable(ValueError):
    """The text is no closed form that this file knows."""


def parse(text: str) -> Node | None:
    """The expression tree of a tidied answer; None when it is anything else, too long or too deep."""
    if len(text) > _MAX_LENGTH:
        return None
    if "\\ldots" in text and (len(text) > _MAX_DOTTED or text.count("\\ldots") > 2):
        return None  # fitting a rule takes time
    if "d" in text:
        text = _DY_DX.sub(lambda match: "y''" if match[1] else "y'", text)
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
    if "d" in text and _DERIVATIVE.search(text):
        return None
    reader = _Reader(tokens)
    try:
        tree = reader.sum(0)
    except Unreadable:
        return None
    if reader.at != len(tokens):
        return None
    return None if reader.bound & variables(tree) else tree


def _spell(word: str) -> list[str]:
    """A word as tokens: a function's or constant's name, or a product of variables."""
    word = _ALIASES.get(word, word)
    if word in _FUNCTIONS or word in _SEVERAL or word in ("pi", "lg"):
        return [f"\\{word}"]
    if word.lower() in SHORT_WORDS:
        return ["\\unknown"]
    if word == "mod":
        return ["\\mod"]
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
        self.bound: set[str] = set()  # variables of sums and integrals
        self.open_end = -1  # where the terms of the last sum, product or limit ended

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
        shown = [tree]
        while self.peek() in ("+", "-"):
            if self.open_end == self.at and self.tokens[self.at - 1] not in (")", "]"):
                raise Unreadable  # whether 2k + 1 is summed or 2k alone is anybody's guess
            sign = self.take()
            if self.peek() == "\\ldots":
                self.take()
                return self.continued("sum", shown, self.last_terms(depth))
            term = self.product(depth)
            tree = (sign, tree, term)
            shown.append(term if sign == "+" else ("neg", term))
        if self.peek() in _REMAINDERS:
            self.take()
            if len(shown) > 1:
                raise Unreadable  # (17 + 4) mod 5, or 17 + (4 mod 5)
            tree = ("mod", tree, self.product(depth))
            if self.peek() in ("+", "-", *_REMAINDERS):
                raise Unreadable
        return tree

    def last_terms(self, depth: int) -> list[Node]:
        """What stands behind the dots of a sum."""
        terms: list[Node] = []
        while self.peek() in ("+", "-"):
            sign = self.take()
            term = self.product(depth)
            terms.append(term if sign == "+" else ("neg", term))
        if self.peek() in _REMAINDERS:
            raise Unreadable
        return terms

    def last_factors(self, depth: int) -> list[Node]:
        """What stands behind the dots of a product."""
        factors: list[Node] = []
        while True:
            if self.peek() in _PRODUCT_SIGNS:
                self.take()
                factors.append(self.signed(depth))
            elif self.starts_factor(self.peek()):
                factors.append(self.power(depth))
            else:
                break
        if self.peek() in ("/", "\\div", "\\ldots"):
            raise Unreadable
        return factors

    def continued(self, kind: str, heads: list[Node], tails: list[Node]) -> Node:

        found = progressions.whole_series(kind, tuple(heads), tuple(tails))
        if found is None and kind == "prod" and len(tails) == 2:
            found = progressions.whole_series(kind, tuple(heads), (("*", *tails),))  # 2 \\cdot 4 \\cdots 2n
        if found is None:
            raise Unreadable
        return found

    def product(self, depth: int) -> Node:
        tree = self.signed(depth)
        shown = [tree]
        while True:
            token = self.peek()
            if token == "\\ldots" and shown:
                self.take()
                return self.continued("prod", shown, self.last_factors(depth))
            if token in _PRODUCT_SIGNS:
                self.take()
                if self.peek() == "\\ldots":
                    continue
                shown.append(self.signed(depth))
                tree = ("*", tree, shown[-1])
            elif token in ("/", "\\div"):
                self.take()
                tree = ("/", tree, self.signed(depth))
                shown = []
            elif self.starts_factor(token):
                if token[0].isdigit() and self.tokens[self.at - 1][0].isdigit():
                    raise Unreadable  # two numbers side by side, and no mixed number
                shown.append(self.power(depth))
                tree = ("*", tree, shown[-1])
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
        if (mixed := self.mixed()) is not None:
            return mixed
        base = self.postfix(depth)
        if self.peek() != "^":
            return base
        self.take()
        if self.peek() == "\\circ":
            self.take()
            return ("*", base, ("/", ("const", "pi"), ("num", "180")))
        return ("^", base, self.script(depth + 1))

    def mixed(self) -> Node | None:
        r"""3\frac{1}{2} or 3 1/2: a whole number before a proper fraction of whole numbers, as one factor."""
        ahead = self.tokens[self.at : self.at + 8]
        if len(ahead) < 4 or not ahead[0].isdigit() or (self.at and self.tokens[self.at - 1] in ("^", "_")):
            return None
        if ahead[1] == "\\frac" and [*ahead[2:3], *ahead[4:6], *ahead[7:8]] == ["{", "}", "{", "}"]:
            above, below, size = ahead[3], ahead[6], 8
        elif ahead[2] == "/":
            above, below, size = ahead[1], ahead[3], 4
        else:
            return None
        if not (above.isdigit() and below.isdigit() and len(above) < 10 and len(below) < 10):
            return None
        if int(above) >= int(below):
            return None
        if self.tokens[self.at + size : self.at + size + 1] in (["^"], ["!"], ["_"]):
            raise Unreadable  # whether the fraction alone is raised is anybody's guess
        self.at += size
        return ("+", ("num", ahead[0]), ("frac", ("num", above), ("num", below)))

    def script(self, depth: int) -> Node:
        if self.peek() == "{":
            return self.group(depth)
        return self.signed(depth)

    def postfix(self, depth: int) -> Node:
        tree = self.atom(depth)
        marks = 0
        while self.peek() == "!":
            self.take()
            marks += 1
        if marks > 2:
            raise Unreadable  # n!!! is the triple factorial, or a slip
        return (("!", "!!")[marks - 1], tree) if marks else tree

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
            if token in ("C", "P") and self.peek() == "(":
                start = self.at
                try:
                    chosen = self.arguments(depth)
                except Unreadable:
                    chosen = ()
                if len(chosen) == 2 and (token == "C" or all(part[0] == "num" for part in chosen)):
                    return ("binom" if token == "C" else "perm", *chosen)
                self.at = start
            if token in ("f", "g") and self.peek() == "(":
                raise Unreadable  # a function that nobody has given
            return self.variable(token, depth)
        raise Unreadable

    def arguments(self, depth: int) -> tuple[Node, ...]:
        """A list of arguments in brackets of any kind."""
        opening = self.take()
        closing = {"(": ")", "[": "]", "\\{": "\\}"}.get(opening)
        if closing is None:
            raise Unreadable
        bars, self.bars = self.bars, 0
        parts = [self.sum(depth + 1)]
        left_out = 0
        while self.peek() == ",":
            self.take()
            if self.peek() == "\\ldots" and not left_out:
                self.take()
                left_out = len(parts)
                continue
            parts.append(self.sum(depth + 1))
        if left_out:
            parts = self.listed(parts[:left_out], parts[left_out:])
        self.bars = bars
        self.take(closing)
        return tuple(parts)

    def listed(self, before: list[Node], after: list[Node]) -> list[Node]:
        """Arguments with something left out: gcd(2, 4, ..., 100)."""

        numbers = [
            [int(part[1]) if part[0] == "num" and part[1].isdigit() else None for part in parts]
            for parts in (before, after)
        ]
        found = progressions.continued(*numbers)
        if found is None:
            raise Unreadable
        return [("num", str(number)) for number in found]

    def variable(self, name: str, depth: int) -> Node:
        marks = self.primes()
        if self.peek() == "_":
            self.take()
            if self.peek() == "{":
                self.take()
                while self.peek() not in ("}", ""):
                    name += "_" + self.take()
                self.take("}")
            else:
                name += "_" + self.take()
        marks += self.primes()
        if marks and self.peek() == "(":
            raise Unreadable  # a derivative, of a function that nobody has given
        return ("var", name + marks)

    def primes(self) -> str:
        start = self.at
        while self.peek() == "'":
            self.take()
        return "'" * (self.at - start)

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
        if name == "lg":
            return ("/", self.function("ln", depth), ("ln", ("num", "10")))
        if name in _SEVERAL:
            return (name, *self.arguments(depth))
        if name == "infty":
            return ("const", "inf")
        if name in ("sum", "prod"):
            return self.series(name, depth)
        if name == "int":
            return self.integral(depth)
        if name == "lim":
            return self.limit(depth)
        if name in _VARIABLES:
            return self.variable(name, depth)
        raise Unreadable

    def bind(self, name: str) -> str:
        if not name.isalpha() or (name in _CONSTANTS and name != "i"):
            raise Unreadable
        self.bound.add(name)
        return name

    def series(self, name: str, depth: int) -> Node:
        """\\sum_{k=a}^{b} f or \\prod."""
        self.take("_")
        self.take("{")
        index = self.bind(self.take())
        self.take("=")
        low = self.sum(depth + 1)
        self.take("}")
        self.take("^")
        high = self.script(depth + 1) if self.peek() == "{" else self.atom(depth + 1)
        if index == "i":  # the index of a sum, not the imaginary unit
            for place in range(self.at, len(self.tokens)):
                if self.tokens[place] == "i":
                    self.tokens[place] = "iota"
            self.bound.discard("i")
            index = self.bind("iota")
        body = self.product(depth + 1)
        self.open_end = self.at
        return (name, index, low, high, body)

    def integral(self, depth: int) -> Node:
        """\\int_a^b f dx."""
        self.take("_")
        low = self.script(depth + 1) if self.peek() in ("{", "-") else self.atom(depth + 1)
        self.take("^")
        high = self.script(depth + 1) if self.peek() in ("{", "-") else self.atom(depth + 1)
        nested, end = 0, self.at
        while end < len(self.tokens) - 1:
            token = self.tokens[end]
            nested += (token in ("(", "{", "[")) - (token in (")", "}", "]"))
            if nested == 0 and token == "d" and self.tokens[end + 1].isalpha():
                break
            end += 1
        else:
            raise Unreadable
        inner = _Reader(self.tokens[self.at : end])
        body = inner.sum(depth + 1) if inner.tokens else ("num", "1")
        if inner.at != len(inner.tokens):
            raise Unreadable
        self.bound |= inner.bound
        name = self.bind(self.tokens[end + 1])
        self.at = end + 2
        return ("int", name, low, high, body)

    def limit(self, depth: int) -> Node:
        """\\lim_{x\\to a} f."""
        self.take("_")
        self.take("{")
        name = self.bind(self.take())
        if self.take() not in ("\\to", "\\rightarrow"):
            raise Unreadable
        to = self.sum(depth + 1)
        self.take("}")
        body = self.product(depth + 1)
        self.open_end = self.at
        return ("lim", name, to, body)

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
