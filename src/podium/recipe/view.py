"""What a person sees while a recipe runs: a live line in a terminal, plain lines elsewhere; and the dry run's table.

Knows links and figures, not what stages do.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from podium.figures import say_flops, say_number, say_seconds
from podium.recipe import registry
from podium.recipe.chain import Link
from podium.recipe.registry import Estimate

PLAIN_LINE_SECONDS = 10.0


def say_metrics(metrics: Mapping[str, Any], limit: int = 4) -> str:
    """The first few figures of a stage that fit on a line."""
    shown = [
        f"{key.replace('_', ' ')} {say_number(value)}"
        for key, value in metrics.items()
        if isinstance(value, str | int | float) and len(str(value)) <= 32
    ]
    return " · ".join(shown[:limit])


class View:
    """Shows a run on a console. Used as a context; `begin` hands out the stage's progress function."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self._bar: Progress | None = None
        self._last_line = 0.0

    def __enter__(self) -> View:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _start(self, title: str) -> tuple[Progress, TaskID]:
        bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[figures]}", style="dim"),
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True),
            console=self.console,
            transient=True,
        )
        bar.start()
        self._bar = bar
        return bar, bar.add_task(escape(title), total=None, figures="")

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def say(self, text: str) -> None:
        # A log file has no width: a line broken there is found by no grep.
        self.console.print(escape(text), soft_wrap=not self.console.is_terminal)

    def skipped(self, number: int, total: int, link: Link) -> None:
        took = say_seconds(link.done["wall_seconds"]) if link.done else ""
        self.console.print(f"[dim][{number}/{total}] {escape(link.spec.name)}  done before ({took})[/dim]", markup=True)

    def begin(self, number: int, total: int, link: Link) -> registry.Progress:
        title = f"[{number}/{total}] {link.spec.name}"
        begun = "goes on" if link.status == "resume" else "starts"
        self.say(f"{title}  {begun}{'  (' + link.note + ')' if link.note else ''}")
        self._last_line = time.monotonic()
        live: tuple[Progress, TaskID] | None = None

        def progress(done: float, total: float | None = None, note: str = "", **metrics: float | str) -> None:
            nonlocal live
            figures = " · ".join(part for part in (note, say_metrics(metrics)) if part)
            if self.console.is_terminal:
                # Only a stage that tells of itself gets the live line: others may draw one of their own.
                live = live or self._start(title)
                live[0].update(live[1], completed=done, total=total, figures=escape(figures))
            elif time.monotonic() - self._last_line >= PLAIN_LINE_SECONDS:
                self._last_line = time.monotonic()
                share = f"{done / total:4.0%}" if total else say_number(done)
                self.say(f"{title}  {share}  {figures}")

        return progress

    def finished(self, number: int, total: int, link: Link) -> None:
        self._stop()
        done = link.done or {}
        line = f"[{number}/{total}] {link.spec.name}  {say_seconds(done['wall_seconds'])}"
        figures = say_metrics(done["metrics"])
        self.console.print(
            f"[green]✓[/green] {escape(line)}  [dim]{escape(figures)}[/dim]", soft_wrap=not self.console.is_terminal
        )


def chain_table(title: str, links: Sequence[Link], estimates: Mapping[str, Estimate]) -> Table:
    """The dry run: stage, kind, status, inputs, and what each is expected to cost."""
    table = Table(
        title=title, title_justify="left", header_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0)
    )
    for column in ("stage", "kind", "status", "inputs"):
        table.add_column(column)
    for column in ("rows", "work", "time"):
        table.add_column(column, justify="right")
    table.add_column("note", style="dim")
    style = {"done": "green", "resume": "yellow", "to do": ""}
    left = 0.0
    unknown = False
    for link in links:
        estimate = estimates[link.spec.name]
        if link.done is not None:
            seconds = f"{say_seconds(link.done['wall_seconds'])} taken"
        else:
            unknown |= estimate.seconds is None
            left += estimate.seconds or 0.0
            seconds = "?" if estimate.seconds is None else f"~{say_seconds(estimate.seconds)}"
        table.add_row(
            escape(link.spec.name),
            escape(link.spec.kind.name),
            f"[{style[link.status]}]{link.status}[/]" if style[link.status] else link.status,
            escape("\n".join(f"{role}: {source.written()}" for role, source in link.spec.inputs.items())),
            "?" if estimate.rows is None else f"{estimate.rows:,}",
            "?" if estimate.flops is None else say_flops(estimate.flops),
            seconds,
            escape(" · ".join(part for part in (link.note, estimate.note) if part)),
        )
    at_least = "at least " if unknown else "about "
    table.caption = f"still to do: {at_least}{say_seconds(left)}" if any(link.done is None for link in links) else ""
    table.caption_justify = "left"
    return table
