"""One problem of an exam, sat: runs a policy against live attempts and settles the vote.

Does not know the clock's bookkeeping, the folder or the other problems. This is where real time meets the policy:
attempts report what happens; answers are compared, on a thread and never beyond the deadline; what comes out is
stamped with the time and given to the policy, whose actions follow at once. The stream of happenings is therefore in
order of time, and is kept: fed to the same policy again it brings the same actions.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from podium.answering.protocol import Completer
from podium.errors import CompleterError
from podium.grading import classes, grade
from podium.records import Attempt, Event, ExamResult, Problem, StopReason, Verdict
from podium.solve.answerbook import AnswerBook
from podium.solve.happening import Action, Happening
from podium.solve.policy import Policy, Proctor
from podium.solve.profile import Profile
from podium.solve.rules import Plan
from podium.solve.stopwatch import Stopwatch, exam_time
from podium.solve.toolloop import AttemptRun
from podium.solve.vote import Vote, ballots, majority, weigh

if TYPE_CHECKING:
    from podium.sandbox import Sandbox
    from podium.solve.verifier import Verifier

ExamSink = Callable[[Problem, int, Event], None]
"""Told of every event of every attempt as it happens."""

VERIFYING = 20.0
"""Seconds that the vote waits, at most and within the problem's time, for a verifier that is still reading."""

NUDGE = "Time is nearly over. Do not start anew: give your best final answer now, alone, in \\boxed{}."


