"""Who computes what in the next step, and who gives up memory when there is too little.

Knows sequences and blocks; runs no model. There is one rule: a sequence has `computed` tokens and wants all of them
computed. Each step closes gaps under one budget of tokens, in order of arrival: first those that lack a single token
(decode), then the others in chunks (prefill). A prompt's chunks, text appended after a pause, what was lost to
preemption and guesses to be checked are all the same thing. Sequences that wait (new, resumed or preempted) stand in
one queue; attempts at a prompt that is being computed follow the one that computes it, and are forked from it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

from podium.generate.cache import BlockPool, CachedEnding, link
from podium.generate.runner import Span
from podium.generate.sequence import Sequence

SCORED = 128
"""Tokens of a scored text per step at most: each of them has a row of logits."""


class PromptEnding(NamedTuple):
    """The model's last output for a prompt, from which the first token of every attempt at it is drawn."""

    logits: Tensor  # [V]
    state: Tensor  # [state_size]


@dataclass(slots=True)
class Work:
    """The next `count` tokens of a sequence are computed, and guesses after them."""

    sequence: Sequence
    count: int
    guesses: list[int] = field(default_factory=list)

    def span(self) -> Span:
        """What the runner is asked for: a row of logits for every token behind which something is drawn or scored."""
        sequence = self.sequence
        start, end = sequence.computed, sequence.computed + self.count
        if sequence.scoring is not None:
            wanted = self.count
        else:
            wanted = 1 + len(self.guesses) if end == len(sequence.tokens) else 0
        tokens = sequence.tokens[start:end] + self.guesses
        return Span(tokens, start, sequence.blocks, wanted, len(sequence.prompt))


@dataclass(slots=True)
class StepPlan:
    """One step. Sequences in `forked` have nothing to compute: their first token is drawn from another's ending."""

    budget: int  # tokens that may still be added
    work: list[Work] = field(default_factory=list)
    forked: list[tuple[Sequence, PromptEnding]] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        return not self.work and not self.forked

    def add(self, sequence: Sequence, count: int) -> None:
        self.work.append(Work(sequence, count))
        self.budget -= count


class _Found(NamedTuple):
    """What the cache has of a sequence's tokens."""

    blocks: list[int]
    computed: int  # tokens in these blocks
    hits: int  # of these, tokens that another sequence computed
    ending: CachedEnding[PromptEnding] | None


