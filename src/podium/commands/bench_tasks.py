"""`podium bench tasks`: every task that can be run here."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from podium.bench.registry import find_task, task_names
from podium.errors import InputError


def tasks() -> None:
    """List the tasks, their sizes and targets.

    Example: podium bench tasks
    """
    table = Table("task", "area", "size", "data", "target", box=None)
    unusable: list[InputError] = []
    for key in task_names():
        try:
            task = find_task(key)
        except InputError as error:
            unusable.append(error)
            continue
        for number, (size, preset) in enumerate(task.presets.items()):
            first = (key, task.area) if number == 0 else ("", "")
            table.add_row(*first, size, preset.dataset, str(preset.target))
    console = Console()
    console.print(table)
    for error in unusable:
        console.print(str(error), highlight=False, soft_wrap=True, markup=False)
