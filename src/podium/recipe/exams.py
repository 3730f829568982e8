"""What `podium exam` does between the words and the rooms: sit one, let a model choose among its attempts.

Puts rooms together; does no work of its own.
"""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium.errors import InputError
from podium.records import write_json, write_text

if TYPE_CHECKING:
    from rich.console import Console

    from podium.records import ExamResult
    from podium.solve.verifier import Verifier


VERIFIER_ROWS = 16  # attempts read side by side


def parse_seconds(text: str | None) -> float | None:
    """Seconds of `5h`, `90m`, `1h30m`, `45s` or `300`.

    Raises:
        InputError: none of these, or not positive.
    """
    if text is None:
        return None
    found = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?", text.strip().lower())
    if found is None or not any(found.groups()):
        raise InputError(f"{text!r} is no time", "write 5h, 90m, 1h30m or a number of seconds")
    hours, minutes, seconds = (float(part or 0) for part in found.groups())
    total = 3600 * hours + 60 * minutes + seconds
    if total <= 0:
        raise InputError(f"{text!r} is no time at all", "write 5h, 90m, 1h30m or a number of seconds")
    return total


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
) -> None:
    """Sit an exam and write its report; the same command goes on where it was stopped."""
    from rich.console import Console

    from podium.board import write_report
    from podium.board.exam import read_exam
    from podium.board.summary import print_exams
    from podium.problems import load_problems
    from podium.recipe.grade import open_judge
    from podium.recipe.single import open_table, profile_overrides
    from podium.runlog import RunLog, system_description
    from podium.solve import ExamConfig, parse_policy, sit_exam
    from podium.solve.lab.curves import budget_curves
    from podium.solve.trace import read_traces

    spec = spec if ":" in spec else f"exam:{spec}"
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
            "overrides": profile_overrides(code, max_tokens, temperature),
            "budget_seconds": parse_seconds(budget),
            "concurrency": concurrency,
            "fallback": fallback,
            "seed": seed,
        }
    )
    console = Console(highlight=False)
    right = 0

    def told(result: ExamResult, finished: int, total: int) -> None:
        nonlocal right
        right += result.verdict == "correct"
        # An answer may go over several lines; a problem is one.
        answer = "no answer" if result.answer is None else " ".join(result.answer.split())
        console.print(
            f"{finished:4}/{total}  {result.verdict.value:10}  {answer[:40]:40}  {result.used_seconds:6.1f} s  "
            f"{result.stop_rule:12.12}  correct so far {right}",
            markup=False,
            soft_wrap=True,
        )

    async def sit() -> list[str]:
        async with AsyncExitStack() as stack:
            completer, sandbox = await stack.enter_async_context(open_table(model, attempts, code, replicas))
            reads = None if verifier is None else await open_verifier(verifier, thinking, stack)
            judges = None if judge is None else await open_judge(judge, stack)
            with RunLog(folder) as log:
                await sit_exam(
                    rows, completer, sandbox, config, folder, runlog=log, progress=told, verifier=reads, judge=judges
                )
            return [helper.trouble for helper in (reads, judges) if helper is not None and helper.trouble]

    troubles = asyncio.run(sit())
    write_json(folder / "system.json", system_description())
    curves = budget_curves(read_traces([folder]))
    write_text(folder / "budgets.json", curves.model_dump_json(indent=2) + "\n")
    print_exams([read_exam(folder, folder.name)], console)
    _print_curves(console, curves)
    for trouble in troubles:
        console.print(trouble, style="yellow", markup=False, soft_wrap=True)
    console.print(f"traces: {folder / 'traces.jsonl'} (podium exam replay {folder})", markup=False, soft_wrap=True)
    console.print(f"report: {write_report(folder)}", markup=False, soft_wrap=True)


async def open_verifier(model: str, thinking: int, stack: AsyncExitStack) -> Verifier:
    """A verifier over a model folder or URL#NAME, let go of with the stack.

    Raises:
        InputError: no such folder, a server without a model name, fewer than 0 tokens to think.
    """
    from podium.recipe.single import open_model
    from podium.solve.verifier import Verifier

    completer = open_model(model, VERIFIER_ROWS)
    stack.push_async_callback(completer.close)
    return Verifier(completer, thinking=thinking)


def _print_curves(console: Console, curves: Any) -> None:
    from rich.table import Table

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
                f"{100 * point.vote.value:.1f}",
                f"{100 * point.vote.low:.1f} – {100 * point.vote.high:.1f}",
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
    folder: Path, model: str, *, repeats: int, most: int, max_tokens: int, temperature: float, seed: int
) -> None:
    """Let a model choose among the attempts of an exam that was sat, and compare its choices with the vote."""
    from rich.console import Console

    from podium.generate.protocol import Sampling
    from podium.grading import grade
    from podium.recipe.single import open_table
    from podium.records import ExamResult, Verdict, read_rows
    from podium.solve.genselect import candidates_of, select
    from podium.solve.statistics import paired_bootstrap

    results = read_rows(folder / "results.jsonl", ExamResult)
    sampling = Sampling(max_tokens=max_tokens, temperature=temperature, top_p=0.95)
    console = Console(highlight=False)
    rows: list[dict[str, Any]] = []

    async def run() -> None:
        async with open_table(model, repeats, False) as (completer, _):
            for result in results:
                candidates = candidates_of(result)
                chosen = await select(
                    result.problem, candidates, completer, repeats=repeats, most=most, sampling=sampling, seed=seed
                )
                answer = result.answer if chosen.answer is None else chosen.answer
                verdict = result.verdict if chosen.answer is None else grade(result.problem, answer)
                rows.append(
                    {
                        "problem_id": result.problem.id,
                        "candidates": len(candidates),
                        "picks": list(chosen.picks),
                        "invalid": chosen.invalid,
                        "answer": answer,
                        "verdict": verdict.value,
                        "vote": result.answer,
                        "vote_verdict": result.verdict.value,
                    }
                )

    asyncio.run(run())
    write_text(folder / "genselect.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    right = [float(row["verdict"] == Verdict.CORRECT) for row in rows]
    voted = [float(row["vote_verdict"] == Verdict.CORRECT) for row in rows]
    difference = paired_bootstrap([one - other for one, other in zip(right, voted, strict=True)])
    asked = sum(repeats for row in rows if row["picks"] and len(row["picks"]) + row["invalid"] > 1)
    invalid = sum(row["invalid"] for row in rows)
    console.print(
        f"GenSelect {100 * sum(right) / len(right):.1f} %, vote {100 * sum(voted) / len(voted):.1f} %: "
        f"{100 * difference.value:+.1f} [{100 * difference.low:+.1f}, {100 * difference.high:+.1f}] points over "
        f"{len(rows)} problems; {most} solutions at a time, {repeats} times; {invalid} of {asked or invalid} picks "
        "named no solution"
    )
    console.print(f"choices: {folder / 'genselect.jsonl'}", markup=False, soft_wrap=True)


def _name(text: str) -> str:
    """A part of a folder name made from a path, URL or problem source."""
    parts = [part for part in re.split(r"[^A-Za-z0-9_.]+", text) if part not in ("", "runs", "model", "http", "https")]
    return "-".join(parts)[-60:]
