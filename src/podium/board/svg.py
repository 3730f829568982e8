"""Charts as inline SVG: stacked bars, points with a frontier, curves. Text and numbers in, markup out.

An SVG that is made smaller makes its letters smaller too, so every chart is drawn twice, for a wide and for a narrow
window, and the style sheet shows the one that fits (`plot`). Colours are CSS classes of the page (`s0` … `s10`), so
that a chart follows its light or dark theme; every mark has a <title>, which browsers show when it is pointed at.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

WIDE, NARROW = 860.0, 380.0
BAR, TOP, BOTTOM = 26.0, 14.0, 44.0
SERIES = 11  # colours


def plot(draw: Callable[[float], str]) -> str:
    """A chart for every window. `draw`: width in units of its text's size (12) -> <svg>."""
    return f'<div class="plot"><div class="wide">{draw(WIDE)}</div><div class="narrow">{draw(NARROW)}</div></div>'


def colour_class(index: int) -> str:
    """The class of the series with this number."""
    return f"s{index % SERIES}"


def ticks(low: float, high: float, wanted: int = 6) -> list[float]:
    """Round numbers from `low` to `high`, about `wanted` of them."""
    if not high > low:
        return [low]
    rough = (high - low) / max(1, wanted)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def number(value: float) -> str:
    """Short: 1,234 or 12.3 or 0.0123."""
    if value == 0:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _open(width: float, height: float, label: str) -> str:
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{html.escape(label)}" '
        'xmlns="http://www.w3.org/2000/svg">'
    )


def _text(x: float, y: float, content: str, anchor: str = "start", style: str = "") -> str:
    kind = f' class="{style}"' if style else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{kind}>{html.escape(content)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{style}"/>'


@dataclass(frozen=True, slots=True)
class Bar:
    """One stacked bar: parts by name, in units of the axis; `note` is written at its end."""

    label: str
    parts: dict[str, float]
    note: str = ""


def stacked_bars(
    bars: Sequence[Bar],
    order: Sequence[str],
    axis: str,
    limit: float | None = None,
    limit_name: str = "",
    *,
    width: float = WIDE,
) -> str:
    """Horizontal bars on one scale; `order` gives the parts' colours; `limit` is drawn as a line."""
    longest_label = max((len(bar.label) for bar in bars), default=0)
    left = min(max(150.0 if width >= WIDE else 60.0, 6.4 * longest_label + 12), 0.45 * width)
    right = 70.0 if width >= WIDE else 48.0
    longest = max([sum(bar.parts.values()) for bar in bars] + [limit or 0.0]) * 1.02 or 1.0
    height = TOP + BAR * len(bars) + BOTTOM + (14 if limit else 0)
    top = TOP + (14 if limit else 0)
    scale = (width - left - right) / longest
    out = [_open(width, height, axis)]
    base = top + BAR * len(bars)
    for tick in ticks(0, longest, 6 if width >= WIDE else 3):
        out.append(_line(left + tick * scale, top, left + tick * scale, base, "grid"))
        out.append(_text(left + tick * scale, base + 16, number(tick), "middle"))
    out.append(_text(width / 2, base + 34, axis, "middle", "axis"))
    for index, bar in enumerate(bars):
        y = top + index * BAR
        out.append(_text(left - 8, y + BAR * 0.66, bar.label, "end"))
        x = left
        for name in order:
            value = bar.parts.get(name, 0.0)
            if value <= 0:
                continue
            title = html.escape(f"{bar.label}: {name} {number(value)}")
            out.append(
                f'<rect x="{x:.2f}" y="{y + 3:.1f}" width="{value * scale:.2f}" height="{BAR - 6:g}" '
                f'class="{colour_class(order.index(name))}"><title>{title}</title></rect>'
            )
            x += value * scale
        out.append(_text(x + 6, y + BAR * 0.66, bar.note))
    if limit:
        x = left + limit * scale
        out.append(_line(x, top - 4, x, base, "limit"))
        out.append(_text(x, top - 6, limit_name, "end", "limit-name"))
    return "".join(out) + "</svg>"


def legend(order: Sequence[str], used: Sequence[Bar]) -> str:
    """The parts that occur, with their colours."""
    return legend_of(order, [name for name in order if any(bar.parts.get(name, 0.0) > 0 for bar in used)])


def legend_of(order: Sequence[str], shown: Sequence[str] | None = None) -> str:
    """Names with the colours that their places in `order` give them."""
    marks = (
        f'<span><i class="swatch {colour_class(order.index(name))}"></i>{html.escape(name)}</span>'
        for name in (order if shown is None else shown)
    )
    return f'<div class="key">{"".join(marks)}</div>'


@dataclass(frozen=True, slots=True)
class Point:
    """A mark of a scatter; `group` chooses its colour."""

    x: float
    y: float
    group: int
    title: str


def frontier(points: Sequence[Point]) -> list[Point]:
    """Those no other is better than in both x and y (less is better), by x."""
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (p.x, p.y)):
        if not best or point.y < best[-1].y:
            best.append(point)
    return best


