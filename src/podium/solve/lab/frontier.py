"""The efficient frontier as one self-contained page: score against time, a curve per policy, drawn in SVG.

Knows numbers only. No script, no font, nothing fetched; colours follow the reader's light or dark scheme.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from podium.records import write_text

WIDTH, HEIGHT = 860, 460
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 20, 52
COLOURS = ("#2f6fde", "#d9822b", "#1f9d6b", "#b5489b", "#7a6ff0", "#a3701c", "#c0392b", "#4a8fa8", "#6b7a2a", "#8a8a8a")


@dataclass(frozen=True, slots=True)
class Point:
    """One policy under one budget: seconds per problem, score and its interval."""

    seconds: float
    score: float
    low: float
    high: float
    note: str = ""


def efficient(curves: Mapping[str, Sequence[Point]]) -> list[tuple[str, Point]]:
    """The points that no other beats in both time and score, by time."""
    every = [(name, point) for name, points in curves.items() for point in points]
    every.sort(key=lambda entry: (entry[1].seconds, -entry[1].score))
    best, found = float("-inf"), []
    for name, point in every:
        if point.score > best:
            best = point.score
            found.append((name, point))
    return found


def write_frontier(path: Path, title: str, notes: Sequence[str], curves: Mapping[str, Sequence[Point]]) -> None:
    """Write the page.

    Raises:
        StorageError: it cannot be written.
    """
    write_text(path, frontier_page(title, notes, curves))


def frontier_page(title: str, notes: Sequence[str], curves: Mapping[str, Sequence[Point]]) -> str:
    """The page as HTML."""
    body = [f"<h1>{html.escape(title)}</h1>", *(f"<p>{html.escape(note)}</p>" for note in notes), _chart(curves)]
    body.append(_table(curves))
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style><main>{''.join(body)}</main></html>\n"
    )


STYLE = """
:root{color-scheme:light dark;--ink:#1c2026;--soft:#667080;--line:#d8dde4;--page:#fff}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ee;--soft:#97a1b0;--line:#39414d;--page:#15181d}}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:900px;margin:2rem auto;padding:0 1rem}h1{font-size:1.4rem}p{color:var(--soft);margin:.3rem 0}
svg{width:100%;height:auto;margin:1rem 0}text{fill:var(--soft);font:12px system-ui,sans-serif}
.axis{stroke:var(--line)}.front{fill:none;stroke:var(--soft);stroke-width:6;opacity:.22;stroke-linejoin:round}
table{border-collapse:collapse;width:100%;font-size:13px}td,th{padding:.25rem .6rem;border-bottom:1px solid var(--line)}
th{text-align:left}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
"""


def _ticks(low: float, high: float, count: int = 6) -> list[float]:
    span = max(high - low, 1e-9)
    step = 10 ** int(f"{span / count:e}".split("e")[1])
    step = next(step * factor for factor in (1, 2, 5, 10) if span / (step * factor) <= count)
    first = int(low / step) * step
    return [tick for number in range(count + 3) if low - 1e-9 <= (tick := first + number * step) <= high + 1e-9]


def _chart(curves: Mapping[str, Sequence[Point]]) -> str:
    points = [point for each in curves.values() for point in each]
    if not points:
        return ""
    most = max(point.seconds for point in points) * 1.05 or 1.0
    low = max(0.0, min(point.low for point in points) - 0.02)
    high = min(1.0, max(point.high for point in points) + 0.02)

    def x(seconds: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * seconds / most

    def y(score: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - score) / max(high - low, 1e-9)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="score against time">']
    for tick in _ticks(low, high):
        parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{100 * tick:g} %</text>')
    for tick in _ticks(0.0, most):
        parts.append(f'<text x="{x(tick):.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{tick:g}</text>')
    parts.append(
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">mean seconds per problem</text>'
    )
    front = " ".join(f"{x(point.seconds):.1f},{y(point.score):.1f}" for _, point in efficient(curves))
    parts.append(f'<polyline class="front" points="{front}"/>')
    for number, (name, each) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        line = " ".join(f"{x(point.seconds):.1f},{y(point.score):.1f}" for point in each)
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{line}"/>')
        for point in each:
            at = f"{x(point.seconds):.1f}"
            parts.append(
                f'<line stroke="{colour}" opacity=".35" x1="{at}" x2="{at}" y1="{y(point.low):.1f}" '
                f'y2="{y(point.high):.1f}"/><circle fill="{colour}" cx="{at}" cy="{y(point.score):.1f}" r="4">'
                f"<title>{html.escape(f'{name}: {_words(point)}')}</title></circle>"
            )
        parts.append(
            f'<circle fill="{colour}" cx="{WIDTH - 230}" cy="{HEIGHT - BOTTOM - 18 * (len(curves) - number)}" r="5"/>'
            f'<text x="{WIDTH - 220}" y="{HEIGHT - BOTTOM - 18 * (len(curves) - number) + 4}">'
            f"{html.escape(name[:34])}</text>"
        )
    return "".join([*parts, "</svg>"])


def _words(point: Point) -> str:
    return f"{100 * point.score:.1f} % [{100 * point.low:.1f}, {100 * point.high:.1f}] in {point.seconds:.1f} s" + (
        f", {point.note}" if point.note else ""
    )


def _table(curves: Mapping[str, Sequence[Point]]) -> str:
    best = {id(point) for _, point in efficient(curves)}
    rows = [
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(point.note)}</td><td class=n>{point.seconds:.1f}</td>"
        f"<td class=n>{100 * point.score:.2f}</td><td class=n>{100 * point.low:.2f} – {100 * point.high:.2f}</td>"
        f"<td>{'efficient' if id(point) in best else ''}</td></tr>"
        for name, points in curves.items()
        for point in points
    ]
    return (
        "<table><tr><th>policy</th><th>budget</th><th class=n>s / problem</th><th class=n>score, %</th>"
        f"<th class=n>95 % interval</th><th></th></tr>{''.join(rows)}</table>"
    )
