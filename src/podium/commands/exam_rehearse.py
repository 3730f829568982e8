"""`podium exam rehearse`: a contest entry is called as the organiser would call it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from podium.commands.cli_options import DataOption
from podium.errors import InputError

if TYPE_CHECKING:
    from podium.contest.gateway import Answered


def exam_rehearse(
    entry: Annotated[Path, typer.Argument(help="A contest entry: a script with predict(id_, question).")],
    set_: Annotated[str, typer.Option("--set", help="Problems with integer answers: an exam or jsonl:PATH.")],
    rules: Annotated[str, typer.Option(help="aimo2 or aimo3.")] = "aimo2",
    budget: Annotated[
        str | None, typer.Option(help="Time of one submission (default: 5h); other limits shrink with it.")
    ] = None,
    split: Annotated[str, typer.Option(help="public, private or both.")] = "both",
    seed: Annotated[int, typer.Option(help="Deals the problems and their order.")] = 0,
    data: DataOption = None,
    out: Annotated[Path | None, typer.Option(help="Result folder (default: runs/rehearsals/ENTRY).")] = None,
) -> None:
    """Rehearse a contest: your entry is called as the organiser would, one problem at a time.

    Example: podium exam rehearse entry.py --set aime_1983_2023 --rules aimo2 --budget 20m
    """
    from rich.console import Console

    from podium.contest import draw_problems, rehearse
    from podium.contest.rules import get_rules
    from podium.problems import load_problems
    from podium.solve.clock import parse_seconds

    if split not in ("public", "private", "both"):
        raise InputError(f"--split {split}: no such part", "public, private or both")
    contest = get_rules(rules).within(parse_seconds(budget))
    drawn = draw_problems(load_problems(set_ if ":" in set_ else f"exam:{set_}", data=data), contest, seed)
    public = drawn.public if split != "private" else ()
    private = drawn.private if split != "public" else ()
    folder = out or Path("runs") / "rehearsals" / entry.stem
    console = Console(highlight=False)
    console.print(
        f"{contest.name}: {len(public)} public and {len(private)} private problems"
        + (f", the private ones {contest.runs} times" if contest.runs > 1 and private else "")
        + f"; {contest.seconds:g} s per submission"
        + (f"; {drawn.left_out} left out: no integer from 0 to {contest.largest}" if drawn.left_out else "")
    )

    def told(part: str, number: int, total: int, answer: Answered) -> None:
        shown = answer.said if answer.answer is None else str(answer.answer)
        mark = "right" if answer.right else "wrong" if answer.answer is not None else "not allowed"
        console.print(f"{part:8} {number:3}/{total}  {mark:11} {shown[:20]:20} {answer.seconds:7.1f} s", markup=False)

    rehearsal = rehearse(entry, public, private, contest, folder, seed=seed, told=told)
    for run in rehearsal.runs:
        console.print(
            f"{run.split}: {run.correct} of {run.problems} right, {len(run.answers)} answered, {run.seconds:.1f} s, "
            f"serving after {run.start_seconds:.1f} s"
        )
        if run.failure:
            console.print(f"  no score: {run.failure}", style="red", markup=False, soft_wrap=True)
    for part in ("public", "private"):
        points = rehearsal.score(part)
        if points is not None:
            console.print(f"{part} score: {points:g}")
    console.print(f"rehearsal: {folder / 'rehearsal.json'}", markup=False, soft_wrap=True)
    raise typer.Exit(1 if rehearsal.failed else 0)
