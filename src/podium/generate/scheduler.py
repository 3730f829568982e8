"""Who runs, who waits, and who gives up memory when there is too little.

Knows sequences and the sizes of what they hold; runs no model. Whoever waits (new, resumed or interrupted) stands in
one queue and is served in its order. A prompt is computed once and shared by every sequence that starts with exactly
it. When memory runs short, what goes first is what is cheapest to get back: prompts nobody waits for, then the caches
of paused sequences, then the running sequence that came last. What is given up is rebuilt by the very same
computations, so that memory decides when an answer comes and never what it says.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable

from torch import Tensor

from podium.generate.cache import Slab, Snapshot
from podium.generate.sequence import Sequence

FIRST_ROWS = 4


class Prefix:
    """The keys and values of a prompt, and the logits after it once all of it is computed."""

    __slots__ = ("computed", "logits", "prompt", "snapshot", "unpaid")

    def __init__(self, prompt: tuple[int, ...], snapshot: Snapshot) -> None:
        self.prompt = prompt
        self.snapshot = snapshot
        self.computed = 0
        self.unpaid = 0  # computed tokens that stand in no sequence's usage yet
        self.logits: Tensor | None = None


class Scheduler:
    """`running[i]` has row `i` of the slab."""

    def __init__(self, slab: Slab, round_length: Callable[[int], int], max_rows: int, memory_bytes: int) -> None:
        self.slab = slab
        self.round_length = round_length
        self.max_rows = max_rows
        self.memory_bytes = memory_bytes
        self.queue: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        self.version = 0  # changes with `running`
        self._prefixes: OrderedDict[tuple[int, ...], Prefix] = OrderedDict()
        self._parked: dict[Sequence, Snapshot] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of all keys and values."""
        return self.slab.nbytes + self._held()

    def _held(self) -> int:
        return sum(prefix.snapshot.nbytes for prefix in self._prefixes.values()) + sum(
            snapshot.nbytes for snapshot in self._parked.values()
        )

    def enqueue(self, sequence: Sequence) -> None:
        sequence.state = "waiting"
        self.queue.append(sequence)

    def pause(self, sequence: Sequence) -> None:
        """Free the row; what is computed is kept aside."""
        self._park(sequence, self.running.index(sequence))
        self._leave(sequence)
        sequence.state = "paused"

    def finish(self, sequence: Sequence) -> None:
        """Free everything the sequence holds."""
        if sequence.state == "running":
            self._leave(sequence)
        elif sequence.state == "waiting":
            self.queue.remove(sequence)
        self._parked.pop(sequence, None)
        sequence.snapshot = None
        sequence.state = "done"

    def admit(self) -> tuple[list[tuple[Sequence, Prefix]], Prefix | None]:
        """Give rows to those who wait, as far as rows and memory go.

        Returns those that start from a prompt, each with it, and the prompt that the next in the queue needs
        computed first, if that is what it waits for.
        """
        started: list[tuple[Sequence, Prefix]] = []
        while self.queue and len(self.running) < self.max_rows:
            sequence = self.queue[0]
            snapshot = sequence.snapshot
            prefix = None
            if snapshot is None:
                prefix = self._prefix(sequence)
                if prefix is None:
                    break
                if prefix.logits is None:
                    return started, prefix
                snapshot = prefix.snapshot
            if not self._fit(len(self.running) + 1, len(sequence.tokens) + 1, sequence):
                break
            self.queue.popleft()
            self.slab.load(len(self.running), snapshot)
            self._parked.pop(sequence, None)
            sequence.snapshot = None
            sequence.state = "running"
            self.running.append(sequence)
            self.version += 1
            if prefix is not None:
                sequence.computed = snapshot.length
                sequence.usage.computed_tokens += prefix.unpaid
                prefix.unpaid = 0
                started.append((sequence, prefix))
        return started, None

    def make_room(self) -> None:
        """See that every running sequence has a place for its next token; some may have to go back to the queue."""
        while self.running:
            longest = max([sequence.computed for sequence in self.running]) + 1
            if longest <= self.slab.capacity or self._fit(len(self.running), longest, None):
                return
            last = self.running[-1]
            self._leave(last)
            self._forget(last)
            last.state = "waiting"
            self.queue.appendleft(last)

    def _prefix(self, sequence: Sequence) -> Prefix | None:
        prompt = sequence.prompt
        prefix = self._prefixes.get(prompt)
        if prefix is None:
            needed = len(prompt) * self.slab.shape.bytes_per_position
            # Prompts that nobody may ask for again hold a quarter of the memory at most.
            while self._prefixes and needed + sum(p.snapshot.nbytes for p in self._prefixes.values()) > (
                self.memory_bytes // 4
            ):
                self._prefixes.popitem(last=False)
            while self.nbytes + needed > self.memory_bytes:
                if not self._release(sequence) and not self._shrink():
                    return None
            prefix = self._prefixes[prompt] = Prefix(prompt, Snapshot.blank(self.slab.shape, len(prompt)))
        self._prefixes.move_to_end(prompt)
        return prefix

    def _fit(self, rows: int, length: int, sequence: Sequence | None) -> bool:
        """Make the slab hold `rows` rows of `length`, letting go of what `sequence` does not need; False if it cannot
        be done without taking a row from somebody."""
        slab = self.slab
        if rows <= slab.rows and length <= slab.capacity:
            return True
        held = self._held()
        tight = self.round_length(length)
        # Doubling keeps the number of moves small; where memory is short, exactly what is needed must do.
        roomy_rows = rows if rows <= slab.rows else min(max(rows, 2 * slab.rows, FIRST_ROWS), self.max_rows)
        roomy_rows = max(roomy_rows, slab.rows)
        roomy = slab.capacity if length <= slab.capacity else self.round_length(max(length, 2 * slab.capacity))
        if slab.bytes_for(roomy_rows, roomy) + held <= self.memory_bytes:
            slab.resize(roomy_rows, roomy)
            return True
        longest = max(tight, self._longest())
        while slab.bytes_for(rows, longest) + self._held() > self.memory_bytes:
            if not self._release(sequence):
                return False
        slab.resize(rows, longest)
        return True

    def _release(self, needed_by: Sequence | None) -> bool:
        """Let go of one thing that is not running; False when there is none left."""
        for prompt in self._prefixes:
            if needed_by is None or prompt != needed_by.prompt or needed_by.snapshot is not None:
                del self._prefixes[prompt]
                return True
        for sequence in self._parked:
            if sequence is not needed_by:
                self._forget(sequence)
                return True
        return False

    def _shrink(self) -> bool:
        rows = len(self.running)
        capacity = self._longest()
        if self.slab.bytes_for(rows, capacity) >= self.slab.nbytes:
            return False
        self.slab.resize(rows, capacity)
        return True

    def _longest(self) -> int:
        """Positions that every row needs for what its sequence has and its next token."""
        return max([self.round_length(len(sequence.tokens) + 1) for sequence in self.running], default=0)

    def _park(self, sequence: Sequence, slot: int) -> None:
        needed = sequence.computed * self.slab.shape.bytes_per_position
        while self.nbytes + needed > self.memory_bytes:
            if not self._release(None):
                self._forget(sequence)
                return
        sequence.snapshot = self._parked[sequence] = self.slab.save(slot, sequence.computed)

    def _forget(self, sequence: Sequence) -> None:
        self._parked.pop(sequence, None)
        sequence.snapshot = None
        sequence.computed = 0

    def _leave(self, sequence: Sequence) -> None:
        slot = self.running.index(sequence)
        last = self.running.pop()
        if last is not sequence:
            self.slab.move(len(self.running), slot, last.computed)
            self.running[slot] = last
        self.version += 1
