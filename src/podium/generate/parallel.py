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
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from podium.answering.protocol import Completer, CompletionUsage, Piece, Prompt, PromptScore, Sampling
from podium.errors import CompleterError, InputError, PodiumError
from podium.generate.channels import Channel, LostReplica, ProcessChannel, RayChannel, join_cluster, leave_cluster
from podium.generate.completion import StreamedCompletion
from podium.generate.delivery import Waiter, Waiters, own_error, wake
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
from podium.generate.replica import EngineSpec

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
class Request:
    """A completion or a text to be scored, as the router sees it: the router's thread writes, readers wait on any event
    loop."""

    number: int
    prompt: Prompt
    replica: Replica | None = None
    tries: int = 0
    started: bool = False
    over: bool = False  # nothing is held for it elsewhere any more
    failure: PodiumError | None = None
    inbox: deque[Piece] = field(default_factory=deque)
    usage: CompletionUsage = field(default_factory=CompletionUsage)
    waiters: Waiters = field(default_factory=Waiters)

    def message(self) -> ToReplica:
        """What a replica is asked for."""
        raise NotImplementedError


@dataclass(slots=True, eq=False)
class CompletionRequest(Request):
    sampling: Sampling = field(default_factory=Sampling)

    def message(self) -> ToReplica:
        return Start(self.number, self.prompt, self.sampling)


@dataclass(slots=True, eq=False)
class ScoreRequest(Request):
    tokens: list[int] = field(default_factory=list)
    top_logprobs: int = 0
    score: PromptScore | None = None

    def message(self) -> ToReplica:
        return Score(self.number, self.tokens, self.top_logprobs)


@dataclass(slots=True, eq=False)
class Replica:
    """One of the engines."""

    index: int
    state: Literal["starting", "ready", "down"] = "starting"
    context: int = 0
    failure: PodiumError | None = None  # what it last died of
    deaths: list[float] = field(default_factory=list)  # when, of late
    starts: int = 0
    outbox: list[ToReplica] = field(default_factory=list)
    filled: asyncio.Event = field(default_factory=asyncio.Event)
    requests: dict[int, Request] = field(default_factory=dict)
    asked: dict[int, Future[dict[str, float]]] = field(default_factory=dict)
    prompts: OrderedDict[int, None] = field(default_factory=OrderedDict)  # hashes of those it has seen

    def post(self, message: ToReplica) -> None:
        self.outbox.append(message)
        self.filled.set()


