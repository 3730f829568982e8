"""Data parallelism: several engines, each in a process or Ray actor of its own, behind one Completer.

Knows neither models nor how messages travel. A thread with an event loop of its own owns the replicas: it chooses one
for every prompt, hands pieces to the readers on whatever loop they wait in, and starts a replica anew when it died.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
import weakref
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from podium.answering.protocol import CompletionUsage, Finish, Piece, Prompt, PromptScore, Sampling
from podium.errors import CompleterError, InputError, PodiumError
from podium.generate.links import Link, LostReplica, ProcessLink, RayLink, join_cluster, leave_cluster
from podium.generate.replica import EngineSpec, Note

Backend = Literal["process", "ray"]

RESTARTS = 3
RESTART_SECONDS = 600.0
"""A replica that died RESTARTS times within this many seconds is given up."""

REMEMBERED = 1024
"""So many of the prompts a replica has seen are known; older ones have left its cache anyway."""


def choose_replica(loads: Sequence[int], seen: Sequence[bool], held: Sequence[int], rows: int) -> int:
    """Where a prompt goes: to the least loaded of the replicas that have seen it, and share its computed prefix with
    its siblings, unless that one is overloaded; else to the least loaded of all, of equals to the one with the fewest
    prompts.

    Overloaded is a replica with a quarter of its rows (at least 2) more than the least loaded, or without a free row
    where the least loaded has one: idle cores cost more than a prompt that is computed twice.

    Args:
        loads: [R], completions in flight.
        seen: [R], whether the replica has seen the prompt.
        held: [R], how many prompts it has seen.
        rows: completions that a replica computes side by side.
    """
    least = min(range(len(loads)), key=lambda i: (loads[i], held[i]))
    homes = [i for i in range(len(loads)) if seen[i]]
    if not homes:
        return least
    home = min(homes, key=lambda i: loads[i])
    overloaded = loads[home] >= loads[least] + max(2, rows // 4) or loads[home] >= rows > loads[least]
    return least if overloaded else home


@dataclass(slots=True, eq=False)
class Line:
    """A completion, seen from here: the switchboard's thread writes, `until` waits on any event loop."""

    number: int
    prompt: Prompt
    asks: Sampling | int  # a number: the prompt itself is scored, with so many of the likeliest tokens
    replica: Replica | None = None
    tries: int = 0
    started: bool = False
    over: bool = False  # nothing is held for it elsewhere any more
    failure: PodiumError | None = None
    inbox: deque[Piece] = field(default_factory=deque)
    scored: PromptScore | None = None
    usage: CompletionUsage = field(default_factory=CompletionUsage)
    waiters: list[Waiter] = field(default_factory=list)

    async def until(self, happened: Callable[[], object]) -> None:
        while not happened():
            loop = asyncio.get_running_loop()
            future: asyncio.Future[None] = loop.create_future()
            self.waiters.append((loop, future))
            # The thread writes before it looks for waiters: one of the two sees the other.
            if happened():
                return
            await future


Waiter = tuple[asyncio.AbstractEventLoop, "asyncio.Future[None]"]


@dataclass(slots=True, eq=False)
class Replica:
    """One of the engines."""

    index: int
    state: Literal["starting", "ready", "down"] = "starting"
    context: int = 0
    failure: PodiumError | None = None  # what it last died of
    deaths: list[float] = field(default_factory=list)  # when, of late
    starts: int = 0
    outbox: list[Note] = field(default_factory=list)
    filled: asyncio.Event = field(default_factory=asyncio.Event)
    lines: dict[int, Line] = field(default_factory=dict)
    asked: dict[int, Future[dict[str, float]]] = field(default_factory=dict)
    prompts: OrderedDict[int, None] = field(default_factory=OrderedDict)  # hashes of those it has seen

    def post(self, kind: str, number: int, content: Any = None) -> None:
        self.outbox.append((kind, number, content))
        self.filled.set()


