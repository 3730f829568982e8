"""The end of `podium run`: what was done and what came out, in a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from podium.board.run_folder import read_stages

if TYPE_CHECKING:
    from rich.console import Console


def print_summary(folder: Path | str, console: Console) -> None:
    """Print the stages of a run with times and figures."""
    from rich.markup import escape
    from rich.table import Table

    folder = Path(folder)
    stages = Table(header_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("stage", "kind", "time", "figures"):
        stages.add_column(column, justify="right" if column == "time" else "left")
    for stage in read_stages(folder):
        took = "" if stage.wall_seconds is None else f"{stage.wall_seconds:.1f} s"
        figures = " · ".join(f"{key} {value}" for key, value in list(stage.metrics.items())[:4])
        stages.add_row(escape(stage.name), escape(stage.kind), took, escape(figures))
    console.print(stages)
    if (folder / "report.html").is_file():
        console.print(f"report: {escape(str(folder / 'report.html'))}")