class Router:
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
        self._waiting: deque[Request] = deque()  # for a replica to be ready
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
        channel: Channel | None = None
        tasks: list[asyncio.Task[PodiumError]] = []
        replica.outbox.clear()
        replica.starts += 1
        try:
            opening = RayChannel.open if self._backend == "ray" else ProcessChannel.open
            channel = await opening(self._spec, self._threads)
            tasks = [
                asyncio.create_task(self._listen(replica, channel)),
                asyncio.create_task(self._talk(replica, channel)),
            ]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            # What was heard says more than that nothing can be sent any more.
            done = tasks[0] if tasks[0].done() else tasks[1]
            return done.result()
        except LostReplica as lost:
            return self._failure(replica, lost.reason, lost.cure)
        except Exception as error:
            # Readers wait for this replica: whatever happened must reach them.
            failure = self._failure(replica, repr(error), "report this with its traceback")
            failure.__cause__ = error
            return failure
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if channel is not None:
                await channel.close()

    def _failure(self, replica: Replica, reason: str, cure: str) -> CompleterError:
        return CompleterError(f"replica {replica.index} of {self._spec.name}: {reason}", cure)

    def _none_left(self) -> CompleterError:
        last = max(self.replicas, key=lambda replica: replica.deaths[-1:])
        reason = last.failure or _closed()
        return CompleterError(f"no replica of {self._spec.name} is left: {reason.message}", reason.cure)

    async def _talk(self, replica: Replica, channel: Channel) -> PodiumError:
        while True:
            await replica.filled.wait()
            replica.filled.clear()
            messages, replica.outbox = replica.outbox, []
            await channel.send(messages)

    async def _listen(self, replica: Replica, channel: Channel) -> PodiumError:
        while True:
            for message in await channel.receive():
                if isinstance(message, Broken):
                    return message.failure
                self._handle(replica, message)
            self._wake()

    def _handle(self, replica: Replica, message: FromReplica) -> None:
        match message:
            case Ready():
                self._handle_ready(replica, message.context)
            case Broken():
                raise AssertionError("a replica that is broken is not listened to any more")
            case Figures():
                answer = replica.asked.pop(message.request)
                if answer.set_running_or_notify_cancel():
                    answer.set_result(message.figures)
            case _:
                request = replica.requests.get(message.request)
                if request is not None:
                    self._handle_answer(request, message)
                    self._woken += request.waiters.take()

    def _handle_ready(self, replica: Replica, context: int) -> None:
        replica.context = context
        replica.state = "ready"
        if all(each.context for each in self.replicas) and not self.ready.done():
            self.ready.set_result(None)
        waiting, self._waiting = self._waiting, deque()
        for request in waiting:
            self.start(request)

    def _handle_answer(
        self, request: Request, message: Started | PieceWritten | Finished | Scored | Cancelled | Refused | Failed
    ) -> None:
        match message:
            case Started():
                request.started = True
            case PieceWritten():
                # The replica's own account replaces this one; it counts where the replica dies.
                request.usage.completion_tokens += len(message.piece.tokens)
                request.usage.logprob_sum += sum(message.piece.logprobs)
                request.inbox.append(message.piece)
            case Finished():
                request.usage = message.usage
                self._end(request)
            case Scored():
                assert isinstance(request, ScoreRequest)
                request.score = message.score
                self._end(request)
            case Cancelled():
                self._end(request)
            case Refused() | Failed():
                self._end(request, message.failure)

    def _drop_all(self, replica: Replica, failure: PodiumError, again: bool = False) -> None:
        """Nothing will be heard of these any more. With `again`, what had not begun is begun elsewhere."""
        requests = list(replica.requests.values())
        replica.requests.clear()
        replica.prompts.clear()
        for answer in replica.asked.values():
            if answer.set_running_or_notify_cancel():
                answer.set_result({})
        replica.asked.clear()
        for request in requests:
            request.replica = None
            if again and not request.started and request.tries < 2:
                self.start(request)
            else:
                self._end(request, own_error(failure))

    def _fail_waiting(self, failure: PodiumError) -> None:
        while self._waiting:
            self._end(self._waiting.popleft(), own_error(failure))

    # Commands.

    def start(self, request: Request) -> None:
        ready = [replica for replica in self.replicas if replica.state == "ready"]
        if not ready:
            if self._closed or all(replica.state == "down" for replica in self.replicas):
                self._end(request, self._none_left())
                self._wake()
            else:
                self._waiting.append(request)
            return
        prompt = hash(request.prompt if isinstance(request.prompt, str) else tuple(request.prompt))
        seen = [prompt in replica.prompts for replica in ready]
        loads, held = [len(replica.requests) for replica in ready], [len(replica.prompts) for replica in ready]
        replica = ready[choose_replica(loads, seen, held, self._rows)]
        replica.prompts[prompt] = None
        replica.prompts.move_to_end(prompt)
        if len(replica.prompts) > REMEMBERED:
            replica.prompts.popitem(last=False)
        request.replica = replica
        request.tries += 1
        replica.requests[request.number] = request
        replica.post(request.message())

    def extend(self, request: Request, text: str) -> None:
        if request.replica is not None:
            request.replica.post(Extend(request.number, text))

    def cancel(self, request: Request) -> None:
        if request.over:
            return
        if request.replica is not None:
            request.replica.post(Cancel(request.number))
        else:
            self._waiting.remove(request)
            self._end(request)
            self._wake()

    def ask_figures(self, number: int, answers: list[Future[dict[str, float]]]) -> None:
        for replica, answer in zip(self.replicas, answers, strict=True):
            if replica.state == "ready":
                replica.asked[number] = answer
                replica.post(AskFigures(number))
            elif answer.set_running_or_notify_cancel():
                answer.set_result({})

    def _end(self, request: Request, failure: PodiumError | None = None) -> None:
        if request.replica is not None:
            request.replica.requests.pop(request.number, None)
            request.replica = None
        request.failure = failure
        request.over = True
        self._woken += request.waiters.take()

    def _wake(self) -> None:
        """Wake whoever has something to read: one call per event loop."""
        woken, self._woken = self._woken, []
        wake(woken)


