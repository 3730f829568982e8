"""One problem of an exam, sat: runs a policy against live attempts and settles the vote.

Does not know the clock's bookkeeping, the folder or the other problems. This is where real time meets the policy.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from podium.errors import CompleterError
from podium.generate.protocol import Completer
from podium.grading import classes, grade
from podium.records import Attempt, Event, ExamResult, Problem, StopReason, Verdict
from podium.solve.policy import Action, Happening, Policy, Setting
from podium.solve.profile import Profile
from podium.solve.toolloop import AttemptRun
from podium.solve.vote import Vote, ballots, majority, weigh

if TYPE_CHECKING:
    from podium.sandbox import Sandbox

ExamSink = Callable[[Problem, int, Event], None]
"""Told of every event of every attempt as it happens."""


def attempt_seed(exam_seed: int, problem_id: str, index: int) -> int:
    """A 31-bit seed that depends on these three alone: not on order, on n, or on the other problems."""
    digest = hashlib.blake2b(f"{exam_seed}\0{problem_id}\0{index}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1


@dataclass(frozen=True, slots=True)
class Sat:
    """A problem answered but not yet graded: what the clock has to pay for."""

    attempts: tuple[Attempt, ...]
    vote: Vote
    rule: str
    used_seconds: float


class Sitting:
    """The attempts at one problem in flight."""

    def __init__(
        self,
        problem: Problem,
        completer: Completer,
        sandbox: Sandbox | None,
        profile: Profile,
        policy: Policy,
        *,
        attempts: int,
        parallel: int | None,
        seconds: float | None,
        seed: int,
        vote: str = "uniform",
        sink: ExamSink | None = None,
    ) -> None:
        self._problem = problem
        self._completer = completer
        self._sandbox = sandbox
        self._profile = profile
        self._policy = policy
        self._seed = seed
        self._vote = vote
        self._sink = sink
        self._setting = Setting(attempts, partial(classes, problem), parallel, seconds)
        self._history: list[Happening] = []
        self._happened: asyncio.Queue[Happening] = asyncio.Queue()
        self._runs: dict[int, AttemptRun] = {}
        self._tasks: dict[int, asyncio.Task[Attempt]] = {}
        self._errors: list[Exception] = []
        self._opened = 0.0

    def _elapsed(self) -> float:
        return time.monotonic() - self._opened

    async def hold(self) -> Sat:
        """Attempt the problem until the policy answers; on the way out every attempt is over and freed.

        Raises:
            CompleterError: when not one attempt got an answer out of the completer.
            PodiumError, Exception: what an attempt raised, other than CompleterError.
            asyncio.CancelledError: when cancelled.
        """
        self._opened = time.monotonic()
        try:
            rule, voters = await self._follow()
        finally:
            await self._cancel_all()
        for error in self._errors:
            if not isinstance(error, CompleterError) or len(self._errors) == len(self._tasks):
                raise error
        attempts = tuple(
            self._runs[index].record(self._reason(task, rule)) for index, task in sorted(self._tasks.items())
        )
        voting = [attempt for attempt in attempts if attempt.index in voters]
        weights = None if self._vote == "uniform" else weigh(voting, self._vote)
        vote = await asyncio.to_thread(majority, self._problem, ballots(voting), classes, weights)
        return Sat(attempts, vote, rule, self._elapsed())

    async def _follow(self) -> tuple[str, tuple[int, ...]]:
        """Do as the policy says until it answers: (rule, attempts that vote)."""
        rule = ""
        while True:
            for action in await self._decide():
                if action.kind == "start":
                    self._start(action)
                elif action.kind == "cancel":
                    self._tasks[action.index].cancel()
                elif action.kind == "stop":
                    rule = action.rule
                else:
                    return rule, action.attempts
            if any(not isinstance(error, CompleterError) for error in self._errors):
                return "error", ()
            await self._wait()

    async def _decide(self) -> tuple[Action, ...]:
        """Ask the policy, on a thread: comparing answers may take computer algebra seconds.

        When the clock runs out meanwhile it is asked again at once: that decision compares nothing."""
        history = tuple(self._history)
        thinking = asyncio.ensure_future(asyncio.to_thread(self._policy, history, self._setting))
        left = None if self._setting.seconds is None else max(0.0, self._setting.seconds - self._elapsed())
        done, _ = await asyncio.wait({thinking}, timeout=left)
        if done or not history:
            return await thinking
        self._time_is_up()
        return self._policy(self._history, self._setting)

    def _start(self, action: Action) -> None:
        index = action.index
        self._runs[index] = AttemptRun(
            self._problem,
            self._completer,
            self._sandbox,
            self._profile,
            index=index,
            seed=attempt_seed(self._seed, self._problem.id, index),
            sink=self._saw,
            elapsed=self._elapsed,
        )
        self._tasks[index] = asyncio.create_task(self._runs[index].run(), name=f"{self._problem.id}#{index}")
        # A callback, not a `finally` in the task: a task cancelled before its first step never runs a line.
        self._tasks[index].add_done_callback(partial(self._ended, index))
        self._history.append(Happening(self._elapsed(), "start", index))

    def _saw(self, index: int, event: Event) -> None:
        if event.kind == "answer":
            self._happened.put_nowait(Happening(event.time, "answer", index, event.answer))
        if self._sink is not None:
            self._sink(self._problem, index, event)

    def _ended(self, index: int, task: asyncio.Task[Attempt]) -> None:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            self._errors.append(error)
        self._happened.put_nowait(
            Happening(self._elapsed(), "end", index, self._runs[index].answer, self._reason(task, ""))
        )

    def _reason(self, task: asyncio.Task[Attempt], rule: str) -> StopReason:
        if task.cancelled():
            return "clock" if rule == "clock" else "cancelled"
        return "error" if task.exception() is not None else task.result().stop_reason

    async def _wait(self) -> None:
        """Until something happens or time is up."""
        left = None if self._setting.seconds is None else max(0.0, self._setting.seconds - self._elapsed())
        try:
            self._history.append(await asyncio.wait_for(self._happened.get(), left))
        except TimeoutError:
            self._time_is_up()

    def _time_is_up(self) -> None:
        while not self._happened.empty():
            self._history.append(self._happened.get_nowait())
        self._history.append(Happening(max(self._elapsed(), self._setting.seconds or 0.0), "tick"))

    async def _cancel_all(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)


def settle(problem: Problem, sat: Sat) -> ExamResult:
    """Grade the attempts and the chosen answer. The clock's columns are still empty."""
    verdicts: dict[str, Verdict] = {}

    def verdict(answer: str | None) -> Verdict:
        if answer is None:
            return Verdict.NO_ANSWER
        if answer not in verdicts:
            verdicts[answer] = grade(problem, answer)
        return verdicts[answer]

    return ExamResult(
        problem=problem,
        attempts=tuple(attempt.model_copy(update={"verdict": verdict(attempt.answer)}) for attempt in sat.attempts),
        votes=sat.vote.classes,
        answer=sat.vote.answer,
        verdict=verdict(sat.vote.answer),
        tie=sat.vote.tie,
        stop_rule=sat.rule,
        clock_hit=sat.rule == "clock",
        used_seconds=sat.used_seconds,
    )
