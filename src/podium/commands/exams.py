"""What `podium exam` does between the words and the rooms: sit one, let a model choose among its attempts.

Puts rooms together; does no work of its own.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium.errors import InputError, nearest
from podium.folders import ChoicesFolder, ExamFolder
from podium.storage import write_json, write_text

if TYPE_CHECKING:
    from rich.console import Console

    from podium.commands.single import Asking
    from podium.records import ExamResult, Problem
    from podium.solve import ExamConfig
    from podium.solve.selecting import SelectionScore

_CHOICES_AT_ONCE = 32


def exam_command(
    model: str,
    spec: str,
    *,
    attempts: int | None,
    profile: str,
    policy: str,
    budget: str | None,
    code: bool,
    max_tokens: int | None,
    temperature: float | None,
    limit: int | None,
    seed: int,
    data: Path | None,
    out: Path | None,
    replicas: int = 1,
    concurrency: int = 1,
    fallback: str | None = None,
    vote: str | None = None,
    verifier: str | None = None,
    thinking: int = 0,
    judge: str | None = None,
    generation_config: str = "auto",
    asking: Asking | None = None,
    fresh: bool = False,
) -> None:
    """Sit an exam and write its report; the same command goes on where it was stopped.

    Raises:
        InputError: settings that do not fit, a model or set that is not there, or another exam in the folder: before
            a model is loaded.
        StorageError: another process is at work in the folder.
        PodiumError: as `podium.solve.sit_exam`.
    """
    from rich.console import Console

    from podium.commands.single import Asking
    from podium.lock import locked_folder
    from podium.opening import model_name, model_sampling
    from podium.problems import load_problems
    from podium.solve import ExamConfig, parse_policy
    from podium.solve.clock import parse_seconds
    from podium.solve.exam import BUSY, check_exam, check_folder, exam_identity
    from podium.solve.profile import profile_overrides

    asking = asking or Asking()
    spec = spec if ":" in spec else f"exam:{spec}"
    seconds = parse_seconds(budget)
    chosen = parse_policy(policy)
    attempts = attempts or chosen.attempts or 12
    rows = load_problems(spec, size=limit, seed=seed, data=data)
    folder = out or Path("runs") / "exams" / "-".join(map(_name, (model, spec.partition(":")[2])))
    config = ExamConfig.model_validate(
        {
            "attempts": attempts,
            "policy": policy,
            "vote": vote or ("uniform" if verifier is None else "verifier"),
            "profile": profile,
            "overrides": {
                **model_sampling(model, generation_config, profile_overrides(code, max_tokens, temperature)),
                **asking.overrides(),
            },
            "token_limit": "clock" if seconds is not None and max_tokens is None else "profile",
            "extract": asking.places(),
            "budget_seconds": seconds,
            "concurrency": concurrency,
            "fallback": fallback,
            "seed": seed,
        }
    )
    limits, _ = check_exam(rows, config, verified=verifier is not None)
    named = {
        key: None if each is None else model_name(each) for key, each in (("verifier", verifier), ("judge", judge))
    }
    identity = exam_identity(rows, model_name(model), config, code=limits.code_calls > 0, **named)
    with locked_folder(folder, BUSY):
        if fresh:
            set_aside(folder, ExamFolder(folder).marks, "exam", Console(stderr=True, highlight=False))
        check_folder(folder, identity)
        _sit(model, rows, config, folder, Console(highlight=False), replicas, verifier, thinking, judge)


def _sit(
    model: str,
    rows: Sequence[Problem],
    config: ExamConfig,
    folder: Path,
    console: Console,
    replicas: int,
    verifier: str | None,
    thinking: int,
    judge: str | None,
) -> None:
    from podium.board import write_report
    from podium.board.exam import read_exam
    from podium.board.summary import print_exams
    from podium.commands.watching import Metered, Watch
    from podium.opening import open_judge, open_table, open_verifier
    from podium.runlog import RunLog, system_description
    from podium.solve import sit_exam
    from podium.solve.lab.curves import budget_curves
    from podium.solve.trace import read_traces

    watch = Watch(console)
    watch.at_once = config.concurrency
    before = ExamFolder(folder).resume_results()
    watch.resumed(before, len(rows))
    is_finished = len(before) == len(rows) and ExamFolder(folder).is_finished()
    if is_finished:
        console.print("all problems were finished before: this is their report, and --fresh sits the exam anew")
    elif before:
        console.print(f"goes on: {len(before)} of {len(rows)} problems were finished before", soft_wrap=True)

    def told(result: ExamResult, finished: int, total: int) -> None:
        watch.finished(result, finished, total)
        # An answer may go over several lines; a problem is one.
        answer = "no answer" if result.answer is None else " ".join(result.answer.split())
        console.print(
            f"{finished:4}/{total}  {result.verdict.value:10}  {answer[:40]:40}  {result.used_seconds:6.1f} s  "
            f"{result.stop_rule:12.12}  correct so far {watch.correct}",
            markup=False,
            soft_wrap=True,
        )

    async def sit() -> list[str]:
        async with AsyncExitStack() as stack:
            watch.doing(f"loading {model}")
            code = config.overrides.get("code_calls") != 0
            completer, sandbox = await stack.enter_async_context(open_table(model, config.attempts, code, replicas))
            reads = None if verifier is None else await open_verifier(verifier, thinking, stack)
            judges = None if judge is None else await open_judge(judge, stack)
            watch.doing("")
            with RunLog(folder) as log:
                await sit_exam(
                    rows,
                    Metered(completer, watch.meter),
                    sandbox,
                    config,
                    folder,
                    runlog=log,
                    progress=told,
                    sink=watch.saw,
                    opening=watch.opened,
                    say=lambda line: console.print(line, style="dim", markup=False, soft_wrap=True),
                    verifier=reads,
                    judge=judges,
                )
            return [helper.trouble for helper in (reads, judges) if helper is not None and helper.trouble]

    troubles: list[str] = []
    if not is_finished:
        with watch:
            troubles = asyncio.run(sit())
    write_json(ExamFolder(folder).system, system_description())
    curves = budget_curves(read_traces([folder]))
    write_text(ExamFolder(folder).budgets, curves.model_dump_json(indent=2) + "\n")
    print_exams([read_exam(folder, folder.name)], console)
    _print_curves(console, curves)
    for trouble in troubles:
        console.print(trouble, style="yellow", markup=False, soft_wrap=True)
    console.print(f"traces: {ExamFolder(folder).traces} (podium exam replay {folder})", markup=False, soft_wrap=True)
    console.print(f"report: {write_report(folder)}", markup=False, soft_wrap=True)


def set_aside(folder: Path, marks: Sequence[Path], what: str, console: Console) -> None:
    """Move what an earlier command left in `folder` to `FOLDER.old-N` beside it; a folder with nothing in it stays.

    Args:
        marks: files of which one must be there, so that nothing else is ever moved.

    Raises:
        InputError: the folder holds something else.
        StorageError: it cannot be moved.
    """
    from podium.recipe.chain import keep_aside

    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not folder.is_dir() or not any(mark.exists() for mark in marks):
        raise InputError(
            f"--fresh: {folder} holds no {what}, but something else", "choose an empty folder with --out FOLDER"
        )
    folder = folder.resolve()
    number = 1
    while (folder.parent / f"{folder.name}.old-{number}").exists():
        number += 1
    place = keep_aside(folder, folder.parent, f"{folder.name}.old-{number}")
    console.print(f"moved the earlier {what} to {place}", markup=False, soft_wrap=True)


def _print_curves(console: Console, curves: Any) -> None:
    from rich.table import Table

    from podium.solve.wording import say_share

    console.print()
    for title, unit, points in (
        ("tokens per attempt", ".0f", curves.tokens),
        ("seconds per problem", ".3g", curves.seconds),
    ):
        table = Table(header_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for column in (title, "vote", "95 %", "single attempt", "ended"):
            table.add_column(column, justify="right")
        for point in points:
            table.add_row(
                format(point.budget, unit),
                *say_share(point.vote.value, point.vote.low, point.vote.high, between=" – "),
                f"{100 * point.single.value:.1f}",
                f"{100 * point.ended:.0f} %",
            )
        console.print(table)
    if curves.broken_off:
        console.print(
            f"{curves.broken_off} of {curves.attempts} attempts were broken off by the policy: what they would have "
            "become is not known. `--policy all` records everything.",
            style="yellow",
        )


def select_command(
    folder: Path,
    model: str,
    *,
    n: list[int],
    repeats: int,
    named: str,
    most: int,
    code: bool,
    characters: int,
    max_tokens: int,
    temperature: float,
    seed: int,
    out: Path | None,
    fresh: bool = False,
) -> None:
    """Let a model choose among the attempts of an exam that was sat, beside the vote; goes on where it was stopped.

    Raises:
        InputError: no exam in the folder, settings that do not fit, or other choices in the folder: before a model is
            loaded.
        StorageError: another process is at work in the folder.
    """
    from rich.console import Console

    from podium.board import write_report
    from podium.commands.watching import Watch
    from podium.lock import locked_folder
    from podium.opening import model_name, open_table
    from podium.solve.genselect import NAMED
    from podium.solve.selecting import (
        BUSY,
        SelectConfig,
        check_choices,
        choose_all,
        select_identity,
    )

    if named not in NAMED:
        raise InputError(f"--named {named}", nearest(named, NAMED))
    results = ExamFolder(folder).read_results()
    exam = ExamFolder(folder).read_claim()
    config = SelectConfig.model_validate(
        {
            "n": n,
            "repeats": repeats,
            "named": named,
            "most": most,
            "characters": characters,
            "max_tokens": max_tokens,
            "temperature": temperature,
            "vote": exam.get("config", {}).get("vote", "uniform"),
            "seed": seed,
        }
    )
    out = out or ExamFolder(folder).choices / (_name(model) or "model")
    console = Console(highlight=False)
    watch = Watch(console)

    async def run() -> Any:
        watch.doing(f"loading {model}")
        async with open_table(model, max(_CHOICES_AT_ONCE, repeats), code) as (completer, sandbox):
            watch.doing("choosing")
            return await choose_all(
                results,
                completer,
                config,
                out,
                sandbox=sandbox,
                concurrency=max(1, _CHOICES_AT_ONCE // repeats),
                told=lambda done, total: watch.doing(f"choosing: {done} of {total} sets of attempts"),
            )

    with locked_folder(out, BUSY):
        if fresh:
            set_aside(out, ChoicesFolder(out).marks, "choice", Console(stderr=True, highlight=False))
        check_choices(out, select_identity(results, model_name(model), config, code))
        with watch:
            scores = asyncio.run(run())
    console.print(selection_table(scores))
    console.print(f"choices: {ChoicesFolder(out).choices}", markup=False, soft_wrap=True)
    console.print(f"report: {write_report(out)}", markup=False, soft_wrap=True)


def selection_table(scores: Sequence[SelectionScore]) -> Any:
    """Choice beside vote, a row for each n."""
    from rich.table import Table

    from podium.solve.wording import say_change

    table = Table(header_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("n", "one", "vote", "GenSelect", "both", "any", "gain", "95 %", "p", "problems", "no pick"):
        table.add_column(column, justify="right")
    for score in scores:
        table.add_row(
            str(score.n),
            *(f"{100 * each.value:.1f}" for each in (score.single, score.vote, score.select, score.both, score.passed)),
            *say_change(score.gain, score.gain_low, score.gain_high, scale=100, between=" … "),
            f"{score.p:.2g}",
            str(score.problems),
            f"{100 * score.invalid / score.asked:.1f} %" if score.asked else "-",
        )
    return table


def _name(text: str) -> str:
    """A part of a folder name made from a path, URL or problem source."""
    parts = [part for part in re.split(r"[^A-Za-z0-9_.]+", text) if part not in ("", "runs", "model", "http", "https")]
    return "-".join(parts)[-60:]
