"""`podium bench run`: a task, timed until its target; or a dry run of it. Running is podium.bench.run's."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer
from rich.console import Console

from podium.bench.check_log import log_verdicts
from podium.bench.ledger import FILE, Ledger
from podium.bench.registry import find_task, with_benchmark
from podium.bench.rules import Division, load_ruleset
from podium.bench.runs import read_run
from podium.bench.system_desc import describe_this_machine, read_description
from podium.errors import InputError, nearest

if TYPE_CHECKING:
    from podium.bench.run import Entrant, Outcome


def run(
    task: Annotated[str, typer.Argument(help="Name of a task; `podium bench tasks` lists them.")],
    size: Annotated[str, typer.Option(help="smoke (minutes, any machine), small (one GPU) or full.")] = "smoke",
    runs: Annotated[int, typer.Option(min=1, help="How many runs are declared and made.")] = 1,
    division: Annotated[str, typer.Option(help="open, or closed (full size only).")] = "open",
    system: Annotated[Path | None, typer.Option(help="System description, a JSON file.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of systems/, results/ and the ledger.")] = Path("bench"),
    data: Annotated[Path | None, typer.Option(help="The official dataset (full size).")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Log the events of a full-size run, train nothing, count nowhere.")
    ] = False,
) -> None:
    """Train a task until its target, timed and logged. Exit code 1 when a run did not reach it.

    Example: podium bench run resnet --size smoke --runs 5
    """
    from podium.bench.run import pick_preset, run_entry
    from podium.bench.task import SIZES

    if dry_run:
        if data is not None:
            raise InputError("a dry run reads no data", "leave --data out, or --dry-run")
        raise typer.Exit(0 if _rehearse(task, size, runs, division, system, out) else 1)
    console = Console()
    found = find_task(task)
    chosen_size = _one_of(size, SIZES, "size")
    chosen_division = _one_of(division, get_args(Division), "division")
    _check_device(device)
    preset = pick_preset(found, chosen_size)
    entrant, described = _entrant(chosen_division, system)
    console.print(f"{found.area}: {preset.dataset}, target {preset.target}", soft_wrap=True)

    def report(number: int, outcome: Outcome) -> None:
        quality = "  ".join(f"{name} {value:.4f}" for name, value in outcome.quality.items())
        end = f"{outcome.minutes:.3f} min" if outcome.status == "success" else f"aborted: {outcome.why}"
        console.print(f"run {number}/{runs}  seed {outcome.seed}  {quality}  {end}", highlight=False, soft_wrap=True)

    outcomes = run_entry(
        found,
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
    raise typer.Exit(0 if all(outcome.status == "success" for outcome in outcomes) else 1)


def _rehearse(name: str, size: str, runs: int, division: str, system: Path | None, out: Path) -> bool:
    """Log runs that do not take place and judge each log by the rules; True when none is broken.

    Raises:
        InputError: unknown task, size or division; a size without dry run; unusable system file.
    """
    from podium.bench.run import dry_entry
    from podium.bench.task import SIZES

    console = Console()
    task = find_task(name)
    chosen_division = _one_of(division, get_args(Division), "division")
    entrant, described = _entrant(chosen_division, system)
    rules = with_benchmark(load_ruleset(), name)
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
    from podium.bench.run import Entrant

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
