"""Podium's engine: many completions of one model at once, on a thread of its own.

A step is: schedule which tokens are computed, run the model over them, draw the next token of every row that is up to
date. asyncio is only the face: readers are woken on whatever event loop they wait in.
"""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from collections.abc import Sequence as Ordered
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from podium.answering.protocol import CompletionUsage, Finish, Piece, Prompt, PromptScore, Sampling
from podium.errors import CompleterError, InputError, PromptTooLong
from podium.generate.cache import ROOT, BlockPool, link
from podium.generate.guess import DraftRequest
from podium.generate.runner import Runner, Span, load_runner
from podium.generate.sampling import adjust, check_sampling, likeliest
from podium.generate.scheduler import Plan, Said, Scheduler, Work
from podium.generate.sequence import Output, Scoring, Sequence
from podium.generate.speculate import Adaptive, Proposer

if TYPE_CHECKING:
    from podium.models import StoredModel, Transformer
    from podium.text import Tokenizer

STEP_TOKENS = 512
"""Tokens computed in one step: what prompts may use beside the rows that go on. More would make those wait longer."""

DELIVERY_SECONDS = 0.02
"""Readers are woken this often at most, except for an ending, which is told at once."""


TRIED_ROWS = 96
TRIED_SECONDS = 0.05
"""Steps of up to so many rows are timed at the start where guesses are to be made, unless one takes longer."""

DRAFT = "draft"
"""Folder of a model's draft head, in the model's own."""

MOST_ENDINGS = 16
"""Prompts at most whose last logits are kept."""


@dataclass(slots=True)
class EngineStats:
    """What an engine is doing and has done. Tokens are counted from its start, over all completions."""

    running: int = 0
    waiting: int = 0
    paused: int = 0
    blocks_used: int = 0  # of running, paused and interrupted completions
    blocks_total: int = 0
    weight_bytes: int = 0
    cache_bytes: int = 0  # of keys and values, of all blocks
    steps: int = 0
    prompt_tokens: int = 0
    appended_tokens: int = 0
    generated_tokens: int = 0
    computed_tokens: int = 0  # went through the model, guesses included
    cache_hit_tokens: int = 0  # did not, since another completion's were the same
    preemptions: int = 0
    draft_tokens: int = 0  # guesses checked …
    accepted_tokens: int = 0  # … and found right


def said_bytes(runner: Runner) -> int:
    """Of what the model said at the end of a prompt: see scheduler.Said."""
    return 4 * (runner.vocab_size + runner.state_size)


