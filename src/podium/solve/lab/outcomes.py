"""Recorded problems, and what each policy makes of them at whatever deadline: computed once, looked up ever after.

Before its deadline a policy does what it would do without one, so one play tells the outcome for all deadlines: when
it stops by itself and with which answer, and how the vote over everything boxed so far changes until then.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from podium.errors import InputError
from podium.records import Verdict
from podium.solve.policy import Policy
from podium.solve.replay import RecordedAttempt, play, recorded_attempts, vote, weights_of
from podium.solve.rules import Plan
from podium.solve.trace import Trace


@dataclass(frozen=True, slots=True)
class BenchProblem:
    """A problem with its recorded attempts, which of the answer classes are right, and what votes are weighed by."""

    id: str
    attempts: tuple[RecordedAttempt, ...]
    right: frozenset[int]
    vote: str = "uniform"

    @classmethod
    def of(cls, trace: Trace, vote: str | None = None) -> BenchProblem:
        """`vote`: another than the exam's own."""
        right = {number for number, row in enumerate(trace.answers) if row.verdict is Verdict.CORRECT}
        return cls(trace.problem_id, tuple(recorded_attempts(trace)), frozenset(right), vote or trace.vote)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A policy's course on a problem. Until `seconds` the vote over what was boxed goes through `times` -> `right`."""

    seconds: float  # when it stops by itself
    score: float  # 1: its answer then is right
    times: tuple[float, ...]
    scores: tuple[float, ...]
    outran: bool
    rule: str

    def at(self, deadline: float | None) -> tuple[float, float, bool]:
        """(seconds used, score, whether the clock ended it)."""
        if deadline is None or deadline > self.seconds:
            return self.seconds, self.score, False
        place = bisect_right(self.times, deadline) - 1
        # What happens in the very moment of the deadline comes after it.
        while place >= 0 and self.times[place] >= deadline:
            place -= 1
        return deadline, self.scores[place] if place >= 0 else 0.0, True


class Bench:
    """Recorded problems with the outcomes computed so far. `n`: attempts an exam asks for.

    Where more were recorded than n, each problem is known by `decks` random choices of n of them, so that exams differ
    by luck as they would; with exactly n there is one deck.
    """

    def __init__(self, problems: Sequence[BenchProblem], n: int | None = None, decks: int = 8, seed: int = 0) -> None:
        if not problems:
            raise InputError("no recorded problems", "sit an exam first: podium exam MODEL --set NAME")
        recorded = max(len(problem.attempts) for problem in problems)
        self.problems = list(problems)
        self.recorded = recorded  # attempts per problem, at most
        self.n = n or recorded
        self.decks = decks if recorded > self.n else 1
        self.seed = seed
        self._orders: dict[tuple[int, int], tuple[int, ...]] = {}
        self._outcomes: dict[tuple[int, int, Policy, Hashable], Outcome] = {}

    @classmethod
    def of(
        cls, traces: Sequence[Trace], n: int | None = None, decks: int = 8, seed: int = 0, vote: str | None = None
    ) -> Bench:
        return cls([BenchProblem.of(trace, vote) for trace in traces], n, decks, seed)

    def deck(self, problem: int, deck: int) -> list[RecordedAttempt]:
        """A problem's attempts in the order in which a policy is dealt them."""
        attempts = self.problems[problem].attempts
        if self.decks == 1:
            return list(attempts)
        order = self._orders.get((problem, deck))
        if order is None:
            order = tuple(np.random.default_rng((self.seed, problem, deck)).permutation(len(attempts)).tolist())
            self._orders[problem, deck] = order
        return [attempts[index] for index in order]

    def outcome(self, problem: int, deck: int, policy: Policy, plan: Plan) -> Outcome:
        """What `policy` makes of a problem, for every deadline. Where it wants more attempts than were recorded, these
        must do."""
        plan = replace(plan, attempts=min(plan.attempts, len(self.problems[problem].attempts)))
        variant = policy.variant(plan)
        key = (problem, deck, policy, variant)
        found = self._outcomes.get(key)
        if found is None:
            free = replace(plan, seconds=None)
            timeless = policy.variant(free) == variant
            row = self.problems[problem]
            found = course(policy, free if timeless else plan, self.deck(problem, deck), row.right, row.vote)
            self._outcomes[key] = found
        return found


def course(
    policy: Policy, plan: Plan, attempts: Sequence[RecordedAttempt], right: frozenset[int], by: str = "uniform"
) -> Outcome:
    """Play once and note how the vote over everything boxed so far would have gone at every moment."""
    played = play(policy, plan, attempts, by)
    boxed: dict[int, int] = {}
    finished: dict[int, int | None] = {}
    tokens: dict[int, int] = {}
    times: list[float] = []
    scores: list[float] = []
    for happening, _ in played.stream:
        index = happening.attempt
        tokens[index] = max(tokens.get(index, 0), happening.tokens)
        if happening.kind == "answer" and happening.answer is not None:
            boxed[index] = happening.answer
        elif happening.kind == "end" and happening.reason not in ("cancelled", "clock", "error"):
            finished[index] = happening.answer
        else:
            continue
        ballots = {
            each: answer
            for each in sorted({*boxed, *finished}, key=lambda each: (tokens[each], each))
            if (answer := finished.get(each, boxed.get(each))) is not None
        }
        times.append(happening.time)
        scores.append(float(vote(ballots, weights_of(ballots, tokens, attempts, by)) in right))
    score = float(played.answer in right)
    return Outcome(played.seconds, score, tuple(times), tuple(scores), played.outran, played.rule)
