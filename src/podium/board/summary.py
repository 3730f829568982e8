"""The end of `podium run`: what was done and what came out, in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from podium.board.run_folder import StageFacts, read_stages
from podium.figures import say_number
from podium.folders import REPORT, ExamFolder

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from podium.board.exam import Exam
    from podium.solve.scores import Scores


def print_summary(folder: Path | str, console: Console) -> None:
    """Print the stages of a run with times and figures, the scores of its exams, and which effects showed."""
    from rich.markup import escape

    folder = Path(folder)
    stages = read_stages(folder)
    console.print()
    console.print(_stages(stages))
    exams = [stage for stage in stages if stage.finished and ExamFolder(stage.folder).is_there()]
    if exams:
        # Only now: scoring needs numpy.
        from podium.board.effects import find_effects
        from podium.board.exam import read_exam

        read = [exam for stage in exams if (exam := read_exam(stage.folder, stage.name)).results]
        if read:
            console.print()
            print_exams(read, console)
        for effect in find_effects(read):
            mark = {"showed": "[green]✓[/green]", "did not show": "[yellow]·[/yellow]", "opposite": "[red]✗[/red]"}
            console.print(f"{mark[effect.outcome]} {escape(effect.sentence)}", highlight=False)
    if (folder / REPORT).is_file():
        console.print(f"\nreport: {escape(str(folder / REPORT))}", highlight=False, soft_wrap=True)


def print_exams(exams: Sequence[Exam], console: Console) -> None:
    """Print the scores of exams with their intervals; before them, where most attempts have no answer, why."""
    for exam in exams:
        for line in exam.unanswered:
            said = line if len(exams) == 1 else f"{exam.label}: {line}"
            console.print(said, style="yellow", markup=False, soft_wrap=True)
    table = _scores(exams, _ends(exams))
    fits = console.measure(table, options=console.options.update(max_width=1000)).maximum <= console.width
    # Where the table would lose letters of its heads, the counts of how attempts ended stand below it.
    console.print(table if fits else _scores(exams, {}))
    if not fits:
        for index, exam in enumerate(exams):
            label = "" if len(exams) == 1 else f"{exam.label}: "
            counts = [f"{name} {values[index]}" for name, values in _ends(exams).items() if values[index]]
            if counts:
                console.print(label + ", ".join(counts), markup=False, soft_wrap=True)
    for exam in exams:
        if exam.scores.repeated:
            label = "" if len(exams) == 1 else f"{exam.label}: "
            console.print(f"{label}{repeated(exam.scores)}", markup=False, soft_wrap=True)


def repeated(scores: Scores) -> str:
    """What is said of attempts that only repeated themselves."""
    counted = "1 attempt was" if scores.repeated == 1 else f"{scores.repeated} attempts were"
    return f"{counted} ended for repeating the same text over and over (--no-repetition-stop lets them go on)"


def _table(*columns: str, right: Sequence[str] = ()) -> Table:
    from rich.table import Table

    table = Table(header_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left")
    return table


def _stages(stages: Sequence[StageFacts]) -> Table:
    from rich.markup import escape

    table = _table("stage", "kind", "time", "figures", right=("time",))
    for stage in stages:
        took = "not finished" if stage.wall_seconds is None else f"{stage.wall_seconds:.1f} s"
        figures = [
            f"{key.replace('_', ' ')} {say_number(value)}"
            for key, value in stage.metrics.items()
            if isinstance(value, str | int | float)
        ]
        table.add_row(escape(stage.name), escape(stage.kind), took, escape(" · ".join(figures[:4])))
    total = sum(stage.wall_seconds or 0.0 for stage in stages)
    table.add_row("[bold]all[/bold]", "", f"[bold]{total:.1f} s[/bold]", "")
    return table


def _ends(exams: Sequence[Exam]) -> dict[str, list[str]]:
    """By column: how attempts of each exam ended, where any did so."""
    ends = {
        "code calls": [f"{exam.scores.mean_code_calls:.2f}" if exam.scores.mean_code_calls else "" for exam in exams],
        "undecided": [str(exam.scores.undecided or "") for exam in exams],
        "cut": [str(exam.scores.truncated + exam.scores.clock_cut or "") for exam in exams],
    }
    return {name: counts for name, counts in ends.items() if any(counts)}


def _scores(exams: Sequence[Exam], ends: dict[str, list[str]]) -> Table:
    from rich.markup import escape

    from podium.solve.wording import say_share

    n = max(exam.n for exam in exams)
    numbers = ["score", f"maj@{n}", "pass@1", f"pass@{n}", "problems", "tokens", "s/problem"]
    table = _table("exam", *numbers, *ends, right=(*numbers, *ends))
    for index, exam in enumerate(exams):
        scores = exam.scores
        shares = [
            "{}% [dim]{}[/dim]".format(*say_share(one.value, one.low, one.high, 0, "–"))
            for one in (scores.score, scores.majority_n, scores.pass_1, scores.pass_n)
        ]
        table.add_row(
            escape(exam.label),
            *shares,
            str(scores.problems),
            f"{scores.mean_tokens:.0f}",
            f"{scores.seconds / max(1, scores.problems):.1f}",
            *(counts[index] for counts in ends.values()),
        )
    return table