def attempt_seed(exam_seed: int, problem_id: str, index: int) -> int:
    """A 31-bit seed that depends on these three alone: not on order, on n, or on the other problems."""
    digest = hashlib.blake2b(f"{exam_seed}\0{problem_id}\0{index}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1


@dataclass(frozen=True, slots=True)
class Sat:
    """A problem answered but not yet graded: what the clock has to pay for, and what happened."""

    plan: Plan
    attempts: tuple[Attempt, ...]
    vote: Vote
    rule: str
    used_seconds: float
    stream: Stream
    answers: tuple[str, ...]  # answer class -> its first wording
    weighed: str  # what the vote weighed attempts by


@dataclass(slots=True)
class Stream:
    """What was fed to the policy, in order, and what it said after each; `first`: when the problem was opened."""

    first: tuple[Action, ...] = ()
    steps: list[tuple[Happening, tuple[Action, ...]]] = field(default_factory=list)


class _Report(NamedTuple):
    """What an attempt told of itself and when, its answer still a text."""

    time: float
    kind: Literal["start", "tokens", "code", "nudge", "answer", "end"]
    attempt: int
    tokens: int = 0
    answer: str | None = None
    reason: StopReason = "eos"


class Sitting:
    """The attempts at one problem in flight."""

    def __init__(
        self,
        problem: Problem,
        completer: Completer,
        sandbox: Sandbox | None,
        profile: Profile,
        policy: Policy,
        plan: Plan,
        *,
        seed: int,
        vote: str = "uniform",
        verifier: Verifier | None = None,
        sink: ExamSink | None = None,
        read: Callable[[], float] = exam_time,
    ) -> None:
        self._problem = problem
        self._completer = completer
        self._sandbox = sandbox
        self._profile = profile
        self._proctor = Proctor(policy, plan)
        self._seed = seed
        self._vote = vote
        self._verifier = verifier
        self._verifying: dict[int, asyncio.Task[float | None]] = {}
        self._sink = sink
        self._read = read
        self._watch = Stopwatch(read)
        self._book = AnswerBook(partial(classes, problem))
        self._stream = Stream()
        self._reports: asyncio.Queue[_Report] = asyncio.Queue()
        self._held: _Report | None = None  # taken from the queue, not yet told
        self._runs: dict[int, AttemptRun] = {}
        self._tasks: dict[int, asyncio.Task[Attempt]] = {}
        self._nudges: set[asyncio.Task[None]] = set()
        self._cut: set[int] = set()
        self._errors: list[Exception] = []
        self._rule = ""

    async def hold(self) -> Sat:
        """Attempt the problem until the policy answers; on the way out every attempt is over and freed.

        Raises:
            CompleterError: when attempts were made and not one got an answer out of the completer.
            PodiumError, Exception: what an attempt raised, other than CompleterError.
            asyncio.CancelledError: when cancelled.
        """
        self._watch = Stopwatch(self._read)
        try:
            voters = await self._follow()
            await _cancel([*self._nudges, *self._tasks.values()])
            scores = await self._verified(voters)
        finally:
            await _cancel([*self._nudges, *self._tasks.values()])
            await _cancel([*self._verifying.values()])  # after the attempts: one that ends may still be read
        for error in self._errors:
            if not isinstance(error, CompleterError) or len(self._errors) == len(self._tasks):
                raise error
        attempts = tuple(self._record(index, scores.get(index)) for index in sorted(self._tasks))
        vote = self._count([attempt for attempt in attempts if attempt.index in voters])
        return Sat(
            self._proctor.plan,
            attempts,
            vote,
            self._rule,
            self._watch.elapsed(),
            self._stream,
            tuple(self._book.texts),
            self._vote,
        )

    def _record(self, index: int, score: float | None) -> Attempt:
        attempt = self._runs[index].record(self._reason(index))
        if score is None:
            return attempt
        return attempt.model_copy(update={"signals": {**attempt.signals, "verifier": score}})

    async def _verified(self, voters: tuple[int, ...]) -> dict[int, float]:
        """What the verifier says of the attempts that vote. Those that the clock cut off are not read: their time is
        over with the problem's."""
        reading = [task for index, task in self._verifying.items() if index in voters]
        if not reading:
            return {}
        seconds = self._proctor.plan.seconds
        left = VERIFYING if seconds is None else min(VERIFYING, seconds - self._watch.elapsed())
        await asyncio.wait(reading, timeout=max(0.0, left))
        found = {index: task.result() for index, task in self._verifying.items() if task.done() and index in voters}
        return {index: score for index, score in found.items() if score is not None}

    def _count(self, voting: list[Attempt]) -> Vote:
        """The vote over the answers that the policy was told of: all are in the book, nothing is compared now."""
        ballot = {attempt.index: self._proctor.ballot(attempt.index) for attempt in voting}
        answers: dict[int, str] = {}
        for index, wording in ballots(voting).items():
            number = ballot[index]
            if number is not None:
                # Its own wording, unless it boxed another answer in the moment of the stop.
                answers[index] = wording if self._book.known(wording) == number else self._book.texts[number]
        weights = None if self._vote == "uniform" else weigh(voting, self._vote)
        return majority(self._problem, answers, lambda _, texts: self._book.classes(texts), weights)

    async def _follow(self) -> tuple[int, ...]:
        """Do as the policy says until it answers; returns the attempts that vote."""
        self._stream.first = self._proctor.begin()
        voters = self._do(self._stream.first)
        while voters is None:
            happening = await self._next()
            if any(not isinstance(error, CompleterError) for error in self._errors):
                self._rule = "error"
                return ()
            actions = self._proctor.feed(happening)
            self._stream.steps.append((happening, actions))
            voters = self._do(actions)
        return voters

    def _do(self, actions: tuple[Action, ...]) -> tuple[int, ...] | None:
        for action in actions:
            if action.kind == "start":
                self._start(action.attempt)
            elif action.kind == "cancel":
                if action.rule == "attempt_tokens":
                    self._cut.add(action.attempt)
                self._tasks[action.attempt].cancel()
            elif action.kind == "nudge":
                task = asyncio.create_task(self._runs[action.attempt].nudge(NUDGE))
                self._nudges.add(task)
                task.add_done_callback(self._nudges.discard)
                self._report("nudge", action.attempt, self._runs[action.attempt].tokens)
            elif action.kind == "stop":
                self._rule = action.rule
            else:
                return action.voters
        return None

    async def _next(self) -> Happening:
        """The next happening: a report whose answer has been compared, or a tick at the very second it is due."""
        while True:
            look = self._proctor.next_look
            if self._held is None and not self._reports.empty():
                self._held = self._reports.get_nowait()
            # A clock may stand still for less than this; a wait of nothing must not wait for ever.
            if look is not None and (self._held.time if self._held else self._watch.elapsed() + 1e-6) >= look:
                return Happening(look, "tick")
            if self._held is not None:
                report, self._held = self._held, None
                number = None if report.answer is None else await self._number(report.answer)
                return Happening(report.time, report.kind, report.attempt, report.tokens, number, report.reason)
            wait = self._watch.step if look is None else look - self._watch.elapsed()
            try:
                # Never longer than the stopwatch may go unread.
                async with asyncio.timeout(max(0.0, min(self._watch.step, wait))):
                    self._held = await self._reports.get()
            except TimeoutError:
                continue

    async def _number(self, answer: str) -> int:
        """The class of an answer. Comparing may take computer algebra seconds: on a thread, and when the problem's
        time runs out meanwhile the answer stands apart."""
        number = self._book.known(answer)
        if number is not None:
            return number
        seconds = self._proctor.plan.seconds
        left = None if seconds is None else seconds - self._watch.elapsed()
        if not self._book.texts or (left is not None and left <= 0):
            return self._book.enter(answer, None)
        comparing = asyncio.ensure_future(asyncio.to_thread(self._book.compare, answer))
        done, _ = await asyncio.wait({comparing}, timeout=left)
        if not done:
            comparing.add_done_callback(lambda late: late.cancelled() or late.exception())
            return self._book.enter(answer, None)
        return self._book.enter(answer, comparing.result())

    def _report(
        self,
        kind: Literal["start", "tokens", "code", "nudge", "answer", "end"],
        index: int,
        tokens: int = 0,
        answer: str | None = None,
        reason: StopReason = "eos",
    ) -> None:
        self._reports.put_nowait(_Report(self._watch.elapsed(), kind, index, tokens, answer, reason))

    def _start(self, index: int) -> None:
        self._runs[index] = AttemptRun(
            self._problem,
            self._completer,
            self._sandbox,
            self._profile,
            index=index,
            seed=attempt_seed(self._seed, self._problem.id, index),
            sink=self._saw,
            elapsed=self._watch.elapsed,
        )
        self._tasks[index] = asyncio.create_task(self._runs[index].run(), name=f"{self._problem.id}#{index}")
        # A callback, not a `finally` in the task: a task cancelled before its first step never runs a line.
        self._tasks[index].add_done_callback(partial(self._ended, index))
        self._report("start", index)

    def _saw(self, index: int, event: Event) -> None:
        if event.kind in ("tokens", "code", "answer"):
            self._report(event.kind, index, event.tokens, event.answer)
        if self._sink is not None:
            self._sink(self._problem, index, event)

    def _ended(self, index: int, task: asyncio.Task[Attempt]) -> None:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            self._errors.append(error)
        run = self._runs[index]
        self._report("end", index, run.tokens, run.answer, self._reason(index))
        if self._verifier is not None and not task.cancelled() and error is None and run.answer is not None:
            self._verifying[index] = asyncio.create_task(self._verifier.score(self._problem, task.result()))

    def _reason(self, index: int) -> StopReason:
        task = self._tasks[index]
        if task.cancelled():
            if index in self._cut:
                return "length"
            return "clock" if self._rule == "clock" else "cancelled"
        return "error" if task.exception() is not None else task.result().stop_reason


async def _cancel(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def settle(problem: Problem, sat: Sat, fallback: str | None = None) -> tuple[ExamResult, tuple[Verdict, ...]]:
    """Grade the attempts and the chosen answer, or `fallback` where none was given; the clock's columns are still
    empty. Beside it the verdicts of all answer classes."""
    verdicts: dict[str, Verdict] = {}

    def verdict(answer: str | None) -> Verdict:
        if answer is None:
            return Verdict.NO_ANSWER
        if answer not in verdicts:
            verdicts[answer] = grade(problem, answer)
        return verdicts[answer]

    answer = fallback if sat.vote.answer is None else sat.vote.answer
    result = ExamResult(
        problem=problem,
        attempts=tuple(attempt.model_copy(update={"verdict": verdict(attempt.answer)}) for attempt in sat.attempts),
        votes=sat.vote.classes,
        vote=sat.weighed,
        answer=answer,
        verdict=verdict(answer),
        tie=sat.vote.tie,
        stop_rule=sat.rule,
        clock_hit=sat.rule == "clock",
        used_seconds=sat.used_seconds,
    )
    return result, tuple(verdict(text) for text in sat.answers)
