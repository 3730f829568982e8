"""Writers for equations, number puzzles, sorting, polygons and spelling."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations
from typing import Any

from podium.curate.tasks.writer import Declined, Writer, integers

# --- simple_equations ---

_TERM = re.compile(r"([+-]?)(?:(\d+)\*?)?([a-z]?)")


def _read_equation(text: str) -> tuple[str, str, int, int, int] | None:
    """(variable, left side, its factor, its constant, right side) of a linear equation."""
    match = re.search(r"(?:in the equation|Solve for [a-z]|that satisfies): ([^=]+) = (-?\d+)$", text.strip())
    if match is None:
        return None
    left, right = match[1].strip(), int(match[2])
    factor = constant = 0
    variable = ""
    compact, position = left.replace(" ", ""), 0
    while position < len(compact):
        term = _TERM.match(compact, position)
        if term is None or term.end() == position or not (term[2] or term[3]):
            return None
        value = int(term[2] or 1) * (-1 if term[1] == "-" else 1)
        if term[3]:
            factor, variable = factor + value, term[3]
        else:
            constant += value
        position = term.end()
    if not factor:
        raise Declined("the variable cancels: every number is a solution")
    return variable, left, factor, constant, right


def _reason_equation(equation: tuple[str, str, int, int, int]) -> tuple[list[str], str]:
    variable, _, factor, constant, right = equation
    steps = []
    if constant:
        moved = right - constant
        sign = "-" if constant > 0 else "+"
        steps.append(f"{factor}*{variable} = {right} {sign} {abs(constant)} = {moved}")
        right = moved
    steps.append(f"{variable} = {right} / {factor} = {right // factor}")
    return steps, str(right // factor)


def _program_equation(equation: tuple[str, str, int, int, int]) -> str:
    """A linear f is zero at f(0) / (f(0) - f(1)); only the equation has to be copied."""
    variable, left, _, _, right = equation
    return f"f = lambda {variable}: {left} - ({right})\nprint(f(0) // (f(0) - f(1)))"


# --- countdown, puzzle24 ---


def _read_countdown(text: str) -> tuple[int, tuple[int, ...]] | None:
    for pattern, target, numbers in (
        (r"Using all the numbers ([\d, ]+), create an expression that equals (\d+)\.", 2, 1),
        (r"Find a way to make (\d+) using all of these numbers: ([\d, ]+)\.", 1, 2),
        (r"Calculate (\d+) using all of these numbers: ([\d, ]+)\.", 1, 2),
    ):
        if match := re.search(pattern, text):
            return int(match[target]), tuple(integers(match[numbers]))
    return None


def _read_24(text: str) -> tuple[int, tuple[int, ...]] | None:
    match = re.match(r"Make 24 using ([\d, ]+)\. You can only use", text)
    return (24, tuple(integers(match[1]))) if match else None


def _reason_countdown(puzzle: tuple[int, tuple[int, ...]]) -> tuple[list[str], str]:
    target, numbers = puzzle
    if len(numbers) > 4:
        raise Declined("too many numbers to search in the head")
    found = search([(Fraction(n), str(n)) for n in numbers], target, [])
    if found is None:
        raise Declined("no expression gives the target")
    return found


def search(pool: list[tuple[Fraction, str]], target: int, steps: list[str]) -> tuple[list[str], str] | None:
    """Depth-first: join two numbers, go on with the rest. The steps and the expression, or None."""
    if len(pool) == 1:
        return (steps, _outer(pool[0][1])) if pool[0][0] == target else None
    for i, j in combinations(range(len(pool)), 2):
        rest = [pool[k] for k in range(len(pool)) if k not in (i, j)]
        for first, sign, second in _joins(pool[i], pool[j]):
            (x, a), (y, b) = first, second
            value = x + y if sign == "+" else x - y if sign == "-" else x * y if sign == "*" else x / y
            step = f"{x} {sign} {y} = {value}"
            if found := search([(value, f"({a}{sign}{b})"), *rest], target, [*steps, step]):
                return found
    return None


def _joins(
    left: tuple[Fraction, str], right: tuple[Fraction, str]
) -> Iterator[tuple[tuple[Fraction, str], str, tuple[Fraction, str]]]:
    yield left, "+", right
    yield left, "-", right
    yield right, "-", left
    yield left, "*", right
    if right[0]:
        yield left, "/", right
    if left[0]:
        yield right, "/", left


def _outer(expression: str) -> str:
    return expression[1:-1] if expression.startswith("(") else expression


_SEARCH = """from itertools import permutations
def search(pool):
    if len(pool) == 1:
        return pool[0][1] * (abs(pool[0][0] - {target}) < 1e-6)
    for (x, a), (y, b), *rest in permutations(pool):
        for z, op in (x + y, "+"), (x - y, "-"), (x * y, "*"), (x / (y or 1e-9), "/"):
            if s := search([(z, f"({{a}}{{op}}{{b}})"), *rest]):
                return s
