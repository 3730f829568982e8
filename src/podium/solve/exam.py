"""The exam: problems one after another under the clock, each result on disk before the next problem is opened.

Does not know which engine answers, how stopping is decided or how answers are graded. The folder holds

- `exam.json`: what is being sat; a folder with another exam is refused;
- `results.jsonl`: one ExamResult per finished problem, appended and fsynced: kill -9 loses the problem in flight;
- `traces.jsonl`: one Trace per finished problem, what the policy was told and did (`podium exam replay`);
- `attempts.jsonl`, `summary.json`: written when all problems are finished.

Sitting the same exam in the same folder again goes on after the last finished problem, with the same pool. One process
at a time: a lock beside the folder is held while the exam is sat.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_validator

from podium.answering.protocol import Completer
from podium.errors import InputError, PodiumError, PromptTooLong
from podium.folders import ExamFolder
from podium.grading.rules import Finder
from podium.lock import locked_folder
from podium.records import ExamResult, Problem, find_repeated
from podium.runlog import RunLog
from podium.settings import NOT_IDENTITY, identity_of
from podium.solve.clock import Clock, Ledger, drawn, pool
from podium.solve.identity import refuse_other
from podium.solve.judging import judge_result
from podium.solve.policy import Policy
from podium.solve.policyfile import parse_policy
from podium.solve.profile import Profile, get_profile
from podium.solve.prompt import FINDERS
from podium.solve.scores import Scores, score_results
from podium.solve.sitting import ExamSink, Sitting, settle
from podium.solve.stopwatch import exam_time
from podium.solve.tokenlimit import TokenLimit, limit_from, measure_speed
from podium.solve.trace import Trace, trace_of
from podium.solve.vote import ASKED, check_weight
from podium.storage import Journal, drop_torn_line, read_rows, write_json, write_rows, write_text

if TYPE_CHECKING:
    from podium.grading.judge import Judge
    from podium.sandbox import Sandbox
    from podium.solve.verifier import Verifier

Progress = Callable[[ExamResult, int, int], None]
"""Told of every finished problem: (result, finished so far, all problems)."""


class Opened(NamedTuple):
    """A problem that begins: how many are done, of how many, and what the clock says (None: there is none)."""

    problem: Problem
    done: int
    total: int
    seconds: float | None  # that it gets at most
    pool: float | None  # seconds that the problems before it left over
    left: float | None  # of the whole exam


PAPER_SECONDS = 350.0
"""Per problem, arXiv 2504.16891 section 6.3.4."""


BUSY = "wait for it or stop it, or choose another folder: --out FOLDER"
"""What may be done where another process sits an exam in the same folder."""


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
    token_limit: Literal["profile", "clock"] = Field(
        "profile", description="clock: what an attempt can write in the longest time of a problem, where that is less"
    )
    extract: tuple[Finder, ...] | None = Field(
        None,
        description="where an answer is looked for, in this order: box, final, letter, number, all; none: as the "
        "exam's own rules say",
    )
    fallback: str | None = Field(None, description="the answer where no attempt has boxed one")
    concurrency: Annotated[int, NOT_IDENTITY] = Field(
        1, ge=1, description="problems at the same time; only without a clock"
    )
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
    token_limit: TokenLimit | None = None  # where the clock made one
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
    opening: Callable[[Opened], None] | None = None,
    say: Callable[[str], None] | None = None,
    verifier: Verifier | None = None,
    judge: Judge | None = None,
    read: Callable[[], float] = exam_time,
) -> ExamSummary:
    """Sit an exam to its end and score it.

    `sandbox` None: no code is run. `progress` is told of finished problems, `opening` of those that begin, `sink` of
    what attempts do, `say` of what the policy assumes and what was decided. `verifier` reads every attempt that ends
    with an answer, on the problem's clock; `judge` is asked, after it, about answers that grading leaves undecided.
    `read`: seconds on the clock it is sat by.

    Raises:
        InputError: no problems, an id twice, a policy or profile that does not fit, a folder with another exam, a vote
            by a verifier that is not there.
        StorageError: another process, or another task of this one, is at work in the folder.
        CompleterError: not one attempt at a problem got an answer; finished problems are kept.
        SandboxUnavailable, StorageError: as they arise; finished problems are kept.
        asyncio.CancelledError: when cancelled (Ctrl-C); attempts are freed, finished problems are kept.
    """
    exam = _Exam(
        problems, completer, sandbox, config, Path(folder), runlog, progress, sink, opening, say, verifier, judge, read
    )
    return await exam.sit()


def check_exam(problems: Sequence[Problem], config: ExamConfig, *, verified: bool = False) -> tuple[Profile, Policy]:
    """The profile and the policy of an exam that can be sat; `verified`: a verifier will read the attempts.

    Raises:
        InputError: no problems, an id twice, a policy, profile or vote that does not fit.
    """
    if not problems:
        raise InputError("the exam has no problems", "check the problem source and its filters")
    if (repeated := find_repeated(problems)) is not None:
        raise InputError(f"problem id {repeated!r} occurs twice", "give every problem its own id")
    if config.concurrency > 1 and config.budget_seconds is not None:
        raise InputError(
            f"concurrency {config.concurrency} under a clock",
            "the clock runs for one problem at a time: use concurrency 1, or no budget",
        )
    check_weight(config.vote)
    if config.vote == "verifier" and not verified:
        raise InputError("a vote weighed by a verifier without one", "name the model that verifies: --verifier MODEL")
    if config.extract == ():
        raise InputError("extract: nowhere to look for an answer", f"known: {', '.join(FINDERS)}")
    profile = get_profile(config.profile, **{**ASKED.get(config.vote, {}), **config.overrides})
    if profile.prompt == "code" and not profile.template and profile.code_calls == 0:
        raise InputError(
            "the prompt style 'code' promises Python, and no code is run", "take another style, or let code be run"
        )
    policy = parse_policy(config.policy)
    policy.check(config.attempts)
    return profile, policy


def with_extraction(problem: Problem, extract: Sequence[Finder] | None) -> Problem:
    """The problem with other places where its answer is looked for; as it is where `extract` is None.

    The rule stands in the problem, so that whoever grades its rows again looks in the same places.
    """
    if extract is None:
        return problem
    rules = {**(problem.meta.get("rules") or {}), "find": list(extract)}
    return problem.model_copy(update={"meta": {**problem.meta, "rules": rules}})


def exam_identity(
    problems: Sequence[Problem],
    model: str,
    config: ExamConfig,
    *,
    code: bool,
    verifier: str | None = None,
    judge: str | None = None,
) -> dict[str, Any]:
    """What makes an exam this exam, as `exam.json` holds it. Models by the names of their completers; `code`: a
    sandbox is there and the profile uses it."""
    rows = "\n".join(problem.model_dump_json() for problem in problems)
    return {
        "model": model,
        "code": code,
        "problems": {
            "count": len(problems),
            "source": ", ".join(sorted({problem.source for problem in problems})),
            "digest": hashlib.blake2b(rows.encode(), digest_size=16).hexdigest(),
        },
        "config": identity_of(config),
        **({} if verifier is None else {"verifier": verifier}),
        **({} if judge is None else {"judge": judge}),
    }


def check_folder(folder: Path | str, identity: Mapping[str, Any]) -> None:
    """Refuse a folder in which problems of another exam were finished. Changes nothing.

    Raises:
        InputError: names every setting that differs, with both values.
    """
    exam = ExamFolder(Path(folder))
    if not exam.is_begun():
        return
    if not exam.claim.exists():
        raise InputError(
            f"{folder}: holds results of an exam that nobody knows (there is no {exam.claim.name})",
            "choose another folder, or start anew with --fresh",
        )
    refuse_other(exam.claim, identity, "exam", "sit the exam")


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
        opening: Callable[[Opened], None] | None,
        say: Callable[[str], None] | None,
        verifier: Verifier | None,
        judge: Judge | None,
        read: Callable[[], float],
    ) -> None:
        self.asked = problems
        self.problems = [with_extraction(problem, config.extract) for problem in problems]
        self.completer = completer
        self.config = config
        self.folder = ExamFolder(folder)
        self.runlog = runlog
        self.progress = progress
        self.sink = sink
        self.opening = opening
        self.say = say or (lambda _: None)
        self.verifier = verifier
        self.judge = judge
        self.read = read
        self.profile, self.policy = check_exam(problems, config, verified=verifier is not None)
        self.sandbox = sandbox if self.profile.code_calls > 0 else None
        self.ledger = Ledger(config.budget(len(problems)), len(problems))
        self.clock: Clock | None = self.policy.clock_for(self.ledger)
        self.done: dict[str, ExamResult] = {}
        self.identity: dict[str, Any] = {}
        self.limit: TokenLimit | None = None

    async def sit(self) -> ExamSummary:
        with locked_folder(self.folder.path, BUSY):
            return await self._sit()

    async def _sit(self) -> ExamSummary:
        limit = self._claim_folder()
        self._restore()
        self.say(self.policy.assumes(self.clock, self.config.attempts))
        await self._limit_tokens(limit)
        with (
            Journal(self.folder.traces, Trace) as traces,
            Journal(self.folder.results, ExamResult) as results,
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
        if self.opening is not None:
            times = (None, None, None)
            if self.clock is not None:
                times = (plan.seconds, pool(self.clock, self.ledger), self.ledger.left)
            self.opening(Opened(problem, len(self.done), len(self.problems), *times))
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

    def _claim_folder(self) -> TokenLimit | None:
        """Compare with the `exam.json` that is there, or write one; the token limit that was found there."""
        identity = exam_identity(
            self.asked,
            self.completer.name,
            self.config,
            code=self.sandbox is not None,
            verifier=None if self.verifier is None else self.verifier.name,
            judge=None if self.judge is None else self.judge.name,
        )
        check_folder(self.folder.path, identity)
        self.identity = identity
        if self.folder.is_begun():
            found = self.folder.read_claim().get("token_limit")
            return None if found is None else TokenLimit.model_validate(found)
        write_json(self.folder.claim, identity)
        return None

    async def _limit_tokens(self, found: TokenLimit | None) -> None:
        """The clock's token limit: the one that the exam was begun with, or one measured before its first problem."""
        if self.config.token_limit != "clock" or self.clock is None:
            return
        if found is None and not self.done:
            first, sampling = self.problems[0], self.profile.sampling(self.config.seed)
            try:
                speed = await measure_speed(self.completer, self.profile.messages(first), sampling, self.read)
            except PromptTooLong:
                speed = None
            if speed is not None:
                found = limit_from(speed, self.clock.most(self.ledger), self.profile.max_tokens)
            if found is not None:
                write_json(self.folder.claim, {**self.identity, "token_limit": found.model_dump()})
        if found is not None:
            self.say(found.told())
            self.limit = found
            self.profile = replace(self.profile, max_tokens=found.tokens)

    def _restore(self) -> None:
        traces = self.folder.traces
        if not self.folder.results.exists():
            traces.unlink(missing_ok=True)
            return
        known = {problem.id for problem in self.problems}
        for result in self.folder.resume_results():
            if result.problem.id not in known or result.problem.id in self.done:
                raise InputError(
                    f"{self.folder.results}: {result.problem.id!r} is not of this exam, or there twice",
                    "the file was changed by hand, or two exams wrote into it: start anew with --fresh",
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
            token_limit=self.limit,
            resumed=resumed,
            verifier=None if self.verifier is None else self.verifier.name,
            judge=None if self.judge is None else self.judge.name,
            scores=scores,
        )
        write_rows(self.folder.attempts, (attempt for result in results for attempt in result.attempts))
        write_text(self.folder.summary, summary.model_dump_json(indent=2) + "\n")
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
