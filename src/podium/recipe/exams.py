"""What `podium exam` and its companions do between the words and the rooms: sit, replay, rehearse, check.

Puts rooms together; does no work of its own.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium.errors import InputError
from podium.records import write_json, write_text

if TYPE_CHECKING:
    from rich.console import Console

    from podium.records import ExamResult
    from podium.solve.lab import Bench, Exams
    from podium.solve.policy import Policy
    from podium.solve.trace import Trace

SIMULATED = "simulated:"
SWEEP = (0.3, 0.45, 0.6, 0.8, 1.0, 1.3)
"""Parts of the budget under which the frontier is drawn."""


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
) -> None:
    """Sit an exam and write its report; the same command goes on where it was stopped."""
    from rich.console import Console

    from podium.board import write_report
    from podium.board.exam import read_exam
    from podium.board.summary import print_exams
    from podium.problems import load_problems
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

    async def sit() -> None:
        async with open_table(model, attempts, code, replicas) as (completer, sandbox):
            with RunLog(folder) as log:
                await sit_exam(rows, completer, sandbox, config, folder, runlog=log, progress=told)

    asyncio.run(sit())
    write_json(folder / "system.json", system_description())
    curves = budget_curves(read_traces([folder]))
    write_text(folder / "budgets.json", curves.model_dump_json(indent=2) + "\n")
    print_exams([read_exam(folder, folder.name)], console)
    _print_curves(console, curves)
    console.print(f"traces: {folder / 'traces.jsonl'} (podium exam replay {folder})", markup=False, soft_wrap=True)
    console.print(f"report: {write_report(folder)}", markup=False, soft_wrap=True)


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


def replay_command(
    paths: Sequence[str],
    policies: Sequence[str],
    *,
    attempts: int | None,
    budget: str | None,
    problems: int | None,
    exams: int,
    seed: int,
    plot: Path | None,
    optimised: bool,
    out: Path | None,
    json_: bool,
) -> None:
    """Check recorded decisions, compare policies on the recorded attempts, and look for better ones."""
    from rich.console import Console

    from podium.solve import parse_policy
    from podium.solve.lab import compare, hold_exams

    console = Console(highlight=False, stderr=json_)
    bench, traces = _bench(paths, attempts, seed)
    names = list(policies) or ["winner", "runner-up", "notebook", "all"]
    chosen = [parse_policy(name) for name in names]
    for policy in chosen:
        policy.check(bench.n)
    length = problems or len(bench.problems)
    seconds = parse_seconds(budget) if budget else _recorded_budget(traces, length)
    _print_checked(console, traces)
    console.print(
        f"{len(bench.problems)} problems, {bench.n} of {bench.recorded} recorded attempts each; {exams} exams of "
        f"{length} problems; " + ("no clock" if seconds is None else f"{seconds:g} s per exam")
    )
    started = time.perf_counter()
    held: list[Exams] = [
        hold_exams(bench, policy, budget=seconds, length=length, exams=exams, seed=seed) for policy in chosen
    ]
    spent = time.perf_counter() - started
    _print_exams(console, held)
    console.print(f"{len(held) * exams} exams in {spent:.2f} s", style="dim")
    result: dict[str, Any] = {
        "problems": len(bench.problems),
        "attempts": bench.n,
        "length": length,
        "budget_seconds": seconds,
        "exams": exams,
        "policies": [{**_figures(each), "against_first": _difference(compare(each, held[0]))} for each in held],
    }
    shown = list(chosen)
    if optimised:
        best, figures = _optimise(console, bench, chosen[0], seconds, length, seed, out)
        result["optimised"] = figures
        shown.append(best)
    if plot is not None:
        _plot(plot, bench, shown, seconds, length, exams, seed, paths)
        console.print(f"plot: {plot}", markup=False, soft_wrap=True)
    if json_:
        print(json.dumps(result))


def _bench(paths: Sequence[str], attempts: int | None, seed: int) -> tuple[Bench, list[Trace]]:
    from podium.solve.lab import Bench
    from podium.solve.lab.simulated import simulated_problems
    from podium.solve.trace import read_traces

    simulated = [path for path in paths if path.startswith(SIMULATED)]
    if not simulated:
        traces = read_traces(paths)
        return Bench.of(traces, attempts, seed=seed), traces
    if len(paths) > 1:
        raise InputError("simulated problems and recorded ones do not mix", "give one or the other")
    count = simulated[0][len(SIMULATED) :]
    if not count.isdecimal() or int(count) < 1:
        raise InputError(f"{simulated[0]}: how many problems?", "write simulated:500")
    return Bench(simulated_problems(int(count), max(16, attempts or 0), seed), attempts or 12, seed=seed), []


def _recorded_budget(traces: Sequence[Trace], length: int) -> float | None:
    """The recorded exam's budget, stretched to `length` problems; None when it had none."""
    pace = traces[0].pace if traces else None
    return None if pace is None else pace * length


