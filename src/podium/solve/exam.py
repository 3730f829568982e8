"""The exam: problems one after another under the clock, each result on disk before the next problem is opened.

Does not know which engine answers, how stopping is decided or how answers are graded. The folder holds

- `exam.json`: what is being sat; a folder with another exam is refused;
- `results.jsonl`: one ExamResult per finished problem, appended and fsynced: kill -9 loses the problem in flight;
- `traces.jsonl`: one Trace per finished problem, what the policy was told and did (`podium exam replay`);
- `attempts.jsonl`, `summary.json`: written when all problems are finished.

Sitting the same exam in the same folder again goes on after the last finished problem, with the same pool.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from podium.errors import InputError, PodiumError
from podium.generate.protocol import Completer
from podium.records import (
    ExamResult,
    Journal,
    Problem,
    drop_torn_line,
    find_repeated,
    read_json,
    read_rows,
    write_json,
    write_rows,
    write_text,
)
from podium.runlog import RunLog
from podium.solve.clock import Clock, Ledger, drawn, pool
from podium.solve.judging import judge_result
from podium.solve.policyfile import parse_policy
from podium.solve.profile import get_profile
from podium.solve.scores import Scores, score_results
from podium.solve.sitting import ExamSink, Sitting, settle
from podium.solve.stopwatch import exam_time
from podium.solve.trace import TRACES, Trace, trace_of
from podium.solve.vote import ASKED, check_weight

if TYPE_CHECKING:
    from podium.grading.judge import Judge
    from podium.sandbox import Sandbox
    from podium.solve.verifier import Verifier

Progress = Callable[[ExamResult, int, int], None]
"""Told of every finished problem: (result, finished so far, all problems)."""


PAPER_SECONDS = 350.0
"""Per problem, arXiv 2504.16891 section 6.3.4."""


class ExamConfig(BaseModel):
    """How an exam is sat, as a person writes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    attempts: int = Field(12, ge=1, description="n: attempts per problem")
    parallel: int | None = Field(None, ge=1, description="attempts at one problem at the same time; default: all n")
    policy: str = Field("all", description="winner, runner-up, notebook, rules joined by +, or a policy file")
    vote: str = Field("uniform", description="weight of an attempt: uniform, length, logprob, entropy or verifier")
    profile: str = Field("kaggle", description="kaggle, notebook or eval")
    overrides: dict[str, Any] = Field({}, description="fields of the profile to replace")
    budget_seconds: float | Literal["paper"] | None = Field(
        None, description="seconds for the whole exam; 'paper': 350 per problem; none: no clock"
    )
    fallback: str | None = Field(None, description="the answer where no attempt has boxed one")
    concurrency: int = Field(1, ge=1, description="problems at the same time; only without a clock")
    seed: int = 0

    @field_validator("budget_seconds")
    @classmethod
    def _positive(cls, value: Any) -> Any:
        if isinstance(value, float) and not 0 < value < float("inf"):
            raise ValueError("a budget is a positive number of seconds")
        return value

    def budget(self, problems: int) -> float | None:
        """Seconds for this many problems; None: no clock."""
        return PAPER_SECONDS * problems if self.budget_seconds == "paper" else self.budget_seconds


class ExamSummary(BaseModel):
    """`summary.json`: what was sat, by whom, and how it went."""

    model_config = ConfigDict(frozen=True)

    model: str
    code: bool  # whether code could be run
    tiers: tuple[str, ...]  # sandbox tiers that code ran under
    config: ExamConfig
    resumed: int  # problems taken over from an earlier sitting
    verifier: str | None = None  # the model that scored the attempts
    judge: str | None = None  # the model that was asked about undecided answers
    scores: Scores