def shares(runner: Runner, memory_bytes: int) -> tuple[int, int]:
    """The blocks, and the endings of prompts remembered beside them, that `memory_bytes` hold."""
    # Endings are for attempts that begin when the first is already under way: a small part of the budget.
    endings = min(max(1, memory_bytes // 32 // said_bytes(runner)), MOST_ENDINGS)
    return (memory_bytes - endings * said_bytes(runner)) // runner.block_bytes, endings


class Core:
    """What runs on the engine's thread. Others may call `post`, `shut` and `stats` and nothing else."""

    def __init__(
        self,
        runner: Runner,
        tokenizer: Tokenizer,
        *,
        positions: int,
        max_rows: int,
        memory_bytes: int,
        step_tokens: int,
        proposer: Proposer | None,
    ) -> None:
        if proposer is not None:
            runner.tap(proposer.taps)
        blocks, endings = shares(runner, memory_bytes)
        if blocks < 1:
            raise CompleterError(
                f"memory_bytes {memory_bytes} is too little for one completion",
                f"give at least {said_bytes(runner) + runner.block_bytes}, which holds {runner.block_size} tokens",
            )
        self.runner = runner
        self.tokenizer = tokenizer
        self.proposer = proposer
        self.context = min(positions, blocks * runner.block_size)
        self.failure: CompleterError | None = None
        runner.allocate(blocks)
        self.pool: BlockPool[Said] = BlockPool(blocks, runner.block_size, endings)
        self.scheduler = Scheduler(self.pool, runner.copy, max_rows, step_tokens)
        self._counts = EngineStats(
            blocks_total=blocks, weight_bytes=runner.weight_bytes, cache_bytes=blocks * runner.block_bytes
        )
        self._commands: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._alive: set[Sequence] = set()
        self._untold: set[Sequence] = set()
        self._told = 0.0
        self._drawn: list[Sequence] = []
        self._samplings: list[Sampling] = []
        self._resting = False
        self._states = torch.empty(0, runner.state_size)  # from which the last step's tokens were drawn
        self._ended = False  # somebody must be told now
        self._since = time.perf_counter()  # the last step ended, or something to do came

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

    def stats(self) -> EngineStats:
        counts = self._counts
        scheduler = self.scheduler
        running, waiting = len(scheduler.running), len(scheduler.queue)
        return replace(
            counts,
            running=running,
            waiting=waiting,
            paused=max(0, len(self._alive) - running - waiting),
            blocks_used=self.pool.used,
            cache_hit_tokens=scheduler.cache_hits,
            preemptions=scheduler.preemptions,
        )

    def run(self, threads: int | None) -> None:
        try:
            with torch.inference_mode():
                if threads is not None:
                    torch.set_num_threads(threads)
                if self.proposer is not None:
                    self.proposer.expect(self._try_rows())
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

    def _try_rows(self) -> list[float]:
        """Seconds of a step of 1, 2, … rows, on blocks that nobody has yet; empty where that would take long."""
        size = self.runner.block_size
        most = min(TRIED_ROWS, self.context, self.pool.count * size)
        at = sorted({rows for rows in (1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 28, 32, 40, 48, 64, 80, most) if rows <= most})
        took: list[float] = []
        for rows in at:
            span = Span([0] * rows, 0, range(-(-rows // size)), rows)
            seconds = []
            for _ in range(4):  # the first warms up
                began = time.perf_counter()
                self.runner.step([span])
                seconds.append(time.perf_counter() - began)
                if seconds[0] > TRIED_SECONDS:
                    return []
            took.append(min(seconds))
        return np.interp(range(1, most + 1), at, np.maximum.accumulate(took)).tolist()

    def _attend_to_commands(self) -> bool:
        """Run the commands, waiting for one when there is nothing else to do; False when it is time to end."""
        scheduler = self.scheduler
        with self._changed:
            while not (self._commands or self._closing or scheduler.running or scheduler.queue):
                self._changed.wait()
                self._since = time.perf_counter()
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
        for command in commands:
            command()  # no sequence runs any more; readers and cancellers get their answer below
        for sequence in self._alive:
            sequence.state = "done"
        self._untold |= self._alive
        self._alive.clear()
        self.scheduler.running.clear()
        self.scheduler.queue.clear()
        del self.runner, self.scheduler.copy  # the weights and the pool
        self._tell(everything=True)

    # Commands, run on the engine's thread between steps.

    def begin(self, sequence: Sequence) -> None:
        self._alive.add(sequence)
        if self.failure is None:
            self._counts.prompt_tokens += len(sequence.prompt)
            self.scheduler.enqueue(sequence)

    def resume(self, sequence: Sequence, tokens: list[int]) -> None:
        if self.failure is not None or sequence.state != "paused":
            return
        used = sequence.usage.completion_tokens
        if used >= sequence.sampling.max_tokens or len(sequence.tokens) + len(tokens) >= self.context:
            self._finish(sequence, "length")
            return
        sequence.append(tokens, self.tokenizer.stream(sequence.tokens[-4:] + tokens))
        self._counts.appended_tokens += len(tokens)
        self.scheduler.enqueue(sequence)

    def drop(self, sequence: Sequence) -> None:
        if self.failure is None and sequence.state != "done":
            self._finish(sequence, "cancelled")

    def _finish(self, sequence: Sequence, finish: Finish) -> None:
        """End a sequence from outside of `take`."""
        sequence.outbox.append(Output("", finish=finish))
        self._release(sequence)

    def _release(self, sequence: Sequence) -> None:
        self._ended = True
        self.scheduler.finish(sequence)
        self._alive.discard(sequence)
        self._untold.add(sequence)

    # A step.

    def _step(self) -> None:
        scheduler, counts = self.scheduler, self._counts
        plan = scheduler.schedule()
        if self.proposer is not None:
            self._guess(plan)
        spans: list[Span] = []
        for work in plan.work:
            sequence = work.sequence
            end = sequence.computed + work.count
            if sequence.scoring is not None:
                wanted = work.count
            else:
                wanted = 1 + len(work.guesses) if end == len(sequence.tokens) else 0
            tokens = sequence.tokens[sequence.computed : end] + work.guesses
            spans.append(Span(tokens, sequence.computed, sequence.blocks, wanted, len(sequence.prompt)))
        if not spans and not plan.forked:
            return
        counts.steps += 1
        generated, computed, single = counts.generated_tokens, counts.computed_tokens, True
        logits, states = self.runner.step(spans) if spans else (torch.empty(0), torch.empty(0))

        rows: list[int] = []  # of the logits that are drawn from
        drawing: list[tuple[Sequence, list[int]]] = []
        learnt = False
        row = 0
        for work, span in zip(plan.work, spans, strict=True):
            sequence = work.sequence
            first, row = row, row + span.wanted
            single = single and work.count == 1
            sequence.computed += work.count
            sequence.usage.computed_tokens += len(span.tokens)
            counts.computed_tokens += len(span.tokens)
            scheduler.publish(sequence)
            if sequence.scoring is not None:
                self._score(sequence, sequence.scoring, logits[first:row], span.start)
            elif span.wanted:
                if sequence.fresh:
                    scheduler.remember(sequence, Said(logits[first].clone(), states[first].clone()))
                    learnt = True
                drawing.append((sequence, work.guesses))
                rows += range(first, row)
        forked = plan.forked + scheduler.fork() if learnt else plan.forked
        if len(rows) < len(logits):
            at = torch.tensor(rows, dtype=torch.long, device=logits.device)
            logits, states = logits[at], states[at]
        if forked:
            drawing += [(sequence, []) for sequence, _ in forked]
            said = torch.stack([said.logits for _, said in forked])
            said_states = torch.stack([said.state for _, said in forked])
            logits = torch.cat([logits, said]) if rows else said
            states = torch.cat([states, said_states]) if rows else said_states
        if drawing:
            self._draw(drawing, logits, states)
        if self.proposer is not None:
            began, self._since = self._since, time.perf_counter()
            # While it rests, a look now and then is enough.
            if single and not forked and (not self._resting or counts.steps % 8 == 0):
                self.proposer.timed(
                    counts.computed_tokens - computed, self._since - began, counts.generated_tokens - generated
                )

    def _guess(self, plan: Plan) -> None:
        """Ask for guesses, and put those that have a place into the plan."""
        assert self.proposer is not None
        self._resting = self.proposer.rests(len(plan.work))
        if self._resting:
            return
        guessing: list[Work] = []
        requests: list[DraftRequest] = []
        context, steps = self.context, self._counts.steps
        for work in plan.work:
            sequence = work.sequence
            written, tokens = sequence.usage.completion_tokens, sequence.tokens
            if work.count != 1 or not written or len(tokens) - sequence.computed != 1:
                continue
            left = min(sequence.sampling.max_tokens - written, context - len(tokens)) - 1
            place = sequence.place
            row = place[1] if place is not None and place[0] == steps else None
            guessing.append(work)
            requests.append(DraftRequest(sequence.number, tokens, sequence.key, row, max(0, left)))
        if not guessing:
            return
        budget = max(0, plan.budget)
        for work, request, guesses in zip(
            guessing, requests, self.proposer.propose(requests, self._states, budget), strict=True
        ):
            if guesses:
                room = self.scheduler.room_for_guesses(work.sequence, min(len(guesses), request.limit, budget))
                work.guesses = guesses[:room]
                budget -= room

    def _draw(self, drawing: list[tuple[Sequence, list[int]]], logits: Tensor, states: Tensor) -> None:
        """Draw the token after the last one of each sequence, and after each of its guesses. A guess is kept if it is
        the very token that is drawn in its place: what is said does not depend on what was guessed."""
        counts, tokenizer, context = self._counts, self.tokenizer, self.context
        self._states = states
        owners = [sequence for sequence, _ in drawing]
        lengths = [1 + len(guesses) for _, guesses in drawing]
        counters: list[int] = []
        guessed: list[int] = []
        for sequence, guesses in drawing:
            written = sequence.usage.completion_tokens
            counters += range(written, written + 1 + len(guesses))
            guessed += guesses
            guessed.append(-1)
        if self._drawn != owners:
            self._drawn = owners
            self._samplings = [sequence.sampling for sequence in owners]
        adjusted = self._adjusted(drawing, logits)
        any_guessed = guessed if len(guessed) > len(drawing) else None
        chosen = self.runner.choose(logits, self._samplings, lengths, counters, adjusted, any_guessed)
        tokens, logprobs, tops = chosen
        row = 0
        for sequence, guesses in drawing:
            finish: Finish | None = None
            before = sequence.usage.completion_tokens
            for i, guess in enumerate([*guesses, None]):
                token, logprob = tokens[row + i], logprobs[row + i]
                if logprob != logprob:
                    raise CompleterError(
                        "the model's logits are not finite", "the weights are damaged: check them, or train again"
                    )
                finish = sequence.take(token, logprob, tops[row + i], tokenizer, context)
                if finish is not None or token != guess:
                    break
                sequence.computed += 1
            drawn = sequence.usage.completion_tokens - before
            sequence.place = counts.steps, row + drawn - 1
            row += 1 + len(guesses)
            counts.generated_tokens += drawn
            if guesses:
                self._count_guesses(sequence, len(guesses), drawn - 1)
                self.scheduler.publish(sequence)
            self._untold.add(sequence)
            if finish == "stop":
                self._ended = True
                self.scheduler.pause(sequence)
            elif finish is not None:
                self._release(sequence)

    def _adjusted(self, drawing: list[tuple[Sequence, list[int]]], logits: Tensor) -> Tensor | None:
        """The logits with penalties, where there are any. A row behind guesses is that of a context with them."""
        adjusted: Tensor | None = None
        row = 0
        for sequence, guesses in drawing:
            if sequence.penalised():
                adjusted = logits.clone() if adjusted is None else adjusted
                for i in range(1 + len(guesses)):
                    early = sequence.usage.completion_tokens + i < sequence.sampling.min_tokens
                    adjust(
                        adjusted[row + i],
                        sequence.sampling,
                        sequence.seen.union(guesses[:i]),
                        sequence.written + Counter(guesses[:i]),
                        sequence.ends(self.tokenizer) if early else (),
                    )
            row += 1 + len(guesses)
        return adjusted

    def _count_guesses(self, sequence: Sequence, guessed: int, right: int) -> None:
        extra = sequence.usage.extra
        extra["draft_tokens"] = extra.get("draft_tokens", 0) + guessed
        extra["accepted_tokens"] = extra.get("accepted_tokens", 0) + right
        self._counts.draft_tokens += guessed
        self._counts.accepted_tokens += right

    def _score(self, sequence: Sequence, scoring: Scoring, logits: Tensor, start: int) -> None:
        """Note how likely the tokens behind positions `start`… were; the last one has none behind it."""
        following = sequence.tokens[start + 1 : start + 1 + len(logits)]
        if following:
            logprobs = torch.log_softmax(logits[: len(following)], -1)
            chosen = logprobs.gather(1, torch.tensor(following, device=logits.device)[:, None])[:, 0].tolist()
            # What was computed before memory ran short is computed again.
            scoring.logprobs[start + 1 :] = chosen
            scoring.top[start + 1 :] = likeliest(logprobs, [scoring.top_count] * len(following))
        if not sequence.remaining:
            self._finish(sequence, "length")

    def _tell(self, everything: bool = False) -> None:
        """Wake the readers of what is new."""
        now = time.monotonic()
        everything = everything or now - self._told >= DELIVERY_SECONDS
        if not everything and not self._ended:
            return
        self._ended = False
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
        runner, self.description = load_runner(model, kernel, format, threads, device)
        self._core = Core(
            runner,
            tokenizer,
            positions=model.config.context,
            max_rows=max_rows,
            memory_bytes=memory_bytes,
            step_tokens=step_tokens,
            proposer=proposer,
        )
        self._thread = threading.Thread(target=self._core.run, args=(threads,), name=f"engine {name}", daemon=True)
        self._thread.start()
        # Also runs when the engine is dropped unclosed and when the interpreter ends.
        self._finalizer = weakref.finalize(self, _close, self._core, self._thread)

    @classmethod
    def load(cls, folder: Path | str, *, speculate: bool = True, **options: Any) -> Engine:
        """The engine of a model folder, with the arguments of Engine; never more than one layer in memory unpacked.

        Args:
            speculate: where the folder has a draft head (`podium draft`) and answers do not depend on it to the last
                bit, as on the C kernels, guess with it and with n-grams, as far as that pays.

        Raises:
            InputError: a folder that holds no whole model with a tokenizer, a draft head of another model, and as
                Engine does.
            CompleterError: as Engine does.
        """
        from podium.models import StoredModel

        stored = StoredModel(folder)
        if stored.tokenizer is None:
            raise InputError(f"{folder}: no tokenizer.json", "put the model's tokenizer files beside its weights")
        if speculate and "proposer" not in options:
            options["proposer"] = _own_proposer(stored, options)
        return cls(stored, stored.tokenizer, **options)

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

    def _begin(self, sequence: Sequence) -> EngineCompletion:
        core = self._core
        if self._one_turn is not None and len(sequence.prompt) > self._one_turn:
            sequence.root = link(ROOT, [len(sequence.prompt)])
        if not core.post(lambda: core.begin(sequence)):
            raise _told_again(core.failure)
        return EngineCompletion(core, sequence, self._tokenizer)

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


def _own_proposer(stored: StoredModel, options: dict[str, Any]) -> Proposer | None:
    """The model's draft head at work, if there is one and guesses leave no trace."""
    from podium.generate.native.runner import missing

    native = options.get("kernel", "auto") in ("auto", "native") and options.get("device") in (None, "cpu")
    if not native or missing(stored) or not (stored.folder / DRAFT / "config.json").exists():
        return None
    from podium.compress import load_draft
    from podium.generate.guess import guesser

    with stored.ends() as target:
        head = load_draft(stored.folder / DRAFT, target)
    return Adaptive(guesser(head))


def _told_again(failure: CompleterError | None) -> Any:
    """An exception of one's own for every reader: a shared one would collect their tracebacks."""
    if failure is None:
        return CompleterError("the engine was closed", "start a new one")
    error = CompleterError(failure.message, failure.cure)
    error.__cause__ = failure.__cause__
    return error


def _drop(core: Core, sequence: Sequence) -> None:
    core.post(lambda: core.drop(sequence))