print(search([(n, n) for n in [{numbers}]]))"""


def _program_countdown(puzzle: tuple[int, tuple[int, ...]]) -> str:
    target, numbers = puzzle
    if len(numbers) > 4:
        raise Declined("too many numbers for a plain search within the time limit")
    return _SEARCH.format(target=target, numbers=", ".join(map(str, numbers)))


# --- number_sorting ---


def _read_sorting(text: str) -> tuple[bool, list[str]] | None:
    match = re.match(r"Sort these numbers in (ascending|descending) order: ([-\d., ]+)", text)
    return (match[1] == "descending", match[2].strip().split(", ")) if match else None


def _reason_sorting(operands: tuple[bool, list[str]]) -> tuple[list[str], str]:
    descending, numbers = operands
    ordered = sorted(numbers, key=float, reverse=descending)
    return [(" > " if descending else " < ").join(ordered)], str(ordered)


def _program_sorting(operands: tuple[bool, list[str]]) -> str:
    descending, numbers = operands
    return f"print(sorted({numbers}, key=float{', reverse=True' if descending else ''}))"


# --- simple_geometry ---


def _read_polygon(text: str) -> tuple[int, list[str]] | None:
    match = re.search(r"convex (?:polygon (?:with|has) )?(\d+)(?: sides|-gon)", text)
    angles = re.findall(r"(\d+(?:\.\d+)?)°", text)
    return (int(match[1]), angles) if match and angles else None


def _reason_polygon(polygon: tuple[int, list[str]]) -> tuple[list[str], str]:
    sides, angles = polygon
    rest = (sides - 2) * 180
    steps = [f"({sides} - 2) * 180 = {rest}"]
    value = Fraction(rest)
    for angle in angles:
        shown = _number(Fraction(angle))
        steps.append(f"{_number(value)} - {shown} = {_number(value - Fraction(angle))}")
        value -= Fraction(angle)
    return steps, _number(value)


def _number(value: Fraction) -> str:
    return str(int(value)) if value.denominator == 1 else str(float(value))


def _program_polygon(polygon: tuple[int, list[str]]) -> str:
    sides, angles = polygon
    shown = " - ".join(_number(Fraction(angle)) for angle in angles)
    return f"print(({sides} - 2) * 180 - {shown})"


# --- spell_backward ---


def _read_word(text: str) -> str | None:
    match = re.match(r"Spell this word backward \(example: sun -> nus\): (\S+)$", text)
    return match[1] if match else None


def _reason_word(word: str) -> tuple[list[str], str]:
    return [" ".join(word), " ".join(reversed(word))], word[::-1]


WRITERS: tuple[Writer[Any], ...] = (
    Writer(
        "simple_equations",
        _read_equation,
        _reason_equation,
        _program_equation,
        {"min_terms": 2, "max_terms": 2, "max_value": 20, "operators_weights": [0.5, 0.5, 0.0]},
    ),
    Writer(
        "countdown",
        _read_countdown,
        _reason_countdown,
        _program_countdown,
        {"min_numbers": 3, "max_numbers": 3, "max_value": 20, "min_target": 10, "max_target": 99},
        0.5,
    ),
    Writer("puzzle24", _read_24, _reason_countdown, _program_countdown, {}, 0.5),
    Writer(
        "number_sorting",
        _read_sorting,
        _reason_sorting,
        _program_sorting,
        {"min_numbers": 3, "max_numbers": 4, "max_decimals": 0, "min_value": -50.0, "max_value": 50.0},
        0.5,
    ),
    Writer("simple_geometry", _read_polygon, _reason_polygon, _program_polygon, {"max_sides": 4}, 0.5),
    Writer(
        "spell_backward",
        _read_word,
        _reason_word,
        lambda word: f'print("{word}"[::-1])',
        {"max_word_len": 6},
    ),
)
