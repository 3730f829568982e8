"""What a person types for a quantity, and how a quantity is shown: bytes, counts, times, devices.

SI letters are powers of ten (k, M, B or G, T, P), `i` makes them binary (GiB). Counts may be products (2.2M*9k).
"""

from __future__ import annotations

import math
import re

from podium.errors import InputError, nearest

DAY = 86_400.0
PFLOPS_DAY = 1e15 * DAY  # FLOP in one PetaFLOP/s-day
GIB = 2**30

_SCALES = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12, "p": 1e15, "e": 1e18}
_BYTES = {"b": 1.0} | {f"{letter}b": _SCALES[letter] for letter in "kmgtp"}
_BYTES |= {f"{letter}ib": 1024.0**power for power, letter in enumerate("kmgtp", start=1)}
_TIMES = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": DAY, "day": DAY, "days": DAY, "weeks": 7 * DAY, "w": 7 * DAY}
_TIMES |= {"hours": 3600.0, "hour": 3600.0, "m": 60.0, "minutes": 60.0, "seconds": 1.0, "ms": 1e-3, "us": 1e-6}
_NUMBER = re.compile(r"\s*([0-9][0-9_,]*\.?[0-9]*(?:[eE][+-]?[0-9]+)?|\.[0-9]+)\s*([A-Za-z/]*)\s*")


def _split(text: str, what: str, example: str) -> tuple[float, str]:
    found = _NUMBER.fullmatch(text)
    if not found:
        raise InputError(f"{what} {text!r} is not a quantity", f"write for example {example}")
    value = float(found[1].replace("_", "").replace(",", ""))
    if not math.isfinite(value):
        raise InputError(f"{what} {text!r} is too large to mean anything", f"write for example {example}")
    return value, found[2]


def parse_count(text: str, what: str = "count") -> float:
    """A number of things: "300B", "1.5e12", "2.2M*9k"; > 0.

    Raises:
        InputError: no number, unknown suffix, zero or negative.
    """
    total = 1.0
    for factor in re.split(r"[*×]", text):
        value, suffix = _split(factor, what, "300B or 2.2M*9k")
        if suffix.lower() not in _SCALES:
            raise InputError(f"{what}: unknown suffix {suffix!r} in {text!r}", "use k, M, B (or G), T")
        total *= value * _SCALES[suffix.lower()]
    if total <= 0:
        raise InputError(f"{what} is {text!r}", "it must be more than 0, for example 300B")
    return total


def parse_whole(text: str, what: str) -> int:
    """A whole number of things, with suffixes: "4k" is 4000.

    Raises:
        InputError: as `parse_count`, or not whole.
    """
    value = parse_count(text, what)
    if value != int(value):
        raise InputError(f"{what} is {text!r}", "it must be a whole number")
    return int(value)


def parse_bytes(text: str, what: str = "memory") -> float:
    """Bytes: "80GB" (10^9), "80GiB" (2^30). A unit is asked for: 80 alone could mean either or neither.

    Raises:
        InputError: unit missing or unknown, zero.
    """
    value, unit = _split(text, what, "80GB or 640GiB")
    if not unit:
        raise InputError(f"{what} {text!r} has no unit", f"write {text}GB or {text}GiB")
    if unit.lower() not in _BYTES:
        raise InputError(f"{what}: unknown unit {unit!r} in {text!r}", nearest(unit, ["GB", "GiB", "MB", "MiB", "TB"]))
    if unit.endswith("b") and len(unit) > 1:
        raise InputError(f"{what} {text!r} is in bits", f"memory is in bytes: {text[:-1]}B")
    if value <= 0:
        raise InputError(f"{what} is {text!r}", "it must be more than 0, for example 80GB")
    return value * _BYTES[unit.lower()]


