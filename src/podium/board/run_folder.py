"""Reading a run folder: stages with times and figures, curves, exams. Looks, never writes.

Only what stands in the files is used; a folder of an unfinished run gives what is there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import yaml

from podium.errors import InputError
from podium.folders import DONE, RECIPE
from podium.storage import read_json, storage_errors


@dataclass(frozen=True, slots=True)
class StageFacts:
    """One stage of the chain as the report tells it."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    finished: bool
    wall_seconds: float | None
    sessions: int
    metrics: dict[str, Any]
    folder: Path


def read_stages(folder: Path) -> list[StageFacts]:
    """The stages of a run in the order of its recipe; of a folder without recipe, none."""
    recipe = folder / RECIPE
    if not recipe.is_file():
        return []
    with storage_errors(recipe, "reading"):
        text = recipe.read_text()
    try:
        stages = yaml.safe_load(text)["stages"]
        written = {str(name): body for name, body in stages.items()}
    except (yaml.YAMLError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{recipe}: not a recipe", "run the recipe again to write it anew") from error
    facts = []
    for name, body in written.items():
        place = folder / name
        done = read_json(place / DONE) if (place / DONE).is_file() else {}
        facts.append(
            StageFacts(
                name,
                str(body.get("kind", "")),
                tuple(str(source) for source in (body.get("inputs") or {}).values()),
                bool(done),
                done.get("wall_seconds"),
                int(done.get("sessions", 0)),
                done.get("metrics", {}),
                place,
            )
        )
    return facts


def read_curve(path: Path) -> list[dict[str, float]]:
    """A metrics.jsonl: one mapping per step, the last line of a step winning (a resumed run writes steps again)."""
    steps: dict[float, dict[str, float]] = {}
    with storage_errors(path, "reading"):
        lines = path.read_text(errors="replace").splitlines()
    for line in lines:
        try:
            value = json.loads(line)
        except ValueError:
            continue  # torn by a kill
        if not isinstance(value, dict) or "step" not in value:
            continue
        row = {key: item for key, item in value.items() if isinstance(item, int | float) and isfinite(item)}
        steps.setdefault(value["step"], {}).update(row)
    return [steps[step] for step in sorted(steps)]
