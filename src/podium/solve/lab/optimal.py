"""Optimal stopping: the value of one more answer against the price of the time it takes, learned from traces.

At any second of a problem one may answer with the vote as it stands, or wait for the next attempt to finish. Waiting
costs `price`: score per second, what a second is worth elsewhere in the exam. A stopping policy here says for every
state (how many finished attempts have the commonest answer, how many the second commonest, how many have finished)
until which second to wait: later, what is still to come is worth less than its time. The policy sought maximises

    mean over problems of (score when stopped - price × seconds)

over recorded courses. It is found by policy iteration: starting from the best "k agree, but no longer than T", the
closing second of one class of states after another is moved to where it pays most given all the others, and only
where the gain stands out of its own noise over problems; a state in which the vote cannot change any more is never
waited in. Regressing continuation values instead (Longstaff and Schwartz, 2001) was tried and fits noise: an exam has
hundreds of problems, not thousands of paths. Several prices give several levels, from hurried to patient;
podium.solve.rules.OptimalStop picks one by the time left.

Recorded courses are repeated with their durations jittered, so that which of two attempts ended first by a hair does
not decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from podium.solve.clock import Even
from podium.solve.lab.outcomes import Bench, BenchProblem
from podium.solve.policy import Policy
from podium.solve.replay import RecordedAttempt, play, weights_of
from podium.solve.rules import OptimalStop, Plan
from podium.solve.situation import Situation
from podium.solve.vote import leaders

LEVELS = 14
PRICES = (30.0, 0.003)  # score per mean duration of a whole problem, from hurried to patient
REPEATS = 4
JITTER = 0.25  # standard deviation of the logarithm of a duration's factor
MOMENTS = 16  # seconds at which waiting may close
SWEEPS = 3
DOUBT = 0.7  # a class moves for a gain of so many standard errors

Array: TypeAlias = NDArray[np.float64]
State: TypeAlias = tuple[int, int, int]
"""Finished attempts with the commonest answer, with the second commonest, and finished at all."""
Windows: TypeAlias = dict[str, tuple[float, float]]
"""State, as leader-second-finished -> from which second to which to wait; missing: until something happens."""


@dataclass(frozen=True, slots=True)
class Courses:
    """Recorded courses of n attempts [C, n + 1]: what the course was in when so many had finished.

    `count` [C]: how many finished at all; later columns repeat that one.
    """

    n: int
    state: NDArray[np.int64]  # position in `states_of(n)`
    arrival: Array  # seconds
    score: Array  # of the vote as it stood, ties split
    count: NDArray[np.int64]
    share: float  # of a problem that a course stands for

    @property
    def longest(self) -> float:
        return float(self.arrival.max(initial=1e-9))

    @property
    def mean(self) -> float:
        return float(self.arrival[:, -1].mean())


def jittered(attempts: Sequence[RecordedAttempt], draw: np.random.Generator) -> list[RecordedAttempt]:
    """The same attempts, each a little faster or slower."""
    changed = []
    for attempt, factor in zip(attempts, draw.lognormal(0.0, JITTER, len(attempts)).tolist(), strict=True):
        steps = tuple(step._replace(after=step.after * factor) for step in attempt.steps)
        changed.append(replace(attempt, steps=steps, watched=attempt.watched * factor))
    return changed


def record_courses(bench: Bench, members: Sequence[int], seed: int = 0) -> Courses:
    """Let every attempt of the chosen problems come to its end, again and again."""
    n = bench.n
    number = {state: position for position, state in enumerate(states_of(n))}
    draw = np.random.default_rng(seed)
    everything, plan = Policy("all"), Plan(n)
    repeats = bench.decks * max(1, REPEATS // bench.decks)
    rows = len(members) * repeats
    state = np.zeros((rows, n + 1), np.int64)
    arrival, score, count = np.zeros((rows, n + 1)), np.zeros((rows, n + 1)), np.zeros(rows, np.int64)
    for row in range(rows):
        problem, repeat = members[row // repeats], row % repeats
        dealt = bench.deck(problem, repeat % bench.decks)
        played = play(everything, plan, dealt if repeat < bench.decks else jittered(dealt, draw))
        situation, finished = Situation(), 0
        for happening, _ in played.stream:
            situation.take(happening)
            if len(situation.finished) > finished:
                finished = len(situation.finished)
                state[row, finished:] = number[(*situation.leading(), finished)]
                arrival[row, finished:] = happening.time
                score[row, finished:] = _vote_is_right(situation, dealt, bench.problems[problem])
        count[row] = finished
    return Courses(n, state, arrival, score, count, 1.0 / repeats)


def _vote_is_right(situation: Situation, dealt: Sequence[RecordedAttempt], problem: BenchProblem) -> float:
    """Ties are split here: which of equals comes first says little that lasts."""
    ballots = {index: answer for index, answer in situation.finished if answer is not None}
    first = leaders(ballots, weights_of(ballots, situation.tokens, dealt, problem.vote))
    return sum(answer in problem.right for answer in first) / len(first) if first else 0.0


def waiting_windows(courses: Courses, price: float) -> Windows:
    """Until when to wait at `price`, for every state that n attempts can be in."""
    states = states_of(courses.n)
    classes = [_class_of(state, courses.n) for state in states]
    names = sorted(set(classes))
    number = {name: position for position, name in enumerate(names)}
    class_of = np.asarray([number[name] for name in classes])
    seen = class_of[courses.state]
    problems = max(1, round(len(courses.score) * courses.share))
    moments = [0.0, *np.unique(np.quantile(courses.arrival[:, 1:], np.linspace(0.02, 0.98, MOMENTS))), np.inf]

    def worth(closes: Array) -> Array:
        """Score minus the price of the time [problems]."""
        score, seconds = run(courses, closes[seen])
        return (score - price * seconds).reshape(problems, -1).mean(axis=1)

    def simple(agree: int, moment: float) -> Array:
        return np.asarray([0.0 if name == _SETTLED or name[0] >= agree else moment for name in names])

    starts = [simple(agree, moment) for agree in range(1, min(5, courses.n) + 1) for moment in moments]
    best = max(starts, key=lambda closes: float(worth(closes).mean()))
    value = worth(best)
    for _ in range(SWEEPS):
        moved = False
        for position, name in enumerate(names):
            if name == _SETTLED:
                continue
            tried = []
            for moment in moments:
                closes = best.copy()
                closes[position] = moment
                tried.append((closes, worth(closes)))
            closes, found = max(tried, key=lambda entry: float(entry[1].mean()))
            gain = found - value
            if gain.mean() > DOUBT * gain.std() / problems**0.5 + 1e-12:
                best, value, moved = closes, found, True
        if not moved:
            break
    return _windows(courses.n, best[class_of])


def run(courses: Courses, closes: Array) -> tuple[Array, Array]:
    """Scores and seconds [C] of courses that wait in every state [C, n + 1] until it closes."""
    arrival, last = courses.arrival, courses.count
    comes = np.concatenate([arrival[:, 1:], np.full((len(arrival), 1), np.inf)], axis=1)
    columns = np.arange(courses.n + 1)
    stops = (comes > closes) | (columns >= last[:, None])
    rows, place = np.arange(len(arrival)), stops.argmax(axis=1)
    came = arrival[rows, place]
    until = np.maximum(came, np.minimum(closes, comes)[rows, place])
    return courses.score[rows, place], np.where(place >= last, came, until)


_SETTLED = (9, 9, 9)


def _class_of(state: State, n: int) -> tuple[int, int, int]:
    """States that are waited in alike: by leader, margin, and how far the attempts have come."""
    leader, second, finished = state
    if finished and leader - second > n - finished:
        return _SETTLED  # nothing that comes can change the vote
    return min(leader, 4), min(leader - second, 2), 0 if not finished else min(2, 3 * finished // n)


def states_of(n: int) -> tuple[State, ...]:
    """Every state that n attempts can be in, by how many have finished."""
    return tuple(
        (leader, second, finished)
        for finished in range(n + 1)
        for leader in range(finished + 1)
        for second in range(min(leader, finished - leader) + 1)
        if leader or not second
    )


def fit_optimal_stopping(
    bench: Bench, members: Sequence[int] | None = None, *, cap: float = 3.0, name: str = "optimal"
) -> Policy:
    """A policy of optimal stopping fitted to the chosen problems of a bench, its levels from hurried to patient.

    `cap`: no problem takes more than so many times the time left per problem.
    """
    members = range(len(bench.problems)) if members is None else members
    courses = record_courses(bench, members)
    levels: dict[float, Windows] = {}  # by pace

    def add(price: float) -> float:
        windows = waiting_windows(courses, price / courses.mean)
        pace = round(_pace(courses, windows), 3)
        levels.setdefault(pace, windows)
        return pace

    # Where a little more patience changes much, look closer: a budget in between should find its level.
    ends = [(price, add(price)) for price in PRICES]
    while len(ends) < LEVELS:
        gaps = [
            abs(ends[i + 1][1] - ends[i][1]) if ends[i][0] / ends[i + 1][0] > 1.02 else 0.0
            for i in range(len(ends) - 1)
        ]
        widest = int(np.argmax(gaps))
        if gaps[widest] <= 0.01 * courses.mean:
            break
        middle = float(np.sqrt(ends[widest][0] * ends[widest + 1][0]))
        ends.insert(widest + 1, (middle, add(middle)))
    levels |= _patient(courses, max(levels))
    # A level at which next to nothing is waited for answers nothing: it would be chosen only where times differ from
    # those recorded, and there the clock does better.
    paces = sorted(pace for pace in levels if pace > 0.1 * courses.mean) or [max(levels)]
    rule = OptimalStop(tuple(paces), tuple(levels[pace] for pace in paces))
    about = f"stops when one more answer is worth less than its time; fitted to {len(members)} problems, n = {bench.n}"
    return Policy(name, (rule,), Even(cap), bench.n, about)


def _patient(courses: Courses, beyond: float) -> dict[float, Windows]:
    """Levels for more time than any price asks for, by pace: "k agree, but no longer than T".

    Where time is plenty, what another answer is worth is lost in the noise of a few hundred problems, and the fitted
    levels end though seconds are left that buy nothing else. The simple rules that take longer are added, the slower
    ones only as long as they score higher.
    """
    classes = [_class_of(state, courses.n) for state in states_of(courses.n)]
    moments = [*np.unique(np.quantile(courses.arrival[:, 1:], np.linspace(0.5, 0.98, MOMENTS))), np.inf]
    found: list[tuple[float, float, Array]] = []
    for agree in (3, 4, 5):
        for moment in moments:
            closes = np.asarray([0.0 if name == _SETTLED or name[0] >= agree else moment for name in classes])
            score, seconds = run(courses, closes[courses.state])
            found.append((float(seconds.mean()), float(score.mean()), closes))
    best = max((score for pace, score, _ in found if pace <= beyond), default=0.0)
    levels: dict[float, Windows] = {}
    for pace, score, closes in sorted(found, key=lambda entry: entry[0]):
        if pace > beyond and score > best:
            best = score
            levels[round(pace, 3)] = _windows(courses.n, closes)
    return levels


def _windows(n: int, closes: Array) -> Windows:
    """Until when each state [states_of(n)] is waited in, as policies write it."""
    return {
        "-".join(map(str, state)): (0.0, round(float(until), 3))
        for state, until in zip(states_of(n), closes, strict=True)
        if state[2] < n and np.isfinite(until)
    }


def _pace(courses: Courses, windows: Windows) -> float:
    """Mean seconds of a problem when it is waited for so long."""
    forever = (0.0, np.inf)
    closes = np.asarray([windows.get("-".join(map(str, state)), forever)[1] for state in states_of(courses.n)])
    return float(run(courses, closes[courses.state])[1].mean())
