"""Replay: what a policy decides on recorded attempts, in no time at all.

`first_difference` feeds a recorded stream to a policy again: the same policy must do the same after every happening.
`play` asks the other question, what any policy would have made of the same attempts: it starts recorded attempts when
it is told to, lets their events happen as they did, and stops when it is told to. Knows no engine, no text, no verdict.

An attempt that the recorded policy broken off is known only until then. A policy that waits longer than that has
outrun the record; such outcomes are marked, and answer with what was known.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from podium.records import StopReason
from podium.solve.happening import Action, Happening
from podium.solve.policy import Policy, Proctor
from podium.solve.rules import Plan
from podium.solve.trace import Trace
from podium.solve.vote import WEIGHTS, leaders, relative

BROKEN_OFF: frozenset[StopReason] = frozenset({"cancelled", "clock"})


class Step(NamedTuple):
    """Something an attempt did, `after` seconds after its start."""

    after: float
    happening: Happening  # its time is that of the recording


@dataclass(frozen=True, slots=True)
class RecordedAttempt:
    """One attempt's own timeline. `delay`: seconds from being told to start to its start; `watched`: from its start
    (from being told to, where it never began) to the end of the recording, for one that did not come to its own end."""

    steps: tuple[Step, ...]
    delay: float = 0.0
    watched: float = 0.0
    cut: float | None = None  # seconds after which the policy cut it for its tokens; what follows is the cutting
    begun: bool = True  # False: told to start so shortly before the stop that it had not begun by then
    signals: Mapping[str, float] = field(default_factory=dict, hash=False)  # what a vote may weigh it by

    @property
    def whole(self) -> bool:
        """It is recorded to its own end."""
        return self.cut is None and bool(self.steps) and self.steps[-1].happening.kind == "end"

    @property
    def tokens(self) -> int:
        """Tokens it had written when the record ends."""
        return max((step.happening.tokens for step in self.steps), default=0)


def recorded_attempts(trace: Trace) -> list[RecordedAttempt]:
    """The attempts of a trace by their numbers."""
    stream = trace.stream()
    told = {action.attempt: 0.0 for action in stream.first if action.kind == "start"}
    started: dict[int, float] = {}
    steps: dict[int, list[Step]] = {}
    cut: dict[int, float] = {}
    for happening, actions in stream.steps:
        index = happening.attempt
        if happening.kind == "start":
            started[index] = happening.time
            steps[index] = []
        elif index >= 0 and not (happening.kind == "end" and happening.reason in BROKEN_OFF):
            steps[index].append(Step(happening.time - started[index], happening))
        for action in actions:
            if action.kind == "start":
                told[action.attempt] = happening.time
            elif action.kind == "cancel" and action.rule:
                cut[action.attempt] = happening.time - started[action.attempt]
    over = max((happening.time for happening, _ in stream.steps), default=0.0)
    return [
        RecordedAttempt(
            tuple(steps[index]),
            started[index] - told[index],
            over - started[index],
            cut.get(index),
            signals=trace.signals.get(index, {}),
        )
        if index in steps
        else RecordedAttempt((), watched=over - told[index], begun=False)
        for index in sorted(told)
    ]


@dataclass(frozen=True, slots=True)
class Played:
    """How a policy fared. `ballots`: attempt -> answer class of those that vote, the shortest solution first;
    `weights`: what their votes weigh, None where all weigh the same."""

    rule: str
    seconds: float
    ballots: Mapping[int, int]
    stream: tuple[tuple[Happening, tuple[Action, ...]], ...]
    outran: bool  # an attempt that was still wanted is not recorded any further
    tokens: int  # written by all attempts until the stop
    weights: Mapping[int, float] | None = None

    @property
    def answer(self) -> int | None:
        return vote(self.ballots, self.weights)


def vote(ballots: Mapping[int, int], weights: Mapping[int, float] | None = None) -> int | None:
    """The heaviest class; of equals the one whose first voter comes first, as in podium.solve.vote."""
    return next(iter(leaders(ballots, weights)), None)


def weights_of(
    ballots: Mapping[int, int], tokens: Mapping[int, int], attempts: Sequence[RecordedAttempt], by: str
) -> dict[int, float] | None:
    """What the voters' attempts weigh, from how much they had written and their recorded signals, which are those of
    their end. None: all the same."""
    if by == "uniform":
        return None
    return relative({index: WEIGHTS[by](tokens.get(index, 0), attempts[index].signals) for index in ballots})


def play(policy: Policy, plan: Plan, attempts: Sequence[RecordedAttempt], by: str = "uniform") -> Played:
    """Let `policy` watch recorded attempts, and vote weighed `by` what is said. One that it starts and that was not
    recorded never comes to anything."""
    proctor = Proctor(policy, plan)
    agenda: list[tuple[float, float, int, int]] = []  # time, place in the recording, attempt, step (-1: its start)
    begun: dict[int, float] = {}
    ended: set[int] = set()
    as_recorded = {index for index, attempt in enumerate(attempts) if attempt.cut is not None}  # not to be cut here
    tokens: dict[int, int] = {}
    stream: list[tuple[Happening, tuple[Action, ...]]] = []
    now, rule, voters = 0.0, "", None
    known_until: list[float] = []  # for each attempt told to start that does not begin: how long the record knows that
    actions = proctor.begin()
    while True:
        for action in actions:
            if action.kind == "start":
                if action.attempt >= len(attempts):
                    known_until.append(now)
                    continue
                if not attempts[action.attempt].begun:
                    known_until.append(now + attempts[action.attempt].watched)
                    continue
                heapq.heappush(agenda, (now + attempts[action.attempt].delay, -1.0, action.attempt, -1))
            elif action.kind == "stop":
                rule = action.rule
            elif action.kind == "answer":
                voters = action.voters
            elif action.kind == "cancel" and action.rule:
                index = action.attempt
                cut = attempts[index].cut
                as_recorded.discard(index)
                if cut is None or now < begun[index] + cut - 1e-9:
                    # Cut at its token limit: it ends there with what it had boxed.
                    ended.add(index)
                    heapq.heappush(agenda, (now, -0.5, index, len(attempts[index].steps)))
        if voters is not None:
            break
        look = proctor.next_look
        while agenda and _void(agenda[0], attempts, ended, as_recorded):
            heapq.heappop(agenda)
        if not agenda and look is None:
            rule, voters = "end of record", tuple(begun)
            break
        if look is not None and (not agenda or look <= agenda[0][0]):
            now = max(now, look)
            happening = Happening(now, "tick")
        else:
            now, _, index, number = heapq.heappop(agenda)
            steps = attempts[index].steps
            if number < 0:
                begun[index] = now
                happening = Happening(now, "start", index)
            elif number < len(steps):
                happening = steps[number].happening._replace(time=now, attempt=index)
            else:
                happening = Happening(now, "end", index, tokens.get(index, 0), proctor.ballot(index), "length")
            tokens[index] = max(tokens.get(index, 0), happening.tokens)
            if number + 1 < len(steps):
                step = steps[number + 1]
                heapq.heappush(agenda, (begun[index] + step.after, step.happening.time, index, number + 1))
        actions = proctor.feed(happening)
        stream.append((happening, actions))
    order = sorted(voters, key=lambda index: (tokens.get(index, 0), index))
    ballots = {index: answer for index in order if (answer := proctor.ballot(index)) is not None}
    missing = (rule == "end of record" and bool(known_until)) or (
        rule == "clock" and any(now > until + 1e-9 for until in known_until)
    )
    outran = missing or any(
        index not in ended and not attempts[index].whole and now > start + attempts[index].watched + 1e-9
        for index, start in begun.items()
    )
    weights = weights_of(ballots, tokens, attempts, by)
    return Played(rule, now, ballots, tuple(stream), outran, sum(tokens.values()), weights)


def _void(
    entry: tuple[float, float, int, int], attempts: Sequence[RecordedAttempt], ended: set[int], uncut: set[int]
) -> bool:
    """A recorded step that does not happen: the attempt was cut before it, or only the recorded policy cut it."""
    _, _, index, number = entry
    steps = attempts[index].steps
    if not 0 <= number < len(steps):
        return False
    return index in ended or (index in uncut and steps[number].happening.kind == "end")


def first_difference(trace: Trace, policy: Policy) -> str | None:
    """Feed a trace to `policy` again. None: it does the same after every happening; else where it first differs."""
    stream = trace.stream()
    proctor = Proctor(policy, trace.plan)
    done = proctor.begin()
    if done != stream.first:
        return f"{trace.problem_id}: at the opening: {_told(stream.first)} then, {_told(done)} now"
    for number, (happening, actions) in enumerate(stream.steps, start=1):
        done = proctor.feed(happening)
        if done != actions:
            return (
                f"{trace.problem_id}: after event {number} ({happening.kind}, {happening.time:.3f} s): "
                f"{_told(actions)} then, {_told(done)} now"
            )
    return None


def _told(actions: Sequence[Action]) -> str:
    return (
        ", ".join(f"{a.kind} {a.rule or (a.attempt if a.attempt >= 0 else '')}".strip() for a in actions) or "nothing"
    )
