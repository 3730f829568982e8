"""The scoreboard in the terminal: readable from 80 columns on, names broken where they have joints, never elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from podium.bench.board import Board, DivisionBoard
from podium.bench.published import OWN, Entry
from podium.bench.score import minutes_text
from podium.bench.score_folder import LABEL
from podium.bench.scoreboard import CATEGORIES, Category, Improvement
from podium.figures import say_gain

TITLES: dict[Category, str] = {"single": "single machines", "cluster": "clusters"}
WIDE = 130  # columns from which a list has its changes beside it, not above


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
        lists = {task: rows[:top] for (task, kind), rows in one.lists.items() if kind == category and rows}
        if lists and console.width >= WIDE:
            console.print(_wide_table(one, category, lists, console.width))
        elif lists:
            _print_narrow(one, category, lists, console)
    if one.first_places:
        parts = [f"{name} {_places(single, cluster)}" for name, single, cluster in one.first_places]
        total = sum(single + cluster for _, single, cluster in one.first_places)
        _flow(console, f"\nfirst places ({total} lists): ", [f"{part};" for part in parts[:-1]] + parts[-1:], indent=2)
    if one.same_system:
        console.print(_improvements_table(one.same_system, console.width))
    if one.scaling:
        console.print("scaling: accelerators: minutes (efficiency against the smallest size)", soft_wrap=True)
        for submitter, task, kind, points in one.scaling:
            steps = [f"{p.entry.accelerators}: {p.entry.minutes:g} ({p.efficiency:.0%})" for p in points]
            _flow(console, f"  {task:<9}{submitter}, {kind}  ", steps, indent=13, gap="  ")
    if one.host_ratios:
        console.print("\nhost processors : accelerators")
        by_submitter: dict[str, list[str]] = {}
        for submitter, ratio, tasks in one.host_ratios:
            by_submitter.setdefault(submitter, []).append(f"{ratio} ({tasks})")
        for submitter, ratios in by_submitter.items():
            words = " ".join(f"{ratio}," for ratio in ratios).rstrip(",").split(" ")
            _flow(console, f"  {submitter:<12}", words, indent=14)
    for entry, reason in one.unranked:
        said = f"{entry.submitter} {entry.system} {entry.task}: {reason}"
        _flow(console, "not ranked: ", said.split(" "), indent=2, style="dim")


def _flow(
    console: Console, head: str, items: Iterable[str], *, indent: int, gap: str = " ", style: str | None = None
) -> None:
    """`head` and the items behind it, none of them broken; lines after the first are indented."""
    line, bare = head, True
    for item in items:
        if not bare and len(line.lstrip("\n")) + len(gap) + len(item) > console.width:
            console.print(escape(line), style=style, highlight=False, soft_wrap=True)
            line, bare = " " * indent, True
        line += item if bare else gap + item
        bare = False
    console.print(escape(line), style=style, highlight=False, soft_wrap=True)


def _jointed(name: str, width: int) -> str:
    """`name` in lines of at most `width`, broken behind a joint (-, _, +, a space) wherever there is one."""
    lines = [""]
    for part in re.findall(r"[^-_+ ]*[-_+ ]?", name):
        if lines[-1] and len(lines[-1] + part.rstrip()) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.rstrip() for line in lines)


def _places(single: int, cluster: int) -> str:
    return " + ".join(filter(None, (f"{single} single" if single else "", f"{cluster} cluster" if cluster else "")))


def _system(entry: Entry, width: int) -> str:
    return escape(_jointed(entry.system, width)) + (f" [yellow]({LABEL})[/yellow]" if entry.round == OWN else "")


def _wide_table(one: DivisionBoard, category: Category, lists: dict[str, list[Entry]], width: int) -> Table:
    """All in one: who leads each list, and what that changed."""
    table = Table(title=TITLES[category], title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("task", "", "submitter", "system"):
        table.add_column(name, overflow="fold" if name == "system" else "ellipsis", no_wrap=name != "system")
    for name in ("accel.", "host", "class", "minutes", "was", "cut", "gain"):
        table.add_column(name, justify="left" if name == "class" else "right", no_wrap=True)
    room = width - 104  # of all other columns at their widest
    for task, rows in lists.items():
        improvement = one.against_best.get((task, category))
        for number, entry in enumerate(rows, start=1):
            first = number == 1
            table.add_row(
                task if first else "",
                str(number),
                escape(entry.submitter or "-"),
                _system(entry, max(room, 14)),
                str(entry.accelerators),
                entry.ratio,
                entry.availability,
                minutes_text(entry.minutes or 0.0),
                *(_change(improvement) if first and improvement else ("", "", "")),
                end_section=number == len(rows),
            )
    return table


def _print_narrow(one: DivisionBoard, category: Category, lists: dict[str, list[Entry]], console: Console) -> None:
    """List by list, what it changed above it."""
    console.print(f"\n[italic]{TITLES[category]}[/italic]")
    room = max(console.width - 49, 14)
    for task, rows in lists.items():
        improvement = one.against_best.get((task, category))
        was, cut, gain = _change(improvement) if improvement else ("", "", "")
        change = f"  was {was}, cut {cut.strip()}, gain {gain.strip()}" if improvement else ""
        console.print(f"[bold]{task}[/bold]{escape(change)}", highlight=False, soft_wrap=True)
        table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
        table.add_column(width=9, justify="right")
        table.add_column(width=10, overflow="ellipsis", no_wrap=True)
        table.add_column(width=room, overflow="fold")
        table.add_column(width=5, justify="right")
        table.add_column(width=4, justify="right")
        table.add_column(width=9, no_wrap=True)
        for entry in rows:
            table.add_row(
                minutes_text(entry.minutes or 0.0),
                escape(entry.submitter or "-"),
                _system(entry, room),
                str(entry.accelerators),
                entry.ratio,
                entry.availability,
            )
        console.print(table)


def _change(found: Improvement) -> tuple[str, str, str]:
    return f"{found.old.minutes:g} {found.old.submitter}", say_gain(found.time_cut), say_gain(found.rate_gain)


def _improvements_table(found: Sequence[Improvement], width: int) -> Table:
    table = Table(title="\nthe same system a round before", title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column("submitter", no_wrap=True)
    table.add_column("system", overflow="fold")
    table.add_column("task", no_wrap=True)
    for name in ("was", "minutes", "cut", "gain"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in found:
        table.add_row(
            escape(one.new.submitter),
            escape(_jointed(one.new.system, max(width - 64, 14))),
            one.new.task,
            f"{one.old.minutes:.3f}",
            f"{one.new.minutes:.3f}",
            say_gain(one.time_cut),
            say_gain(one.rate_gain),
        )
    return table


def _print_own(own: Sequence[Entry], console: Console) -> None:
    if not own:
        return
    table = Table(title=f"your runs: {LABEL}", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("task", "size", "division"):
        table.add_column(name, no_wrap=True)
    table.add_column("system", overflow="fold")
    for name in ("converged", "minutes", "fastest", "slowest"):
        table.add_column(name, justify="right", no_wrap=True)
    for entry in own:
        table.add_row(
            entry.task,
            entry.size,
            entry.division,
            escape(_jointed(entry.system, max(console.width - 76, 10))),
            f"{entry.runs - entry.failed} of {entry.runs}",
            *(
                minutes_text(value) if value is not None else "-"
                for value in (entry.minutes, entry.fastest, entry.slowest)
            ),
        )
    console.print()
    console.print(table)
    for entry in own:
        if entry.note:
            _flow(console, f"{entry.task} on {entry.system}: ", entry.note.split(" "), indent=2, style="dim")
    console.print("smoke and small sizes are compared with nothing but themselves", style="dim")
