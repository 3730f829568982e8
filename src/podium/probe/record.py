"""The record of a probe: which machine, when, and its figures as a row of the planner's hardware table. No torch.

One file a user, `$XDG_CACHE_HOME/podium/probe.json` (or ~/.cache). It counts only on the machine it was measured on:
a home folder is often shared by many.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from podium.errors import InputError
from podium.runlog import machine


def record_path() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "podium" / "probe.json"


def read_record(path: Path | None = None) -> dict[str, Any]:
    """The record of this machine.

    Raises:
        InputError: there is none, it cannot be read, or it is of another machine.
    """
    path = path or record_path()
    try:
        record: Any = json.loads(path.read_text())
        measured = {key: record["machine"][key] for key in ("host", "cpu", "cores")}
        record["device"], date = dict(record["device"]), record["date"]
    except FileNotFoundError as error:
        raise InputError("this machine has not been measured yet", "run `podium probe` first") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a record of `podium probe` ({error})", "run `podium probe` again") from error
    here = machine()
    if different := [key for key, value in measured.items() if here[key] != value]:
        raise InputError(
            f"{path} measures another machine ({measured['host']}, {date}): "
            + ", ".join(f"{key} {measured[key]!r} there, {here[key]!r} here" for key in different),
            "run `podium probe` here; to plan for the other one, give its record by name: --gpus 1xPATH.json",
        )
    return record
