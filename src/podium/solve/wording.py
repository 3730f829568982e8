"""Numbers with the decimals that what is said of them needs. Knows numbers only."""

from __future__ import annotations

from collections.abc import Iterable

_MOST = 6
_NOISE = 1e-9  # what floating point leaves of 0


def digits_for(bounds: Iterable[float], least: int, against: Iterable[float] = (0.0,)) -> int:
    """The fewest decimals, `least` or more, with which no bound is printed as a number in `against` that it is not: an
    interval that excludes 0 does not read as if it touched it. At most 6."""
    bounds, against = tuple(bounds), tuple(against)
    for digits in range(least, _MOST):
        if all(
            abs(bound - mark) <= _NOISE or float(f"{bound:.{digits}f}") != float(f"{mark:.{digits}f}")
            for bound in bounds
            for mark in against
        ):
            return digits
    return _MOST


def say_change(
    value: float,
    low: float,
    high: float,
    *,
    scale: float = 1.0,
    least: int = 1,
    between: str = ", ",
    against: Iterable[float] = (0.0,),
) -> tuple[str, str]:
    """A difference and its interval, all with one number of decimals and a sign: ("+2.10", "+0.04, +4.20"). All of them
    and `against` are multiplied by `scale` first."""
    value, low, high = scale * value, scale * low, scale * high
    against = [scale * mark for mark in against]
    digits = digits_for((low, high), least, against)
    return signed(value, digits), f"{signed(low, digits)}{between}{signed(high, digits)}"


def say_points(
    value: float, low: float, high: float, least: int = 1, against: Iterable[float] = (0.0,)
) -> tuple[str, str]:
    """A difference of shares in points and its interval, as reports write them: ("+2.1", "−0.4 to +4.6")."""
    said = say_change(value, low, high, scale=100, least=least, between=" to ", against=against)
    return said[0].replace("-", "−"), said[1].replace("-", "−")


def say_share(value: float, low: float, high: float, least: int = 1, between: str = ", ") -> tuple[str, str]:
    """A share of 1 and its interval in per cent: ("12.5", "0.04, 31.0")."""
    bounds = (100 * low, 100 * high)
    digits = digits_for(bounds, least, (0.0, 100.0))
    return f"{100 * value:.{least}f}", between.join(f"{bound:.{digits}f}" for bound in bounds)


def signed(value: float, digits: int) -> str:
    """+2.1, -0.4; what is printed as 0 has no sign."""
    text = f"{value:+.{digits}f}"
    return text if float(text) else f"{0:.{digits}f}"
