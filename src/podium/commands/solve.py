"""`podium solve`: one problem, every attempt at it with code and outputs, then the vote."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from podium.commands.cli_options import AskingOptions, EngineOptions, GenerationConfigOption, ModelArgument, with_groups
from podium.errors import InputError

if TYPE_CHECKING:
    from podium.records import Attempt
    from podium.solve.toolloop import AttemptRun


@with_groups
def solve(
    model: ModelArgument,
    problem: Annotated[str, typer.Argument(help="The problem, or - to read it from standard input.")],
    *,
    attempts: Annotated[int, typer.Option("-n", "--attempts", min=1, help="Attempts.")] = 1,
    asking: AskingOptions,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Tokens per attempt (default: the profile's).")] = None,
    profile: Annotated[str, typer.Option(help="Tool limits: kaggle, notebook or eval.")] = "kaggle",
    temperature: Annotated[
        float | None, typer.Option(help="Sampling temperature (default: the model's, then the profile's).")
    ] = None,
    generation_config: GenerationConfigOption = "auto",
    seed: Annotated[int, typer.Option(help="Seed of the attempts.")] = 0,
    engine: EngineOptions,
) -> None:
    """Watch a model solve one problem, code and outputs included.

    Example: podium solve runs/demo/merge/model "Solve the following multiplication: 83 * 47."
    """
    # What was written until then is shown also where an attempt raises, or Ctrl-C is pressed.
    import asyncio

    spec = engine.spec(model)
    from rich.console import Console

    from podium.commands.attempts import show_attempt, side_by_side
    from podium.commands.watching import Metered, Watch
    from podium.opening import model_sampling, open_table
    from podium.records import Problem
    from podium.solve import ballots, get_profile, majority
    from podium.solve.exam import with_extraction
    from podium.solve.missing import why_unanswered
    from podium.solve.profile import profile_overrides
    from podium.solve.toolloop import AttemptRun

    text = sys.stdin.read().strip() if problem == "-" else problem
    if not text.strip():
        raise InputError("the problem is empty", "give it as an argument, or on standard input with -")
    row = with_extraction(Problem(id="command-line", text=text, source="command line"), asking.places())
    named = profile_overrides(True, max_tokens, temperature)
    chosen = get_profile(profile, **model_sampling(model, generation_config, named), **asking.overrides())
    console = Console(highlight=False)
    watch = Watch(console)
    runs: list[AttemptRun] = []
    done: dict[int, Attempt] = {}

    def so_far() -> list[Attempt]:
        return [done.get(run.index) or run.record("cancelled") for run in runs]

    async def finish(run: AttemptRun) -> None:
        done[run.index] = await run.run()

    async def attempt_all() -> None:
        watch.doing(f"loading {model}")
        async with open_table(spec, attempts, True) as (completer, sandbox):
            metered = Metered(completer, watch.meter)
            runs.extend(
                AttemptRun(
                    row,
                    metered,
                    sandbox,
                    chosen,
                    index=index,
                    seed=seed + index,
                    sink=lambda i, e: watch.saw(row, i, e),
                )
                for index in range(attempts)
            )
            watch.doing("")
            watch.body = lambda: side_by_side(so_far(), {run.index for run in runs} - done.keys(), console)
            tasks = [asyncio.create_task(finish(run)) for run in runs]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    try:
        with watch:
            asyncio.run(attempt_all())
    finally:
        for each in so_far():
            show_attempt(console, each)
    vote = majority(row, ballots(so_far()))
    console.rule(align="left")
    for line in why_unanswered([(row, each) for each in so_far()]):
        console.print(line, style="yellow", markup=False, soft_wrap=True)
    console.print(f"answer: {vote.answer if vote.answer is not None else 'none'}", style="bold", markup=False)
