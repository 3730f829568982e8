"""`podium exam replay`: what other policies would have made of recorded exams."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from podium.commands.cli_options import JsonOption, VoteOption
from podium.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from podium.solve.lab import Bench, Exams
    from podium.solve.lab.exams import Comparison
    from podium.solve.policy import Policy
    from podium.solve.trace import Trace

SIMULATED = "simulated:"
SWEEP = (0.3, 0.45, 0.6, 0.8, 1.0, 1.3)
"""Parts of the budget under which the frontier is drawn."""


def exam_replay(
    traces: Annotated[list[str], typer.Argument(help="Exam folders, traces.jsonl files, or simulated:500.")],
    policy: Annotated[list[str] | None, typer.Option(help="As for an exam; the first one is compared with.")] = None,
    attempts: Annotated[int | None, typer.Option("-n", "--n", min=1, help="Attempts (default: all recorded).")] = None,
    budget: Annotated[str | None, typer.Option(help="Time per exam (default: what was recorded).")] = None,
    problems: Annotated[int | None, typer.Option(min=1, help="Problems per exam (default: all recorded).")] = None,
    exams: Annotated[int, typer.Option(min=1, help="Exams drawn per policy.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 0,
    plot: Annotated[Path | None, typer.Option(help="Write score against time as a page (.html).")] = None,
    optimise: Annotated[bool, typer.Option("--optimise", help="Find better policies, judged on held-out problems.")] = (
        False
    ),
    out: Annotated[Path | None, typer.Option(help="With --optimise: write the best policy here (.yaml).")] = None,
    vote: VoteOption = None,
    json_: JsonOption = False,
) -> None:
    """Ask what other policies would have made of a recorded exam.

    Example: podium exam replay runs/exams/demo-aime24 --policy winner --policy runner-up --optimise --out mine.yaml
    """
    from rich.console import Console

    from podium.solve import parse_policy
    from podium.solve.clock import parse_seconds
    from podium.solve.lab import compare, hold_exams

    console = Console(highlight=False, stderr=json_)
    bench, recorded = _bench(traces, attempts, seed, vote)
    names = policy or ["winner", "runner-up", "notebook", "all"]
    chosen = [parse_policy(name) for name in names]
    for each in chosen:
        each.check(bench.n)
    length = problems or len(bench.problems)
    seconds = parse_seconds(budget) if budget else _recorded_budget(recorded, length)
    _print_checked(console, recorded)
    console.print(
        f"{len(bench.problems)} problems, {bench.n} of {bench.recorded} recorded attempts each; {exams} exams of "
        f"{length} problems; "
        + ("no clock" if seconds is None else f"{seconds:g} s per exam")
        + "".join(f"; votes weighed by {name}" for name in sorted({row.vote for row in bench.problems} - {"uniform"}))
    )
    started = time.perf_counter()
    held: list[Exams] = [
        hold_exams(bench, each, budget=seconds, length=length, exams=exams, seed=seed) for each in chosen
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
    if optimise:
        best, figures = _optimise(console, bench, chosen[0], seconds, length, seed, out)
        result["optimised"] = figures
        shown.append(best)
    if plot is not None:
        _plot(plot, bench, shown, seconds, length, exams, seed, traces)
        console.print(f"plot: {plot}", markup=False, soft_wrap=True)
    if json_:
        print(json.dumps(result))


def _bench(paths: Sequence[str], attempts: int | None, seed: int, vote: str | None = None) -> tuple[Bench, list[Trace]]:
    from podium.solve.lab import Bench
    from podium.solve.lab.simulated import simulated_problems
    from podium.solve.trace import read_traces
    from podium.solve.vote import check_weight

    if vote is not None:
        check_weight(vote)
    simulated = [path for path in paths if path.startswith(SIMULATED)]
    if not simulated:
        traces = read_traces(paths)
        return Bench.of(traces, attempts, seed=seed, vote=vote), traces
    if vote not in (None, "uniform"):
        raise InputError(f"--vote {vote}: simulated attempts have no signals", "record an exam, or leave it out")
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


def _plus_minus(against: Comparison, length: int) -> str:
    """A difference in problems of an exam, with decimals that show whether its interval holds 0."""
    from podium.solve.wording import digits_for, signed

    change, half = length * against.difference, length * (against.high - against.low) / 2
    digits = digits_for((change - half, change + half), 2)
    return f"{signed(change, digits)} ± {half:.{digits}f}"


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
        table.add_row(
            each.policy,
            f"{each.length * each.score:.2f} ± {each.length * (high - low) / 2:.2f}",
            f"{each.length * worst:.0f}–{each.length * best:.0f}",
            f"{each.time:.1f}",
            f"{100 * each.clock_share:.0f} %",
            "" if each is held[0] else _plus_minus(against, each.length),
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
    from podium.storage import write_text

    with console.status("fitting to four fifths of the problems, judging on the others, five times"):
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
            _plus_minus(each.against, length),
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
    from podium.board.frontier import Point, write_frontier
    from podium.solve import parse_policy
    from podium.solve.lab import hold_exams

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
