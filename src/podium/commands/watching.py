"""What a long command is doing at this moment: a live line in a terminal, a line every ten seconds elsewhere.

Knows rows, events and rich; decides nothing. A thread draws, so that the line goes on while a model loads and nothing
else is done.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from podium.answering.protocol import Completer, Completion, CompletionUsage, Piece, Prompt, PromptScore, Sampling
from podium.errors import PodiumError
from podium.figures import say_seconds
from podium.recipe.view import PLAIN_LINE_SECONDS
from podium.records import Event, ExamResult, Problem
from podium.solve.exam import Opened

if TYPE_CHECKING:
    from podium.text import Tokenizer

FRAMES_PER_SECOND = 4
_DOT = " · "  # between the parts of the line
RATE_SECONDS = 10.0  # over which tokens per second are counted


@dataclass(slots=True)
class Meter:
    """Tokens written, and how fast lately. The time before the first attempt, while a model loads, does not count."""

    tokens: int = 0
    read: Callable[[], float] = time.monotonic
    _marks: deque[tuple[float, int]] = field(default_factory=deque)

    def begin(self) -> None:
        """An attempt starts; the first one starts the clock."""
        if not self._marks:
            self._marks.append((self.read(), self.tokens))

    def count(self, tokens: int) -> None:
        self.tokens += tokens

    def rate(self) -> float:
        """Tokens per second over the last ten seconds, or since the first attempt began."""
        if not self._marks:
            return 0.0
        now = self.read()
        self._marks.append((now, self.tokens))
        while len(self._marks) > 2 and now - self._marks[1][0] >= RATE_SECONDS:
            self._marks.popleft()
        then, before = self._marks[0]
        return (self.tokens - before) / (now - then) if now > then else 0.0


def _fold(line: str, width: int) -> str:
    """The line in as many as a terminal of `width` columns needs, broken between its parts: none of them is lost."""
    first, *parts = line.split(_DOT)
    lines = [first]
    for part in parts:
        if len(lines[-1]) + len(_DOT) + len(part) <= width:
            lines[-1] += _DOT + part
        else:
            lines.append("  " + part)
    return "\n".join(lines)


class Metered(Completer):
    """A completer whose tokens are counted as they come."""

    def __init__(self, completer: Completer, meter: Meter) -> None:
        self.name = completer.name
        self._completer = completer
        self._meter = meter

    async def start(self, prompt: Prompt, sampling: Sampling) -> Completion:
        self._meter.begin()
        return _MeteredCompletion(await self._completer.start(prompt, sampling), self._meter)

    @property
    def context(self) -> int | None:
        return self._completer.context

    @property
    def tokenizer(self) -> Tokenizer | None:
        return self._completer.tokenizer

    @property
    def failure(self) -> PodiumError | None:
        return self._completer.failure

    async def score(self, tokens: Sequence[int], top_logprobs: int = 0) -> PromptScore:
        return await self._completer.score(tokens, top_logprobs)

    async def counts(self) -> list[dict[str, float]]:
        return await self._completer.counts()

    async def close(self) -> None:
        await self._completer.close()


class _MeteredCompletion:
    def __init__(self, completion: Completion, meter: Meter) -> None:
        self._completion = completion
        self._meter = meter

    async def __aiter__(self) -> AsyncIterator[Piece]:
        async for piece in self._completion:
            self._meter.count(len(piece.tokens) or bool(piece.text))
            yield piece

    async def extend(self, text: str) -> None:
        await self._completion.extend(text)

    async def cancel(self) -> CompletionUsage:
        return await self._completion.cancel()


class Watch:
    """Shows an exam, or attempts at one problem. A context: what it shows is gone when it is left.

    Results are printed on `console`; where that is no terminal, the line goes to standard error.
    """

    def __init__(self, console: Console, error: Console | None = None, read: Callable[[], float] = time.monotonic):
        error = error or Console(stderr=True, highlight=False)
        self._console = console if console.is_terminal else error
        self._read = read
        self._began = read()
        self._doing = ""
        self._since = self._began
        self._running: dict[str, set[int]] = {}
        self._ended = 0
        self._opened: dict[str, tuple[float, Opened]] = {}
        self._total = 0
        self._finished = 0
        self._sat: list[float] = []  # seconds of the problems finished in this session
        self._live: Live | None = None
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self.meter = Meter(read=read)
        self.at_once = 1  # problems at the same time
        self.correct = 0
        self.body: Callable[[], RenderableType] | None = None  # shown above the line in a terminal

    def __enter__(self) -> Watch:
        if self._console.is_terminal:
            self._live = Live(
                console=self._console,
                get_renderable=self._frame,
                refresh_per_second=FRAMES_PER_SECOND,
                transient=True,
            )
            self._live.start()
        else:
            self._thread = threading.Thread(target=self._tell, name="watch", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._live is not None:
            self._live.stop()
        if self._thread is not None:
            self._thread.join()

    def _tell(self) -> None:
        while not self._over.wait(PLAIN_LINE_SECONDS):
            self._console.print(self.line(), soft_wrap=True, markup=False)

    def _frame(self) -> RenderableType:
        line = Text(_fold(self.line(), self._console.width), style="dim", no_wrap=True, overflow="ellipsis")
        body = self.body
        return line if body is None else Group(body(), line)

    def doing(self, what: str) -> None:
        """What is done now, before attempts are made: "loading MODEL"; empty: attempts are made."""
        self._doing, self._since = what, self._read()

    def resumed(self, before: Sequence[ExamResult], total: int) -> None:
        """What earlier sessions finished: all counts go on from there."""
        self._finished, self._total = len(before), total
        self.correct = sum(row.verdict == "correct" for row in before)
        self._ended = sum(len(row.attempts) for row in before)
        self.meter.tokens = sum(attempt.usage.completion_tokens for row in before for attempt in row.attempts)

    def opened(self, opened: Opened) -> None:
        """A problem begins: podium.solve.sit_exam tells."""
        name = opened.problem.id
        self._opened[name] = (self._read(), opened)
        self._running[name] = set()
        self._total = opened.total

    def saw(self, problem: Problem, index: int, event: Event) -> None:
        """An event of an attempt."""
        running = self._running.setdefault(problem.id, set())
        if event.kind == "start":
            running.add(index)
        elif event.kind == "end":
            running.discard(index)
            self._ended += 1

    def finished(self, result: ExamResult, done: int, total: int) -> None:
        """A problem is over."""
        name = result.problem.id
        # Those that the clock or a rule cut off end without an event.
        self._ended += len(self._running.pop(name, ()))
        self._opened.pop(name, None)
        self._finished, self._total = done, total
        self._sat.append(result.used_seconds)
        self.correct += result.verdict == "correct"

    def line(self) -> str:
        """Everything in one line."""
        gone = say_seconds(self._read() - self._began)
        if self._doing:
            return f"{gone}  {self._doing} ({say_seconds(self._read() - self._since)})"
        running = sum(map(len, self._running.copy().values()))
        parts = [
            f"attempts: {running} running, {self._ended} ended",
            f"{self.meter.tokens:,} tokens, {self.meter.rate():.0f} tokens/s",
        ]
        if self._total:
            parts.insert(0, f"{self._finished}/{self._total} problems, {self.correct} correct")
        return f"{gone}  " + _DOT.join([*parts, *self._time()])

    def _time(self) -> list[str]:
        opened = next(iter(self._opened.copy().values()), None)
        if opened is None:
            return []
        since, problem = opened
        spent = self._read() - since
        if problem.seconds is None or problem.pool is None or problem.left is None:
            if not self._sat:
                return []
            left = sum(self._sat) / len(self._sat) * (self._total - self._finished) / self.at_once
            return [f"about {say_seconds(max(0.0, left - spent))} left"]
        return [
            f"clock {spent:.0f} of {problem.seconds:.0f} s",
            f"pool {problem.pool:+.0f} s",
            f"{say_seconds(max(0.0, problem.left - spent))} left",
        ]
