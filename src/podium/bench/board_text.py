"""The scoreboard in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from podium.bench.board import Board, DivisionBoard
from podium.bench.published import OWN, Entry
from podium.bench.score import minutes_text
from podium.bench.score_folder import LABEL
from podium.bench.scoreboard import CATEGORIES, Category, Improvement

TITLES: dict[Category, str] = {"single": "single machines", "cluster": "clusters"}


def print_board(board: Board, console: Console, top: int) -> None:
    console.print(f"[bold]MLPerf Training {board.round}[/bold], against {board.against}")
    console.print(escape(board.definition.words()), style="dim")
    console.print("minutes to the target; cut: 1 - new/old of the time, gain: old/new - 1 of the rate", style="dim")
    for one in board.divisions:
        if any(one.lists.values()) or one.unranked:
            _print_division(one, console, top)
    _print_own(board.own, console)


def _print_division(one: DivisionBoard, console: Console, top: int) -> None:
    console.print(f"\n[bold]{one.division} division[/bold]")
    for category in CATEGORIES:
        lists = {task: rows for (task, kind), rows in one.lists.items() if kind == category and rows}
        if lists:
            console.print(_lists_table(one, category, lists, top))
    if one.first_places:
        parts = [f"{name} {_places(single, cluster)}" for name, single, cluster in one.first_places]
        total = sum(single + cluster for _, single, cluster in one.first_places)
        console.print(f"\nfirst places ({total} lists): " + "; ".join(parts))
    if one.same_system:
        console.print(_improvements_table(one.same_system))
    if one.scaling:
        console.print("\nscaling: accelerators: minutes (efficiency against the smallest size)")
        for submitter, task, kind, points in one.scaling:
            steps = "  ".join(f"{p.entry.accelerators}: {p.entry.minutes:g} ({p.efficiency:.0%})" for p in points)
            console.print(escape(f"  {task:<9}{submitter}, {kind}  {steps}"), highlight=False)
    if one.host_ratios:
        console.print("\nhost processors : accelerators")
        by_submitter: dict[str, list[str]] = {}
        for submitter, ratio, tasks in one.host_ratios:
            by_submitter.setdefault(submitter, []).append(f"{ratio} ({tasks})")
        for submitter, ratios in by_submitter.items():
            console.print(f"  {submitter:<12}" + ", ".join(ratios), highlight=False)
    for entry, reason in one.unranked:
        console.print(escape(f"not ranked: {entry.submitter} {entry.system} {entry.task}: {reason}"), style="dim")


def _places(single: int, cluster: int) -> str:
    return " + ".join(filter(None, (f"{single} single" if single else "", f"{cluster} cluster" if cluster else "")))


def _lists_table(one: DivisionBoard, category: Category, lists: dict[str, list[Entry]], top: int) -> Table:
    table = Table(title=TITLES[category], title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("task", "", "submitter", "system"):
        table.add_column(name, overflow="fold" if name == "system" else "ellipsis", no_wrap=name != "system")
    for name in ("accel.", "host", "class", "minutes", "was", "cut", "gain"):
        table.add_column(name, justify="left" if name == "class" else "right", no_wrap=True)
    for task, rows in lists.items():
        improvement = one.against_best.get((task, category))
        for number, entry in enumerate(rows[:top], start=1):
            first = number == 1
            table.add_row(
                task if first else "",
                str(number),
                escape(entry.submitter or "-"),
                escape(entry.system) + (f" [yellow]({LABEL})[/yellow]" if entry.round == OWN else ""),
                str(entry.accelerators),
                entry.ratio,
                entry.availability,
                minutes_text(entry.minutes or 0.0),
                *(_change(improvement) if first and improvement else ("", "", "")),
                end_section=number == min(top, len(rows)),
            )
    return table


def _change(found: Improvement) -> tuple[str, str, str]:
    return f"{found.old.minutes:g} {found.old.submitter}", _signed(found.time_cut), _signed(found.rate_gain)


def _signed(share: float) -> str:
    return f"{100 * share:+.1f} %"


def _improvements_table(found: Sequence[Improvement]) -> Table:
    table = Table(title="the same system a round before", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("submitter", "system", "task"):
        table.add_column(name)
    for name in ("was", "minutes", "cut", "gain"):
        table.add_column(name, justify="right")
    for one in found:
        table.add_row(
            escape(one.new.submitter),
            escape(one.new.system),
            one.new.task,
            f"{one.old.minutes:.3f}",
            f"{one.new.minutes:.3f}",
            _signed(one.time_cut),
            _signed(one.rate_gain),
        )
    return table


def _print_own(own: Sequence[Entry], console: Console) -> None:
    if not own:
        return
    table = Table(title=f"your runs: {LABEL}", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("task", "size", "division", "system", "runs", "converged", "minutes", "fastest", "slowest", "note"):
        table.add_column(name)
    for entry in own:
        table.add_row(
            entry.task,
            entry.size,
            entry.division,
            escape(entry.system),
            str(entry.runs),
            str(entry.runs - entry.failed),
            *(
                minutes_text(value) if value is not None else "-"
                for value in (entry.minutes, entry.fastest, entry.slowest)
            ),
            escape(entry.note),
        )
    console.print()
    console.print(table)
    console.print("smoke and small sizes are compared with nothing but themselves", style="dim")
