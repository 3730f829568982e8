"""One of several engines: the process or Ray actor that loads a model folder and answers over messages.

Knows neither the other replicas nor how messages travel: they come and leave in batches (podium.generate.messages).
What one pass of the event loop brings together leaves as one batch, so that the number of batches follows from the
engine's deliveries and not from tokens.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium.answering.protocol import Completion, Piece
from podium.errors import CompleterError, PodiumError, PromptTooLong
from podium.generate.messages import (
    AskFigures,
    Broken,
    Cancel,
    Cancelled,
    Extend,
    Failed,
    Figures,
    Finished,
    FromReplica,
    PieceWritten,
    Ready,
    Refused,
    Score,
    Scored,
    Start,
    Started,
    ToReplica,
)

if TYPE_CHECKING:
    from podium.generate.engine import Engine

LENGTH_BYTES = 8
"""A batch on a socket is its length, in this many bytes, and a pickle."""

WATCH_SECONDS = 0.2
"""How often a process looks whether its parent still lives."""


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """An engine that any process can make: the model's folder, Maker.model's name, and Engine's keyword arguments."""

    folder: Path
    name: str = "podium"
    options: dict[str, Any] = field(default_factory=dict)

    def load(self, threads: int | None) -> Engine:
        """Raises InputError for a folder that holds no model with a tokenizer, CompleterError as Engine does."""
        from podium.generate.engine import Engine

        return Engine.load(self.folder, threads=threads, name=self.name, **self.options)


