"""`podium bench init`: the folder of a submission, and what is left to fill in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from podium.bench.scaffold import scaffold
from podium.bench.system_desc import empty_fields


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
    made = scaffold(folder, org=org, system=system, tasks=task or [], division=division)
    for path in made:
        typer.echo(f"made  {path}")
    typer.echo(f"{len(made)} files made in {folder}" if made else f"{folder}: everything was there, nothing changed")
    description = json.loads((folder / "systems" / f"{system}.json").read_text(encoding="utf-8"))
    if empty := empty_fields(description):
        typer.echo(f"fill in systems/{system}.json: " + ", ".join(empty))
