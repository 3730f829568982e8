"""`podium exam revote`: the votes of a stored exam, counted anew under every weight."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from podium.commands.cli_options import (
    EngineOptions,
    JsonOption,
    JudgeOption,
    ThinkingOption,
    VerifierOption,
    VoteOption,
    with_groups,
)
from podium.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from podium.grading.judge import Judge
    from podium.opening import ModelSpec
    from podium.records import ExamResult
    from podium.solve.revote import Revoted
    from podium.solve.verifier import Verifier


@with_groups
def exam_revote(
    folder: Annotated[Path, typer.Argument(help="The folder of an exam that was sat.")],
    *,
    vote: VoteOption = None,
    verifier: VerifierOption = None,
    thinking: ThinkingOption = 0,
    judge: JudgeOption = None,
    engine: EngineOptions,
    out: Annotated[Path | None, typer.Option(help="Write the exam as --vote decides it here (a new folder).")] = None,
    json_: JsonOption = False,
) -> None:
    """Count the votes of an exam anew under every weight, without sitting it again.

    Example: podium exam revote runs/exams/demo-aime24 --vote entropy --out runs/exams/demo-aime24-entropy
    """
    reads, judges = engine.helpers(verifier, judge)
    from podium.lock import locked_folder
    from podium.solve.exam import BUSY
    from podium.solve.vote import check_weight

    vote = vote or (None if verifier is None else "verifier")
    if vote is not None:
        check_weight(vote)
    if out is not None and vote is None:
        raise InputError(f"--out {out}: decided by which vote?", "add --vote NAME")
    if out is not None:
        with locked_folder(out, BUSY):
            _revote(folder, vote, reads, judges, thinking, out, json_)
    else:
        _revote(folder, vote, reads, judges, thinking, None, json_)


def _revote(
    folder: Path,
    vote: str | None,
    verifier: ModelSpec | None,
    judge: ModelSpec | None,
    thinking: int,
    out: Path | None,
    json_: bool,
) -> None:
    import asyncio

    from podium.folders import ExamFolder
    from podium.opening import open_judge, open_verifier
    from podium.solve.revote import revote_all

    if out is not None and ExamFolder(out).results.exists():
        raise InputError(f"{out}: holds an exam already", "name a new folder with --out FOLDER")
    results = ExamFolder(folder).read_results()
    if not results:
        raise InputError(f"{folder}: no problem was finished", "sit the exam first")

    async def ask() -> tuple[list[ExamResult], list[str]]:
        async with AsyncExitStack() as stack:
            reads = None if verifier is None else await open_verifier(verifier, thinking, stack)
            judges = None if judge is None else await open_judge(judge, stack)
            asked = [await _asked(result, reads, judges) for result in results]
            return asked, [each.trouble for each in (reads, judges) if each is not None and each.trouble]

    troubles: list[str] = []
    if verifier is not None or judge is not None:
        results, troubles = asyncio.run(ask())
    found = revote_all(results)
    if json_:
        print(json.dumps({"folder": str(folder), "recorded": results[0].vote, "votes": [_row(each) for each in found]}))
    else:
        _show(found, results)
    if out is not None:
        chosen = next(each for each in found if each.vote == vote)
        asked = {"verifier": verifier, "judge": judge}
        _write(folder, out, chosen, {role: spec.model for role, spec in asked.items() if spec is not None})
    _say(troubles, out, quiet=json_)


async def _asked(result: ExamResult, verifier: Verifier | None, judge: Judge | None) -> ExamResult:
    """The result with scores of a verifier and verdicts of a judge."""
    import asyncio

    from podium.solve.judging import judge_result

    if verifier is not None:
        voters = {index for row in result.votes for index in row.attempts}
        read = [attempt for attempt in result.attempts if attempt.index in voters]
        scores = await asyncio.gather(*(verifier.score(result.problem, attempt) for attempt in read))
        known = {attempt.index: score for attempt, score in zip(read, scores, strict=True) if score is not None}
        attempts = tuple(
            attempt.model_copy(update={"signals": {**attempt.signals, "verifier": known[attempt.index]}})
            if attempt.index in known
            else attempt
            for attempt in result.attempts
        )
        result = result.model_copy(update={"attempts": attempts})
    return result if judge is None else (await judge_result(result, (), (), judge))[0]


def _write(folder: Path, out: Path, revoted: Revoted, asked: dict[str, str]) -> None:
    """The exam in a folder of its own, to be compared, replayed, exported and reported like one that was sat."""
    from podium.board import write_report
    from podium.folders import ExamFolder
    from podium.solve.scores import score_results
    from podium.solve.trace import read_traces
    from podium.storage import read_json, write_json, write_rows, write_text

    old, new = ExamFolder(folder), ExamFolder(out)
    identity = old.read_claim()
    identity["config"] = {**identity.get("config", {}), "vote": revoted.vote}
    write_json(new.claim, {**identity, **asked, "revoted_from": str(folder)})
    if old.traces.exists():
        signals = {
            result.problem.id: {attempt.index: attempt.signals for attempt in result.attempts if attempt.signals}
            for result in revoted.results
        }
        traces = [
            trace.model_copy(update={"vote": revoted.vote, "signals": signals.get(trace.problem_id, {})})
            for trace in read_traces([folder])
        ]
        write_rows(new.traces, traces)
    write_rows(new.attempts, (attempt for result in revoted.results for attempt in result.attempts))
    if old.is_finished():
        summary = read_json(old.summary)
        scores = score_results(revoted.results, summary["config"]["attempts"], summary["config"]["seed"])
        summary |= {**asked, "scores": scores.model_dump(mode="json"), "config": identity["config"]}
        write_text(new.summary, json.dumps(summary, indent=2) + "\n")
    write_rows(new.results, revoted.results)  # last: with it the folder holds an exam
    write_report(out)


def _show(found: Sequence[Revoted], results: Sequence[ExamResult]) -> None:
    from rich.console import Console
    from rich.table import Table

    from podium.solve.wording import say_change, say_share

    console = Console(highlight=False)
    table = Table(header_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("vote", "score", "minus recorded", "p", "other answers", "ties", "attempts with it"):
        table.add_column(column, justify="left" if column == "vote" else "right")
    for each in found:
        recorded = " (recorded)" if {result.vote for result in results} == {each.vote} else ""
        table.add_row(
            each.vote + recorded,
            "{} [{}]".format(*say_share(each.score.value, each.score.low, each.score.high)),
            "{} [{}]".format(*say_change(each.difference.value, each.difference.low, each.difference.high, scale=100)),
            f"{each.p:.3f}",
            str(each.changed),
            str(each.ties),
            f"{100 * each.known:.0f} %",
        )
    console.print(table)
    console.print(
        f"{len(results)} problems; ties are split in the scores; 95 % intervals over problems, p of a paired sign-flip "
        "test. An attempt without the signal weighs like the median of the others; where none has it, all weigh alike.",
        style="dim",
    )


def _row(each: Revoted) -> dict[str, Any]:
    return {
        "vote": each.vote,
        "score": each.score.model_dump(),
        "difference": {"value": each.difference.value, "low": each.difference.low, "high": each.difference.high},
        "p": each.p,
        "changed": each.changed,
        "ties": each.ties,
        "known": each.known,
    }


def _say(troubles: Sequence[str], out: Path | None, *, quiet: bool) -> None:
    from rich.console import Console

    console = Console(highlight=False, stderr=quiet)
    for trouble in troubles:
        console.print(trouble, style="yellow", markup=False, soft_wrap=True)
    if out is not None:
        console.print(f"exam: {out}", markup=False, soft_wrap=True)
