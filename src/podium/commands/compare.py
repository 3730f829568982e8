"""`podium compare`: two exams that were sat, side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from podium.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from podium.records import ExamResult
    from podium.solve.comparing import ExamComparison, Level
    from podium.solve.scores import Estimate

_MOST_FLIPS = 20


def compare(
    exam_a: Annotated[Path, typer.Argument(help="Folder of an exam.")],
    exam_b: Annotated[Path, typer.Argument(help="Folder of another one over the same problems.")],
    seed: Annotated[int, typer.Option(help="Seed of the resampling.")] = 0,
    html: Annotated[Path | None, typer.Option(help="Also write the comparison as a page to this file.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object instead of tables.")] = False,
) -> None:
    """Compare two exams problem by problem: differences with intervals, p, and what could have been seen.

    Example: podium compare runs/exams/cot-gsm8k runs/exams/tir-gsm8k
    """
    from podium.solve.comparing import compare_exams
    from podium.storage import write_text

    left, right = read_results(exam_a), read_results(exam_b)
    comparison = compare_exams(left, right, seed)
    if html is not None:
        from podium.board.comparison import comparison_page

        texts = {result.problem.id: result.problem.text for result in left}
        write_text(html, comparison_page(comparison, (_name(exam_a), _name(exam_b)), texts))
    if json_:
        print(json.dumps(asdict(comparison), default=lambda value: value.model_dump()))
        return
    from rich.console import Console

    console = Console(highlight=False)
    _show(comparison, _name(exam_a), _name(exam_b), console)
    if html is not None:
        console.print(f"page: {html}", markup=False, soft_wrap=True)


def _name(path: Path) -> str:
    """The exam's folder, also where its rows are named; a stage of a run goes with the run's name."""
    from podium.folders import RECIPE

    folder = path.resolve().parent if path.is_file() else path.resolve()
    inside = (folder.parent / RECIPE).is_file()
    return f"{folder.parent.name}/{folder.name}" if inside else folder.name


def read_results(path: Path) -> list[ExamResult]:
    """The results of an exam's folder, or of its results.jsonl.

    Raises:
        InputError: there is none, or it is damaged.
    """
    from podium.folders import ExamFolder
    from podium.records import ExamResult
    from podium.storage import read_rows

    file = ExamFolder(path).results if path.is_dir() else path
    if not file.exists():
        raise InputError(f"{path}: no exam here", f"name the folder of an exam, the one with {file.name}")
    return read_rows(file, ExamResult)


def _show(comparison: ExamComparison, name_a: str, name_b: str, console: Console) -> None:
    from podium.board.comparison import FACTS
    from podium.solve.wording import say_change

    left, right = (name_a, name_b) if name_a != name_b else (f"A {name_a}", f"B {name_b}")
    table = _table(console, "", "A", "B", "A - B", "p", "detectable")
    for row in comparison.contrasts:
        difference = row.difference
        change, interval = say_change(difference.value, difference.low, difference.high, scale=100)
        table.add_row(
            row.measure,
            _share(row.a),
            _share(row.b),
            f"{change} [{interval}]",
            f"{row.p:.3f}" if row.p >= 0.001 else "<0.001",
            f"{100 * row.detectable:.1f}",
        )
    left_out = f", {comparison.only_a} only in A, {comparison.only_b} only in B"
    reworded = f", {comparison.reworded} of one id and two texts" if comparison.reworded else ""
    console.print(f"A: {left}\nB: {right}\n{comparison.shared} shared problems{left_out}{reworded}\n", markup=False)
    console.print(table)
    console.print(
        "95 % intervals over problems; p of a paired sign-flip test; detectable: the true difference in points that "
        "this many problems show four times in five\n",
        style="dim",
    )
    facts = _table(console, "", "A", "B")
    for label, read in FACTS:
        facts.add_row(label, *(read(side) for side in comparison.sides))
    console.print(facts)
    for unit, levels in (("tokens", comparison.by_tokens), ("seconds", comparison.by_seconds)):
        if levels[0]:
            console.print()
            console.print(_levels(console, unit, levels))
    if comparison.flips:
        won = sum(flip.won == "a" for flip in comparison.flips)
        console.print(f"\nright only in A: {won}, only in B: {len(comparison.flips) - won}")
        flips = _table(console, "problem", "gold", "A", "B", "right")
        for flip in comparison.flips[:_MOST_FLIPS]:
            flips.add_row(*map(_cell, (flip.problem, flip.gold, flip.a, flip.b, flip.won.upper())))
        console.print(flips)
        if len(comparison.flips) > _MOST_FLIPS:
            console.print(f"… {len(comparison.flips) - _MOST_FLIPS} more with --json")
    for caution in comparison.cautions:
        console.print(f"caution: {caution}", style="yellow", markup=False)


def _levels(console: Console, unit: str, levels: tuple[Sequence[Level], Sequence[Level]]) -> Any:
    table = _table(console, f"within {unit}", "A pass@1", "B pass@1", "A vote", "B vote")
    for a, b in zip(*levels, strict=True):
        shares = (a.pass_1, b.pass_1, a.majority, b.majority)
        table.add_row(f"{a.budget:.0f}" if a.budget >= 10 else f"{a.budget:.2g}", *(f"{100 * s:.1f}" for s in shares))
    return table


def _table(console: Console, *columns: str) -> Any:
    from rich.table import Table

    table = Table(header_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _cell(text: str | None) -> Any:
    from rich.text import Text

    return Text("none" if text is None else " ".join(text.split())[:40])


def _share(value: Estimate) -> str:
    from podium.solve.wording import say_share

    share, interval = say_share(value.value, value.low, value.high)
    return f"{share} [{interval}]"
