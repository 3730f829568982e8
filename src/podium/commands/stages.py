"""`podium stages`: what a recipe may say."""

from __future__ import annotations

import importlib
from typing import Annotated

import typer


def stages(
    kind: Annotated[str | None, typer.Argument(help="A stage kind, to see its fields.")] = None,
    markdown: Annotated[bool, typer.Option(help="Print the whole reference, as docs/stages.md holds it.")] = False,
) -> None:
    """Show what a recipe may say: the kinds of stages, their inputs, fields and defaults.

    Example: podium stages train
    """
    importlib.import_module("podium.recipe.stages")  # registers the stage kinds
    from podium.commands import stage_kinds
    from podium.recipe import registry

    if markdown:
        print(stage_kinds.markdown(registry.kinds()), end="")
    else:
        stage_kinds.print_stages(kind)