def _closed() -> CompleterError:
    return CompleterError("the engines were closed", "start new ones")


def _close(router: Router, thread: threading.Thread) -> None:
    router.shut()
    # The garbage collector may run this anywhere, the router's own thread included.
    if thread is not threading.current_thread():
        thread.join()


class ParallelCompleter(Completer):
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
        self._router = Router(spec, replicas, threads_each, backend)
        self._thread = threading.Thread(target=self._router.run, name=f"replicas of {spec.name}", daemon=True)
        self._thread.start()
        # Also runs when the completer is dropped unclosed and when the interpreter ends.
        self._finalizer = weakref.finalize(self, _close, self._router, self._thread)
        try:
            self._router.ready.result()
        except BaseException:
            self._finalizer()
            raise

    @property
    def context(self) -> int:
        """Tokens that a completion may span, prompt and appended text included."""
        return min(replica.context for replica in self._router.replicas)

    async def start(self, prompt: Prompt, sampling: Sampling) -> ParallelCompletion:
        """Begin a completion in one of the replicas; it is computed whether or not somebody reads it.

        Raises:
            InputError, PromptTooLong: as Engine does.
            CompleterError: closed, or no replica is left.
        """
        request = CompletionRequest(next(self._numbers), prompt, sampling=sampling)
        router = self._router
        if not router.post(partial(router.start, request)):
            raise _closed()
        completion = ParallelCompletion(router, request)  # cancelled when dropped, so also when this is given up
        await request.waiters.until(lambda: request.started or request.over)
        if request.failure is not None and not request.started:
            raise request.failure
        return completion

    async def score(self, tokens: Sequence[int], top_logprobs: int = 0) -> PromptScore:
        """As Engine.score, in one of the replicas."""
        ids = list(tokens)
        request = ScoreRequest(next(self._numbers), ids, tokens=ids, top_logprobs=top_logprobs)
        if not self._router.post(partial(self._router.start, request)):
            raise _closed()
        await request.waiters.until(lambda: request.over)
        if request.score is None:
            raise own_error(request.failure or _closed())
        return request.score

    @property
    def failure(self) -> PodiumError | None:
        """Why nothing is answered any more, if that is so: no replica is left."""
        return self._router.failure

    async def counts(self) -> list[dict[str, float]]:
        """What each replica has done since its start, and its restarts; without figures while it is not ready."""
        router = self._router
        answers: list[Future[dict[str, float]]] = [Future() for _ in router.replicas]
        if not router.post(partial(router.ask_figures, next(self._numbers), answers)):
            raise _closed()
        figures = [await asyncio.wrap_future(answer) for answer in answers]
        return [
            {"restarts": replica.starts - 1, **given} for replica, given in zip(router.replicas, figures, strict=True)
        ]

    async def close(self) -> None:
        """End the replicas, within a second; whoever still reads gets a CompleterError."""
        await asyncio.to_thread(self._finalizer)


class ParallelCompletion(StreamedCompletion):
    """One completion in one of the replicas. Dropping the last reference to it cancels it."""

    def __init__(self, router: Router, request: Request) -> None:
        super().__init__()
        self._router = router
        self._request = request
        weakref.finalize(self, router.post, partial(router.cancel, request)).atexit = False

    async def _next_piece(self) -> Piece:
        request = self._request
        await request.waiters.until(lambda: request.inbox or request.over)
        if request.inbox:
            return request.inbox.popleft()
        if request.failure is not None:
            raise own_error(request.failure)
        return Piece("", finish="cancelled")

    def _append(self, text: str) -> None:
        request, router = self._request, self._router
        if request.failure is not None:
            raise own_error(request.failure)
        if not router.post(partial(router.extend, request, text)):
            raise _closed()

    async def _drop(self) -> CompletionUsage:
        request, router = self._request, self._router
        if not request.over and router.post(partial(router.cancel, request)):
            await request.waiters.until(lambda: request.over)
        return request.usage
