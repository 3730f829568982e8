"""`podium exam sit`: a model sits an exam against the clock, and a report is written; --check looks at a server."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from podium.commands.cli_options import (
    AskingOptions,
    DataOption,
    EngineOptions,
    FreshOption,
    GenerationConfigOption,
    JsonOption,
    JudgeOption,
    OptionalModelArgument,
    ThinkingOption,
    VerifierOption,
    VoteOption,
    with_groups,
)

if TYPE_CHECKING:
    from rich.console import Console

    from podium.opening import ModelSpec
    from podium.records import ExamResult, Problem
    from podium.solve import ExamConfig


@with_groups
def sit(
    model: OptionalModelArgument = None,
    *,
    set_: Annotated[
        str | None, typer.Option("--set", help="exam:NAME, gym:NAME or jsonl:PATH; a bare NAME is an exam.")
    ] = None,
    attempts: Annotated[
        int | None, typer.Option("-n", "--n", "--attempts", min=1, help="Attempts per problem (default: the policy's).")
    ] = None,
    profile: Annotated[str, typer.Option(help="Tool limits: kaggle, notebook or eval.")] = "kaggle",
    policy: Annotated[
        str, typer.Option(help="winner, runner-up, notebook, a policy file, or rules like first_k_agree:4+m_of_n:10.")
    ] = "all",
    vote: VoteOption = None,
    verifier: VerifierOption = None,
    thinking: ThinkingOption = 0,
    judge: JudgeOption = None,
    budget: Annotated[
        str | None, typer.Option(help="Time for the whole exam: 5h, 90m, 600; the policy's clock is scaled to it.")
    ] = None,
    code: Annotated[bool, typer.Option("--code/--no-code", help="Let the model run Python.")] = True,
    asking: AskingOptions,
    max_tokens: Annotated[
        int | None, typer.Option(help="Tokens per attempt (default: the profile's, or what the clock allows).")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Sampling temperature (default: the model's, then the profile's).")
    ] = None,
    generation_config: GenerationConfigOption = "auto",
    limit: Annotated[int | None, typer.Option(help="Only the first so many problems.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of every attempt.")] = 0,
    engine: EngineOptions,
    concurrency: Annotated[int, typer.Option(min=1, help="Problems at the same time; only without a budget.")] = 1,
    fallback: Annotated[str | None, typer.Option(help="The answer where no attempt has boxed one.")] = None,
    data: DataOption = None,
    out: Annotated[Path | None, typer.Option(help="Result folder (default: runs/exams/MODEL-SET).")] = None,
    fresh: FreshOption = False,
    check: Annotated[
        str | None, typer.Option("--check", metavar="URL", help="Only say what is wrong with a server, within 10 s.")
    ] = None,
    context: Annotated[int, typer.Option(help="With --check: tokens that prompt and answer will need.")] = 8192,
    json_: JsonOption = False,
) -> None:
    """Let a model sit an exam against the clock, and write a report. (`podium exam MODEL` is short for this.)

    Example: podium exam sit runs/demo/merge/model --set gsm8k --n 12 --policy winner --budget 5h
    """
    from podium.folders import ExamFolder

    if check is not None:
        raise typer.Exit(_check(check, context=context, json_=json_))
    if model is None or set_ is None:
        raise typer.BadParameter("give a model and --set NAME, or --check URL")
    spec, reads, judges = engine.spec(model), engine.helper(verifier), engine.helper(judge)
    from rich.console import Console

    from podium.commands.set_aside import folder_name, set_aside
    from podium.lock import locked_folder
    from podium.opening import model_name, model_sampling
    from podium.problems import load_problems
    from podium.solve import ExamConfig, parse_policy
    from podium.solve.clock import parse_seconds
    from podium.solve.exam import BUSY, check_exam, check_folder, exam_identity
    from podium.solve.profile import profile_overrides

    source = set_ if ":" in set_ else f"exam:{set_}"
    seconds = parse_seconds(budget)
    chosen = parse_policy(policy)
    attempts = attempts or chosen.attempts or 12
    rows = load_problems(source, size=limit, seed=seed, data=data)
    folder = out or Path("runs") / "exams" / "-".join(map(folder_name, (model, source.partition(":")[2])))
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
        key: None if helper is None else model_name(helper) for key, helper in (("verifier", reads), ("judge", judges))
    }
    identity = exam_identity(rows, model_name(spec), config, code=limits.code_calls > 0, **named)
    with locked_folder(folder, BUSY):
        if fresh:
            set_aside(folder, ExamFolder(folder).marks, "exam", Console(stderr=True, highlight=False))
        check_folder(folder, identity)
        _sit(rows, config, folder, Console(highlight=False), spec, reads, thinking, judges)


def _sit(
    rows: Sequence[Problem],
    config: ExamConfig,
    folder: Path,
    console: Console,
    spec: ModelSpec,
    verifier: ModelSpec | None,
    thinking: int,
    judge: ModelSpec | None,
) -> None:
    import asyncio

    from podium.board import write_report
    from podium.board.exam import read_exam
    from podium.board.summary import print_exams
    from podium.commands.watching import Metered, Watch
    from podium.folders import ExamFolder
    from podium.opening import open_judge, open_table, open_verifier
    from podium.runlog import RunLog, system_description
    from podium.solve import sit_exam
    from podium.solve.lab.curves import budget_curves
    from podium.solve.trace import read_traces
    from podium.storage import write_json, write_text

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
            watch.doing(f"loading {spec.model}")
            code = config.overrides.get("code_calls") != 0
            # The helpers come first: on a GPU the model takes what they leave.
            reads = None if verifier is None else await open_verifier(verifier, thinking, stack)
            judges = None if judge is None else await open_judge(judge, stack)
            completer, sandbox = await stack.enter_async_context(open_table(spec, config.attempts, code))
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


def _check(url: str, *, context: int, json_: bool) -> int:
    """Say what is wrong with a server; 0: an exam can be sat against it."""
    import asyncio

    from rich.console import Console

    from podium.answering.checkup import check_server
    from podium.answering.reach import api_key

    console = Console(highlight=False)
    checkup = asyncio.run(check_server(url, context=context, api_key=api_key()))
    if json_:
        print(checkup.model_dump_json())
        return 0 if checkup.fit else 1
    marks = {"good": "[green]✓[/green]", "poor": "[yellow]![/yellow]", "bad": "[red]✗[/red]", "unknown": "·"}
    for finding in checkup.findings:
        console.print(f"{marks[finding.verdict]} {finding.name:12} ", end="")
        console.print(finding.said, markup=False, soft_wrap=True)
        if finding.cure:
            console.print(f"  {'':12} -> {finding.cure}", markup=False, soft_wrap=True)
    console.print(f"{'fit for an exam' if checkup.fit else 'not fit for an exam'} ({checkup.seconds:.1f} s)")
    return 0 if checkup.fit else 1
