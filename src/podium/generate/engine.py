"""Podium's engine: many completions of one model at once, on a thread of its own.

A step is: admit who waits, compute what was appended, draw, compute one token of every running row, draw. asyncio is
only the face: readers are woken on whatever event loop they wait in. With a given seed, what a completion says does
not depend on what runs beside it, in which order things arrived, or how much memory there is.
"""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import torch

from podium.errors import CompleterError, InputError, PromptTooLong
from podium.generate.cache import Slab
from podium.generate.protocol import CompletionUsage, Finish, Piece, Prompt, Sampling
from podium.generate.runner import STEP, Runner
from podium.generate.sampling import Settings, check_sampling, choose
from podium.generate.scheduler import Scheduler
from podium.generate.sequence import Output, Sequence

if TYPE_CHECKING:
    from podium.models.transformer import Transformer
    from podium.text import Tokenizer

CHUNK = 512
"""Tokens of a prompt computed at once. Cut from the prompt's start, so that the cuts depend on the prompt alone."""

DELIVERY_SECONDS = 0.02
"""Readers are woken this often at most, except for an ending, which is told at once."""


class Core:
    """What runs on the engine's thread. Others may call `post`, `shut` and nothing else."""

    def __init__(self, model: Transformer, tokenizer: Tokenizer, max_rows: int, memory_bytes: int) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.max_rows = max_rows
        self.memory_bytes = memory_bytes
        self.context = 0
        self.failure: CompleterError | None = None
        self.ready = threading.Event()
        self.steps = 0
        self._commands: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._alive: set[Sequence] = set()
        self._untold: set[Sequence] = set()
        self._told = 0.0
        self._settings: tuple[int, Settings] | None = None

    def post(self, command: Callable[[], None]) -> bool:
        """Have `command` run between two steps; False when the engine is no longer there to do it."""
        with self._changed:
            if self.failure is not None:
                return False
            self._commands.append(command)
            self._changed.notify()
            return True

    def shut(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify()

    def run(self, threads: int | None) -> None:
        try:
            with torch.inference_mode():
                if threads is not None:
                    torch.set_num_threads(threads)
                self._prepare()
                self.ready.set()
                while self._attend_to_commands():
                    self._step()
                    self._tell()
            failure = CompleterError("the engine was closed", "start a new one")
        except CompleterError as error:
            failure = error
        except Exception as error:
            # Whoever waits must hear of it, whatever it was.
            failure = CompleterError(f"the engine stopped: {type(error).__name__}: {error}", _cure(error))
            failure.__cause__ = error
        self._end(failure)

    def _prepare(self) -> None:
        self.runner = Runner(self.model, self.max_rows)
        # A sequence may have to stand in the slab and beside it at once, when it moves from one to the other.
        fitting = self.memory_bytes // (2 * self.runner.shape.bytes_per_position) // STEP * STEP
        if not fitting:
            raise CompleterError(
                f"memory_bytes {self.memory_bytes} is too little for one completion",
                f"give at least {2 * STEP * self.runner.shape.bytes_per_position}",
            )
        self.context = min(self.model.config.max_position_embeddings, fitting)
        self.scheduler = Scheduler(Slab(self.runner.shape), self.runner.round_length, self.max_rows, self.memory_bytes)

    def _attend_to_commands(self) -> bool:
        """Run the commands, waiting for one when there is nothing else to do; False when it is time to end."""
        scheduler = self.scheduler
        with self._changed:
            while not (self._commands or self._closing or scheduler.running or scheduler.queue):
                self._changed.wait()
            commands = self._take_commands()
            closing = self._closing
        for command in commands:
            command()
        return not closing

    def _take_commands(self) -> list[Callable[[], None]]:
        # One by one: the garbage collector may drop a completion, and so post, at any allocation.
        commands: list[Callable[[], None]] = []
        while self._commands:
            commands.append(self._commands.popleft())
        return commands

    def _end(self, failure: CompleterError) -> None:
        with self._changed:
            self.failure = failure
            commands = self._take_commands()
        self.ready.set()
        for command in commands:
            command()  # no sequence runs any more; readers and cancellers get their answer below
        for sequence in self._alive:
            sequence.state = "done"
            sequence.snapshot = None
        self._untold |= self._alive
        self._alive.clear()
        if hasattr(self, "scheduler"):
            del self.scheduler, self.runner
        self._tell(everything=True)

    # Commands, run on the engine's thread between steps.

    def begin(self, sequence: Sequence) -> None:
        self._alive.add(sequence)
        if self.failure is None:
            self.scheduler.enqueue(sequence)

    def resume(self, sequence: Sequence, tokens: list[int]) -> None:
        if self.failure is not None or sequence.state != "paused":
            return
        used = sequence.usage.completion_tokens
        if used >= sequence.sampling.max_tokens or len(sequence.tokens) + len(tokens) >= self.context:
            self._finish(sequence, "length")
            return
        sequence.append(tokens, self.tokenizer.stream())
        self.scheduler.enqueue(sequence)

    def drop(self, sequence: Sequence) -> None:
        if self.failure is None and sequence.state != "done":
            self._finish(sequence, "cancelled")

    def _finish(self, sequence: Sequence, finish: Finish) -> None:
        """End a sequence from outside of `take`."""
        sequence.outbox.append(Output("", finish=finish))
        self._release(sequence)

    def _release(self, sequence: Sequence) -> None:
        self.scheduler.finish(sequence)
        self._alive.discard(sequence)
        self._untold.add(sequence)

    # A step.

    def _step(self) -> None:
        scheduler = self.scheduler
        self.steps += 1
        allowance = CHUNK
        fresh: list[tuple[Sequence, torch.Tensor]] = []
        while True:
            started, prefix = scheduler.admit()
            fresh += [(s, p.logits) for s, p in started if p.logits is not None and s.computed == len(s.tokens)]
            if prefix is None or allowance <= 0:
                break
            chunk = prefix.prompt[prefix.computed : prefix.computed + CHUNK]
            logits = self.runner.prefill(prefix.snapshot.layers, chunk, prefix.computed)
            prefix.computed += len(chunk)
            prefix.unpaid += len(chunk)
            allowance -= len(chunk)
            if prefix.computed == len(prefix.prompt):
                prefix.logits = logits
        for slot, sequence in enumerate(scheduler.running):
            if sequence.computed in sequence.stretches:
                logits = self._prefill_stretch(sequence, slot)
                if sequence.computed == len(sequence.tokens):
                    fresh.append((sequence, logits))
        if fresh:
            sequences = [sequence for sequence, _ in fresh]
            settings = Settings([sequence.sampling for sequence in sequences], self.runner.device)
            self._draw(sequences, torch.stack([logits for _, logits in fresh]), settings)
        scheduler.make_room()
        running = list(scheduler.running)
        # One that is being rebuilt may stand before its next appended stretch: that is computed in the next step.
        ahead = [s for s in running if s.computed not in s.stretches]
        if len(ahead) < len(running):
            return
        if running:
            logits = self.runner.decode(
                scheduler.slab, [s.tokens[s.computed] for s in running], [s.computed for s in running]
            )
            for sequence in running:
                sequence.computed += 1
                sequence.usage.computed_tokens += 1
            if self._settings is None or self._settings[0] != scheduler.version:
                settings = Settings([sequence.sampling for sequence in running], self.runner.device)
                self._settings = (scheduler.version, settings)
            self._draw(running, logits, self._settings[1])

    def _prefill_stretch(self, sequence: Sequence, slot: int) -> torch.Tensor:
        row = self.scheduler.slab.row(slot)
        end = sequence.stretches[sequence.computed]
        logits = torch.empty(0)
        while sequence.computed < end:
            chunk = sequence.tokens[sequence.computed : min(end, sequence.computed + CHUNK)]
            logits = self.runner.prefill(row, chunk, sequence.computed)
            sequence.computed += len(chunk)
            sequence.usage.computed_tokens += len(chunk)
        self.scheduler.slab.show(slot, end)
        return logits

    def _draw(self, sequences: list[Sequence], logits: torch.Tensor, settings: Settings) -> None:
        tokens, logprobs = choose(logits, settings, [s.usage.completion_tokens for s in sequences])
        for sequence, token, logprob in zip(sequences, tokens, logprobs, strict=True):
            if sequence.computed < len(sequence.tokens):
                continue  # being rebuilt: what follows is known
            if logprob != logprob:
                raise CompleterError(
                    "the model's logits are not finite", "the weights are damaged: check them, or train again"
                )
            finish = sequence.take(token, logprob, self.tokenizer, self.context)
            self._untold.add(sequence)
            if finish == "stop":
                self.scheduler.pause(sequence)
            elif finish is not None:
                self._release(sequence)

    def _tell(self, everything: bool = False) -> None:
        """Wake the readers of what is new."""
        now = time.monotonic()
        everything = everything or now - self._told >= DELIVERY_SECONDS
        if everything:
            self._told = now
        loops: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
        for sequence in list(self._untold):
            if everything or sequence.state in ("paused", "done"):
                self._untold.discard(sequence)
                sequence.ready = True
                if sequence.waiter is not None:
                    loop, future = sequence.waiter
                    sequence.waiter = None
                    loops.setdefault(loop, []).append(future)
        for loop, futures in loops.items():
            wake(loop, futures)


def _cure(error: Exception) -> str:
    text = str(error).lower()
    if isinstance(error, MemoryError) or "memory" in text or "alloc" in text:
        return "give the engine a smaller memory_bytes or fewer rows"
    return "start a new engine; if it happens again, report this with its traceback"


def wake(loop: asyncio.AbstractEventLoop, futures: list[asyncio.Future[None]]) -> None:
    """Resolve futures of another thread's loop."""
    try:
        loop.call_soon_threadsafe(_resolve, futures)
    except RuntimeError:
        # The loop is closed: whoever waited in it is gone.
        if not loop.is_closed():
            raise


def _resolve(futures: list[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)


def _close(core: Core, thread: threading.Thread) -> None:
    core.shut()
    # The garbage collector may run this anywhere, the engine's own thread included.
    if thread is not threading.current_thread():
        thread.join()


class Engine:
    """Answers with a model, many completions at a time. Implements Completer.

    Args:
        max_rows: completions computed side by side; more wait in order of arrival.
        memory_bytes: for keys and values; with it, the longest context may be shorter than the model's.
        threads: of torch's matrix products (None: torch's own choice). Answers are reproducible for one number.
        name: stands in Maker.model.

    Raises:
        CompleterError: memory_bytes does not hold a single completion.
        InputError: max_rows below 1, or the tokenizer has more entries than the model.
    """

    def __init__(
        self,
        model: Transformer,
        tokenizer: Tokenizer,
        *,
        max_rows: int = 48,
        memory_bytes: int = 2 << 30,
        threads: int | None = None,
        name: str = "podium",
    ) -> None:
        if max_rows < 1:
            raise InputError(f"max_rows is {max_rows}", "it must be at least 1")
        if tokenizer.vocab_size > model.config.vocab_size:
            raise InputError(
                f"the tokenizer has {tokenizer.vocab_size} entries, the model {model.config.vocab_size}",
                "give the tokenizer this model was trained with",
            )
        self.name = name
        self._tokenizer = tokenizer
        self._vocabulary = model.config.vocab_size
        self._core = Core(model, tokenizer, max_rows, memory_bytes)
        self._thread = threading.Thread(target=self._core.run, args=(threads,), name=f"engine {name}", daemon=True)
        self._thread.start()
        # Also runs when the engine is dropped unclosed and when the interpreter ends.
        self._finalizer = weakref.finalize(self, _close, self._core, self._thread)
        self._core.ready.wait()
        if self._core.failure is not None:
            raise self._core.failure

    @property
    def context(self) -> int:
        """Tokens that a completion may span, prompt and appended text included."""
        return self._core.context

    @property
    def failure(self) -> CompleterError | None:
        """Why the engine answers nothing any more, if that is so."""
        return self._core.failure

    async def start(self, prompt: Prompt, sampling: Sampling) -> EngineCompletion:
        """Begin a completion; it is computed whether or not somebody reads it.

        Raises:
            InputError: an empty prompt, ids outside the vocabulary, or sampling settings that mean nothing.
            PromptTooLong: the prompt leaves no room in the context.
            CompleterError: the engine is closed.
        """
        check_sampling(sampling)
        tokens = self._encode(prompt)
        if len(tokens) >= self.context:
            raise PromptTooLong(
                f"the prompt has {len(tokens)} tokens, the context {self.context}",
                "shorten it, or use a model with a longer context (more memory_bytes, where that is what limits it)",
            )
        sequence = Sequence(tuple(tokens), sampling, self._tokenizer.stream())
        core = self._core
        if not core.post(lambda: core.begin(sequence)):
            raise core.failure or CompleterError("the engine was closed", "start a new one")
        return EngineCompletion(self._core, sequence, self._tokenizer)

    def _encode(self, prompt: Prompt) -> list[int]:
        tokens: list[int]
        if isinstance(prompt, str):
            tokens = self._tokenizer.encode(prompt)
        elif all(isinstance(part, int) for part in prompt):
            tokens = [part for part in prompt if isinstance(part, int)]
            outside = [token for token in tokens if not 0 <= token < self._vocabulary]
            if outside:
                raise InputError(
                    f"token id {outside[0]} is outside the vocabulary of {self._vocabulary}",
                    "encode the prompt with this model's tokenizer",
                )
        else:
            tokens = self._tokenizer.render([part for part in prompt if not isinstance(part, int)])
        if not tokens:
            raise InputError("the prompt is empty", "give at least one token to go on from")
        return tokens

    async def close(self) -> None:
        """End the thread and free the memory; whoever still reads gets a CompleterError."""
        await asyncio.to_thread(self._finalizer)


class EngineCompletion:
    """One completion in the engine. Dropping the last reference to it cancels it."""

    def __init__(self, core: Core, sequence: Sequence, tokenizer: Tokenizer) -> None:
        self._core = core
        self._sequence = sequence
        self._tokenizer = tokenizer
        self._finish: Finish | None = None
        weakref.finalize(self, _drop, core, sequence).atexit = False

    async def __aiter__(self) -> AsyncIterator[Piece]:
        while self._finish is None:
            piece = await self._piece()
            self._finish = piece.finish
            yield piece

    async def _piece(self) -> Piece:
        sequence = self._sequence
        while True:
            if sequence.ready:
                sequence.ready = False
                piece = sequence.drain()
                if piece is not None:
                    return piece
            if self._core.failure is not None and not sequence.outbox:
                raise _told_again(self._core.failure)
            loop = asyncio.get_running_loop()
            future: asyncio.Future[None] = loop.create_future()
            sequence.waiter = (loop, future)
            # The engine sets `ready` before it looks for a waiter: one of the two sees the other.
            if sequence.ready or self._core.failure is not None:
                sequence.waiter = None
                sequence.ready = True
                continue
            await future

    async def extend(self, text: str) -> None:
        if self._finish != "stop":
            raise CompleterError(
                f"a completion that is {self._finish or 'still running'} cannot be extended",
                "extend after a piece whose finish is 'stop'",
            )
        tokens = self._tokenizer.encode(text)
        core, sequence = self._core, self._sequence
        if not core.post(lambda: core.resume(sequence, tokens)):
            raise _told_again(core.failure)
        self._finish = None

    async def cancel(self) -> CompletionUsage:
        core, sequence = self._core, self._sequence
        if sequence.state != "done":
            loop = asyncio.get_running_loop()
            freed: asyncio.Future[None] = loop.create_future()

            def drop() -> None:
                core.drop(sequence)
                wake(loop, [freed])

            if core.post(drop):
                await freed
        if self._finish == "stop":
            self._finish = "cancelled"
        return sequence.usage


def _told_again(failure: CompleterError | None) -> Any:
    """An exception of one's own for every reader: a shared one would collect their tracebacks."""
    if failure is None:
        return CompleterError("the engine was closed", "start a new one")
    error = CompleterError(failure.message, failure.cure)
    error.__cause__ = failure.__cause__
    return error


def _drop(core: Core, sequence: Sequence) -> None:
    core.post(lambda: core.drop(sequence))
