"""`podium run`: from the words of a command line to a run and its summary."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from podium.errors import InputError
from podium.folders import RECIPE
from podium.recipe.chain import estimates, plan
from podium.recipe.document import read_recipe
from podium.recipe.execute import RunResult, execute
from podium.recipe.view import View, chain_table


def run_recipe_command(
    recipe: Path,
    overrides: Sequence[str] = (),
    *,
    until: str | None = None,
    fresh: bool = False,
    dry_run: bool = False,
    runs: Path = Path("runs"),
    console: Console | None = None,
) -> RunResult | None:
    """Run a recipe file, or the folder of an earlier run again; a dry run only prints the chain.

    Raises:
        PodiumError: see `read_recipe` and `execute`.
    """
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
    console = console or Console(highlight=False)
    if dry_run:
        links = plan(chain, runs / f"{chain.name}.never" if fresh else runs / chain.name, until)
        console.print(chain_table(f"{chain.name}  (nothing was run)", links, estimates(chain)))
        return None
    result = execute(chain, runs, until=until, fresh=fresh, view=View(console))
    from podium.board import print_summary, write_report

    write_report(result.folder)
    print_summary(result.folder, console)
    return result


def _cure_of_missing(recipe: Path, runs: Path) -> str:
    """The recipe or earlier run that was probably meant, else what a recipe is and where to read about it."""
    files = sorted({file for folder in (recipe.parent, Path("recipes")) for file in folder.glob("[!.]*.y*ml")})
    meant = {file.stem: file for file in files} | {file.parent.name: file.parent for file in runs.glob(f"*/{RECIPE}")}
    close = difflib.get_close_matches(recipe.stem, meant, n=1, cutoff=0.6)
    if close:
        return f"did you mean {meant[close[0]]}?"
    if files:
        return f"recipes here: {', '.join(map(str, files[:8]))}"
    return "a recipe is a YAML file that names stages: `podium stages` lists them, docs/recipe.md shows one"
