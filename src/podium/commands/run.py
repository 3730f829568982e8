"""`podium run`: from the words of a command line to a run and its summary."""

from __future__ import annotations

import difflib
import importlib
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from podium.errors import InputError


def run(
    recipe: Annotated[Path, typer.Argument(help="A recipe file, or the folder of an earlier run.")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Change a parameter: stage.key=value.", metavar="S.K=V")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Stop after this stage.")] = None,
    fresh: Annotated[bool, typer.Option(help="Start over; the old run is moved aside.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the chain with sizes and times, run nothing.")
    ] = False,
    runs: Annotated[Path, typer.Option(help="Folder that holds the runs.")] = Path("runs"),
) -> None:
    """Run a recipe from problems to report. Finished stages are skipped, broken ones resume.

    Example: podium run recipes/demo.yaml --set exam_merged.attempts=16
    """
    from rich.console import Console

    from podium.folders import RECIPE
    from podium.recipe.chain import estimates, plan
    from podium.recipe.document import read_recipe
    from podium.recipe.execute import execute
    from podium.recipe.view import View, chain_table

    overrides = set_ or []
    importlib.import_module("podium.recipe.stages")  # registers the stage kinds
    earlier = recipe.is_dir()
    if earlier and not (recipe / RECIPE).is_file():
        raise InputError(f"{recipe}: no recipe.yaml in this folder", "name a recipe file, or the folder of a run")
    if not recipe.exists():
        raise InputError(f"{recipe}: no such recipe", _cure_of_missing(recipe, runs))
    chain = read_recipe(recipe / RECIPE if earlier else recipe, overrides)
    if earlier:
        runs = recipe.resolve().parent
        if not any(override.startswith("name=") for override in overrides):
            chain = replace(chain, name=recipe.resolve().name)
    console = Console(highlight=False)
    if dry_run:
        links = plan(chain, runs / f"{chain.name}.never" if fresh else runs / chain.name, until)
        console.print(chain_table(f"{chain.name}  (nothing was run)", links, estimates(chain)))
        return
    result = execute(chain, runs, until=until, fresh=fresh, view=View(console))
    from podium.board import print_summary, write_report

    write_report(result.folder)
    print_summary(result.folder, console)


def _cure_of_missing(recipe: Path, runs: Path) -> str:
    """The recipe or earlier run that was probably meant, else what a recipe is and where to read about it."""
    from podium.folders import RECIPE

    files = sorted({file for folder in (recipe.parent, Path("recipes")) for file in folder.glob("[!.]*.y*ml")})
    meant = {file.stem: file for file in files} | {file.parent.name: file.parent for file in runs.glob(f"*/{RECIPE}")}
    close = difflib.get_close_matches(recipe.stem, meant, n=1, cutoff=0.6)
    if close:
        return f"did you mean {meant[close[0]]}?"
    if files:
        return f"recipes here: {', '.join(map(str, files[:8]))}"
    return "a recipe is a YAML file that names stages: `podium stages` lists them, docs/recipe.md shows one"
