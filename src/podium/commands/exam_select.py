"""`podium exam select`: a model chooses among the attempts of an exam that was sat, beside the vote (GenSelect)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from podium.commands.cli_options import EngineOptions, FreshOption, with_groups
from podium.errors import InputError, nearest

if TYPE_CHECKING:
    from podium.solve.selecting import SelectionScore

_CHOICES_AT_ONCE = 32


@with_groups
def exam_select(
    folder: Annotated[Path, typer.Argument(help="The folder of an exam that was sat.")],
    model: Annotated[str, typer.Argument(help="Who chooses: a model folder, or the URL of a server.")],
    *,
    n: Annotated[
        list[int] | None, typer.Option(min=1, help="Attempts per problem to choose among; may be given again.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Choices per problem; the majority of the picks counts.")] = 8,
    most: Annotated[int, typer.Option(min=2, help="Solutions shown at a time.")] = 16,
    named: Annotated[
        str, typer.Option(help="What names a pick: index (Judgment: IDX) or answer (in a box).")
    ] = "index",
    code: Annotated[bool, typer.Option(help="Run the code that the selector writes.")] = False,
    characters: Annotated[
        int, typer.Option(min=1, help="Longest prompt; fewer solutions are shown above it.")
    ] = 100_000,
    max_tokens: Annotated[int, typer.Option(min=1, help="Tokens of one choice.")] = 2048,
    temperature: Annotated[float, typer.Option(min=0.0, help="Sampling temperature.")] = 0.7,
    seed: Annotated[int, typer.Option(help="Seed of groups and choices.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the choices (default: genselect/MODEL in the exam's).")
    ] = None,
    engine: EngineOptions,
    fresh: FreshOption = False,
) -> None:
    """GenSelect: let a model choose among the attempts of an exam, beside the vote.

    Example: podium exam select runs/exams/demo-aime24 http://localhost:8000/v1#qwq --repeats 8
    """
    import asyncio

    from podium.folders import ChoicesFolder, ExamFolder

    spec = engine.spec(model)
    from rich.console import Console

    from podium.board import write_report
    from podium.commands.set_aside import folder_name, set_aside
    from podium.commands.watching import Watch
    from podium.lock import locked_folder
    from podium.opening import model_name, open_table
    from podium.solve.genselect import NAMED
    from podium.solve.selecting import (
        BUSY,
        SelectConfig,
        check_choices,
        choose_all,
        select_identity,
    )

    if named not in NAMED:
        raise InputError(f"--named {named}", nearest(named, NAMED))
    results = ExamFolder(folder).read_results()
    exam = ExamFolder(folder).read_claim()
    config = SelectConfig.model_validate(
        {
            "n": n or [],
            "repeats": repeats,
            "named": named,
            "most": most,
            "characters": characters,
            "max_tokens": max_tokens,
            "temperature": temperature,
            "vote": exam.get("config", {}).get("vote", "uniform"),
            "seed": seed,
        }
    )
    out = out or ExamFolder(folder).choices / (folder_name(model) or "model")
    console = Console(highlight=False)
    watch = Watch(console)

    async def run() -> Any:
        watch.doing(f"loading {model}")
        async with open_table(spec, max(_CHOICES_AT_ONCE, repeats), code) as (completer, sandbox):
            watch.doing("choosing")
            return await choose_all(
                results,
                completer,
                config,
                out,
                sandbox=sandbox,
                concurrency=max(1, _CHOICES_AT_ONCE // repeats),
                told=lambda done, total: watch.doing(f"choosing: {done} of {total} sets of attempts"),
            )

    with locked_folder(out, BUSY):
        if fresh:
            set_aside(out, ChoicesFolder(out).marks, "choice", Console(stderr=True, highlight=False))
        check_choices(out, select_identity(results, model_name(spec), config, code))
        with watch:
            scores = asyncio.run(run())
    console.print(selection_table(scores))
    console.print(f"choices: {ChoicesFolder(out).choices}", markup=False, soft_wrap=True)
    console.print(f"report: {write_report(out)}", markup=False, soft_wrap=True)


def selection_table(scores: Sequence[SelectionScore]) -> Any:
    """Choice beside vote, a row for each n."""
    from rich.table import Table

    from podium.solve.wording import say_change

    table = Table(header_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("n", "one", "vote", "GenSelect", "both", "any", "gain", "95 %", "p", "problems", "no pick"):
        table.add_column(column, justify="right")
    for score in scores:
        table.add_row(
            str(score.n),
            *(f"{100 * each.value:.1f}" for each in (score.single, score.vote, score.select, score.both, score.passed)),
            *say_change(score.gain, score.gain_low, score.gain_high, scale=100, between=" … "),
            f"{score.p:.2g}",
            str(score.problems),
            f"{100 * score.invalid / score.asked:.1f} %" if score.asked else "-",
        )
    return table