def _print_checked(console: Console, traces: Sequence[Trace]) -> None:
    """Every recorded decision is taken again by the policy that took it."""
    from podium.solve import parse_policy
    from podium.solve.replay import first_difference

    known: dict[str, Policy | None] = {}
    checked = events = 0
    differences: list[str] = []
    for trace in traces:
        if trace.policy not in known:
            try:
                known[trace.policy] = parse_policy(trace.policy)
            except InputError:
                known[trace.policy] = None  # from a file that is not named here
        policy = known[trace.policy]
        if policy is None:
            continue
        difference = first_difference(trace, policy)
        if difference is not None:
            differences.append(difference)
        checked += 1
        events += len(trace.events)
    if checked and not differences:
        console.print(f"replayed {checked} problems: the recorded policy decides the same after all {events} events")
    for difference in differences[:3]:
        console.print(f"the recorded policy decides differently today: {difference}", style="yellow", markup=False)


def _print_exams(console: Console, held: Sequence[Exams]) -> None:
    from rich.table import Table

    from podium.solve.lab import compare

    table = Table(header_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    columns = ("policy", "score", "exams", "s / exam", "clock", f"minus {held[0].policy}")
    for column in columns:
        table.add_column(column, justify="left" if column == "policy" else "right")
    for each in held:
        low, high = each.interval()
        worst, best = each.spread()
        against = compare(each, held[0])
        half = each.length * (against.high - against.low) / 2
        table.add_row(
            each.policy,
            f"{each.length * each.score:.2f} ± {each.length * (high - low) / 2:.2f}",
            f"{each.length * worst:.0f}–{each.length * best:.0f}",
            f"{each.time:.1f}",
            f"{100 * each.clock_share:.0f} %",
            "" if each is held[0] else f"{each.length * against.difference:+.2f} ± {half:.2f}",
        )
    console.print(table)
    console.print(
        "score: problems right of an exam, ± the 95 % interval of its mean over problems; exams: 95 % of single ones",
        style="dim",
    )
    outrun = [each for each in held if each.outran_share > 0.02]
    for each in outrun:
        console.print(
            f"{each.policy}: the record ends before it does in {100 * each.outran_share:.0f} % of the problems; "
            "record with --policy all to judge patient policies",
            style="yellow",
        )


def _figures(exams: Exams) -> dict[str, Any]:
    low, high = exams.interval()
    worst, best = exams.spread()
    return {
        "policy": exams.policy,
        "score": exams.score,
        "low": low,
        "high": high,
        "exam_low": worst,
        "exam_high": best,
        "seconds": exams.time,
        "clock_share": exams.clock_share,
        "outran_share": exams.outran_share,
    }


def _difference(comparison: Any) -> dict[str, float]:
    return {
        "difference": comparison.difference,
        "low": comparison.low,
        "high": comparison.high,
        "seconds": comparison.seconds,
    }


def _optimise(
    console: Console, bench: Bench, against: Policy, budget: float | None, length: int, seed: int, out: Path | None
) -> tuple[Policy, list[dict[str, Any]]]:
    from rich.table import Table

    from podium.solve.lab import optimise
    from podium.solve.policyfile import policy_text

    found = optimise(bench, against, budget=budget, length=length, seed=seed)
    reference = found.reference
    table = Table(
        title=f"held out, in at most {found.budget:.1f} s per exam: the time {against.name} took "
        f"({length * reference.score:.2f} of {length})",
        title_justify="left",
        header_style="bold",
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    for column in ("family", "score", f"minus {against.name}", "s / exam", "fitted to all"):
        table.add_column(column, justify="left" if column in ("family", "fitted to all") else "right")
    figures = []
    for each in found.candidates:
        table.add_row(
            each.family,
            f"{length * each.held_out.score:.2f}",
            f"{length * each.against.difference:+.2f} ± {length * (each.against.high - each.against.low) / 2:.2f}",
            f"{each.held_out.time:.1f}",
            each.policy.name,
        )
        figures.append({"family": each.family, **_figures(each.held_out), "against": _difference(each.against)})
    console.print()
    console.print(table)
    best = found.candidates[0]
    if out is not None:
        write_text(out, policy_text(best.policy))
        console.print(f"policy: {out} (podium exam MODEL --policy {out})", markup=False, soft_wrap=True)
    return best.policy, figures


def _plot(
    path: Path,
    bench: Bench,
    policies: Sequence[Policy],
    budget: float | None,
    length: int,
    exams: int,
    seed: int,
    sources: Sequence[str],
) -> None:
    from podium.solve import parse_policy
    from podium.solve.lab import hold_exams
    from podium.solve.lab.frontier import Point, write_frontier

    most = budget or hold_exams(bench, parse_policy("all"), budget=None, length=length, exams=50, seed=seed).time
    curves: dict[str, list[Point]] = {}
    for policy in policies:
        for part in (*SWEEP, None):
            seconds = None if part is None else part * most
            held = hold_exams(bench, policy, budget=seconds, length=length, exams=max(50, exams // 5), seed=seed)
            low, high = held.interval()
            note = "no clock" if seconds is None else f"{seconds / length:.1f} s per problem"
            curves.setdefault(policy.name, []).append(Point(held.time / length, held.score, low, high, note))
    for points in curves.values():
        points.sort(key=lambda point: point.seconds)
    notes = [
        f"{len(bench.problems)} problems from {', '.join(sources)}; {bench.n} attempts; exams of {length} problems.",
        "Bars are 95 % intervals of the mean over problems; the broad line joins what no other point beats.",
    ]
    write_frontier(path, "Score against time", notes, curves)


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


def check_command(url: str, *, context: int, json_: bool) -> int:
    """Say what is wrong with a server; 0: an exam can be sat against it."""
    from rich.console import Console

    from podium.generate.checkup import check_server

    console = Console(highlight=False)
    checkup = asyncio.run(check_server(url, context=context))
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


def rehearse_command(
    entry: Path,
    spec: str,
    *,
    rules: str,
    budget: str | None,
    split: str,
    seed: int,
    data: Path | None,
    out: Path | None,
) -> int:
    """Run an entry under a contest's rules; 0: a real submission would have had a score."""
    from rich.console import Console

    from podium.contest import draw_problems, rehearse
    from podium.contest.gateway import Answered
    from podium.contest.rules import get_rules
    from podium.problems import load_problems

    if split not in ("public", "private", "both"):
        raise InputError(f"--split {split}: no such part", "public, private or both")
    contest = get_rules(rules).within(parse_seconds(budget))
    drawn = draw_problems(load_problems(spec if ":" in spec else f"exam:{spec}", data=data), contest, seed)
    public = drawn.public if split != "private" else ()
    private = drawn.private if split != "public" else ()
    folder = out or Path("runs") / "rehearsals" / entry.stem
    console = Console(highlight=False)
    console.print(
        f"{contest.name}: {len(public)} public and {len(private)} private problems"
        + (f", the private ones {contest.runs} times" if contest.runs > 1 and private else "")
        + f"; {contest.seconds:g} s per submission"
        + (f"; {drawn.left_out} left out: no integer from 0 to {contest.largest}" if drawn.left_out else "")
    )

    def told(part: str, number: int, total: int, answer: Answered) -> None:
        shown = answer.said if answer.answer is None else str(answer.answer)
        mark = "right" if answer.right else "wrong" if answer.answer is not None else "not allowed"
        console.print(f"{part:8} {number:3}/{total}  {mark:11} {shown[:20]:20} {answer.seconds:7.1f} s", markup=False)

    rehearsal = rehearse(entry, public, private, contest, folder, seed=seed, told=told)
    for run in rehearsal.runs:
        console.print(
            f"{run.split}: {run.correct} of {run.problems} right, {len(run.answers)} answered, {run.seconds:.1f} s, "
            f"serving after {run.start_seconds:.1f} s"
        )
        if run.failure:
            console.print(f"  no score: {run.failure}", style="red", markup=False, soft_wrap=True)
    for part in ("public", "private"):
        points = rehearsal.score(part)
        if points is not None:
            console.print(f"{part} score: {points:g}")
    console.print(f"rehearsal: {folder / 'rehearsal.json'}", markup=False, soft_wrap=True)
    return 1 if rehearsal.failed else 0


def _name(text: str) -> str:
    """A part of a folder name made from a path, URL or problem source."""
    parts = [part for part in re.split(r"[^A-Za-z0-9_.]+", text) if part not in ("", "runs", "model", "http", "https")]
    return "-".join(parts)[-60:]