class Switchboard:
    """What runs on the thread. Others use `post` and `shut`, and wait for `ready`."""

    def __init__(self, spec: EngineSpec, replicas: int, threads: int | None, backend: Backend) -> None:
        self.replicas = [Replica(index) for index in range(replicas)]
        self.ready: Future[None] = Future()
        self._spec = spec
        self._threads = threads
        self._backend: Backend = backend
        self._rows = int(spec.options.get("max_rows", 48))
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._lock = threading.RLock()  # the garbage collector may call `post` at any allocation, inside `post` too
        self._closed = False
        self._waiting: deque[Line] = deque()  # for a replica to be ready
        self._woken: list[Waiter] = []

    def post(self, command: Callable[[], None]) -> bool:
        """Have `command` run on the thread; False when it is no longer there to do it."""
        with self._lock:
            if not self._closed:
                self._loop.call_soon_threadsafe(command)
            return not self._closed

    def shut(self) -> None:
        self.post(self._stopping.set)

    @property
    def failure(self) -> PodiumError | None:
        return self._none_left() if all(each.state == "down" for each in self.replicas) else None

    def run(self) -> None:
        try:
            self._loop.run_until_complete(self._run())
        finally:
            self._loop.close()

    async def _run(self) -> None:
        joined = False
        keepers: list[asyncio.Task[None]] = []
        try:
            if self._backend == "ray":
                joined = join_cluster(len(self.replicas) * (self._threads or 1))
            keepers = [asyncio.create_task(self._keep(replica)) for replica in self.replicas]
            await self._stopping.wait()
        except PodiumError as error:
            self.ready.set_exception(error)
        finally:
            for keeper in keepers:
                keeper.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)
            with self._lock:
                self._closed = True
            await asyncio.sleep(0)  # for what was posted before
            for replica in self.replicas:
                self._drop_all(replica, _closed())
            self._fail_waiting(_closed())
            self._wake()
            if not self.ready.done():
                self.ready.set_exception(_closed())
            if joined:
                leave_cluster()

    # Replicas.

    async def _keep(self, replica: Replica) -> None:
        """Start a replica, and start it again when it died."""
        while True:
            failure = await self._live(replica)
            was_ready = replica.context > 0
            now = time.monotonic()
            replica.deaths = [*(death for death in replica.deaths if now - death < RESTART_SECONDS), now]
            replica.failure = failure
            replica.state = "starting" if was_ready and len(replica.deaths) <= RESTARTS else "down"
            self._drop_all(replica, failure, again=True)
            if not self.ready.done():
                self.ready.set_exception(failure)
            if all(each.state == "down" for each in self.replicas):
                self._fail_waiting(self._none_left())
            self._wake()
            if replica.state == "down":
                return

    async def _live(self, replica: Replica) -> PodiumError:
        """One life of a replica, from its start to what it died of."""
        link: Link | None = None
        tasks: list[asyncio.Task[PodiumError]] = []
        replica.outbox.clear()
        replica.starts += 1
        try:
            opening = RayLink.open if self._backend == "ray" else ProcessLink.open
            link = await opening(self._spec, self._threads)
            tasks = [asyncio.create_task(self._listen(replica, link)), asyncio.create_task(self._talk(replica, link))]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            # What was heard says more than that nothing can be sent any more.
            done = tasks[0] if tasks[0].done() else tasks[1]
            return done.result()
        except LostReplica as lost:
            return self._told(replica, lost.reason, lost.cure)
        except Exception as error:
            # Readers wait for this replica: whatever happened must reach them.
            failure = self._told(replica, repr(error), "report this with its traceback")
            failure.__cause__ = error
            return failure
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if link is not None:
                await link.close()

    def _told(self, replica: Replica, reason: str, cure: str) -> CompleterError:
        return CompleterError(f"replica {replica.index} of {self._spec.name}: {reason}", cure)

    def _none_left(self) -> CompleterError:
        last = max(self.replicas, key=lambda replica: replica.deaths[-1:])
        reason = last.failure or _closed()
        return CompleterError(f"no replica of {self._spec.name} is left: {reason.message}", reason.cure)

    async def _talk(self, replica: Replica, link: Link) -> PodiumError:
        while True:
            await replica.filled.wait()
            replica.filled.clear()
            notes, replica.outbox = replica.outbox, []
            await link.send(notes)

    async def _listen(self, replica: Replica, link: Link) -> PodiumError:
        while True:
            for kind, number, content in await link.receive():
                if kind == "broken":
                    return content
                self._hear(replica, kind, number, content)
            self._wake()

    def _hear(self, replica: Replica, kind: str, number: int, content: Any) -> None:
        if kind == "ready":
            replica.context = content
            replica.state = "ready"
            if all(each.context for each in self.replicas) and not self.ready.done():
                self.ready.set_result(None)
            waiting, self._waiting = self._waiting, deque()
            for line in waiting:
                self.start(line)
            return
        if kind == "stats":
            answer = replica.asked.pop(number)
            if answer.set_running_or_notify_cancel():
                answer.set_result(content)
            return
        line = replica.lines.get(number)
        if line is None:
            return
        if kind == "started":
            line.started = True
        elif kind == "piece":
            piece = Piece(*content)
            # The replica's own account replaces this one; it counts where the replica dies.
            line.usage.completion_tokens += len(piece.tokens)
            line.usage.logprob_sum += sum(piece.logprobs)
            line.inbox.append(piece)
        elif kind == "usage":
            line.usage = content
            self._end(line)
        elif kind == "scored":
            line.scored = content
            self._end(line)
        elif kind == "cancelled":
            self._end(line)
        else:
            self._end(line, content)
        self._woken += line.waiters
        line.waiters = []

    def _drop_all(self, replica: Replica, failure: PodiumError, again: bool = False) -> None:
        """Nothing will be heard of these any more. With `again`, what had not begun is begun elsewhere."""
        lines = list(replica.lines.values())
        replica.lines.clear()
        replica.prompts.clear()
        for answer in replica.asked.values():
            if answer.set_running_or_notify_cancel():
                answer.set_result({})
        replica.asked.clear()
        for line in lines:
            line.replica = None
            if again and not line.started and line.tries < 2:
                self.start(line)
            else:
                self._end(line, _told_again(failure))

    def _fail_waiting(self, failure: PodiumError) -> None:
        while self._waiting:
            self._end(self._waiting.popleft(), _told_again(failure))

    # Commands.

    def start(self, line: Line) -> None:
        ready = [replica for replica in self.replicas if replica.state == "ready"]
        if not ready:
            if self._closed or all(replica.state == "down" for replica in self.replicas):
                self._end(line, self._none_left())
                self._wake()
            else:
                self._waiting.append(line)
            return
        prompt = hash(line.prompt if isinstance(line.prompt, str) else tuple(line.prompt))
        seen = [prompt in replica.prompts for replica in ready]
        loads, held = [len(replica.lines) for replica in ready], [len(replica.prompts) for replica in ready]
        replica = ready[choose_replica(loads, seen, held, self._rows)]
        replica.prompts[prompt] = None
        replica.prompts.move_to_end(prompt)
        if len(replica.prompts) > REMEMBERED:
            replica.prompts.popitem(last=False)
        line.replica = replica
        line.tries += 1
        replica.lines[line.number] = line
        replica.post("score" if isinstance(line.asks, int) else "start", line.number, (line.prompt, line.asks))

    def extend(self, line: Line, text: str) -> None:
        if line.replica is not None:
            line.replica.post("extend", line.number, text)

    def cancel(self, line: Line) -> None:
        if line.over:
            return
        if line.replica is not None:
            line.replica.post("cancel", line.number)
        else:
            self._waiting.remove(line)
            self._end(line)
            self._wake()

    def ask(self, number: int, answers: list[Future[dict[str, float]]]) -> None:
        for replica, answer in zip(self.replicas, answers, strict=True):
            if replica.state == "ready":
                replica.asked[number] = answer
                replica.post("stats", number)
            elif answer.set_running_or_notify_cancel():
                answer.set_result({})

    def _end(self, line: Line, failure: PodiumError | None = None) -> None:
        if line.replica is not None:
            line.replica.lines.pop(line.number, None)
            line.replica = None
        line.failure = failure
        line.over = True
        self._woken += line.waiters
        line.waiters = []

    def _wake(self) -> None:
        """Wake whoever has something to read: one call per event loop."""
        woken, self._woken = self._woken, []
        loops: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
        for loop, future in woken:
            loops.setdefault(loop, []).append(future)
        for loop, futures in loops.items():
            try:
                loop.call_soon_threadsafe(_resolve, futures)
            except RuntimeError:
                # The loop is closed: whoever waited in it is gone.
                if not loop.is_closed():
                    raise


