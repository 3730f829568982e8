"""`podium bench …`: one thin function per command. Imports its rooms inside the commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False)

RulesetOption = Annotated[str | None, typer.Option("--ruleset", help="Rule set to judge by (default: the log's own).")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON instead of text; one object per folder and line.")]


@app.command()
def check(
    folder: Annotated[
        Path, typer.Argument(help="Folder of result_<i>.txt, any folder above such folders, or one log.")
    ],
    ruleset: RulesetOption = None,
    borrowed_from: Annotated[
        Path | None, typer.Option(help="Folder of the logs whose hyper-parameters this entry borrowed.")
    ] = None,
    original: Annotated[Path | None, typer.Option(help="Folder of this entry's logs before it borrowed.")] = None,
    head: Annotated[str | None, typer.Option(help="Hash that the ledger is known to have had once.")] = None,
    json_: JsonOption = False,
) -> None:
    """Judge logs by the rules: one line per rule, with file and line. Exit code 1 when a rule is broken.

    Example: podium bench check results/ipu-pod16-TF1/resnet
    """
    from podium.bench.command_check import check_command

    passed = check_command(
        folder, ruleset=ruleset, borrowed_from=borrowed_from, original=original, head=head, as_json=json_
    )
    raise typer.Exit(0 if passed else 1)


@app.command()
def score(
    folder: Annotated[Path, typer.Argument(help="Folder of result_<i>.txt, or any folder above such folders.")],
    ruleset: RulesetOption = None,
    json_: JsonOption = False,
) -> None:
    """Score runs: olympic mean, median, bootstrap interval. Exit code 1 when the rules give no score.

    Example: podium bench score results/ipu-pod16-TF1/resnet --json
    """
    from podium.bench.command_check import score_command

    raise typer.Exit(0 if score_command(folder, ruleset=ruleset, as_json=json_) else 1)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Folder to make; what is there is kept as it is.")],
    org: Annotated[str, typer.Option(help="Who submits.")],
    system: Annotated[str, typer.Option(help="Name of the system.")],
    task: Annotated[
        list[str] | None, typer.Option(help="Benchmarks, one option each (default: all of the round).")
    ] = None,
    division: Annotated[str, typer.Option(help="closed or open.")] = "open",
) -> None:
    """Scaffold a submission folder: system description filled in as far as it can be, scripts, result folders.

    Example: podium bench init submission --org me --system laptop --task resnet
    """
    from podium.bench.scaffold import init_command

    init_command(folder, org=org, system=system, tasks=task or [], division=division)


@app.command()
def board(
    own: Annotated[list[Path] | None, typer.Argument(help="Folders of your own runs, shown beside the round.")] = None,
    round_: Annotated[str, typer.Option("--round", help="Which published round.")] = "v1.1",
    against: Annotated[str | None, typer.Option(help="Round to compare with (default: the one before).")] = None,
    task: Annotated[str | None, typer.Option(help="One task only.")] = None,
    division: Annotated[str | None, typer.Option(help="closed or open (default: both, never in one list).")] = None,
    max_nodes: Annotated[int, typer.Option(min=1, help="A single machine has at most so many nodes.")] = 1,
    max_accelerators: Annotated[int, typer.Option(min=0, help="... and at most so many accelerators.")] = 16,
    availability: Annotated[
        str, typer.Option(help="Classes that are ranked, by commas.")
    ] = "available,cloud,preview,research",
    top: Annotated[int, typer.Option(min=1, help="Entries shown per list.")] = 3,
    html: Annotated[Path | None, typer.Option(help="Write a self-contained page here.")] = None,
    json_: JsonOption = False,
) -> None:
    """Show the scoreboard of a published round, what changed since the one before, and your own runs beside it.

    Example: podium bench board runs/bench --html scoreboard.html
    """
    from podium.bench.command_board import board_command

    board_command(
        own or [],
        round_=round_,
        against=against,
        task=task,
        division=division,
        max_nodes=max_nodes,
        max_accelerators=max_accelerators,
        availability=availability,
        top=top,
        html=html,
        as_json=json_,
    )


@app.command("run")
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
    from podium.bench.command_run import dry_run_command, run_command

    if dry_run:
        kept = dry_run_command(task, size=size, runs=runs, division=division, system=system, out=out, data=data)
        raise typer.Exit(0 if kept else 1)
    reached = run_command(
        task, size=size, runs=runs, division=division, system=system, out=out, data=data, device=device
    )
    raise typer.Exit(0 if reached else 1)


@app.command("tasks")
def tasks() -> None:
    """List the tasks, their sizes and targets.

    Example: podium bench tasks
    """
    from podium.bench.command_run import list_tasks

    list_tasks()
