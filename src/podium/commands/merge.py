"""`podium merge`: a linear mean of models of one architecture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from podium.errors import InputError


def merge(
    models: Annotated[list[Path], typer.Argument(help="Model folders of one architecture.")],
    weights: Annotated[str, typer.Option(help="Comma-separated, one per model.")],
    out: Annotated[Path, typer.Option(help="Folder of the merged model.")],
) -> None:
    """Merge models linearly, tensor by tensor.

    Example: podium merge runs/demo/cot/model runs/demo/tir/model --weights 0.3,0.7 --out merged
    """
    from podium.models.place import find_model

    folders = [find_model(model) for model in models]  # before anything heavy is imported
    try:
        numbers = [float(weight) for weight in weights.split(",")]
    except ValueError as error:
        raise InputError(f"--weights {weights}: not numbers", "for example --weights 0.3,0.7") from error
    from podium.compress import merge_linear

    merge_linear(folders, numbers, out)
    print(f"merged: {out}")