class EngineWorker:
    """Hosts an engine. `load` once, `post` what comes in, `receive` what goes out; all of one event loop."""

    def __init__(self, spec: EngineSpec, threads: int | None) -> None:
        self._spec = spec
        self._threads = threads
        self._engine: Engine | None = None
        self._completions: dict[int, Completion] = {}
        self._readers: dict[int, asyncio.Task[None]] = {}
        self._turns: dict[int, asyncio.Lock] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._outbox: list[FromReplica] = []
        self._filled = asyncio.Event()
        self._counts: Counter[str] = Counter()

    async def load(self) -> None:
        """Load the model and send Ready or Broken."""
        try:
            self._engine = await asyncio.to_thread(self._spec.load, self._threads)
        except PodiumError as error:
            self._send(Broken(error))
        except Exception as error:
            # The other side waits for one of the two, whatever happened.
            self._send(Broken(CompleterError(f"{self._spec.folder}: {error!r}", "see the replica's own output")))
        else:
            self._send(Ready(self._engine.context))

    async def post(self, messages: Sequence[ToReplica]) -> None:
        """Take a batch; what it asks for is answered through `receive`, for each completion in this order."""
        for message in messages:
            match message:
                case Start():
                    self._spawn(self._in_turn(message.request, self._start(message)))
                case Extend():
                    self._spawn(self._in_turn(message.request, self._extend(message)))
                case Cancel():
                    self._spawn(self._in_turn(message.request, self._cancel(message.request)))
                case Score():
                    self._spawn(self._score(message))
                case AskFigures():
                    self._send(Figures(message.request, self._figures()))

    async def receive(self) -> list[FromReplica]:
        """The next batch, as soon as there is something to say."""
        await self._filled.wait()
        await asyncio.sleep(0)  # whoever was woken together with the first has spoken by then
        self._filled.clear()
        messages, self._outbox = self._outbox, []
        return messages

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _in_turn(self, number: int, work: Coroutine[Any, Any, None]) -> None:
        async with self._turns.setdefault(number, asyncio.Lock()):
            await work
        if number not in self._completions:
            self._turns.pop(number, None)

    def _send(self, message: FromReplica) -> None:
        self._outbox.append(message)
        self._filled.set()

    async def _start(self, message: Start) -> None:
        number = message.request
        try:
            if self._engine is None:
                raise CompleterError("the replica has no engine yet", "wait until it is ready")
            completion = await self._engine.start(message.prompt, message.sampling)
        except Exception as error:
            self._fail(Refused, number, error)
            return
        self._counts["completions"] += 1
        self._completions[number] = completion
        self._readers[number] = self._spawn(self._read(number, completion))
        self._send(Started(number))

    async def _score(self, message: Score) -> None:
        try:
            if self._engine is None:
                raise CompleterError("the replica has no engine yet", "wait until it is ready")
            score = await self._engine.score(message.tokens, message.top_logprobs)
        except Exception as error:
            self._fail(Refused, message.request, error)
        else:
            self._send(Scored(message.request, score))

    async def _read(self, number: int, completion: Completion) -> None:
        """Pass on the pieces of a stretch, and what was used if it is the last one."""
        try:
            piece = Piece("")
            async for piece in completion:
                self._send(PieceWritten(number, piece))
            if piece.finish != "stop":
                await self._settle(number, completion)
        except Exception as error:
            self._fail(Failed, number, error)

    async def _settle(self, number: int, completion: Completion) -> None:
        usage = await completion.cancel()
        if self._forget(number):
            for name in ("prompt_tokens", "completion_tokens", "computed_tokens"):
                self._counts[name] += getattr(usage, name)
            self._send(Finished(number, usage))

    async def _extend(self, message: Extend) -> None:
        number = message.request
        if number not in self._completions:
            return  # cancelled, or failed and told so
        await asyncio.wait([self._readers[number]])  # the last stretch's is on its way out
        completion = self._completions.get(number)
        if completion is None:
            return
        try:
            await completion.extend(message.text)
        except Exception as error:
            self._fail(Failed, number, error)
            return
        self._readers[number] = self._spawn(self._read(number, completion))

    async def _cancel(self, number: int) -> None:
        completion = self._completions.get(number)
        if completion is not None:
            reader = self._readers[number]
            await completion.cancel()
            await asyncio.wait([reader])  # it has the last piece to tell
            await self._settle(number, completion)
        self._send(Cancelled(number))

    def _forget(self, number: int) -> bool:
        self._readers.pop(number, None)
        return self._completions.pop(number, None) is not None

    def _fail(self, kind: type[Refused] | type[Failed], number: int, error: Exception) -> None:
        self._forget(number)
        if not isinstance(error, PodiumError):
            error = CompleterError(f"the replica failed: {error!r}", "report this with the replica's own output")
        self._send(kind(number, error))
        # An engine raises CompleterError when it is no more: the other side shall start a new one.
        if isinstance(error, CompleterError) and not isinstance(error, PromptTooLong):
            self._send(Broken(error))

    def _figures(self) -> dict[str, float]:
        return {
            "process": os.getpid(),
            "open": len(self._completions),
            "cpu_seconds": time.process_time(),
            **{name: self._counts[name] for name in ("completions", "prompt_tokens", "completion_tokens")},
            "computed_tokens": self._counts["computed_tokens"],
        }


# What runs in a child process.


def main(descriptor: int, parent: int) -> None:
    """Serve the socket `descriptor` until it is closed or process `parent` is gone."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the parent's business: service managers tell every process
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    asyncio.run(_serve(socket.socket(fileno=descriptor)))


def _watch(parent: int) -> None:
    # The socket's end tells it too, unless a fork of the parent still holds the other side, or this loop is stuck.
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    os._exit(1)


async def _serve(connection: socket.socket) -> None:
    reader, writer = await asyncio.open_unix_connection(sock=connection)
    worker = EngineWorker(*await read_batch(reader))

    async def listen() -> None:
        try:
            while True:
                await worker.post(await read_batch(reader))
        except (asyncio.IncompleteReadError, OSError):
            os._exit(0)  # nothing here outlives the connection, and the engine may be in the middle of a long step

    listening = asyncio.create_task(listen())
    await worker.load()
    while not listening.done():
        writer.write(packed(await worker.receive()))
        await writer.drain()


async def read_batch(reader: asyncio.StreamReader) -> Any:
    """Raises asyncio.IncompleteReadError or OSError when the other side is gone."""
    length = int.from_bytes(await reader.readexactly(LENGTH_BYTES), "big")
    return pickle.loads(await reader.readexactly(length))


def packed(content: Any) -> bytes:
    body = pickle.dumps(content, pickle.HIGHEST_PROTOCOL)
    return len(body).to_bytes(LENGTH_BYTES, "big") + body
