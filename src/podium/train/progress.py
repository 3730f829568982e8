"""What a person sees while training runs: a live line in a terminal, plain lines elsewhere. Knows numbers only."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from podium.figures import say_rate

PLAIN_SECONDS = 15.0  # between two plain lines


class TrainingProgress:
    """Shows step, loss, throughput and time left; `close` leaves the last state standing."""

    def __init__(self, steps: int, first: int, *, shown: bool, label: str = "train") -> None:
        self._steps, self._first, self._label = steps, first, label
        self._shown = shown
        self._started = self._last_line = time.monotonic()
        self._live: Progress | None = None
        console = Console(stderr=True)
        if shown and console.is_terminal:
            self._live = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed}/{task.total}  {task.fields[numbers]}  left"),
                TimeRemainingColumn(),
                console=console,
                transient=False,
            )
            self._task = self._live.add_task(label, total=steps, completed=first, numbers="")

    def __enter__(self) -> TrainingProgress:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def step(self, done: int, **numbers: float | None) -> None:
        """After step number `done` (counted from 1); numbers that are None are left out."""
        if not self._shown:
            return
        text = "  ".join(f"{name} {say_rate(value)}" for name, value in numbers.items() if value is not None)
        if self._live:
            self._live.update(self._task, completed=done, numbers=text)
            return
        now = time.monotonic()
        if now - self._last_line >= PLAIN_SECONDS or done == self._steps:
            self._last_line = now
            left = (now - self._started) / max(1, done - self._first) * (self._steps - done)
            self.line(f"{self._label} {done}/{self._steps}  {text}  left {left:.0f} s")

    def line(self, text: str) -> None:
        """A line that stays: a skipped step, an evaluation, a resume."""
        if not self._shown:
            return
        if self._live:
            self._live.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)
