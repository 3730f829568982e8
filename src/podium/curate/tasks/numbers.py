"""Writers for divisors, fractions, bases, primes and bits."""

from __future__ import annotations

import math
import re
from typing import Any

from podium.curate.tasks.writer import MAX_STEPS_TOKENS, Declined, Writer, between, integers

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def _euclid(a: int, b: int, steps: list[str]) -> int:
    """Euclid's algorithm, one remainder per line; a is the larger number."""
    a, b = max(a, b), min(a, b)
    while b:
        steps.append(f"{a} % {b} = {a % b}")
        a, b = b, a % b
    return a


# --- gcd, lcm ---


def _read_gcd(text: str) -> list[int] | None:
    listed = between(text, "Find the Greatest Common Divisor (GCD) of these numbers:", ". Give only")
    return integers(listed) if listed else None


def _reason_gcd(numbers: list[int]) -> tuple[list[str], str]:
    steps: list[str] = []
    value = numbers[0]
    for number in numbers[1:]:
        value = _euclid(value, number, steps)
    return steps, str(value)


def _read_lcm(text: str) -> list[int] | None:
    listed = between(text, "Find the Least Common Multiple (LCM) of these numbers:")
    return integers(listed) if listed else None


def _reason_lcm(numbers: list[int]) -> tuple[list[str], str]:
    steps: list[str] = []
    value = numbers[0]
    for number in numbers[1:]:
        divisor = _euclid(value, number, steps)
        steps.append(f"{value} / {divisor} = {value // divisor}")
        steps.append(f"{value // divisor} * {number} = {value // divisor * number}")
        value = value // divisor * number
    return steps, str(value)


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))


# --- fraction_simplification ---


def _read_fraction(text: str) -> tuple[int, int] | None:
    fraction = between(text, "Simplify the fraction", "to its lowest terms")
    if fraction is None:
        return None
    numbers = integers(fraction)
    return (numbers[0], numbers[1]) if len(numbers) == 2 else None


def _reason_fraction(fraction: tuple[int, int]) -> tuple[list[str], str]:
    above, below = fraction
    steps: list[str] = []
    divisor = _euclid(above, below, steps)
    steps += [f"{above} / {divisor} = {above // divisor}", f"{below} / {divisor} = {below // divisor}"]
    return steps, f"{above // divisor}/{below // divisor}"


def _program_fraction(fraction: tuple[int, int]) -> str:
    return f'from fractions import Fraction\nprint(*Fraction({fraction[0]}, {fraction[1]}).as_integer_ratio(), sep="/")'


# --- base_conversion ---

_BASE_NAMES = {"binary": 2, "hexadecimal": 16}


def _read_base(text: str) -> tuple[str, int, int] | None:
    match = re.search(r"convert the ([\w-]+) number ([0-9a-z]*) to ([\w-]+)", text)
    if match is None:
        return None
    if not match[2]:
        raise Declined("the number is missing")  # reasoning-gym writes zero as nothing in some bases
    source, target = (_BASE_NAMES.get(name) or int(name.removeprefix("base-")) for name in (match[1], match[3]))
    return match[2], source, target


def _reason_base(operands: tuple[str, int, int]) -> tuple[list[str], str]:
    """Horner's rule into the decimal system, then repeated division into the target base."""
    digits, source, target = operands
    value = DIGITS.index(digits[0])
    steps = []
    for digit in digits[1:]:
        step = f"{value} * {source} + {DIGITS.index(digit)}"
        value = value * source + DIGITS.index(digit)
        steps.append(f"{step} = {value}")
    result = ""
    while value >= target:
        steps.append(f"{value} = {value // target} * {target} + {value % target}")
        result = DIGITS[value % target] + result
        value //= target
    return steps, DIGITS[value] + result


def _program_base(operands: tuple[str, int, int]) -> str:
    digits, source, target = operands
    if target == 10:
        return f'print(int("{digits}", {source}))'
    return f'import numpy as np\nprint(np.base_repr(int("{digits}", {source}), {target}).lower())'


# --- prime_factorization ---


def _read_factors(text: str) -> int | None:
    match = re.search(r"Find the prime factorization of (\d+)\.", text)
    return int(match[1]) if match else None


def factorise(number: int) -> list[int]:
    """Prime factors in ascending order, by trial division."""
    factors, divisor = [], 2
    while divisor * divisor <= number:
        while number % divisor == 0:
            factors.append(divisor)
            number //= divisor
        divisor += 1
    return [*factors, number] if number > 1 else factors


def _reason_factors(number: int) -> tuple[list[str], str]:
    factors = factorise(number)
    steps, rest = [], number
    for factor in factors[:-1]:
        steps.append(f"{rest} / {factor} = {rest // factor}")
        rest //= factor
    steps.append(f"{rest} is prime")
    return steps, " × ".join(map(str, factors))


def _program_factors(number: int) -> str:
    return f'from sympy import factorint\nprint(*factorint({number}, multiple=True), sep=" × ")'


# --- count_primes ---


def _read_primes(text: str) -> tuple[int, int] | None:
    match = re.search(r"how many prime numbers there are between (\d+) and (\d+) \(inclusive\)", text)
    return (int(match[1]), int(match[2])) if match else None


def _reason_primes(interval: tuple[int, int]) -> tuple[list[str], str]:
    first, last = interval
    if last - first > 10 * MAX_STEPS_TOKENS:
        raise Declined("too long to reason in the head")
    primes = [n for n in range(max(2, first), last + 1) if all(n % d for d in range(2, math.isqrt(n) + 1))]
    steps = [f"{count}: {prime}" for count, prime in enumerate(primes, start=1)]
    return [f"{first} to {last}:", ", ".join(steps) or "none"], str(len(primes))


def _program_primes(interval: tuple[int, int]) -> str:
    return f"from sympy import primerange\nprint(len(list(primerange({interval[0]}, {interval[1]} + 1))))"


# --- count_bits ---


def _read_bits(text: str) -> int | None:
    match = re.search(r"How many 1 bits are there in the binary representation of the number (\d+)\?", text)
    return int(match[1]) if match else None


def _reason_bits(number: int) -> tuple[list[str], str]:
    steps, rest = [], number
    while rest:
        steps.append(f"{rest} = 2 * {rest // 2} + {rest % 2}")
        rest //= 2
    return steps, str(number.bit_count())


WRITERS: tuple[Writer[Any], ...] = (
    Writer(
        "gcd",
        _read_gcd,
        _reason_gcd,
        lambda numbers: f"from math import gcd\nprint(gcd({_listed(numbers)}))",
        {"max_value": 99},
    ),
    Writer(
        "lcm",
        _read_lcm,
        _reason_lcm,
        lambda numbers: f"from math import lcm\nprint(lcm({_listed(numbers)}))",
        {"max_value": 60},
    ),
    Writer(
        "fraction_simplification",
        _read_fraction,
        _reason_fraction,
        _program_fraction,
        {"max_value": 30, "max_factor": 12, "styles": ["plain"]},
    ),
    Writer(
        "base_conversion",
        _read_base,
        _reason_base,
        _program_base,
        {"min_value": 1, "max_value": 255},
        0.5,
    ),
    Writer(
        "prime_factorization",
        _read_factors,
        _reason_factors,
        _program_factors,
        {"max_value": 9999},
    ),
    Writer(
        "count_primes",
        _read_primes,
        _reason_primes,
        _program_primes,
        {"max_n": 200},
    ),
    Writer(
        "count_bits",
        _read_bits,
        _reason_bits,
        lambda number: f'print(bin({number}).count("1"))',
        {"max_n": 999},
    ),
)
