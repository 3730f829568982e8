"""`podium problems`: the problems of any source, shown or written as rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from podium.commands.cli_options import DataOption
from podium.errors import InputError


def problems(
    spec: Annotated[str, typer.Argument(help="gym:NAME, exam:NAME or jsonl:PATH.")],
    size: Annotated[int | None, typer.Option(help="How many.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of a gym.")] = 0,
    option: Annotated[list[str] | None, typer.Option(help="Difficulty option of a gym.", metavar="KEY=VALUE")] = None,
    data: DataOption = None,
    out: Annotated[Path | None, typer.Option(help="Write rows here instead of showing them.")] = None,
) -> None:
    """Show or save problems: any reasoning-gym task, an exam, or your own file.

    Example: podium problems gym:chain_sum --size 3 --option max_terms=4
    """
    import yaml
    from rich.console import Console

    from podium.problems import load_problems
    from podium.storage import write_rows

    given: dict[str, Any] = {}
    for each in option or []:
        key, equals, value = each.partition("=")
        if not equals or not key:
            raise InputError(f"--option {each}: not of the form KEY=VALUE", "for example --option max_terms=4")
        given[key] = yaml.safe_load(value)
    rows = load_problems(spec, size=size if size or out else 5, seed=seed, data=data, options=given or None)
    console = Console(highlight=False)
    if out is not None:
        console.print(f"{write_rows(out, rows)} problems: {out}", markup=False, soft_wrap=True)
        return
    for row in rows:
        console.rule(row.id, align="left")
        console.print(row.text, markup=False)
        console.print(f"answer: {row.answer}", style="green", markup=False)
