"""Plans as tables on a terminal, or as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text


def print_json(values: Any) -> None:
    """One JSON document on standard output; numbers that are not finite become null."""
    print(json.dumps(_finite(values), indent=2, default=str))


def _finite(values: Any) -> Any:
    if isinstance(values, dict):
        return {str(key): _finite(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [_finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], note: str = "") -> None:
    """A table whose first column is text and whose others are figures. Figures are never broken: a table too wide for
    the terminal is left for it to wrap."""
    table = Table(header_style="dim", box=None, pad_edge=False, collapse_padding=True)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console = Console(highlight=False)
    needed = Measurement.get(console, console.options.update(max_width=1000), table).maximum
    console.print(Text(title, style="bold"))
    Console(highlight=False, width=max(needed, console.width)).print(table)
    if note:
        console.print(Text(note, style="dim"))


def print_lines(*lines: str) -> None:
    """Plain lines, wrapped to the terminal."""
    console = Console(highlight=False)
    for line in lines:
        console.print(Text(line))
