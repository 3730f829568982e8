"""Writers for sums, products, mixed expressions, decimals, powers and legs."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from podium.curate.tasks.writer import Declined, Writer, between

_TOKEN = re.compile(r"\d+(?:\.\d+)?|[-+*/()]")

LEGS = {
    **dict.fromkeys(("snake", "sea slug", "jellyfish", "flatworm", "leech"), 0),
    **dict.fromkeys(("chicken", "bird", "human", "duck"), 2),
    **dict.fromkeys(("dog", "cat", "cow", "horse", "lion", "elephant", "giraffe", "tiger", "deer", "sheep"), 4),
    "starfish": 5,
    **dict.fromkeys(("insect", "ant", "butterfly", "beetle", "bee", "wasp", "grasshopper", "cricket", "cockroach"), 6),
    **dict.fromkeys(("praying mantis", "firefly"), 6),
    **dict.fromkeys(("spider", "scorpion"), 8),
    **dict.fromkeys(("crab", "lobster", "shrimp"), 10),
    "woodlouse": 14,
}

# --- expressions, one operation at a time ---


def tokenise(expression: str) -> list[str]:
    """Numbers with their sign, operators and brackets. A minus is a sign after an operator or an opening bracket, if a
    number follows; before a bracket it stays a minus on its own."""
    tokens: list[str] = []
    raw = _TOKEN.findall(expression)
    index = 0
    while index < len(raw):
        token = raw[index]
        signed = token == "-" and (not tokens or tokens[-1] in "+-*/(")
        if signed and index + 1 < len(raw) and raw[index + 1][0].isdigit():
            tokens.append("-" + raw[index + 1])
            index += 2
            continue
        tokens.append(token)
        index += 1
    return tokens


def reduce_once(tokens: list[str], apply: Callable[[str, str, str], str]) -> list[str]:
    """Carry out the next operation in the order of precedence; `apply(left, operator, right)` gives its result."""
    tokens = _drop_brackets(tokens)
    if len(tokens) == 1:
        return tokens
    if "(" in tokens:
        start = max(index for index, token in enumerate(tokens) if token == "(")
        end = tokens.index(")", start)
        return tokens[: start + 1] + reduce_once(tokens[start + 1 : end], apply) + tokens[end:]
    for operators in ("*/", "+-"):
        for index in range(1, len(tokens) - 1):
            if tokens[index] in operators and _is_number(tokens[index - 1]):
                value = apply(tokens[index - 1], tokens[index], tokens[index + 1])
                return [*tokens[: index - 1], value, *tokens[index + 2 :]]
    raise Declined("not an expression of numbers")


def _drop_brackets(tokens: list[str]) -> list[str]:
    """Take the brackets off single numbers; a minus before one becomes its sign."""
    index = 0
    while index < len(tokens):
        if tokens[index] == "(" and tokens[index + 2 : index + 3] == [")"]:
            value = tokens[index + 1]
            start = index
            if index > 0 and tokens[index - 1] == "-" and (index == 1 or tokens[index - 2] in "+-*/("):
                value = value[1:] if value.startswith("-") else f"-{value}"
                start = index - 1
            tokens = [*tokens[:start], value, *tokens[index + 3 :]]
            index = 0
            continue
        index += 1
    return tokens


def _is_number(token: str) -> bool:
    return token[-1].isdigit()


def _show(tokens: list[str]) -> str:
    return " ".join(tokens)


def _integer_step(left: str, operator: str, right: str) -> str:
    a, b = int(left), int(right)
    if operator == "/":
        if b == 0 or a % b:
            raise Declined("a division that leaves a rest")
        return str(a // b)
    return str(a + b if operator == "+" else a - b if operator == "-" else a * b)


def _decimal_step(left: str, operator: str, right: str) -> str:
    a, b = Decimal(left), Decimal(right)
    if operator == "/" and b == 0:
        raise Declined("division by zero")
    value = a + b if operator == "+" else a - b if operator == "-" else a * b if operator == "*" else a / b
    rounded = value.quantize(Decimal("0.000001"), ROUND_HALF_UP)
    return _plain(rounded if operator in "*/" else value)


def _plain(value: Decimal) -> str:
    text = f"{value:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def _reduce(expression: str, apply: Callable[[str, str, str], str]) -> tuple[list[str], str]:
    tokens = _drop_brackets(tokenise(expression))
    steps: list[str] = []
    while len(tokens) > 1:
        tokens = _drop_brackets(reduce_once(tokens, apply))
        steps.append("= " + _show(tokens))
        if len(steps) > 12:
            raise Declined("too long to reason in the head")
    return [_show(tokenise(expression)), *steps], tokens[0]


def _chain(expression: str, apply: Callable[[str, str, str], str]) -> tuple[list[str], str]:
    """A chain of + and - from left to right, each line with its two numbers and their result."""
    tokens = tokenise(expression)
    value, steps = tokens[0], []
    for operator, number in zip(tokens[1::2], tokens[2::2], strict=True):
        result = apply(value, operator, number)
        steps.append(f"{value} {operator} {number} = {result}")
        value = result
    return steps, value


# --- chain_sum, decimal_chain_sum ---


def _read_chain(text: str) -> str | None:
    expression = between(text, "State the final answer to the following arithmetic problem:", "=")
    return expression if expression and "." not in expression else None


def _read_decimal_chain(text: str) -> str | None:
    expression = between(text, "State the final answer to the following arithmetic problem:", "=")
    return expression if expression and "." in expression else None


def _decimal_chain_step(left: str, operator: str, right: str) -> str:
    return str(Decimal(left) + Decimal(right) if operator == "+" else Decimal(left) - Decimal(right))


def _program_decimal_chain(expression: str) -> str:
    return "from decimal import Decimal as D\nprint(" + re.sub(r"-?\d+\.?\d*", _quote_decimal, expression) + ")"


def _quote_decimal(match: re.Match[str]) -> str:
    return f'D("{match[0]}")'


# --- products ---


def _read_product(text: str) -> list[int] | None:
    expression = between(text, "Solve the following multiplication:", ". Give only the result")
    return [int(number) for number in expression.split("*")] if expression else None


def _reason_product(numbers: list[int]) -> tuple[list[str], str]:
    steps: list[str] = []
    value = numbers[0]
    for number in numbers[1:]:
        parts = [int(digit) * 10**place for place, digit in enumerate(reversed(str(abs(number)))) if digit != "0"] or [
            0
        ]
        total: int | None = None
        for part in parts:
            part = -part if number < 0 else part
            product = value * part
            steps.append(f"{value} * {part} = {product}")
            if total is not None:
                steps.append(f"{total} + {product} = {total + product}")
            total = product if total is None else total + product
        assert total is not None
        value = total
    return steps, str(value)


# --- basic_arithmetic, decimal_arithmetic ---


def _read_basic(text: str) -> str | None:
    match = re.fullmatch(r"(?:Calculate|What is|Solve|Compute|Evaluate:) ([-+*/() \d]+)[.?]", text.strip())
    return match[1] if match else None


def _read_decimal(text: str) -> str | None:
    match = re.search(r"significant digits.*\n([-+*/(). \d]+?)\s*= \?", text)
    return match[1] if match else None


def _program_decimal(expression: str) -> str:
    return f"print(round({expression}, 6))"


# --- power_function ---


def _read_power(text: str) -> tuple[str, int] | None:
    match = re.search(r"Compute (-?[\d.e+-]+)\^(-?\d+)\.", text)
    return (match[1], int(match[2])) if match else None


def _reason_power(operands: tuple[str, int]) -> tuple[list[str], str]:
    base, exponent = operands
    if exponent == 0:
        return [f"{base}^0 = 1"], "1.00e+0"
    value, steps = Decimal(base), [f"{base}^1 = {_scientific(Decimal(base))}"]
    for power in range(2, abs(exponent) + 1):
        value = Decimal(_scientific(value)) * Decimal(base)
        steps.append(f"^{power} = {_scientific(value)}")
    if exponent < 0:
        value = 1 / Decimal(_scientific(value))
        steps.append(f"1 / that = {_scientific(value)}")
    return steps, _scientific(value, 2)


def _scientific(value: Decimal, places: int = 6) -> str:
    mantissa, _, exponent = f"{value:.{places}e}".partition("e")
    return f"{mantissa}e{int(exponent):+d}"


def _program_power(operands: tuple[str, int]) -> str:
    return f'print("%.2e" % ({operands[0]}) ** {operands[1]})'


# --- leg_counting ---


def _read_legs(text: str) -> list[tuple[int, str]] | None:
    listed = between(text, "how many legs are there in total if you have", "?")
    if listed is None:
        return None
    animals = []
    for part in listed.split(","):
        count, _, name = part.strip().partition(" ")
        name = name if name in LEGS else name.removesuffix("s")
        if not count.isdigit() or name not in LEGS:
            raise Declined(f"unknown animal {name!r}")
        animals.append((int(count), name))
    return animals


def _reason_legs(animals: list[tuple[int, str]]) -> tuple[list[str], str]:
    total, steps = 0, []
    for count, name in animals:
        legs = count * LEGS[name]
        steps.append(f"{name}: {count} * {LEGS[name]} = {legs}; {total} + {legs} = {total + legs}")
        total += legs
    return steps, str(total)


def _program_legs(animals: list[tuple[int, str]]) -> str:
    return "print(" + " + ".join(f"{count} * {LEGS[name]}" for count, name in animals) + ")"


WRITERS: tuple[Writer[Any], ...] = (
    Writer(
        "chain_sum",
        _read_chain,
        lambda expression: _chain(expression, _integer_step),
        lambda expression: f"print({expression})",
        {"min_terms": 2, "max_terms": 4, "min_digits": 1, "max_digits": 2},
    ),
    Writer(
        "decimal_chain_sum",
        _read_decimal_chain,
        lambda expression: _chain(expression, _decimal_chain_step),
        _program_decimal_chain,
        {"min_terms": 2, "max_terms": 3, "max_digits": 2, "max_decimal_places": 2},
    ),
    Writer(
        "products",
        _read_product,
        _reason_product,
        lambda numbers: "print(" + " * ".join(map(str, numbers)) + ")",
        {"min_digits": 1, "max_digits": 3},
    ),
    Writer(
        "basic_arithmetic",
        _read_basic,
        lambda expression: _reduce(expression, _integer_step),
        # Whole divisions: `//` prints 5, `/` would print 5.0
        lambda expression: f"print({expression.replace('/', '//')})",
        {"min_terms": 2, "max_terms": 3, "min_digits": 1, "max_digits": 2, "allow_negation": False},
    ),
    Writer(
        "decimal_arithmetic",
        _read_decimal,
        lambda expression: _reduce(expression, _decimal_step),
        _program_decimal,
        {"min_terms": 2, "max_terms": 3},
        0.5,
    ),
    Writer(
        "power_function",
        _read_power,
        _reason_power,
        _program_power,
        {"min_base": -20.0, "max_base": 20.0, "max_exponent": 4},
        0.5,
    ),
    Writer(
        "leg_counting",
        _read_legs,
        _reason_legs,
        _program_legs,
        {"min_animals": 2, "max_animals": 3, "max_instances": 9},
    ),
)
