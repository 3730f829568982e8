"""Who computes what in the next step, and who gives up memory when there is too little.

Knows sequences and blocks; runs no model. There is one rule: a sequence has `computed` tokens and wants all of them
computed. Each step closes gaps under one budget of tokens, in order of arrival: first those that lack a single token,
then the others in chunks. A prompt's chunks, text appended after a pause, what was lost to scarce memory and guesses to
be checked are all the same thing. Whoever waits (new, resumed or interrupted) stands in one queue; attempts at a prompt
that is being computed follow the one that computes it, and are forked from it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

from podium.generate.cache import BlockPool, Ending, link
from podium.generate.sequence import Sequence

SCORED = 128
"""Tokens of a scored text per step at most: each of them has a row of logits."""


class Said(NamedTuple):
    """What the model said at the end of a prompt."""

    logits: Tensor  # [V]
    state: Tensor  # [state_size]


@dataclass(slots=True)
class Work:
    """The next `count` tokens of a sequence are computed, and guesses after them."""

    sequence: Sequence
    count: int
    guesses: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Plan:
    """One step. Those in `forked` have nothing to compute: they draw their first token from what another was told."""

    work: list[Work]
    forked: list[tuple[Sequence, Said]]
    budget: int  # tokens left


class Scheduler:
    """`running` is in order of arrival.

    Args:
        copy: makes the second block's content equal to the first's, at once.
        budget: tokens per step; raised to what lets every row go on with some left for prompts.
    """

    def __init__(self, pool: BlockPool[Said], copy: Callable[[int, int], None], max_rows: int, budget: int) -> None:
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
        self.pool.forget(sequence.kept)
        sequence.kept = []
        sequence.place = None
        sequence.state = "done"

    def schedule(self) -> Plan:
        """What to compute now. Blocks for it are in the tables; `computed` is still as it was."""
        budget = self.budget
        work: list[Work] = []
        forked = self.fork()
        for sequence in list(self.running):
            # The room is taken from those behind, who are not in `work` yet.
            if sequence.state == "running" and sequence.blocks and sequence.remaining == 1 and self._grow(sequence):
                work.append(Work(sequence, 1))
                budget -= 1
        for sequence in self.running:
            if sequence.blocks and sequence.remaining > 1:
                budget -= self._chunk(sequence, budget, work)
        while self.queue and len(self.running) < self.max_rows:
            sequence = self.queue[0]
            said = self._place(sequence)
            if not sequence.blocks and not self._follows(sequence):
                break
            self.queue.popleft()
            sequence.state = "running"
            self.running.append(sequence)
            if said is not None:
                forked.append((sequence, said))
            elif sequence.blocks:
                budget -= self._chunk(sequence, budget, work)
        return Plan(work, forked, budget)

    def fork(self) -> list[tuple[Sequence, Said]]:
        """Give blocks to those that followed another one, which has its prompt by now or is gone."""
        forked: list[tuple[Sequence, Said]] = []
        for sequence in self.running:
            if not sequence.blocks:
                said = self._place(sequence)
                if said is not None:
                    forked.append((sequence, said))
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

    def remember(self, sequence: Sequence, said: Said) -> None:
        """A fresh sequence's prompt is computed, and this is what the model said."""
        if self._leaders.get(sequence.key) is sequence:
            del self._leaders[sequence.key]
        self.pool.remember(sequence.key, sequence.blocks[(len(sequence.prompt) - 1) // self.pool.block_size], said)

    def _chunk(self, sequence: Sequence, budget: int, work: list[Work]) -> int:
        count = min(sequence.remaining, budget)
        if sequence.scoring is not None:
            count = min(count, SCORED)
        if count > 0:
            work.append(Work(sequence, count))
        return max(count, 0)

    def _place(self, sequence: Sequence) -> Said | None:
        """Give a sequence blocks for all its tokens, if that leaves enough for the others to go on: what it had, what
        others have computed, and free ones. Returns what was said at the end of its prompt, if that is known."""
        pool, size = self.pool, self.pool.block_size
        # The last token is computed in any case: something must be drawn after it.
        whole = (len(sequence.tokens) - 1) // size
        found = pool.standing(sequence.kept)
        if sequence.reached >= len(sequence.tokens):
            found = found[:whole]
        computed = min(sequence.reached, len(found) * size)
        ending: Ending[Said] | None = None
        hits = 0
        if sequence.scoring is None and computed == len(found) * size:
            others = pool.find(sequence.chain(whole, size)[len(found) :])
            found += others
            hits = len(others) * size
            computed += hits
            if sequence.fresh:
                tail = sequence.tokens[whole * size :]
                sequence.key = link(sequence.digests[whole - 1] if whole else sequence.root, tail)
                ending = pool.ending(sequence.key) if len(found) == whole else None
                if ending is None and self._follows(sequence):
                    return None
        missing = -(-len(sequence.tokens) // size) - len(found)
        # Each of those that run may soon need a block: without this margin, newcomers would be thrown out again.
        margin = sum(1 for other in self.running if other.blocks)
        if not self._fits(found, missing, ending, margin):
            # Where nobody runs, all blocks are there for this one; only the ending beside them may be one too many.
            if margin or ending is None:
                return None
            ending = None
        for block in found:
            pool.hold(block)
        pool.forget(sequence.kept)
        sequence.kept = []
        sequence.blocks = found
        self.cache_hits += hits
        if ending is None:
            sequence.blocks += [pool.take() for _ in range(missing)]
            sequence.computed = computed
            sequence.published = computed // size
            if sequence.fresh:
                self._leaders[sequence.key] = sequence
            return None
        pool.hold(ending.block)
        sequence.blocks.append(ending.block)
        if len(sequence.tokens) % size:
            # It is about to be written to.
            sequence.blocks[-1] = pool.take()
            self.copy(ending.block, sequence.blocks[-1])
            pool.release([ending.block])
        self.cache_hits += len(sequence.tokens) - computed
        sequence.computed = len(sequence.tokens)
        sequence.published = sequence.computed // size
        return ending.payload

    def _fits(self, found: list[int], missing: int, ending: Ending[Said] | None, margin: int) -> bool:
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
            sequence.kept = self.pool.keep(sequence.blocks)
            sequence.reached = sequence.computed
        sequence.blocks = []
        sequence.computed = sequence.published = 0
