"""Podium's engine: many completions of one model at once, on a thread of its own.

asyncio is only the face: readers are woken on whatever event loop they wait in. What the thread does is in step.py.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections import deque
from collections.abc import Callable
from collections.abc import Sequence as Ordered
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from podium.answering.protocol import Completer, CompletionUsage, Piece, Prompt, PromptScore, Sampling
from podium.errors import CompleterError, InputError, PromptTooLong
from podium.generate.cache import ROOT, link
from podium.generate.completion import StreamedCompletion
from podium.generate.delivery import own_error
from podium.generate.open_runner import open_runner
from podium.generate.sampling import check_sampling
from podium.generate.sequence import Scoring, Sequence
from podium.generate.speculate import Adaptive, Proposer
from podium.generate.step import EngineCore, EngineStats

if TYPE_CHECKING:
    from podium.models import StoredModel, Transformer
    from podium.text import Tokenizer

STEP_TOKENS = 512
"""Tokens computed in one step: what prompts may use beside the rows that go on. More would make those wait longer."""


class EngineThread:
    """Runs steps for as long as there is something to compute, and commands between them. Any thread may call `post`
    and `shut`.

    Attributes:
        failure: why nothing is computed any more, once that is so.
    """

    def __init__(self, core: EngineCore, threads: int | None, name: str) -> None:
        self.core = core
        self.failure: CompleterError | None = None
        self._threads = threads
        self._commands: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def post(self, command: Callable[[], None]) -> bool:
        """Have `command` run between two steps; False when the thread is no longer there to do it."""
        with self._changed:
            if self.failure is not None:
                return False
            self._commands.append(command)
            self._changed.notify()
            return True

    def shut(self) -> None:
        """End the thread, and wait for that."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        # The garbage collector may run this anywhere, the engine's own thread included.
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        core = self.core
        try:
            with torch.inference_mode():
                if self._threads is not None:
                    torch.set_num_threads(self._threads)
                core.warm_up()
                while self._run_commands():
                    core.step()
                    core.delivery.deliver()
            failure = CompleterError("the engine was closed", "start a new one")
        except CompleterError as error:
            failure = error
        except Exception as error:
            # Whoever waits must hear of it, whatever it was.
            failure = CompleterError(f"the engine stopped: {type(error).__name__}: {error}", _cure(error))
            failure.__cause__ = error
        self._end(failure)

    def _run_commands(self) -> bool:
        """Run the commands, waiting for one when there is nothing else to do; False when it is time to end."""
        core = self.core
        with self._changed:
            while not (self._commands or self._closing or core.busy):
                self._changed.wait()
                if core.drafting is not None:
                    core.drafting.waited()
            commands = self._take_commands()
            closing = self._closing
        for command in commands:
            command()
        if commands:
            core.delivery.deliver()  # a completion that was cancelled need not wait for the step
        return not closing

    def _take_commands(self) -> list[Callable[[], None]]:
        # One by one: the garbage collector may drop a completion, and so post, at any allocation.
        commands: list[Callable[[], None]] = []
        while self._commands:
            commands.append(self._commands.popleft())
        return commands

    def _end(self, failure: CompleterError) -> None:
        self.core.stopped = True
        with self._changed:
            self.failure = failure
            commands = self._take_commands()
        for command in commands:
            command()  # no sequence runs any more; readers and those who cancel get their answer below
        self.core.stop()
        self.core.delivery.deliver(everybody=True)


def _cure(error: Exception) -> str:
    text = str(error).lower()
    if isinstance(error, MemoryError) or "memory" in text or "alloc" in text:
        return "give the engine a smaller memory_bytes or fewer rows"
    return "start a new engine; if it happens again, report this with its traceback"