def parse_seconds(text: str, what: str = "time", bare: str | None = None) -> float:
    """Seconds: "2d", "48h", "90min", "30s". `bare` is the unit of a number without one; None: it must have one.

    Raises:
        InputError: unit missing or unknown, zero.
    """
    value, unit = _split(text, what, "2d, 48h or 90min")
    if not unit:
        if bare is None:
            raise InputError(f"{what} {text!r} has no unit", f"write {text}d, {text}h or {text}min")
        unit = bare
    if unit.lower() not in _TIMES:
        raise InputError(f"{what}: unknown unit {unit!r} in {text!r}", "use s, min, h, d")
    if value <= 0:
        raise InputError(f"{what} is {text!r}", "it must be more than 0, for example 2d")
    return value * _TIMES[unit.lower()]


def parse_rate(text: str, what: str = "bandwidth") -> float:
    """Bytes per second, "50GB" or "400Gb" (a small b: bits), with or without "/s".

    Raises:
        InputError: unit missing or unknown, zero.
    """
    plain = text.strip().removesuffix("/s").removesuffix("ps")
    if re.fullmatch(r".*[kKMGTmgt]b(it)?", plain):
        value, unit = _split(plain.removesuffix("it"), what, "400Gb or 50GB")
        if value <= 0:
            raise InputError(f"{what} is {text!r}", "it must be more than 0, for example 400Gb")
        return value * _SCALES[unit[0].lower()] / 8
    return parse_bytes(plain, what)


def parse_devices(text: str) -> tuple[int, str]:
    """How many of which: "512xH100" -> (512, "H100").

    Raises:
        InputError: not of this form, or zero.
    """
    found = re.fullmatch(r"\s*([0-9][0-9_,]*[kK]?)\s*[xX*×]\s*(\S.*?)\s*", text)
    if not found:
        example = f"{text}xH100" if text.strip().isdigit() else f"8x{text.strip() or 'H100'}"
        raise InputError(f"devices {text!r} do not say how many of which", f"write for example {example}")
    count = parse_whole_or_zero(found[1])
    if count < 1:
        raise InputError(f"{text!r}: nothing can be computed on {count} devices", "give at least 1, e.g. 8xH100")
    if count > 10_000_000:
        raise InputError(f"{text!r}: no machine has {count:,} devices", "give at most 10,000,000")
    return count, found[2]


def parse_whole_or_zero(text: str) -> int:
    """A whole number that may be 0: "4,096", "4k"."""
    plain = text.replace(",", "").replace("_", "")
    return int(plain[:-1]) * 1000 if plain[-1] in "kK" else int(plain)


def show_count(value: float, digits: int = 3) -> str:
    """1.01e12 -> "1.01 T"."""
    for letter, scale in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= 0.9995 * scale:
            return f"{_significant(value / scale, digits)} {letter}"
    return _significant(value, digits)


def show_bytes(value: float) -> str:
    """Bytes in GB of 10^9 (MB below one)."""
    if abs(value) >= 1e12:
        return f"{_significant(value / 1e12, 3)} TB"
    return f"{_significant(value / 1e9, 3)} GB" if abs(value) >= 1e9 else f"{_significant(value / 1e6, 3)} MB"


def show_seconds(value: float) -> str:
    """Seconds in the unit a person would use."""
    for unit, scale, least in (("years", 365.25 * DAY, 2), ("days", DAY, 1), ("h", 3600, 1), ("min", 60, 1)):
        if value >= least * scale:
            return f"{_significant(value / scale, 3)} {unit}"
    return f"{_significant(value, 3)} s" if value >= 1 else f"{_significant(value * 1e3, 3)} ms"


def show_flop(value: float) -> str:
    """FLOP in PetaFLOP/s-days, or in scientific notation where that would be tiny."""
    days = value / PFLOPS_DAY
    return (
        f"{days:,.0f} PF-days" if days >= 100 else f"{_significant(days, 3)} PF-days" if days > 1e-3 else f"{value:.3g}"
    )


def _significant(value: float, digits: int) -> str:
    if value == 0:
        return "0"
    # Rounded first: 999.999 has as many digits before its point as 1,000.
    rounded = float(f"{value:.{digits - 1}e}")
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded)) + 1e-12))
    return f"{rounded:,.{decimals}f}"
