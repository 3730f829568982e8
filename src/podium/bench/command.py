"""`podium bench …`: one thin function per command. Imports its rooms inside the commands."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False)

RulesetOption = Annotated[str | None, typer.Option("--ruleset", help="Rule set to judge by (default: the log's own).")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON instead of text; one object per folder and line.")]


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(help="Folder of result_<i>.txt, or any folder above such folders.")],
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


def _add_run() -> None:
    # Timed runs are a room of their own; check, score and board work without it.
    if find_spec("podium.bench.command_run") is not None:
        import importlib

        run: Any = importlib.import_module("podium.bench.command_run").run
        app.command()(run)


_add_run()