class Scheduler:
    """`running` is in order of arrival.

    Args:
        copy: makes the second block's content equal to the first's, at once.
        budget: tokens per step; raised to what lets every row go on with some left for prompts.
    """

    def __init__(
        self, pool: BlockPool[PromptEnding], copy: Callable[[int, int], None], max_rows: int, budget: int
    ) -> None:
        self.pool = pool
        self.copy = copy
        self.max_rows = max_rows
        self.budget = max(budget, max_rows + pool.block_size)
        self.queue: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        self.preemptions = 0
        self.cache_hits = 0  # tokens that somebody else had computed
        self._leaders: dict[bytes, Sequence] = {}  # who computes which prompt

    def enqueue(self, sequence: Sequence) -> None:
        sequence.state = "waiting"
        self.queue.append(sequence)

    def pause(self, sequence: Sequence) -> None:
        """A running sequence will go on when something was appended; its blocks are reused after all others."""
        self._leave(sequence)
        sequence.state = "paused"

    def finish(self, sequence: Sequence) -> None:
        """Free whatever a sequence has, in whatever state it is."""
        if sequence.state == "running":
            self._leave(sequence)
        elif sequence.state == "waiting":
            self.queue.remove(sequence)
        self.pool.forget(sequence.held_blocks)
        sequence.held_blocks = []
        sequence.draft_source = None
        sequence.state = "done"

    def schedule(self) -> StepPlan:
        """What to compute now. Blocks for it are in the tables; `computed` is still as it was."""
        plan = StepPlan(self.budget, forked=self.fork())
        self._schedule_decode(plan)
        self._schedule_prefill(plan)
        self._admit_waiting(plan)
        return plan

    def _schedule_decode(self, plan: StepPlan) -> None:
        for sequence in list(self.running):
            # Blocks are taken from those behind, who are not in the plan yet.
            if sequence.state == "running" and sequence.blocks and sequence.remaining == 1 and self._grow(sequence):
                plan.add(sequence, 1)

    def _schedule_prefill(self, plan: StepPlan) -> None:
        for sequence in self.running:
            if sequence.blocks and sequence.remaining > 1:
                self._add_chunk(sequence, plan)

    def _admit_waiting(self, plan: StepPlan) -> None:
        while self.queue and len(self.running) < self.max_rows:
            sequence = self.queue[0]
            ending = self._allocate(sequence)
            if not sequence.blocks and not self._follows(sequence):
                break
            self.queue.popleft()
            sequence.state = "running"
            self.running.append(sequence)
            if ending is not None:
                plan.forked.append((sequence, ending))
            elif sequence.blocks:
                self._add_chunk(sequence, plan)

    def fork(self) -> list[tuple[Sequence, PromptEnding]]:
        """Give blocks to those that followed another one, which has its prompt by now or is gone."""
        forked: list[tuple[Sequence, PromptEnding]] = []
        for sequence in self.running:
            if not sequence.blocks:
                ending = self._allocate(sequence)
                if ending is not None:
                    forked.append((sequence, ending))
        return forked

    def room_for_guesses(self, sequence: Sequence, count: int) -> int:
        """How many of `count` guesses have a place; takes free blocks for them, and nobody else's."""
        size, margin = self.pool.block_size, len(self.running)
        while len(sequence.blocks) * size < len(sequence.tokens) + count and self.pool.available > margin:
            sequence.blocks.append(self.pool.take())
        return min(count, len(sequence.blocks) * size - len(sequence.tokens))

    def publish(self, sequence: Sequence) -> None:
        """Let others find the blocks that are full by now."""
        size = self.pool.block_size
        full = sequence.computed // size
        if full > sequence.published:
            digests = sequence.chain(full, size)
            for i in range(sequence.published, full):
                self.pool.publish(sequence.blocks[i], digests[i])
            sequence.published = full

    def remember(self, sequence: Sequence, ending: PromptEnding) -> None:
        """A fresh sequence's prompt is computed: its ending may be used by attempts that begin later."""
        if self._leaders.get(sequence.key) is sequence:
            del self._leaders[sequence.key]
        self.pool.remember(sequence.key, sequence.blocks[(len(sequence.prompt) - 1) // self.pool.block_size], ending)

    def _add_chunk(self, sequence: Sequence, plan: StepPlan) -> None:
        count = min(sequence.remaining, plan.budget)
        if sequence.scoring is not None:
            count = min(count, SCORED)
        if count > 0:
            plan.add(sequence, count)

    def _allocate(self, sequence: Sequence) -> PromptEnding | None:
        """Give a sequence blocks for all its tokens, if that leaves enough for the others to go on: what it had, what
        others have computed, and free ones. Returns its prompt's ending, if that is known."""
        pool, size = self.pool, self.pool.block_size
        found = self._find(sequence)
        if found is None:
            return None
        blocks, computed, hits, ending = found
        missing = -(-len(sequence.tokens) // size) - len(blocks)
        # Each of those that run may soon need a block: without this margin, newcomers would be preempted again.
        margin = sum(1 for other in self.running if other.blocks)
        if not self._fits(blocks, missing, ending, margin):
            # Where nobody runs, all blocks are there for this one; only the ending beside them may be one too many.
            if margin or ending is None:
                return None
            ending = None
        for block in blocks:
            pool.refer(block)
        pool.forget(sequence.held_blocks)
        sequence.held_blocks = []
        sequence.blocks = blocks
        self.cache_hits += hits
        if ending is not None:
            sequence.blocks.append(self._own_ending(sequence, ending))
            self.cache_hits += len(sequence.tokens) - computed
            sequence.computed = len(sequence.tokens)
        else:
            sequence.blocks += [pool.take() for _ in range(missing)]
            sequence.computed = computed
            if sequence.fresh:
                self._leaders[sequence.key] = sequence
        sequence.published = sequence.computed // size
        return None if ending is None else ending.payload

    def _find(self, sequence: Sequence) -> _Found | None:
        """What is in the cache of a sequence's tokens; None where another one is computing them all just now."""
        pool, size = self.pool, self.pool.block_size
        # The last token is computed in any case: something must be drawn after it.
        whole = (len(sequence.tokens) - 1) // size
        blocks = pool.still_there(sequence.held_blocks)
        if sequence.held_tokens >= len(sequence.tokens):
            blocks = blocks[:whole]
        computed = min(sequence.held_tokens, len(blocks) * size)
        if sequence.scoring is not None or computed != len(blocks) * size:
            return _Found(blocks, computed, 0, None)
        others = pool.find(sequence.chain(whole, size)[len(blocks) :])
        blocks += others
        hits = len(others) * size
        ending: CachedEnding[PromptEnding] | None = None
        if sequence.fresh:
            tail = sequence.tokens[whole * size :]
            sequence.key = link(sequence.digests[whole - 1] if whole else sequence.root, tail)
            ending = pool.ending(sequence.key) if len(blocks) == whole else None
            if ending is None and self._follows(sequence):
                return None
        return _Found(blocks, computed + hits, hits, ending)

    def _own_ending(self, sequence: Sequence, ending: CachedEnding[PromptEnding]) -> int:
        """The block that a forked sequence ends in: the cached one, or a copy of it where it is about to be written."""
        pool = self.pool
        pool.refer(ending.block)
        if not len(sequence.tokens) % pool.block_size:
            return ending.block
        own = pool.take()
        self.copy(ending.block, own)
        pool.release([ending.block])
        return own

    def _fits(self, found: list[int], missing: int, ending: CachedEnding[PromptEnding] | None, margin: int) -> bool:
        read = found if ending is None else [*found, ending.block]
        return self.pool.available - sum(map(self.pool.is_free, read)) - missing >= margin

    def _follows(self, sequence: Sequence) -> bool:
        leader = self._leaders.get(sequence.key) if sequence.fresh else None
        return leader is not None and leader is not sequence

    def _grow(self, sequence: Sequence) -> bool:
        """See that there is a place for the last token; False if the sequence itself had to give up its row."""
        while len(sequence.blocks) * self.pool.block_size < len(sequence.tokens):
            if self.pool.available:
                sequence.blocks.append(self.pool.take())
                continue
            last = next(other for other in reversed(self.running) if other.blocks)
            self._leave(last)
            last.state = "waiting"
            self.queue.appendleft(last)
            self.preemptions += 1
            if last is sequence:
                return False
        return True

    def _leave(self, sequence: Sequence) -> None:
        self.running.remove(sequence)
        if self._leaders.get(sequence.key) is sequence:
            del self._leaders[sequence.key]
        if sequence.blocks:
            sequence.held_blocks = self.pool.hold(sequence.blocks)
            sequence.held_tokens = sequence.computed
        sequence.blocks = []
        sequence.computed = sequence.published = 0