async def sit_exam(
    problems: Sequence[Problem],
    completer: Completer,
    sandbox: Sandbox | None,
    config: ExamConfig,
    folder: Path | str,
    *,
    runlog: RunLog | None = None,
    progress: Progress | None = None,
    sink: ExamSink | None = None,
    verifier: Verifier | None = None,
    judge: Judge | None = None,
    read: Callable[[], float] = exam_time,
) -> ExamSummary:
    """Sit an exam to its end and score it.

    `sandbox` None: no code is run. `verifier` reads every attempt that ends with an answer, on the problem's clock;
    `judge` is asked, after it, about answers that grading leaves undecided. `read`: seconds on the clock it is sat by.

    Raises:
        InputError: no problems, an id twice, a policy or profile that does not fit, a folder with another exam, a vote
            by a verifier that is not there.
        CompleterError: not one attempt at a problem got an answer; finished problems are kept.
        SandboxUnavailable, StorageError: as they arise; finished problems are kept.
        asyncio.CancelledError: when cancelled (Ctrl-C); attempts are freed, finished problems are kept.
    """
    exam = _Exam(problems, completer, sandbox, config, Path(folder), runlog, progress, sink, verifier, judge, read)
    return await exam.sit()


class _Exam:
    def __init__(
        self,
        problems: Sequence[Problem],
        completer: Completer,
        sandbox: Sandbox | None,
        config: ExamConfig,
        folder: Path,
        runlog: RunLog | None,
        progress: Progress | None,
        sink: ExamSink | None,
        verifier: Verifier | None,
        judge: Judge | None,
        read: Callable[[], float],
    ) -> None:
        if not problems:
            raise InputError("the exam has no problems", "check the problem source and its filters")
        if (repeated := find_repeated(problems)) is not None:
            raise InputError(f"problem id {repeated!r} occurs twice", "give every problem its own id")
        if config.concurrency > 1 and config.budget_seconds is not None:
            raise InputError(
                f"concurrency {config.concurrency} under a clock",
                "the clock runs for one problem at a time: use concurrency 1, or no budget",
            )
        self.problems = problems
        self.completer = completer
        self.config = config
        self.folder = folder
        self.runlog = runlog
        self.progress = progress
        self.sink = sink
        self.verifier = verifier
        self.judge = judge
        self.read = read
        check_weight(config.vote)
        if config.vote == "verifier" and verifier is None:
            raise InputError(
                "a vote weighed by a verifier without one", "name the model that verifies: --verifier MODEL"
            )
        self.profile = get_profile(config.profile, **{**ASKED.get(config.vote, {}), **config.overrides})
        self.sandbox = sandbox if self.profile.code_calls > 0 else None
        self.policy = parse_policy(config.policy)
        self.policy.check(config.attempts)
        self.ledger = Ledger(config.budget(len(problems)), len(problems))
        self.clock: Clock | None = self.policy.clock_for(self.ledger)
        self.done: dict[str, ExamResult] = {}

    async def sit(self) -> ExamSummary:
        self._claim_folder()
        self._restore()
        with (
            Journal(self.folder / TRACES, Trace) as traces,
            Journal(self.folder / "results.jsonl", ExamResult) as results,
        ):
            resumed = len(self.done)
            if self.runlog is not None:
                self.runlog.start(
                    "eval_start", problems=len(self.problems), resumed=resumed, **self.config.model_dump(mode="json")
                )
            try:
                await self._sit_all(results, traces)
            except BaseException as error:
                status = "aborted" if isinstance(error, PodiumError | asyncio.CancelledError) else "failed"
                if self.runlog is not None:
                    self.runlog.end("eval_stop", status=status, finished=len(self.done))
                raise
        return self._finish(resumed)

    async def _sit_all(self, results: Journal, traces: Journal) -> None:
        waiting = iter([problem for problem in self.problems if problem.id not in self.done])

        async def work() -> None:
            for problem in waiting:
                result, trace = await self._sit_one(problem)
                traces.append(trace)  # first: a trace without its result is dropped when the exam goes on
                results.append(result)
                self.done[problem.id] = result
                if self.runlog is not None:
                    _log_result(self.runlog, result)
                if self.progress is not None:
                    self.progress(result, len(self.done), len(self.problems))

        workers = [asyncio.create_task(work()) for _ in range(self.config.concurrency)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _sit_one(self, problem: Problem) -> tuple[ExamResult, Trace]:
        plan = self.policy.plan(self.clock, self.ledger, self.config.attempts, self.config.parallel)
        sitting = Sitting(
            problem,
            self.completer,
            self.sandbox,
            self.profile,
            self.policy,
            plan,
            seed=self.config.seed,
            vote=self.config.vote,
            verifier=self.verifier,
            sink=self.sink,
            read=self.read,
        )
        sat = await sitting.hold()
        result, verdicts = await asyncio.to_thread(settle, problem, sat, self.config.fallback)
        if self.judge is not None:
            result, verdicts = await judge_result(result, sat.answers, verdicts, self.judge)
        trace = trace_of(problem.id, self.completer.name, self.policy.name, sat, verdicts)
        self.ledger = self.ledger.settled(sat.used_seconds)
        if self.clock is None or plan.seconds is None:
            return result, trace
        columns = {
            "granted_seconds": plan.seconds,
            "pool_drawn": drawn(self.clock, sat.used_seconds),
            "pool_after": pool(self.clock, self.ledger),
        }
        return result.model_copy(update=columns), trace

    def _claim_folder(self) -> None:
        """Write `exam.json`, or compare with the one that is there."""
        identity = {
            "model": self.completer.name,
            "code": self.sandbox is not None,
            "problems": hashlib.blake2b(
                "\n".join(problem.model_dump_json() for problem in self.problems).encode(), digest_size=16
            ).hexdigest(),
            "config": self.config.model_dump(mode="json", exclude={"concurrency"}),
        }
        if self.verifier is not None:
            identity["verifier"] = self.verifier.name
        if self.judge is not None:
            identity["judge"] = self.judge.name
        path = self.folder / "exam.json"
        if not path.exists():
            write_json(path, identity)
            return
        found = read_json(path)
        if found == identity:
            return
        found = found if isinstance(found, dict) else {}
        differing = [key for key in {**identity, **found} if found.get(key) != identity.get(key)]
        raise InputError(
            f"{path}: this folder holds another exam ({', '.join(differing)} differs)",
            "choose another folder, or delete this one to sit the exam anew",
        )

    def _restore(self) -> None:
        path, traces = self.folder / "results.jsonl", self.folder / TRACES
        if not path.exists():
            traces.unlink(missing_ok=True)
            return
        drop_torn_line(path)
        known = {problem.id for problem in self.problems}
        for result in read_rows(path, ExamResult):
            if result.problem.id not in known or result.problem.id in self.done:
                raise InputError(
                    f"{self.folder / 'results.jsonl'}: {result.problem.id!r} is not of this exam, or there twice",
                    "the file was changed by hand: delete the folder to sit the exam anew",
                )
            self.done[result.problem.id] = result
        used = [result.used_seconds for result in self.done.values()]
        self.ledger = Ledger.after(self.ledger.budget, self.ledger.problems, used)
        if traces.exists():
            drop_torn_line(traces)
            write_rows(traces, [trace for trace in read_rows(traces, Trace) if trace.problem_id in self.done])

    def _finish(self, resumed: int) -> ExamSummary:
        results = [self.done[problem.id] for problem in self.problems]
        scores = score_results(results, self.config.attempts, self.config.seed)
        summary = ExamSummary(
            model=self.completer.name,
            code=self.sandbox is not None,
            tiers=tuple(sorted({a.tier for result in results for a in result.attempts if a.tier})),
            config=self.config,
            resumed=resumed,
            verifier=None if self.verifier is None else self.verifier.name,
            judge=None if self.judge is None else self.judge.name,
            scores=scores,
        )
        write_rows(self.folder / "attempts.jsonl", (attempt for result in results for attempt in result.attempts))
        write_text(self.folder / "summary.json", summary.model_dump_json(indent=2) + "\n")
        if self.runlog is not None:
            self.runlog.point("eval_accuracy", scores.score.value, low=scores.score.low, high=scores.score.high)
            self.runlog.end("eval_stop", status="success", finished=len(results))
        return summary


def _log_result(runlog: RunLog, result: ExamResult) -> None:
    runlog.point(
        "problem",
        result.problem.id,
        verdict=result.verdict.value,
        rule=result.stop_rule,
        granted_seconds=round(result.granted_seconds, 3),
        used_seconds=round(result.used_seconds, 3),
        pool_after=round(result.pool_after, 3),
    )
