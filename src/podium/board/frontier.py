"""The efficient frontier as a page: score against time, a curve per policy. Knows numbers only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from podium.board.shell import header, page, table, text
from podium.board.svg import Measured, legend_of, plot, series
from podium.storage import write_text


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
    body = header(title, kicker="Podium · policies", notes=[text(note) for note in notes], links={})
    chart = ""
    if any(curves.values()):
        drawn = {
            name: [
                Measured(
                    point.seconds, 100 * point.score, 100 * point.low, 100 * point.high, f"{name}: {_words(point)}"
                )
                for point in points
            ]
            for name, points in curves.items()
        }
        front = [(point.seconds, 100 * point.score) for _, point in efficient(curves)]
        chart = plot(
            lambda width: series(drawn, front, "mean seconds per problem", "score, %", width=width)
        ) + legend_of(list(curves))
    body += f"<main><section><figure>{chart}</figure>{_table(curves)}</section></main>"
    return page(f"{title} · Podium", body, footer="Made by Podium from recorded attempts.")


def _words(point: Point) -> str:
    return f"{100 * point.score:.1f} % [{100 * point.low:.1f}, {100 * point.high:.1f}] in {point.seconds:.1f} s" + (
        f", {point.note}" if point.note else ""
    )


def _table(curves: Mapping[str, Sequence[Point]]) -> str:
    best = {id(point) for _, point in efficient(curves)}
    columns = [
        ("policy", ""),
        ("score, %", "main num"),
        ("95 % interval", "num"),
        ("s / problem", "num"),
        ("budget", ""),
        ("", ""),
    ]
    rows = [
        (
            text(name),
            f"<b>{100 * point.score:.2f}</b>",
            f"{100 * point.low:.2f} – {100 * point.high:.2f}",
            f"{point.seconds:.1f}",
            text(point.note),
            '<span class="tag right">efficient</span>' if id(point) in best else "",
        )
        for name, points in curves.items()
        for point in points
    ]
    return table(columns, rows, tight=True)
