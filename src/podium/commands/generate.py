"""`podium generate`: answers to one prompt, side by side as they grow, and one below the other when they are over."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from podium import interrupts
from podium.commands.cli_options import EngineOptions, GenerationConfigOption, ModelArgument, with_groups
from podium.errors import InputError

if TYPE_CHECKING:
    import asyncio

    from rich.console import Console

    from podium.records import Attempt
    from podium.solve.toolloop import AttemptRun

OURS = {"max_tokens": 1024, "temperature": 0.7, "top_p": 0.95}
"""How is drawn where neither the user nor the model's makers say."""

FRAMES_PER_SECOND = 8


@with_groups
def generate(
    model: ModelArgument,
    prompt: Annotated[str, typer.Argument(help="What the user says, or - to read it from standard input.")],
    *,
    attempts: Annotated[int, typer.Option("-n", "--attempts", help="Answers, side by side.")] = 1,
    tools: Annotated[bool, typer.Option("--tools", help="Run the Python the model writes, in the sandbox.")] = False,
    max_tokens: Annotated[int | None, typer.Option(help="Tokens per answer (default: the model's, then 1024).")] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Sampling temperature; 0 is greedy (default: the model's, then 0.7).")
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(help="Share of the probability that is drawn from (default: the model's, then 0.95)."),
    ] = None,
    generation_config: GenerationConfigOption = "auto",
    seed: Annotated[int, typer.Option(help="Seed of the first answer; the others follow.")] = 0,
    engine: EngineOptions,
) -> None:
    """Watch a model write answers side by side, code and outputs highlighted.

    Example: podium generate runs/demo/merge/model "What is 83 * 47?" -n 12 --tools
    """
    import asyncio

    spec = engine.spec(model)
    from podium.answering.protocol import Sampling
    from podium.opening import model_sampling, open_table

    text = sys.stdin.read().strip() if prompt == "-" else prompt
    if not text:
        raise InputError("the prompt is empty", "give it as an argument, or on standard input with -")
    if attempts < 1:
        raise InputError(f"-n is {attempts}", "at least one attempt")
    named = {"max_tokens": max_tokens, "temperature": temperature, "top_p": top_p}
    sampling = {**OURS, **model_sampling(model, generation_config, named)}  # a wrong path is reported here
    from rich.console import Console

    from podium.commands.attempts import show_attempt
    from podium.generate.sampling import check_sampling
    from podium.records import Problem
    from podium.solve import get_profile
    from podium.solve.toolloop import AttemptRun

    check_sampling(Sampling(**sampling))
    profile = get_profile("notebook", **sampling, **({} if tools else {"code_calls": 0}))
    problem = Problem(id="command-line", text=text, source="command line")
    console = Console(highlight=False)
    runs: list[AttemptRun] = []
    done: dict[int, Attempt] = {}

    async def write_all() -> None:
        async with open_table(spec, attempts, tools) as (completer, sandbox):
            runs.extend(
                AttemptRun(problem, completer, sandbox, profile, index=index, seed=seed + index)
                for index in range(attempts)
            )
            tasks = [asyncio.create_task(run.run()) for run in runs]
            try:
                await (_watch(console, runs, tasks, done) if console.is_terminal else _print(console, tasks, done))
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    try:
        asyncio.run(write_all())
    except KeyboardInterrupt:
        for run in runs:
            if run.index not in done:
                show_attempt(console, run.record("cancelled"))
        raise typer.Exit(interrupts.exit_code()) from None


async def _print(console: Console, tasks: Sequence[asyncio.Task[Attempt]], done: dict[int, Attempt]) -> None:
    """Show one after the other, each as soon as it and those before it are over."""
    from podium.commands.attempts import show_attempt

    for index, task in enumerate(tasks):
        attempt = await task
        show_attempt(console, attempt)
        done[index] = attempt


async def _watch(
    console: Console, runs: Sequence[AttemptRun], tasks: Sequence[asyncio.Task[Attempt]], done: dict[int, Attempt]
) -> None:
    """Show them side by side while they grow; then the whole of them, as `_print` does."""
    import asyncio

    from rich.live import Live

    from podium.commands.attempts import side_by_side

    def now() -> list[Attempt]:
        return [
            task.result() if task.done() and not task.exception() else run.record("cancelled")
            for run, task in zip(runs, tasks, strict=True)
        ]

    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            ended, running = await asyncio.wait(tasks, timeout=1 / FRAMES_PER_SECOND)
            for task in ended:
                task.result()  # raises what an attempt raised
            live.update(side_by_side(now(), {runs[tasks.index(task)].index for task in running}, console), refresh=True)
            if not running:
                break
    await _print(console, tasks, done)
