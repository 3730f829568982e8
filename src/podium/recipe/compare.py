"""`podium compare` and `podium export`: exams that were sat, side by side and in another format.

Puts rooms together; does no work of its own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium.errors import InputError
from podium.records import ExamResult, read_rows
from podium.solve.wording import say_change, say_share

if TYPE_CHECKING:
    from rich.console import Console

    from podium.solve.comparing import ExamComparison, Level
    from podium.solve.scores import Estimate

_MOST_FLIPS = 20


def compare_command(a: Path, b: Path, *, as_json: bool, seed: int = 0) -> None:
    """Compare the exams in two folders and print what differs.

    Raises:
        InputError: a folder without an exam, damaged rows, fewer than two shared problems.
    """
    from podium.solve.comparing import compare_exams

    comparison = compare_exams(read_results(a), read_results(b), seed)
    if as_json:
        print(json.dumps(asdict(comparison), default=lambda value: value.model_dump()))
        return
    from rich.console import Console

    _show(comparison, a.resolve().name, b.resolve().name, Console(highlight=False))


def export_command(exam: Path, out: Path | None) -> None:
    """Write an exam as an Inspect log, beside its rows if no file is named.

    Raises:
        InputError: no exam there, or a file name that ends otherwise.
    """
    from podium.board.inspect_log import export_inspect

    folder = exam.parent if exam.name == "results.jsonl" else exam
    path = out or folder / "inspect.eval"
    count = export_inspect(folder, path)
    print(f"{count} samples: {path}")


def read_results(path: Path) -> list[ExamResult]:
    """The results of an exam's folder, or of its results.jsonl.

    Raises:
        InputError: there is none, or it is damaged.
    """
    file = path / "results.jsonl" if path.is_dir() else path
    if not file.exists():
        raise InputError(f"{path}: no exam here", "name the folder of an exam, the one with results.jsonl")
    return read_rows(file, ExamResult)


def _show(comparison: ExamComparison, name_a: str, name_b: str, console: Console) -> None:
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
    for label, read in _FACTS:
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


_FACTS = (
    ("model", lambda side: ", ".join(side.models)),
    ("attempts per problem", lambda side: str(side.attempts)),
    ("token limit", lambda side: ", ".join(map(str, side.token_limits)) or "none told"),
    ("tokens per attempt", lambda side: f"{side.mean_tokens:.0f}"),
    ("seconds in all", lambda side: f"{side.seconds:.1f}"),
    ("truncated attempts", lambda side: f"{100 * side.truncated:.1f} %"),
    ("undecided attempts", lambda side: f"{100 * side.undecided:.1f} %"),
    ("attempts decided by a judge", lambda side: str(side.judged)),
    ("votes weighed by", lambda side: ", ".join(side.votes)),
    ("undecided answers", lambda side: str(side.answers_undecided)),
    ("unanswered problems", lambda side: str(side.unanswered)),
    ("ties", lambda side: str(side.ties)),
    (
        "error of pass@1",
        lambda side: f"{100 * side.error:.1f}, {100 * side.error_of_problems:.1f} with endless attempts",
    ),
)


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
        table.add_column(column)
    return table


def _cell(text: str | None) -> Any:
    from rich.text import Text

    return Text("none" if text is None else " ".join(text.split())[:40])


def _share(value: Estimate) -> str:
    share, interval = say_share(value.value, value.low, value.high)
    return f"{share} [{interval}]"