@dataclass(slots=True)
class _Frame:
    """Axes of a chart with two scales."""

    x: tuple[float, float]
    y: tuple[float, float]
    width: float = WIDE
    height: float = 340.0
    out: list[str] = field(default_factory=list[str])

    def at(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self.x[0]) / (self.x[1] - self.x[0]) * (self.width - 70 - 20)
        up = (y - self.y[0]) / (self.y[1] - self.y[0]) * (self.height - TOP - BOTTOM)
        return 70 + across, self.height - BOTTOM - up

    def axes(self, x_name: str, y_name: str, log_x: bool = False) -> None:
        marks = [(x, x) for x in ticks(*self.x, wanted=8 if self.width >= WIDE else 4)]
        if log_x:
            decades = range(math.floor(self.x[0]), math.ceil(self.x[1]) + 1)
            factors = (1, 2, 5) if self.width >= WIDE else (1,)
            shown = [math.log10(factor) + decade for decade in decades for factor in factors]
            marks = [(x, 10**x) for x in shown if self.x[0] <= x <= self.x[1]]
        for x, shown in marks:
            px, _ = self.at(x, self.y[0])
            self.out.append(_line(px, TOP, px, self.height - BOTTOM, "grid"))
            self.out.append(_text(px, self.height - BOTTOM + 16, number(shown), "middle"))
        for y in ticks(*self.y):
            _, py = self.at(self.x[0], y)
            self.out.append(_line(70, py, self.width - 20, py, "grid"))
            self.out.append(_text(62, py + 4, number(y), "end"))
        self.out.append(_text(70 + (self.width - 90) / 2, self.height - 8, x_name, "middle", "axis"))
        middle = TOP + (self.height - TOP - BOTTOM) / 2
        name = html.escape(y_name)
        self.out.append(
            f'<text transform="translate(16 {middle:.0f}) rotate(-90)" text-anchor="middle" class="axis">{name}</text>'
        )


def _around(values: Sequence[float], share: float = 0.06) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = (high - low) * share or abs(high) * share or 1.0
    return low - room, high + room


def scatter(
    points: Sequence[Point], x_name: str, y_name: str, limit: float | None = None, *, width: float = WIDE
) -> str:
    """Points, and the frontier of the best as a step line. `limit` is a line across x."""
    xs = [point.x for point in points] + ([limit] if limit else [])
    frame = _Frame(_around(xs), _around([point.y for point in points]), width)
    frame.out.append(_open(width, frame.height, f"{y_name} against {x_name}"))
    frame.axes(x_name, y_name)
    if limit:
        x, _ = frame.at(limit, frame.y[0])
        frame.out.append(_line(x, TOP, x, frame.height - BOTTOM, "limit"))
    for point in points:
        x, y = frame.at(point.x, point.y)
        frame.out.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.2" class="{colour_class(point.group)} dot">'
            f"<title>{html.escape(point.title)}</title></circle>"
        )
    path = ""
    for index, point in enumerate(frontier(points)):
        x, y = frame.at(point.x, point.y)
        path += f"M{x:.1f} {y:.1f}" if index == 0 else f"H{x:.1f}V{y:.1f}"
    frame.out.append(f'<path d="{path}" class="frontier"/>')
    return "".join(frame.out) + "</svg>"


def curve(
    values: Sequence[tuple[float, float]],
    x_name: str,
    y_name: str,
    mark: tuple[float, float, str] | None = None,
    *,
    width: float = WIDE,
) -> str:
    """y over x, x on a logarithmic scale; `mark` names one point of it."""
    frame = _Frame((math.log10(values[0][0]), math.log10(values[-1][0])), _around([y for _, y in values]), width, 260.0)
    frame.out.append(_open(width, frame.height, f"{y_name} against {x_name}"))
    frame.axes(x_name, y_name, log_x=True)
    path = "L".join("{:.1f} {:.1f}".format(*frame.at(math.log10(x), y)) for x, y in values)
    frame.out.append(f'<path d="M{path}" class="curve"/>')
    if mark:
        x, y = frame.at(math.log10(mark[0]), mark[1])
        frame.out.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" class="mark"/>')
        frame.out.append(_text(x, y + 22, mark[2], "middle"))
    return "".join(frame.out) + "</svg>"


@dataclass(frozen=True, slots=True)
class Measured:
    """A point of a series with the interval of its y."""

    x: float
    y: float
    low: float
    high: float
    title: str


def series(
    curves: Mapping[str, Sequence[Measured]],
    front: Sequence[tuple[float, float]],
    x_name: str,
    y_name: str,
    *,
    width: float = WIDE,
) -> str:
    """A line of points with intervals per curve, x from 0 on; `front` is drawn broad below them."""
    points = [point for each in curves.values() for point in each]
    most = max(point.x for point in points) * 1.05 or 1.0
    frame = _Frame((0.0, most), _around([end for point in points for end in (point.low, point.high)]), width, 400.0)
    frame.out.append(_open(width, frame.height, f"{y_name} against {x_name}"))
    frame.axes(x_name, y_name)
    frame.out.append(f'<polyline class="front" points="{_joined(frame.at(x, y) for x, y in front)}"/>')
    for index, each in enumerate(curves.values()):
        kind = colour_class(index)
        at = [frame.at(point.x, point.y) for point in each]
        frame.out.append(f'<polyline class="series {kind}" points="{_joined(at)}"/>')
        for point, (x, y) in zip(each, at, strict=True):
            _, low = frame.at(point.x, point.low)
            _, high = frame.at(point.x, point.high)
            frame.out.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}" class="bar {kind}"/>'
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" class="{kind}">'
                f"<title>{html.escape(point.title)}</title></circle>"
            )
    return "".join(frame.out) + "</svg>"


def _joined(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
