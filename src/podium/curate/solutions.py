"""Problems into solutions: a teacher solves them, its code is run, and only what is graded correct is kept.

Knows the Completer protocol, not which teacher stands behind it. What is dropped is counted by reason.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from podium.answering.code_session import CodeSandbox
from podium.answering.prompts import make_prompt
from podium.answering.protocol import Completer, Sampling
from podium.answering.toolloop import Rollout, write_solution
from podium.boxes import last_box
from podium.curate.sessions import ReusedSessions
from podium.curate.teacher import DECLINED, programmatic_teacher
from podium.errors import CompleterError
from podium.grading import grade
from podium.records import Maker, Problem, Row, Solution, Style, Usage, Verdict
from podium.storage import Journal, read_rows, write_json, write_rows
from podium.toolcode import written_text

_ROWS_PER_SESSION = 100  # of the programmatic teacher
_ERRORS_IN_A_ROW = 20  # so many failed requests without one answer between them mean the teacher is gone
_TEACHER_FAILED = "teacher failed"


class Outcome(Row):
    """One try: the solution if it was kept, else why not."""

    problem_id: str
    index: int
    solution: Solution | None = None
    reason: str = ""


@dataclass(slots=True)
class SolutionReport:
    """What came of the tries."""

    problems: int = 0
    tries: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    kept_by_source: Counter[str] = field(default_factory=Counter)
    code_calls: int = 0
    seconds: float = 0.0

    def count(self, problem: Problem, outcome: Outcome) -> None:
        self.tries += 1
        if outcome.solution is None:
            self.dropped[f"{problem.source}: {outcome.reason}"] += 1
            return
        self.kept += 1
        self.kept_by_source[problem.source] += 1
        self.code_calls += outcome.solution.usage.code_calls

    def as_dict(self) -> dict[str, Any]:
        return {
            "problems": self.problems,
            "tries": self.tries,
            "kept": self.kept,
            "dropped": dict(sorted(self.dropped.items())),
            "kept_by_source": dict(sorted(self.kept_by_source.items())),
            "code_calls": self.code_calls,
        }


async def solve_with_teacher(
    problems: Iterable[Problem],
    completer: Completer,
    style: Style,
    sandbox: CodeSandbox | None,
    *,
    n: int = 1,
    prompt: str = "plain",
    sampling: Sampling | None = None,
    concurrency: int = 64,
    report: SolutionReport | None = None,
) -> AsyncIterator[Solution]:
    """Kept solutions, in the order of the problems, `n` tries each, `concurrency` tries in flight.

    A try is kept when its answer is graded correct and, for `tir`, it ran code, every block ended well and no answer
    stood before the first one. `report` is filled with counts.

    Raises:
        CompleterError: the teacher failed 20 times in a row.
        InputError: unknown prompt, or a problem that cannot be graded.
    """
    report = report if report is not None else SolutionReport()
    async for problem, outcome in _tries(
        problems, completer, style, sandbox, n, prompt, sampling or Sampling(), concurrency, frozenset()
    ):
        report.count(problem, outcome)
        if outcome.solution is not None:
            yield outcome.solution


def make_solutions(
    problems: Sequence[Problem],
    path: Path | str,
    style: Literal["cot", "tir"],
    *,
    teacher: Completer | None = None,
    n: int = 1,
    prompt: str = "plain",
    sampling: Sampling | None = None,
    concurrency: int = 64,
) -> SolutionReport:
    """Write kept solutions to `path` and counts to `path`.report.json, both whole or not at all.

    Without `teacher` the programmatic one writes them: the same problems give the same file, and after a kill it is
    made again, and its programs share sandbox sessions. With a language model every finished try is journalled beside
    `path` and never asked for again; every solution has a session of its own; the teacher is closed at the end.

    Raises:
        CompleterError, InputError: as solve_with_teacher.
        SandboxUnavailable: `tir` without a working isolation tier.
        StorageError: the files cannot be written.
    """
    return asyncio.run(_make(problems, Path(path), style, teacher, n, prompt, sampling or Sampling(), concurrency))


async def _make(
    problems: Sequence[Problem],
    path: Path,
    style: Literal["cot", "tir"],
    teacher: Completer | None,
    n: int,
    prompt: str,
    sampling: Sampling,
    concurrency: int,
) -> SolutionReport:
    report = SolutionReport(problems=len(problems))
    began = time.monotonic()
    journal_path = path.with_name(f".{path.name}.journal.jsonl")
    if teacher is None:
        journal_path.unlink(missing_ok=True)
    journal = None if teacher is None else Journal(journal_path, Outcome)
    done: dict[tuple[str, int], Outcome] = {}
    if journal is not None:
        done = {(outcome.problem_id, outcome.index): outcome for outcome in read_rows(journal_path, Outcome)}
    completer = teacher or programmatic_teacher(style)
    with journal or nullcontext():
        try:
            async with _sandbox(style, _ROWS_PER_SESSION if teacher is None else 1) as sandbox:
                async for problem, outcome in _tries(
                    problems, completer, style, sandbox, n, prompt, sampling, concurrency, frozenset(done)
                ):
                    if journal is not None and not outcome.reason.startswith(_TEACHER_FAILED):
                        journal.append(outcome)  # a failed request is asked again by the next run
                    done[problem.id, outcome.index] = outcome
        finally:
            await completer.close()
    kept = []
    for problem in problems:
        for index in range(n):
            outcome = done[problem.id, index]
            report.count(problem, outcome)
            if outcome.solution is not None:
                kept.append(outcome.solution)
    write_rows(path, kept)
    write_json(path.with_name(f"{path.name}.report.json"), report.as_dict())
    journal_path.unlink(missing_ok=True)
    report.seconds = time.monotonic() - began
    return report


@asynccontextmanager
async def _sandbox(style: Style, rows_per_session: int) -> AsyncIterator[CodeSandbox | None]:
    if style != "tir":
        yield None
        return
    from podium.sandbox import Sandbox

    async with Sandbox(warm=("numpy", "sympy")) as sandbox:
        if rows_per_session == 1:
            yield sandbox
            return
        async with ReusedSessions(sandbox, rows_per_session) as sessions:
            yield sessions


async def _tries(
    problems: Iterable[Problem],
    completer: Completer,
    style: Style,
    sandbox: CodeSandbox | None,
    n: int,
    prompt: str,
    sampling: Sampling,
    concurrency: int,
    done: frozenset[tuple[str, int]],
) -> AsyncIterator[tuple[Problem, Outcome]]:
    """Every try that is not done, in order; a window of them is in flight."""
    window: deque[tuple[Problem, int, asyncio.Task[Outcome]]] = deque()
    waiting = ((problem, index) for problem in problems for index in range(n) if (problem.id, index) not in done)
    failures = 0
    try:
        while True:
            while len(window) < concurrency and (job := next(waiting, None)) is not None:
                task = asyncio.create_task(_try(*job, completer, style, sandbox, prompt, sampling))
                window.append((*job, task))
            if not window:
                return
            problem, index, task = window[0]
            try:
                outcome = await task
                failures = 0
            except CompleterError as error:
                failures += 1
                if failures >= _ERRORS_IN_A_ROW:
                    raise
                reason = f"{_TEACHER_FAILED}: {error.message[:80]}"
                outcome = Outcome(problem_id=problem.id, index=index, reason=reason)
            window.popleft()
            yield problem, outcome
    finally:
        for _, _, task in window:
            task.cancel()
        await asyncio.gather(*(task for _, _, task in window), return_exceptions=True)


async def _try(
    problem: Problem,
    index: int,
    completer: Completer,
    style: Style,
    sandbox: CodeSandbox | None,
    prompt: str,
    sampling: Sampling,
) -> Outcome:
    messages, version = make_prompt(problem, prompt)
    chosen = replace(sampling, seed=sampling.seed + index)
    began = time.monotonic()
    rollout = await write_solution(completer, messages, chosen, sandbox if style == "tir" else None, seed=chosen.seed)
    seconds = time.monotonic() - began
    answer = last_box(written_text(rollout.parts))
    reason = _fault(rollout, style)
    if not reason:
        verdict = await asyncio.to_thread(grade, problem, answer)
        if verdict is not Verdict.CORRECT:
            reason = f"answer {verdict.value}"
    if reason:
        return Outcome(problem_id=problem.id, index=index, reason=reason)
    usage = Usage(
        prompt_tokens=rollout.usage.prompt_tokens,
        completion_tokens=rollout.usage.completion_tokens,
        tool_tokens=rollout.usage.appended_tokens,
        code_calls=sum(response.result is not None for response in rollout.responses),
        # Seconds of the programmatic teacher mean nothing and would make two runs differ.
        seconds=0.0 if completer.name.startswith("podium-teacher") else seconds,
        code_seconds=0.0 if completer.name.startswith("podium-teacher") else rollout.code_seconds,
    )
    solution = Solution(
        id=f"{problem.id}-{style}-{index}",
        problem_id=problem.id,
        style=style,
        prompt=messages,
        parts=rollout.parts,
        answer=answer,
        verdict=Verdict.CORRECT,
        maker=Maker(
            model=completer.name,
            sampling={
                "temperature": chosen.temperature,
                "top_p": chosen.top_p,
                "max_tokens": chosen.max_tokens,
            },
            prompt_version=version,
            seed=chosen.seed,
        ),
        usage=usage,
    )
    return Outcome(problem_id=problem.id, index=index, solution=solution)


def _fault(rollout: Rollout, style: Style) -> str:
    """Why a solution cannot be kept whatever its answer; empty when nothing is wrong with its form."""
    first = rollout.parts[0].text if rollout.parts else ""
    if first.startswith(DECLINED):
        return "declined: " + first.removeprefix(DECLINED)
    if rollout.ending in ("length", "repetition", "cancelled"):
        return f"cut off: {rollout.ending}"
    if rollout.ending == "code_limit":
        return "too many code calls"
    if style != "tir":
        return ""
    if not rollout.responses:
        return "no code"
    bad = next((response.status for response in rollout.responses if response.status != "ok"), None)
    if bad:
        return f"code ended with {bad}"
    if last_box(first) is not None:
        return "answer before the first code"
    return ""
