"""The engine's step: schedule which tokens are computed, run the model over them, draw, and commit what was drawn.

Knows sequences, the cache and a runner; no threads and no event loops. Everything here is called by one thread.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from podium.answering.protocol import Finish
from podium.errors import CompleterError
from podium.generate.cache import BlockPool
from podium.generate.delivery import Delivery, Output
from podium.generate.drafting import Drafting, try_rows
from podium.generate.drawing import DrawBatch, Drawing, Sampler
from podium.generate.runner import Runner
from podium.generate.sampling import Chosen, likeliest
from podium.generate.scheduler import PromptEnding, Scheduler, StepPlan
from podium.generate.sequence import Scoring, Sequence
from podium.generate.speculate import Proposer

if TYPE_CHECKING:
    from podium.text import Tokenizer

MOST_ENDINGS = 16
"""Prompts at most whose last logits are kept."""


@dataclass(slots=True)
class EngineStats:
    """What an engine is doing and has done. Tokens are counted from its start, over all completions."""

    running: int = 0
    waiting: int = 0
    paused: int = 0
    blocks_used: int = 0  # of running, paused and preempted completions
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


def ending_bytes(runner: Runner) -> int:
    """Bytes of one cached prompt ending: its last logits and state."""
    return 4 * (runner.vocab_size + runner.state_size)


def shares(runner: Runner, memory_bytes: int) -> tuple[int, int]:
    """The blocks, and the prompt endings cached beside them, that `memory_bytes` hold."""
    # Endings are for attempts that begin when the first is already under way: a small part of the budget.
    endings = min(max(1, memory_bytes // 32 // ending_bytes(runner)), MOST_ENDINGS)
    return (memory_bytes - endings * ending_bytes(runner)) // runner.block_bytes, endings


class EngineCore:
    """Sequences on their way through steps: `begin`, `resume` and `drop` them between two calls of `step`.

    Raises:
        CompleterError: memory_bytes does not hold a single block.
    """

    def __init__(
        self,
        runner: Runner,
        sampler: Sampler,
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
                f"give at least {ending_bytes(runner) + runner.block_bytes}, which holds {runner.block_size} tokens",
            )
        self.runner = runner
        self.tokenizer = tokenizer
        self.context = min(positions, blocks * runner.block_size)
        runner.allocate(blocks)
        self.pool: BlockPool[PromptEnding] = BlockPool(blocks, runner.block_size, endings)
        self.scheduler = Scheduler(self.pool, runner.copy, max_rows, step_tokens)
        self.drawing = Drawing(sampler, tokenizer)
        self.drafting = None if proposer is None else Drafting(proposer, self.scheduler, self.context)
        self.delivery = Delivery()
        self.alive: set[Sequence] = set()
        self.stopped = False
        self._counts = EngineStats(
            blocks_total=blocks, weight_bytes=runner.weight_bytes, cache_bytes=blocks * runner.block_bytes
        )

    def warm_up(self) -> None:
        """Measure steps where guesses are to be made, before the first sequence begins."""
        if self.drafting is not None:
            self.drafting.proposer.expect(try_rows(self.runner, self.context, self.pool.count))

    @property
    def busy(self) -> bool:
        """Whether a step would compute something."""
        return bool(self.scheduler.running or self.scheduler.queue)

    def stats(self) -> EngineStats:
        scheduler = self.scheduler
        running, waiting = len(scheduler.running), len(scheduler.queue)
        return replace(
            self._counts,
            running=running,
            waiting=waiting,
            paused=max(0, len(self.alive) - running - waiting),
            blocks_used=self.pool.used,
            cache_hit_tokens=scheduler.cache_hits,
            preemptions=scheduler.preemptions,
        )

    # Between steps.

    def begin(self, sequence: Sequence) -> None:
        """Queue a new sequence."""
        self.alive.add(sequence)
        if not self.stopped:
            self._counts.prompt_tokens += len(sequence.prompt)
            self.scheduler.enqueue(sequence)

    def resume(self, sequence: Sequence, tokens: list[int]) -> None:
        """Queue a paused sequence again, with text appended to it."""
        if self.stopped or sequence.state != "paused":
            return
        used = sequence.usage.completion_tokens
        if used >= sequence.sampling.max_tokens or len(sequence.tokens) + len(tokens) >= self.context:
            self._finish(sequence, "length")
            return
        sequence.append(tokens, self.tokenizer.stream(sequence.tokens[-4:] + tokens))
        self._counts.appended_tokens += len(tokens)
        self.scheduler.enqueue(sequence)

    def drop(self, sequence: Sequence) -> None:
        """Cancel a sequence, in whatever state it is."""
        if not self.stopped and sequence.state != "done":
            self._finish(sequence, "cancelled")

    def stop(self) -> None:
        """End all sequences as they are, and let go of the weights and the pool."""
        self.stopped = True
        for sequence in self.alive:
            sequence.state = "done"
            self.delivery.add(sequence.reader, ended=True)
        self.alive.clear()
        self.scheduler.running.clear()
        self.scheduler.queue.clear()
        del self.runner, self.drawing, self.scheduler.copy

    # The step.

    def step(self) -> None:
        """Schedule which tokens are computed, run the model over them, draw the next token of every sequence that is
        up to date, and commit what was drawn."""
        plan = self.scheduler.schedule()
        if self.drafting is not None:
            self.drafting.add_guesses(plan)
        if plan.empty:
            return
        self._counts.steps += 1
        batch = self._run(plan)
        generated = self._commit(batch, self.drawing.draw(batch)) if batch.draws else 0
        if self.drafting is not None:
            self.drafting.stepped(self._counts.steps, plan, batch.forked, generated)

    def _run(self, plan: StepPlan) -> DrawBatch:
        """Compute the plan's tokens. Returns what is drawn from: rows that are scored, or end inside a prompt, are
        not; those of forked sequences come last."""
        spans = [work.span() for work in plan.work]
        logits, states = self.runner.step(spans) if spans else (torch.empty(0), torch.empty(0))
        draws: list[tuple[Sequence, list[int]]] = []
        rows: list[int] = []
        forked, row = plan.forked, 0
        endings = False
        for work, span in zip(plan.work, spans, strict=True):
            sequence, first, row = work.sequence, row, row + span.wanted
            sequence.computed += work.count
            sequence.usage.computed_tokens += len(span.tokens)
            self._counts.computed_tokens += len(span.tokens)
            self.scheduler.publish(sequence)
            if sequence.scoring is not None:
                self._score(sequence, sequence.scoring, logits[first:row], span.start)
            elif span.wanted:
                if sequence.fresh:
                    self.scheduler.remember(sequence, PromptEnding(logits[first].clone(), states[first].clone()))
                    endings = True
                draws.append((sequence, work.guesses))
                rows += range(first, row)
        if endings:
            forked = forked + self.scheduler.fork()
        if len(rows) < len(logits):
            at = torch.tensor(rows, dtype=torch.long, device=logits.device)
            logits, states = logits[at], states[at]
        if forked:
            draws += [(sequence, []) for sequence, _ in forked]
            logits = _joined(logits, [ending.logits for _, ending in forked])
            states = _joined(states, [ending.state for _, ending in forked])
        return DrawBatch(draws, logits, states, bool(forked))

    def _commit(self, batch: DrawBatch, chosen: Chosen) -> int:
        """Add the drawn tokens to their sequences; returns how many. A guess is kept if it is the very token that was
        drawn in its place: what is written does not depend on what was guessed."""
        if self.drafting is not None:
            self.drafting.drew_from(self._counts.steps, batch.states)
        row = generated = 0
        for sequence, guesses in batch.draws:
            finish, drawn = self._take(sequence, guesses, chosen, row)
            sequence.draft_source = self._counts.steps, row + drawn - 1
            row += 1 + len(guesses)
            generated += drawn
            if guesses:
                self._count_guesses(sequence, len(guesses), drawn - 1)
                self.scheduler.publish(sequence)
            self.delivery.add(sequence.reader, ended=finish is not None)
            if finish == "stop":
                self.scheduler.pause(sequence)
            elif finish is not None:
                self._release(sequence)
        self._counts.generated_tokens += generated
        return generated

    def _take(self, sequence: Sequence, guesses: list[int], chosen: Chosen, row: int) -> tuple[Finish | None, int]:
        """Add the tokens drawn from `row` on, up to the first that was guessed wrong or ends the completion; returns
        why it ends, if it does, and their number."""
        tokens, logprobs, tops = chosen
        for taken, at in enumerate(range(row, row + len(guesses) + 1)):
            if logprobs[at] != logprobs[at]:
                raise CompleterError(
                    "the model's logits are not finite", "the weights are damaged: check them, or train again"
                )
            finish = sequence.take(tokens[at], logprobs[at], tops[at], self.tokenizer, self.context)
            if finish is not None or taken == len(guesses) or tokens[at] != guesses[taken]:
                return finish, taken + 1
            sequence.computed += 1
        raise AssertionError("the last row has no guess behind it")

    def _count_guesses(self, sequence: Sequence, guessed: int, accepted: int) -> None:
        extra = sequence.usage.extra
        extra["draft_tokens"] = extra.get("draft_tokens", 0) + guessed
        extra["accepted_tokens"] = extra.get("accepted_tokens", 0) + accepted
        self._counts.draft_tokens += guessed
        self._counts.accepted_tokens += accepted

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

    def _finish(self, sequence: Sequence, finish: Finish) -> None:
        """End a sequence that drew no token."""
        sequence.reader.outbox.append(Output("", finish=finish))
        self._release(sequence)

    def _release(self, sequence: Sequence) -> None:
        self.scheduler.finish(sequence)
        self.alive.discard(sequence)
        self.delivery.add(sequence.reader, ended=True)


def _joined(rows: Tensor, others: list[Tensor]) -> Tensor:
    return torch.cat([rows, torch.stack(others)]) if len(rows) else torch.stack(others)