def _resolve(futures: Iterable[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)


def _closed() -> CompleterError:
    return CompleterError("the engines were closed", "start new ones")


def _told_again(failure: PodiumError) -> PodiumError:
    """An exception of one's own for every reader: a shared one would collect their tracebacks."""
    error = type(failure)(failure.message, failure.cure)
    error.__cause__ = failure.__cause__
    return error


def _close(board: Switchboard, thread: threading.Thread) -> None:
    board.shut()
    # The garbage collector may run this anywhere, the switchboard's own thread included.
    if thread is not threading.current_thread():
        thread.join()


class ParallelCompleter:
    """Several engines behind one Completer. With one seed a prompt's answer is the same from every replica.

    Args:
        spec: the engine that each replica loads for itself; `max_rows` and `memory_bytes` count for each.
        threads_each: threads of one replica (None: torch's own choice, which is all cores).
        backend: "process" for processes of this machine, "ray" for actors in the cluster of RAY_ADDRESS, or in one
            started on this machine.

    Raises:
        InputError: no replicas, a folder without a model, or Ray is not installed.
        CompleterError: a replica could not be started.
    """

    def __init__(
        self,
        spec: EngineSpec,
        replicas: int = 2,
        threads_each: int | None = 1,
        backend: Backend = "process",
    ) -> None:
        if replicas < 1:
            raise InputError(f"replicas is {replicas}", "it must be at least 1")
        self.name = spec.name
        self._numbers = itertools.count(1)
        self._board = Switchboard(spec, replicas, threads_each, backend)
        self._thread = threading.Thread(target=self._board.run, name=f"replicas of {spec.name}", daemon=True)
        self._thread.start()
        # Also runs when the completer is dropped unclosed and when the interpreter ends.
        self._finalizer = weakref.finalize(self, _close, self._board, self._thread)
        try:
            self._board.ready.result()
        except BaseException:
            self._finalizer()
            raise

    @property
    def context(self) -> int:
        """Tokens that a completion may span, prompt and appended text included."""
        return min(replica.context for replica in self._board.replicas)

    async def start(self, prompt: Prompt, sampling: Sampling) -> ParallelCompletion:
        """Begin a completion in one of the replicas; it is computed whether or not somebody reads it.

        Raises:
            InputError, PromptTooLong: as Engine does.
            CompleterError: closed, or no replica is left.
        """
        line = Line(next(self._numbers), prompt, sampling)
        board = self._board
        if not board.post(partial(board.start, line)):
            raise _closed()
        completion = ParallelCompletion(board, line)  # cancelled when dropped, so also when this is given up
        await line.until(lambda: line.started or line.over)
        if line.failure is not None and not line.started:
            raise line.failure
        return completion

    async def score(self, tokens: Sequence[int], top_logprobs: int = 0) -> PromptScore:
        """As Engine.score, in one of the replicas."""
        line = Line(next(self._numbers), list(tokens), top_logprobs)
        if not self._board.post(partial(self._board.start, line)):
            raise _closed()
        await line.until(lambda: line.over)
        if line.scored is None:
            raise _told_again(line.failure or _closed())
        return line.scored

    @property
    def failure(self) -> PodiumError | None:
        """Why nothing is answered any more, if that is so: no replica is left."""
        return self._board.failure

    async def stats(self) -> list[dict[str, float]]:
        """What each replica has done since its start, and its restarts; without figures while it is not ready."""
        board = self._board
        answers: list[Future[dict[str, float]]] = [Future() for _ in board.replicas]
        if not board.post(partial(board.ask, next(self._numbers), answers)):
            raise _closed()
        figures = [await asyncio.wrap_future(answer) for answer in answers]
        return [
            {"restarts": replica.starts - 1, **given} for replica, given in zip(board.replicas, figures, strict=True)
        ]

    async def close(self) -> None:
        """End the replicas, within a second; whoever still reads gets a CompleterError."""
        await asyncio.to_thread(self._finalizer)


class ParallelCompletion:
    """One completion in one of the replicas. Dropping the last reference to it cancels it."""

    def __init__(self, board: Switchboard, line: Line) -> None:
        self._board = board
        self._line = line
        self._finish: Finish | None = None
        weakref.finalize(self, board.post, partial(board.cancel, line)).atexit = False

    async def __aiter__(self) -> AsyncIterator[Piece]:
        while self._finish is None:
            piece = await self._piece()
            self._finish = piece.finish
            yield piece

    async def _piece(self) -> Piece:
        line = self._line
        await line.until(lambda: line.inbox or line.over)
        if line.inbox:
            return line.inbox.popleft()
        if line.failure is not None:
            raise _told_again(line.failure)
        return Piece("", finish="cancelled")

    async def extend(self, text: str) -> None:
        if self._finish != "stop":
            raise CompleterError(
                f"a completion that is {self._finish or 'still running'} cannot be extended",
                "extend after a piece whose finish is 'stop'",
            )
        line, board = self._line, self._board
        if line.failure is not None:
            raise _told_again(line.failure)
        if not board.post(partial(board.extend, line, text)):
            raise _closed()
        self._finish = None

    async def cancel(self) -> CompletionUsage:
        line, board = self._line, self._board
        if not line.over and board.post(partial(board.cancel, line)):
            await line.until(lambda: line.over)
        if self._finish == "stop":
            self._finish = "cancelled"
        return line.usage
