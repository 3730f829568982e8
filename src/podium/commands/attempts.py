"""Attempts on the screen: written side by side as they grow, and one below the other when they are over.

Knows rows and rich; runs attempts with the tool loop of podium.solve.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from podium import interrupts
from podium.errors import InputError
from podium.records import Attempt, Part, Problem
from podium.toolcode import split

if TYPE_CHECKING:
    from podium.solve.toolloop import AttemptRun

OURS = {"max_tokens": 1024, "temperature": 0.7, "top_p": 0.95}  # of `podium generate`, where nobody names others
NARROWEST = 40  # characters of a column; attempts that do not fit side by side go into further rows
FRAMES_PER_SECOND = 8

# What a model writes may hold commands to the terminal: they are shown and not obeyed.
_HARMLESS = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | {0x7F: 0x2421}
_HARMLESS |= dict.fromkeys(range(0x80, 0xA0), 0xFFFD)


def generate_command(
    model: str,
    prompt: str,
    *,
    attempts: int,
    tools: bool,
    max_tokens: int | None,
    temperature: float | None,
    top_p: float | None,
    seed: int,
    device: str = "cpu",
    format: str | None = None,
    generation_config: str = "auto",
) -> int:
    """Write attempts at a prompt and show them; the exit code, that of a stopped process when they were stopped.

    `max_tokens`, `temperature` and `top_p` are the model's own where they are None, and ours where it has none.

    Raises:
        InputError: no such model, device or format, an empty prompt, or settings that mean nothing.
    """
    from podium.answering.protocol import Sampling
    from podium.opening import model_sampling, open_table

    text = sys.stdin.read().strip() if prompt == "-" else prompt
    if not text:
        raise InputError("the prompt is empty", "give it as an argument, or on standard input with -")
    if attempts < 1:
        raise InputError(f"-n is {attempts}", "at least one attempt")
    named = {"max_tokens": max_tokens, "temperature": temperature, "top_p": top_p}
    sampling = {**OURS, **model_sampling(model, generation_config, named)}  # a wrong path is reported here
    from podium.generate.sampling import check_sampling
    from podium.solve import get_profile
    from podium.solve.toolloop import AttemptRun

    check_sampling(Sampling(**sampling))
    profile = get_profile("notebook", **sampling, **({} if tools else {"code_calls": 0}))
    problem = Problem(id="command-line", text=text, source="command line")
    console = Console(highlight=False)
    runs: list[AttemptRun] = []
    done: dict[int, Attempt] = {}

    async def write_all() -> None:
        async with open_table(model, attempts, tools, device=device, format=format) as (completer, sandbox):
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
        return interrupts.exit_code()
    return 0


async def _print(console: Console, tasks: Sequence[asyncio.Task[Attempt]], done: dict[int, Attempt]) -> None:
    """One after the other, each as soon as it and those before it are over."""
    for index, task in enumerate(tasks):
        attempt = await task
        show_attempt(console, attempt)
        done[index] = attempt


async def _watch(
    console: Console, runs: Sequence[AttemptRun], tasks: Sequence[asyncio.Task[Attempt]], done: dict[int, Attempt]
) -> None:
    """Side by side while they grow; then the whole of them, as `_print` does."""

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


def side_by_side(attempts: Sequence[Attempt], running: set[int], console: Console) -> RenderableType:
    """The ends of all attempts, in as many columns as the terminal is wide."""
    width, height = console.size
    columns = max(1, min(len(attempts), width // NARROWEST))
    rows = -(-len(attempts) // columns)
    lines = max(3, (height - 1) // rows - 2)  # without the frame
    table = Table.grid(expand=True)
    for _ in range(columns):
        table.add_column(ratio=1)
    panels = []
    for attempt in attempts:
        wrapped = _body(attempt.parts).wrap(console, max(10, width // columns - 4))
        tail = Group(*wrapped[-lines:])
        state = "running" if attempt.index in running else attempt.stop_reason
        title = f"{attempt.index + 1}: {state}, {attempt.usage.completion_tokens} tokens"
        panels.append(Panel(tail, title=title, title_align="left", height=lines + 2, border_style="dim"))
    for start in range(0, len(panels), columns):
        table.add_row(*panels[start : start + columns])
    return table


def show_attempt(console: Console, attempt: Attempt) -> None:
    """A whole attempt: what the model wrote, its code in colours, what the code printed."""
    tokens = attempt.usage.completion_tokens
    console.rule(f"attempt {attempt.index + 1}: {attempt.stop_reason}, {tokens} tokens", align="left")
    console.print(_body(attempt.parts), soft_wrap=not console.is_terminal)


def _body(parts: Sequence[Part]) -> Text:
    body = Text()
    for segment in split(parts):
        if segment.kind == "output":
            body.append(segment.text.translate(_HARMLESS).strip("\n") + "\n", style="cyan")
        elif segment.kind == "code":
            code = segment.inside.translate(_HARMLESS)
            body.append_text(Syntax("", "python", background_color="default").highlight(code))
            body.append("\n")
        elif segment.text.strip():
            body.append(segment.text.translate(_HARMLESS).strip("\n") + "\n")
    body.rstrip()
    return body
