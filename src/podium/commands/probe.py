"""`podium probe`: what this machine can do, as a table, as JSON, and as the record that plans read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer


def probe(
    folder: Annotated[Path, typer.Option(help="Whose disk is measured (128 MB are written and removed).")] = Path("."),
    out: Annotated[Path | None, typer.Option(help="Write the record here (default: where plans look for it).")] = None,
    json_: Annotated[bool, typer.Option("--json", help="The record as JSON instead of a table.")] = False,
) -> None:
    """Measure this machine: matrix products by format, memory, disk; `podium plan … --gpus 1xthis` reads it.

    Example: podium probe --folder runs
    """
    from podium.probe.measure import probe as measure
    from podium.probe.record import record_path
    from podium.storage import write_json

    record = measure(folder)
    path = out or record_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, record)
    if json_:
        print(json.dumps(record, indent=2))
    else:
        _show(record, path)


def _show(record: dict[str, Any], path: Path) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    here, console = record["machine"], Console(highlight=False)
    table = Table(header_style="dim", box=None, pad_edge=False)
    table.add_column("ceiling")
    table.add_column("measured", justify="right")
    for name, rate in record["matmul"].items():
        table.add_row(Text(f"matrix products, {name}"), f"{rate / 1e9:,.1f} G/s")
    for row in record["memory"]:
        threads = f"{row['threads']} thread" + ("s" if row["threads"] > 1 else "")
        table.add_row(f"memory read, {threads}", f"{row['read'] / 1e9:,.1f} GB/s")
        table.add_row(f"memory copied, {threads}", f"{row['copy'] / 1e9:,.1f} GB/s")
    for index, one in enumerate(record["accelerators"]):
        for name, rate in one["matmul"].items():
            table.add_row(Text(f"accelerator {index}, {name}"), f"{rate / 1e12:,.1f} T/s")
        for name in ("read", "copy", "link"):
            table.add_row(f"accelerator {index}, {name}", f"{one[name] / 1e9:,.1f} GB/s")
    for name in ("write", "read"):
        table.add_row(Text(f"disk {name}, {record['disk']['folder']}"), f"{record['disk'][name] / 1e6:,.0f} MB/s")
    console.print(
        Text(f"{here['host']}: {here['cpu']}, {here['cores']} cores, {here['memory_bytes'] / 1e9:.1f} GB", "bold")
    )
    console.print(table)
    note = (
        f"best of several tries with {record['threads']} threads; memory over arrays of {record['array'] / 1e6:,.0f} MB"
        f" (last cache {record['cache'] / 1e6:,.0f} MB), copies count what is read and what is written; int8 engine is"
        f" one thread\nrecorded in {path}: `podium plan … --gpus 1xthis` reads it"
    )
    console.print(Text(note, "dim"))