class Engine(Completer):
    """Answers with a model, many completions at a time.

    Args:
        model: the C kernels pack their own copy of the weights. With a StoredModel that copy is the only one.
        max_rows: completions computed side by side; more wait in order of arrival.
        memory_bytes: for keys and values; with it, the longest context may be shorter than the model's.
        threads: of matrix products (None: one per core).
        name: stands in Maker.model.
        kernel: "native" (C), "graphs" (GPUs), "torch", or "auto": what suits the device. `description` says which it
            became.
        format: of the weights (None: fp16 in native, nearly lossless, where "fp32" is exact; bf16 on GPUs).
        device: "cpu", "cuda" or "cuda:N" (None: where the model is, a stored one on the CPU).
        step_tokens: computed in one step at most; prompts are cut into chunks by it.
        proposer: guesses tokens ahead, which changes how fast an answer comes and not what it says.

    Raises:
        CompleterError: memory_bytes does not hold a single block.
        InputError: max_rows or step_tokens below 1, the tokenizer has more entries than the model, or a kernel, format
            or device that cannot be had.
    """

    def __init__(
        self,
        model: Transformer | StoredModel,
        tokenizer: Tokenizer,
        *,
        max_rows: int = 48,
        memory_bytes: int = 2 << 30,
        threads: int | None = None,
        name: str = "podium",
        kernel: str = "auto",
        format: str | None = None,
        device: str | None = None,
        step_tokens: int = STEP_TOKENS,
        proposer: Proposer | None = None,
    ) -> None:
        for option, value in (("max_rows", max_rows), ("step_tokens", step_tokens)):
            if value < 1:
                raise InputError(f"{option} is {value}", "it must be at least 1")
        if tokenizer.vocab_size > model.config.vocab_size:
            raise InputError(
                f"the tokenizer has {tokenizer.vocab_size} entries, the model {model.config.vocab_size}",
                "give the tokenizer this model was trained with",
            )
        self.name = name
        self._tokenizer = tokenizer
        self._vocabulary = model.config.vocab_size
        # Beyond this, the keys of a prompt depend on how long it is.
        self._one_turn = model.config.max_position_embeddings if model.config.rope.kind == "dynamic" else None
        opened = open_runner(model, kernel, format, threads, device)
        self.description = opened.description
        self._core = EngineCore(
            opened.runner,
            opened.sampler,
            tokenizer,
            positions=model.config.context,
            max_rows=max_rows,
            memory_bytes=memory_bytes,
            step_tokens=step_tokens,
            proposer=proposer,
        )
        self._thread = EngineThread(self._core, threads, f"engine {name}")
        # Also runs when the engine is dropped unclosed and when the interpreter ends.
        self._finalizer = weakref.finalize(self, self._thread.shut)

    @classmethod
    def load(cls, folder: Path | str, *, drafter: str = "own", **options: Any) -> Engine:
        """The engine of a model folder, with the arguments of Engine; never more than one layer in memory unpacked.

        Args:
            drafter: who guesses tokens ahead, as far as that pays and answers do not depend on it to the last bit, as
                on the C kernels: "own" (the folder's draft head, see `podium draft`, and n-grams; nobody where there
                is no head), "ngrams", "none", or a name in podium.generate.drafters.DRAFTERS.

        Raises:
            InputError: a folder that holds no whole model with a tokenizer, no such drafter, a draft head of another
                model, and as Engine does.
            CompleterError: as Engine does.
        """
        from podium.models import StoredModel

        stored = StoredModel(folder)
        if stored.tokenizer is None:
            raise InputError(f"{folder}: no tokenizer.json", "put the model's tokenizer files beside its weights")
        if "proposer" not in options:
            options["proposer"] = _proposer(stored, drafter, options)
        return cls(stored, stored.tokenizer, **options)

    @property
    def context(self) -> int:
        """Tokens that a completion may span, prompt and appended text included."""
        return self._core.context

    @property
    def failure(self) -> CompleterError | None:
        """Why the engine answers nothing any more, if that is so."""
        return self._thread.failure

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
        return self._begin(Sequence(tuple(tokens), sampling, self._tokenizer.stream(tokens)))

    @property
    def tokenizer(self) -> Tokenizer:
        """What token ids of pieces are spelled with."""
        return self._tokenizer

    async def score(self, tokens: Ordered[int], top_logprobs: int = 0) -> PromptScore:
        """How likely the model finds each token after those before it, with so many of the likeliest in its place.

        Raises:
            InputError: no tokens, ids outside the vocabulary, or a negative `top_logprobs`.
            PromptTooLong: more tokens than the context holds.
            CompleterError: the engine is closed.
        """
        ids = self._encode(list(tokens))
        if len(ids) > self.context:
            raise PromptTooLong(f"{len(ids)} tokens, the context is {self.context}", "score a shorter text")
        if top_logprobs < 0:
            raise InputError(f"top_logprobs is {top_logprobs}", "it must be 0 (none) or more")
        scoring = Scoring(top_logprobs)
        async for _ in self._begin(Sequence(tuple(ids), Sampling(), self._tokenizer.stream(), scoring)):
            pass
        return PromptScore(scoring.logprobs, scoring.top)

    def stats(self) -> EngineStats:
        """What it is doing now, and has done since its start."""
        return self._core.stats()

    async def counts(self) -> list[dict[str, float]]:
        return [asdict(self.stats())]

    def _begin(self, sequence: Sequence) -> EngineCompletion:
        if self._one_turn is not None and len(sequence.prompt) > self._one_turn:
            sequence.root = link(ROOT, [len(sequence.prompt)])
        if not self._thread.post(partial(self._core.begin, sequence)):
            raise _failure_of(self._thread)
        return EngineCompletion(self._thread, sequence, self._tokenizer)

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


class EngineCompletion(StreamedCompletion):
    """One completion in the engine. Dropping the last reference to it cancels it."""

    def __init__(self, thread: EngineThread, sequence: Sequence, tokenizer: Tokenizer) -> None:
        super().__init__()
        self._thread = thread
        self._sequence = sequence
        self._tokenizer = tokenizer
        weakref.finalize(self, thread.post, partial(thread.core.drop, sequence)).atexit = False

    async def _next_piece(self) -> Piece:
        thread, reader = self._thread, self._sequence.reader
        while True:
            await reader.waiters.until(lambda: reader.ready or thread.failure is not None)
            reader.ready = False
            piece = reader.drain()
            if piece is not None:
                return piece
            if thread.failure is not None and not reader.outbox:
                raise _failure_of(thread)

    def _append(self, text: str) -> None:
        thread, tokens = self._thread, self._tokenizer.encode(text)
        if not thread.post(partial(thread.core.resume, self._sequence, tokens)):
            raise _failure_of(thread)

    async def _drop(self) -> CompletionUsage:
        thread, sequence = self._thread, self._sequence
        if sequence.state != "done" and thread.post(partial(thread.core.drop, sequence)):
            await sequence.reader.waiters.until(lambda: sequence.state == "done")
        return sequence.usage


def _proposer(stored: StoredModel, name: str, options: dict[str, Any]) -> Proposer | None:
    """A drafter at work for a model, where its guesses leave no trace."""
    from podium.generate.drafters import DRAFTERS
    from podium.generate.layered import layered
    from podium.generate.native.runner import missing

    make = DRAFTERS.find(name)
    native = options.get("kernel", "auto") in ("auto", "native") and options.get("device") in (None, "cpu")
    if not native or missing(layered(stored)):
        return None
    chosen = make(stored)
    return None if chosen is None else Adaptive(chosen)


def _failure_of(thread: EngineThread) -> CompleterError:
    return own_error(thread.failure or CompleterError("the engine was closed", "start a new one"))
