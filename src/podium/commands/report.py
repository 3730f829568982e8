"""`podium report`: the page of a run, of one exam, or of a folder of runs, written again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    folder: Annotated[Path, typer.Argument(help="A run folder, the folder of one exam, or a folder of runs.")],
    out: Annotated[
        Path | None, typer.Option(help="File to write (default: report.html, or index.html, in the folder).")
    ] = None,
) -> None:
    """Write the self-contained report of a run again; of a folder of runs, the index of all that is in it.

    Example: podium report runs/demo
    """
    from podium.board import report_or_index

    what, path = report_or_index(folder, out)
    print(f"{what}: {path}")
