"""The state of a run on disk against a recipe: which stages are finished, begun, or still to do.

Looks, and moves folders; runs nothing. Nothing is ever deleted: a stage folder whose identity is no longer the
recipe's goes to `.kept/` and comes back when the recipe asks for it again.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from podium.errors import InputError, nearest
from podium.recipe.document import Recipe, StageSpec
from podium.recipe.identity import changed_output, identities, read_marks
from podium.recipe.registry import Estimate
from podium.settings import flat, free_of
from podium.storage import PARTIAL, storage_errors, sync_folder

KEPT = ".kept"
Status = Literal["done", "resume", "to do"]


@dataclass(frozen=True, slots=True)
class Link:
    """One stage of a run: what it is, where it stands, why."""

    spec: StageSpec
    identity: str
    folder: Path
    status: Status
    source: Path | None  # folder that holds its work so far: its own, or one in .kept
    done: dict[str, Any] | None
    note: str = ""

    def inputs(self, run_folder: Path) -> dict[str, Path]:
        """Role -> path, as the stage function gets them."""
        return {
            role: run_folder / source.stage / (source.path or "") if source.stage else Path(source.path or "")
            for role, source in self.spec.inputs.items()
        }


def plan(recipe: Recipe, run_folder: Path, until: str | None = None) -> list[Link]:
    """Where every stage stands, in the order they would run.

    Args:
        until: the last stage wanted; only what it needs is planned.

    Raises:
        InputError: `until` is no stage of the recipe, or an input file is gone.
    """
    if until is not None and until not in recipe.stages:
        raise InputError(f"--until {until}: no such stage in {recipe.name!r}", nearest(until, recipe.stages))
    wanted = set(recipe.stages) if until is None else _needed(recipe, until)
    return [
        _look(recipe.stages[name], identity, run_folder)
        for name, identity in identities(recipe).items()
        if name in wanted
    ]


def estimates(recipe: Recipe) -> dict[str, Estimate]:
    """Stage -> what it is expected to cost. Nothing is known of paths and of kinds that do not say."""
    found: dict[str, Estimate] = {}
    for spec in recipe.stages.values():
        behind = {role: found.get(source.stage or "", Estimate()) for role, source in spec.inputs.items()}
        found[spec.name] = spec.kind.estimate(spec.params, behind) if spec.kind.estimate else Estimate()
    return found


def _needed(recipe: Recipe, until: str) -> set[str]:
    needed, open_names = set(), [until]
    while open_names:
        name = open_names.pop()
        if name not in needed:
            needed.add(name)
            open_names += [source.stage for source in recipe.stages[name].inputs.values() if source.stage]
    return needed


def _look(spec: StageSpec, identity: str, run_folder: Path) -> Link:
    folder = run_folder / spec.name
    note = ""
    begun: Path | None = None
    for candidate in _candidates(run_folder, spec.name, identity):
        marks = read_marks(candidate)
        if marks.identity != identity:
            if candidate == folder and marks.identity is not None:
                note = "changed since it last ran"
            continue
        if marks.done is not None:
            if damage := changed_output(candidate, marks.done):
                note = f"made again: {damage}"
                continue
            return Link(spec, identity, folder, "done", candidate, marks.done, _made_with(spec, marks.params))
        begun = begun or candidate
    if begun is not None:
        return Link(spec, identity, folder, "resume", begun, None, note)
    return Link(spec, identity, folder, "to do", None, None, note)


def _made_with(spec: StageSpec, params: dict[str, Any]) -> str:
    """What a finished stage was made with where it is asked for otherwise now: settings that change no result."""
    before, now = flat(params), free_of(spec.params)
    return ", ".join(
        f"made with {name}={json.dumps(before[name])}" for name in now if name in before and before[name] != now[name]
    )


def _candidates(run_folder: Path, name: str, identity: str) -> Iterable[Path]:
    yield run_folder / name
    kept = run_folder / KEPT
    if kept.is_dir():
        yield from sorted(kept.glob(f"{name}-{identity[:12]}*"))


def put_in_place(link: Link) -> None:
    """Make `link.folder` the folder of the link's identity: keep another's work aside, bring its own back.

    Raises:
        StorageError: a folder cannot be moved.
    """
    if link.source == link.folder:
        return
    if os.path.lexists(link.folder) and not _is_unused(link.folder):
        marks = read_marks(link.folder)
        keep_aside(link.folder, link.folder.parent / KEPT, f"{link.spec.name}-{(marks.identity or 'unknown')[:12]}")
    if link.source is not None:
        with storage_errors(link.source, "moving"):
            if link.folder.is_dir():
                shutil.rmtree(link.folder)
            os.replace(link.source, link.folder)
            sync_folder(link.folder.parent)


def _is_unused(folder: Path) -> bool:
    """Killed before its first mark was written: nothing in it but at most the unfinished write of one."""
    return folder.is_dir() and all(PARTIAL.fullmatch(entry.name) for entry in folder.iterdir())


def keep_aside(folder: Path, kept: Path, name: str) -> Path:
    """Move `folder` to `kept/name`, or `name.2`, `name.3` … where that is taken; returns the new place."""
    with storage_errors(folder, "moving aside"):
        kept.mkdir(parents=True, exist_ok=True)
        place, number = kept / name, 1
        while os.path.lexists(place):
            number += 1
            place = kept / f"{name}.{number}"
        os.replace(folder, place)
        sync_folder(kept)
        sync_folder(folder.parent)
    return place
