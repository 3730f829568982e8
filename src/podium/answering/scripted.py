"""Programmatic answers behind the Completer protocol: a generator plays the model.

Knows nothing of models or tokens. The programmatic teacher of `podium.curate` and tests of everything written against
Completer stand on it. One yielded piece counts as one token, for `max_tokens` and in the usage.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from typing import TypeAlias

from podium.answering.protocol import Completer, CompletionUsage, Finish, Piece, Prompt, Sampling
from podium.answering.stopping import StopWatch
from podium.errors import CompleterError

Script: TypeAlias = Callable[[Prompt, Sampling], Generator[str, str, None]]
"""Yields text. Where the text so far ends with one of `sampling.stop`, `yield` returns what was passed to `extend`,
elsewhere the empty string. Returning ends the answer ("eos")."""


class ScriptedCompleter(Completer):
    """Answers with a script.

    >>> def script(prompt, sampling):
    ...     output = yield code_block("print(6 * 7)")
    ...     yield f"It is {output.strip()}."
    >>> completer = ScriptedCompleter("example", script)
    """

    def __init__(self, name: str, script: Script) -> None:
        self.name = name
        self._script = script

    async def start(self, prompt: Prompt, sampling: Sampling) -> ScriptedCompletion:
        return ScriptedCompletion(self.name, self._script(prompt, sampling), sampling)


class ScriptedCompletion:
    """One run of a script.

    Raises (while iterated):
        CompleterError: the script failed, or went on within one piece after a stop string: a model would never have
            written what follows.
    """

    def __init__(self, name: str, script: Generator[str, str, None], sampling: Sampling) -> None:
        self._name = name
        self._script = script
        self._sampling = sampling
        self._watch = StopWatch(sampling)
        self._usage = CompletionUsage()
        self._sent = ""
        self._started = False
        self._finish: Finish | None = None

    async def __aiter__(self) -> AsyncIterator[Piece]:
        if self._finish == "cancelled":
            yield Piece("", finish="cancelled")
        while self._finish is None:
            await asyncio.sleep(0)  # others get their turn between pieces, as they would with a model
            if self._finish is not None:
                yield Piece("", finish=self._finish)
                return
            yield self._next()

    def _next(self) -> Piece:
        if self._usage.completion_tokens >= self._sampling.max_tokens:
            return self._end("", "length")
        sent, self._sent = self._sent, ""
        try:
            text = self._script.send(sent) if self._started else next(self._script)
        except StopIteration:
            return self._end("", "eos")
        except Exception as error:
            self._finish = "cancelled"
            raise CompleterError(f"the script of {self._name!r} failed: {error!r}", "mend the script") from error
        self._started = True
        self._usage.completion_tokens += 1
        seen = self._watch.push(text, self._usage.completion_tokens)
        if seen is None:
            return Piece(text)
        if seen.overhang:
            self._finish = "cancelled"
            raise CompleterError(
                f"the script of {self._name!r} wrote {text[-seen.overhang :][:40]!r} after the stop string "
                f"{seen.stop!r} in one piece",
                "end the piece with the stop string; `yield` returns the appended text there",
            )
        return self._end(text, seen.finish, seen.stop)

    def _end(self, text: str, finish: Finish, stop: str | None = None) -> Piece:
        self._finish = finish
        if finish != "stop":
            self._script.close()
        return Piece(text, finish=finish, stop=stop)

    async def extend(self, text: str) -> None:
        if self._finish != "stop":
            raise CompleterError(
                f"a completion that is {self._finish or 'still running'} cannot be extended",
                "extend after a piece whose finish is 'stop'",
            )
        self._finish = None
        self._sent = text
        self._watch.restart()
        self._usage.appended_tokens += 1

    async def cancel(self) -> CompletionUsage:
        if self._finish in (None, "stop"):
            self._finish = "cancelled"
            self._script.close()
        return self._usage
