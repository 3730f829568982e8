"""What `podium exam rehearse` and `podium exam --check` do between the words and the rooms.

Puts rooms together; does no work of its own.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from podium.errors import InputError
from podium.solve.clock import parse_seconds


def check_command(url: str, *, context: int, json_: bool) -> int:
    """Say what is wrong with a server; 0: an exam can be sat against it."""
    from rich.console import Console

    from podium.answering.checkup import check_server
    from podium.answering.reach import api_key

    console = Console(highlight=False)
    checkup = asyncio.run(check_server(url, context=context, api_key=api_key()))
    if json_:
        print(checkup.model_dump_json())
        return 0 if checkup.fit else 1
    marks = {"good": "[green]✓[/green]", "poor": "[yellow]![/yellow]", "bad": "[red]✗[/red]", "unknown": "·"}
    for finding in checkup.findings:
        console.print(f"{marks[finding.verdict]} {finding.name:12} ", end="")
        console.print(finding.said, markup=False, soft_wrap=True)
        if finding.cure:
            console.print(f"  {'':12} -> {finding.cure}", markup=False, soft_wrap=True)
    console.print(f"{'fit for an exam' if checkup.fit else 'not fit for an exam'} ({checkup.seconds:.1f} s)")
    return 0 if checkup.fit else 1


def rehearse_command(
    entry: Path,
    spec: str,
    *,
    rules: str,
    budget: str | None,
    split: str,
    seed: int,
    data: Path | None,
    out: Path | None,
) -> int:
    """Run an entry under a contest's rules; 0: a real submission would have had a score."""
    from rich.console import Console

    from podium.contest import draw_problems, rehearse
    from podium.contest.gateway import Answered
    from podium.contest.rules import get_rules
    from podium.problems import load_problems

    if split not in ("public", "private", "both"):
        raise InputError(f"--split {split}: no such part", "public, private or both")
    contest = get_rules(rules).within(parse_seconds(budget))
    drawn = draw_problems(load_problems(spec if ":" in spec else f"exam:{spec}", data=data), contest, seed)
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
    return 1 if rehearsal.failed else 0
