"""What has happened to a problem so far, digested one happening at a time. Knows no rule and no clock."""

from __future__ import annotations

from podium.solve.happening import UNFINISHED, Happening


class Situation:
    """The fold of a problem's happenings. The same happenings in the same order give the same situation."""

    __slots__ = ("counts", "finished", "nudged", "running", "seen", "started", "time", "tokens", "total_tokens")

    def __init__(self) -> None:
        self.time = 0.0  # of the latest happening, never falling
        self.started: list[int] = []
        self.running: dict[int, None] = {}  # in order of starting
        self.finished: list[tuple[int, int | None]] = []  # (attempt, answer class) in order of finishing
        self.counts: dict[int, int] = {}  # answer class -> finished attempts with it
        self.seen: dict[int, int] = {}  # attempt -> class of its latest boxed answer
        self.tokens: dict[int, int] = {}  # attempt -> tokens written
        self.total_tokens = 0
        self.nudged: set[int] = set()

    def take(self, happening: Happening) -> None:
        """Add one happening."""
        if happening.time > self.time:
            self.time = happening.time
        index = happening.attempt
        if index < 0:
            return
        if happening.tokens:
            self.total_tokens += happening.tokens - self.tokens.get(index, 0)
            self.tokens[index] = happening.tokens
        kind = happening.kind
        if kind == "start":
            self.started.append(index)
            self.running[index] = None
        elif kind == "answer":
            if happening.answer is not None:
                self.seen[index] = happening.answer
        elif kind == "nudge":
            self.nudged.add(index)
        elif kind == "end":
            self.running.pop(index, None)
            if happening.reason not in UNFINISHED:
                self.finished.append((index, happening.answer))
                if happening.answer is not None:
                    self.counts[happening.answer] = self.counts.get(happening.answer, 0) + 1

    def leading(self) -> tuple[int, int]:
        """How many finished attempts have the commonest answer, and the second commonest."""
        first = second = 0
        for count in self.counts.values():
            if count > first:
                first, second = count, first
            elif count > second:
                second = count
        return first, second

    def answer_of(self, index: int) -> int | None:
        """The class an attempt's vote goes to: of its own end, or of what it had boxed last."""
        return next((answer for each, answer in self.finished if each == index), self.seen.get(index))

    def voters(self, cut_off: bool) -> tuple[int, ...]:
        """Who votes: the finished attempts with an answer; when `cut_off`, or when there are none, also what
        unfinished ones had boxed."""
        voters = [index for index, answer in self.finished if answer is not None]
        if cut_off or not voters:
            finished = {index for index, _ in self.finished}
            voters += [index for index in self.seen if index not in finished]
        return tuple(voters)
