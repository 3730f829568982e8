"""What `podium bench run` does and prints. Knows the console; running is podium.bench.run's."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from rich.console import Console
from rich.table import Table

from podium.bench.check_log import log_verdicts
from podium.bench.ledger import FILE, Ledger
from podium.bench.registry import find_task, task_names, with_benchmark
from podium.bench.rules import Division, load_ruleset
from podium.bench.run import Entrant, Outcome, dry_entry, pick_preset, run_entry
from podium.bench.runs import read_run
from podium.bench.system_desc import describe_this_machine, read_description
from podium.bench.task import SIZES
from podium.errors import InputError, nearest


def run_command(
    key: str,
    *,
    size: str,
    runs: int,
    division: str,
    system: Path | None,
    out: Path,
    data: Path | None,
    device: str,
) -> bool:
    """Run a task and show what came out; True when every run reached the target.

    Raises:
        InputError: unknown task, size, division or device; unusable system file or data.
    """
    console = Console()
    task = find_task(key)
    chosen_size = _one_of(size, SIZES, "size")
    chosen_division = _one_of(division, get_args(Division), "division")
    _check_device(device)
    preset = pick_preset(task, chosen_size)
    entrant, described = _entrant(chosen_division, system)
    console.print(f"{task.area}: {preset.dataset}, target {preset.target}", soft_wrap=True)

    def report(number: int, outcome: Outcome) -> None:
        quality = "  ".join(f"{name} {value:.4f}" for name, value in outcome.quality.items())
        end = f"{outcome.minutes:.3f} min" if outcome.status == "success" else f"aborted: {outcome.why}"
        console.print(f"run {number}/{runs}  seed {outcome.seed}  {quality}  {end}", highlight=False, soft_wrap=True)

    outcomes = run_entry(
        task,
        chosen_size,
        out,
        runs=runs,
        entrant=entrant,
        system=described,
        source=data,
        device=device,
        report=report,
    )
    _show(console, outcomes, Ledger(out / FILE).head())
    return all(outcome.status == "success" for outcome in outcomes)


def dry_run_command(
    key: str, *, size: str, runs: int, division: str, system: Path | None, out: Path, data: Path | None
) -> bool:
    """Log runs that do not take place and judge each log by the rules; True when none is broken.

    Raises:
        InputError: unknown task, size or division; a size without dry run; unusable system file; data are named.
    """
    if data is not None:
        raise InputError("a dry run reads no data", "leave --data out, or --dry-run")
    console = Console()
    task = find_task(key)
    chosen_division = _one_of(division, get_args(Division), "division")
    entrant, described = _entrant(chosen_division, system)
    rules = with_benchmark(load_ruleset(), key)
    logs = dry_entry(task, _one_of(size, SIZES, "size"), out, runs=runs, entrant=entrant, system=described)
    kept = True
    for log in logs:
        verdicts = log_verdicts([read_run(log, rules)], rules)
        count = {outcome: sum(v.outcome == outcome for v in verdicts) for outcome in ("pass", "warn", "fail")}
        kept = kept and not count["fail"]
        for verdict in verdicts:
            if verdict.outcome != "pass":
                console.print(verdict.line(), highlight=False, soft_wrap=True, markup=False)
        said = f"{count['pass']} rules kept, {count['warn']} warnings, {count['fail']} broken"
        console.print(f"{log}: {said}", highlight=False, soft_wrap=True, markup=False)
    console.print(
        "dry run: nothing was trained, the quality is made up; check, score and ledger refuse these logs",
        soft_wrap=True,
    )
    return kept


def list_tasks() -> None:
    """Print every task with the targets of its sizes, and why a task of some package cannot be had."""
    table = Table("task", "area", "size", "data", "target", box=None)
    unusable: list[InputError] = []
    for key in task_names():
        try:
            task = find_task(key)
        except InputError as error:
            unusable.append(error)
            continue
        for number, (size, preset) in enumerate(task.presets.items()):
            first = (key, task.area) if number == 0 else ("", "")
            table.add_row(*first, size, preset.dataset, str(preset.target))
    console = Console()
    console.print(table)
    for error in unusable:
        console.print(str(error), highlight=False, soft_wrap=True, markup=False)


def _show(console: Console, outcomes: list[Outcome], head: str) -> None:
    converged = sorted(outcome.minutes for outcome in outcomes if outcome.status == "success")
    if converged:
        console.print(
            f"{len(converged)} of {len(outcomes)} runs reached the target; minutes {converged[0]:.3f} to "
            f"{converged[-1]:.3f}. MLPerf-style, unverified.",
            highlight=False,
            soft_wrap=True,
        )
    console.print(f"logs: {outcomes[0].log.parent}", highlight=False, soft_wrap=True)
    console.print(f"ledger: {head} (keep this: it proves what was launched)", highlight=False, soft_wrap=True)


def _entrant(division: Division, system: Path | None) -> tuple[Entrant, dict[str, Any]]:
    """Who runs, and the description of the system: that of the file, or of this machine."""
    described = (
        read_description(system) if system else describe_this_machine("unnamed", division, platform.node() or "unnamed")
    )
    entrant = Entrant(
        division=division,
        org=str(described.get("submitter") or "unnamed"),
        platform=str(described.get("system_name") or "unnamed"),
        status=_status(str(described.get("status", ""))),
    )
    return entrant, described


def _one_of(value: str, known: tuple[Any, ...], what: str) -> Any:
    if value not in known:
        raise InputError(f"{what} {value!r} is not known", nearest(value, known))
    return value


def _status(described: str) -> str:
    """The word of submission_status for the longer ones of system descriptions ("Available on-premise")."""
    words: Mapping[str, str] = {"cloud": "cloud", "prem": "onprem", "preview": "preview"}
    return next((status for part, status in words.items() if part in described.lower()), "research")


def _check_device(device: str) -> None:
    import torch

    if device == "cpu":
        return
    if not device.startswith("cuda"):
        raise InputError(f"device {device!r} is not known", "use cpu or cuda")
    if not torch.cuda.is_available():
        raise InputError("no CUDA device is available", "use --device cpu, or a PyTorch that was built for CUDA")
