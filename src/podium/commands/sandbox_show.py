"""What `podium sandbox check` and `run` print: a table or JSON lines of what podium.commands.sandbox found."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from rich.console import Console

from podium.commands.sandbox import check, run_file


def show_check(as_json: bool) -> int:
    """Print every tier with what failed and the cure; 0 when one of them works, else 1."""
    checks = check()
    if as_json:
        for each in checks:
            print(json.dumps(dataclasses.asdict(each)))
    else:
        console = Console(highlight=False)
        for each in checks:
            mark = "[green]ok[/green]    " if each.ok else "[red]failed[/red]"
            console.print(f"tier {each.tier}  {mark}  {each.description}")
            for label, text in (("failed", each.failed), ("cure", each.cure)):
                if text:
                    console.print(f"        {label}: {text}", markup=False, soft_wrap=True)
        usable = [each.tier for each in checks if each.ok]
        console.print(f"in use: tier {usable[0]}" if usable else "no tier works here: code will not be run")
    return 0 if any(each.ok for each in checks) else 1


def show_run(file: Path, profile: str, as_json: bool) -> int:
    """Print every block's result as it ends; 0 when the session ran, whatever the blocks did."""
    console = Console(highlight=False)
    for number, block in enumerate(run_file(file, profile), start=1):
        if as_json:
            print(json.dumps(block, ensure_ascii=False), flush=True)
            continue
        style = "green" if block["status"] == "ok" else "red"
        console.print(f"[{style}]block {number}: {block['status']}[/{style}]  {block['seconds']:.3f} s")
        if block["output"]:
            console.print(block["output"], markup=False, soft_wrap=True)
    return 0
