"""Entries of a scoreboard: the published rounds that are shipped, and one's own result folders beside them.

An entry is one benchmark on one system in one division. Knows where figures come from; ranks nothing.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from podium.bench.runs import result_folders
from podium.bench.score_folder import LABEL, score_folder
from podium.bench.system_desc import accelerators, count, host_ratio, read_description
from podium.errors import InputError, nearest

AVAILABILITY = {
    "available": "available",
    "onprem": "available",
    "cloud": "cloud",
    "preview": "preview",
    "research": "research",
}
"""Status as submitted -> class. Rounds spell "available on premise" in two ways."""

CLASSES = ("available", "cloud", "preview", "research")
OWN = "own"


@dataclass(frozen=True, slots=True)
class Entry:
    """`host_processors` and `accelerators` are of the whole system; `minutes` None where no figure is known.

    `note`: why the entry is listed but not ranked with others; empty for all that are.
    """

    round: str
    division: str
    submitter: str
    system: str
    availability: str
    nodes: int
    host_processors: int | None
    host_processor: str
    accelerators: int
    accelerator: str
    task: str
    minutes: float | None
    fastest: float | None
    slowest: float | None
    runs: int
    failed: int
    source: str
    note: str = ""
    size: str = "full"

    @property
    def ratio(self) -> str:
        return host_ratio(self.host_processors, self.accelerators)

    @property
    def label(self) -> str:
        return LABEL if self.round == OWN else self.round


def round_names() -> list[str]:
    """Rounds that are shipped, oldest first."""
    names = [entry.name for entry in files("podium.bench").joinpath("rounds").iterdir()]
    return sorted(name.removesuffix(".csv") for name in names if name.endswith(".csv"))


@lru_cache
def load_round(name: str) -> tuple[Entry, ...]:
    """The entries of a round such as v1.1, as published.

    Raises:
        InputError: there is none of that name.
    """
    if name not in round_names():
        raise InputError(f"round {name!r} is unknown", nearest(name, round_names()))
    text = files("podium.bench").joinpath("rounds", f"{name}.csv").read_text(encoding="utf-8")
    return tuple(_entry(name, row) for row in csv.DictReader(text.splitlines()))


def _entry(name: str, row: Mapping[str, str]) -> Entry:
    return Entry(
        round=name,
        division=row["division"],
        submitter=row["submitter"],
        system=row["system"],
        availability=AVAILABILITY[row["status"]],
        nodes=int(row["nodes"]),
        host_processors=int(row["host_processors"]),
        host_processor=row["host_processor"],
        accelerators=int(row["accelerators"]),
        accelerator=row["accelerator"],
        task=row["task"],
        minutes=_minutes(row["minutes"]),
        fastest=_minutes(row["fastest"]),
        slowest=_minutes(row["slowest"]),
        runs=int(row["runs"]),
        failed=int(row["failed"]),
        source=row["source"],
        note=row["note"],
    )


def _minutes(text: str) -> float | None:
    return float(text) if text else None


@lru_cache
def round_sources() -> dict[str, Any]:
    """Repositories, method and the meaning of the `source` words."""
    return yaml.safe_load(files("podium.bench").joinpath("rounds", "sources.yaml").read_text(encoding="utf-8"))


def own_entries(root: Path) -> list[Entry]:
    """Every result folder at or below `root`, scored; systems/*.json tells the machine where it is there.

    Raises:
        InputError: no logs, or logs that cannot be scored at all.
    """
    return [_own_entry(folder) for folder in result_folders(root)]


def _own_entry(folder: Path) -> Entry:
    scored = score_folder(folder)
    path = folder.resolve().parent.parent.parent / "systems" / f"{folder.resolve().parent.name}.json"
    description: Mapping[str, Any] = read_description(path) if path.is_file() else {}
    nodes = count(description.get("number_of_nodes", "")) or 1
    processors = count(description.get("host_processors_per_node", ""))
    return Entry(
        round=OWN,
        division=scored.division,
        submitter=str(description.get("submitter", "")),
        system=str(description.get("system_name") or scored.system),
        availability=AVAILABILITY.get(str(description.get("status", "")), "research"),
        nodes=nodes,
        host_processors=nodes * processors if processors else None,
        host_processor=str(description.get("host_processor_model_name", "")),
        accelerators=accelerators(description) or 0,
        accelerator=str(description.get("accelerator_model_name", "")),
        task=scored.benchmark,
        minutes=scored.score.score,
        fastest=scored.score.fastest,
        slowest=scored.score.slowest,
        runs=scored.score.runs,
        failed=scored.score.runs - scored.score.converged,
        source=str(folder),
        note="; ".join(scored.score.reasons),
        size=scored.size,
    )
