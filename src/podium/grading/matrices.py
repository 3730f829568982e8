r"""Matrices computed: determinants, multiples, sums, products, powers, transposes and inverses, as cells of text.

A cell stays what was written; what is computed is written as an expression of the cells, which `formula` reads.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from podium.grading import formula, values
from podium.grading.notation import strip_brackets

_MOST_ROWS = 4  # of what is computed
_BODY = r"\\begin\{%s\}((?:(?!\\begin|\\end).)*)\\end\{%s\}"
_DETERMINANT = re.compile(
    _BODY % ("vmatrix", "vmatrix")
    + r"|\\det\s*\(?\s*" + _BODY % ("pmatrix", "pmatrix") + r"\s*\)?|\|\s*" + _BODY % ("pmatrix", "pmatrix") + r"\s*\|",
    re.DOTALL,
)  # fmt: skip
_MATRIX = re.compile(_BODY % ("pmatrix", "pmatrix"), re.DOTALL)
_SCRIPT = re.compile(
    r"\s*\^\s*(?:\{\s*(-?\d+|T|\\top|t|\\math(?:sf|rm|bf)\s*T|\\text\{\s*[Tt]\s*\})\s*\}|(\d|T|\\top|t|\\text\{\s*[Tt]\s*\}))"
)
_MOST_POWER = 12

Rows = list[list[str]]


class NotComputed(ValueError):
    """The text is no expression of matrices that is computed here."""


def rows_of(body: str) -> Rows:
    """The cells between \\begin and \\end. Raises NotComputed where the rows are not of one length."""
    rows = [[cell.strip() for cell in row.split("&")] for row in re.split(r"\\\\", body.strip().removesuffix("\\\\"))]
    if len({len(row) for row in rows}) != 1 or not all(map(all, rows)):
        raise NotComputed
    return rows


def without_determinants(text: str) -> str:
    """A text whose determinants (bars, \\det) are written out as expressions; as it is where they are none."""
    if "vmatrix" not in text and "\\det" not in text and "|" not in text:
        return text

    def written(match: re.Match[str]) -> str:
        try:
            return f"({_determinant(rows_of(next(filter(None, match.groups()))))})"
        except NotComputed:
            return match[0]

    return _DETERMINANT.sub(written, text)


def computed(text: str) -> Rows:
    """The matrix that an expression comes to. Raises NotComputed where it is none."""
    reader = _Reader(text)
    found = reader.sum()
    if reader.at != len(text.rstrip()):
        raise NotComputed
    return found


class _Reader:
    """Terms of factors; every factor is a matrix with scripts, and numbers may stand before the first."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def sum(self) -> Rows:
        total = self.term(self.sign() or "+")
        while sign := self.sign():
            term = self.term(sign)
            if [len(row) for row in term] != [len(row) for row in total]:
                raise NotComputed
            total = [[f"{a}+({b})" for a, b in zip(*pair, strict=True)] for pair in zip(total, term, strict=True)]
        return total

    def sign(self) -> str:
        match = re.compile(r"\s*([+-])").match(self.text, self.at)
        if match is None:
            return ""
        self.at = match.end()
        return match[1]

    def term(self, sign: str) -> Rows:
        start = self.text.find("\\begin", self.at)
        if start < 0:
            raise NotComputed
        scalar = re.sub(r"\s*(?:\\cdot|\\times|\*)\s*$", "", self.text[self.at : start].strip())
        if scalar and (
            formula.parse(scalar) is None or (re.search(r"(?<!\{)[+-]", strip_brackets(scalar)) and scalar[0] != "(")
        ):
            raise NotComputed
        self.at = start
        product: Rows | None = None
        while match := re.compile(r"\s*(?:\\cdot|\\times)?\s*" + _MATRIX.pattern, re.DOTALL).match(self.text, self.at):
            self.at = match.end()
            factor = self.scripted(rows_of(match[1]))
            product = factor if product is None else _product(product, factor)
        if product is None:
            raise NotComputed
        factor = ("-" if sign == "-" else "") + (f"({scalar})" if scalar else "1")
        return product if factor == "1" else [[f"{factor}*({cell})" for cell in row] for row in product]

    def scripted(self, rows: Rows) -> Rows:
        while match := _SCRIPT.match(self.text, self.at):
            self.at = match.end()
            script = match[1] or match[2]
            if not script.lstrip("-").isdigit():
                rows = [list(column) for column in zip(*rows, strict=True)]
                continue
            power = int(script)
            if power == 0 or abs(power) > _MOST_POWER or len(rows) != len(rows[0]):
                raise NotComputed
            base = _inverse(rows) if power < 0 else rows
            rows = base
            for _ in range(abs(power) - 1):
                rows = _product(rows, base)
        return rows


def _product(left: Rows, right: Rows) -> Rows:
    if len(left[0]) != len(right) or max(len(left), len(right), len(right[0])) > _MOST_ROWS:
        raise NotComputed
    columns = list(zip(*right, strict=True))
    return [
        [_short("+".join(f"({a})*({b})" for a, b in zip(row, column, strict=True))) for column in columns]
        for row in left
    ]


def _short(cell: str) -> str:
    """A rational number for an expression that is one: repeated products would grow."""
    tree = formula.parse(cell)
    if tree is None:
        raise NotComputed
    try:
        return str(values.exact(tree))
    except (ArithmeticError, ValueError):
        return cell


def _determinant(rows: Rows) -> str:
    if len(rows) != len(rows[0]) or len(rows) > _MOST_ROWS:
        raise NotComputed
    if len(rows) == 1:
        return rows[0][0]
    parts = [
        f"{'-' if place % 2 else '+'}({cell})*({_determinant(_minor(rows, 0, place))})"
        for place, cell in enumerate(rows[0])
    ]
    return _short("".join(parts))


def _minor(rows: Sequence[Sequence[str]], down: int, across: int) -> Rows:
    return [[cell for j, cell in enumerate(row) if j != across] for i, row in enumerate(rows) if i != down]


def _inverse(rows: Rows) -> Rows:
    size = len(rows)
    whole = _determinant(rows)
    tree = formula.parse(whole)
    if tree is None or values.same_value(tree, ("num", "0")) is not False:
        raise NotComputed
    if size == 1:
        return [[f"1/({rows[0][0]})"]]
    return [
        [_short(f"{'-' if (i + j) % 2 else ''}({_determinant(_minor(rows, j, i))})/({whole})") for j in range(size)]
        for i in range(size)
    ]
