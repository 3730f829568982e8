"""Traces: what a policy was told and what it did, per problem, without any text but the answers.

One row per problem holds the whole stream: tokens over time, code calls, when which answer appeared, when attempts
ended. A row is enough to check that the same policy decides the same again (`podium.solve.replay.first_difference`)
and to ask what another policy would have done (`podium.solve.replay.play`). It names neither problem texts nor
solutions, so traces can be passed on where exams cannot.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from podium.errors import InputError
from podium.folders import ExamFolder
from podium.records import Row, StopReason, Verdict
from podium.solve.happening import Action, Happening
from podium.solve.rules import Plan
from podium.solve.sitting import Sat, Stream
from podium.storage import read_rows

EventTuple = tuple[float, str, int, int, int | None, StopReason]
"""time, kind, attempt, tokens, answer class, reason: a Happening."""
ActionTuple = tuple[int, str, int, str, tuple[int, ...]]
"""events fed before it, kind, attempt, rule, voters: an Action."""


class TracedAnswer(Row):
    """An answer class: its first wording and what grading says of it."""

    answer: str
    verdict: Verdict


class Trace(Row):
    """One problem of an exam as its policy saw it. Seconds count from its opening."""

    problem_id: str
    model: str
    policy: str
    attempts: int
    parallel: int | None = None
    seconds: float | None = None  # granted
    pace: float | None = None  # seconds left per problem left; None: no clock
    speed: int = 0
    answers: tuple[TracedAnswer, ...] = ()
    events: tuple[EventTuple, ...] = ()
    actions: tuple[ActionTuple, ...] = ()
    used_seconds: float = 0.0
    vote: str = "uniform"  # what the exam's vote weighed attempts by
    signals: dict[int, dict[str, float]] = Field({}, description="attempt -> what a vote may weigh it by")

    @field_validator("events", "actions", mode="before")
    @classmethod
    def _as_tuples(cls, value: Any) -> Any:
        return tuple(tuple(entry) if isinstance(entry, list) else entry for entry in value)

    @property
    def plan(self) -> Plan:
        return Plan(
            self.attempts, self.parallel, self.seconds, float("inf") if self.pace is None else self.pace, self.speed
        )

    def stream(self) -> Stream:
        """What was fed to the policy and what it did after each."""
        after: dict[int, list[Action]] = {}
        for count, kind, index, rule, voters in self.actions:
            after.setdefault(count, []).append(Action(kind, index, rule, voters))  # type: ignore[arg-type]
        steps = [
            (Happening(*event), tuple(after.get(count, ())))  # type: ignore[arg-type]
            for count, event in enumerate(self.events, start=1)
        ]
        return Stream(tuple(after.get(0, ())), steps)


def trace_of(problem_id: str, model: str, policy: str, sat: Sat, verdicts: Sequence[Verdict]) -> Trace:
    """The trace of a problem that was sat."""
    plan, stream = sat.plan, sat.stream
    told = [(0, stream.first), *((count, actions) for count, (_, actions) in enumerate(stream.steps, start=1))]
    return Trace(
        problem_id=problem_id,
        model=model,
        policy=policy,
        attempts=plan.attempts,
        parallel=plan.parallel,
        seconds=plan.seconds,
        pace=None if plan.pace == float("inf") else plan.pace,
        speed=plan.speed,
        answers=tuple(
            TracedAnswer(answer=text, verdict=verdict) for text, verdict in zip(sat.answers, verdicts, strict=True)
        ),
        events=tuple((h.time, h.kind, h.attempt, h.tokens, h.answer, h.reason) for h, _ in stream.steps),
        actions=tuple((count, a.kind, a.attempt, a.rule, a.voters) for count, actions in told for a in actions),
        used_seconds=sat.used_seconds,
        vote=sat.weighed,
        signals={attempt.index: attempt.signals for attempt in sat.attempts if attempt.signals},
    )


def read_traces(paths: Iterable[Path | str]) -> list[Trace]:
    """All traces of exam folders or trace files.

    Raises:
        InputError: a file that is missing, damaged, or empty.
    """
    traces: list[Trace] = []
    for path in map(Path, paths):
        file = ExamFolder(path).traces if path.is_dir() else path
        rows = read_rows(file, Trace)
        if not rows:
            raise InputError(f"{file}: no traces", "sit an exam first: podium exam MODEL --set NAME")
        traces += rows
    return traces
