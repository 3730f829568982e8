"""One scoreboard: a round beside the one before it, and one's own runs, under a definition that is stated.

Gathers what podium.bench.scoreboard computes; the terminal and the page show the same object.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from podium.bench.published import OWN, Entry
from podium.bench.score_folder import LABEL
from podium.bench.scoreboard import (
    CATEGORIES,
    Category,
    Definition,
    Improvement,
    ScalePoint,
    best_against_best,
    first_places,
    host_ratios,
    ranked,
    same_system,
    scaling,
    tasks_of,
    unranked,
    winners,
)


@dataclass(frozen=True, slots=True)
class DivisionBoard:
    """Everything about one division; the other is never mixed in."""

    division: str
    lists: dict[tuple[str, Category], list[Entry]]
    against_best: dict[tuple[str, Category], Improvement]
    first_places: list[tuple[str, int, int]]
    same_system: list[Improvement]
    scaling: list[tuple[str, str, str, list[ScalePoint]]]  # submitter, task, kind, points
    host_ratios: list[tuple[str, str, str]]
    unranked: list[tuple[Entry, str]]


@dataclass(frozen=True, slots=True)
class Board:
    round: str
    against: str
    definition: Definition
    tasks: tuple[str, ...]
    divisions: tuple[DivisionBoard, ...]
    own: tuple[Entry, ...]


def build_board(
    new: Sequence[Entry],
    old: Sequence[Entry],
    *,
    own: Sequence[Entry] = (),
    definition: Definition | None = None,
    tasks: Sequence[str] = (),
    divisions: Sequence[str] = ("closed", "open"),
) -> Board:
    """The scoreboard of `new` against `old`. Own full-size runs stand in the lists, marked; smaller ones never do.

    `tasks` are those that are shown; without them all of the round and all that were run.
    """
    by, tasks = definition or Definition(), tuple(tasks) or tasks_of([*new, *old, *own])
    shown = [entry for entry in new if entry.task in tasks]
    before = [entry for entry in old if entry.task in tasks]
    mine = [entry for entry in own if entry.task in tasks]
    boards = tuple(_division(division, shown, before, mine, by, tasks) for division in divisions)
    names = [({entry.round for entry in side} or {""}).pop() for side in (new, old)]
    return Board(names[0], names[1], by, tasks, boards, tuple(mine))


def _division(
    division: str,
    new: list[Entry],
    old: list[Entry],
    own: list[Entry],
    by: Definition,
    tasks: Sequence[str],
) -> DivisionBoard:
    submitters = sorted({entry.submitter for entry in new if entry.division == division})
    curves = [
        (submitter, task, kind, points)
        for submitter in submitters
        for task in tasks
        for kind, points in scaling(new, task, division, submitter).items()
    ]
    return DivisionBoard(
        division=division,
        lists={
            (task, category): ranked([*new, *own], task, category, division, by)
            for task in tasks
            for category in CATEGORIES
        },
        against_best=best_against_best(new, old, division, by),
        first_places=first_places(winners(new, division, by)),
        same_system=same_system(new, old, division),
        scaling=curves,
        host_ratios=host_ratios(new, division),
        unranked=unranked(new, division, by),
    )


def board_json(board: Board, top: int | None = None) -> dict[str, Any]:
    """The scoreboard for programs; shares are fractions (0.181 is 18.1 %)."""
    return {
        "round": board.round,
        "against": board.against,
        "definition": {**asdict(board.definition), "words": board.definition.words()},
        "divisions": {one.division: _division_json(one, top) for one in board.divisions},
        "own": [{**_entry_json(entry), "size": entry.size, "note": entry.note} for entry in board.own],
    }


def _division_json(one: DivisionBoard, top: int | None) -> dict[str, Any]:
    return {
        "lists": [
            {"task": task, "category": category, "entries": [_entry_json(entry) for entry in rows[:top]]}
            for (task, category), rows in one.lists.items()
        ],
        "improvement": [
            {"task": task, "category": category, **_improvement_json(found)}
            for (task, category), found in one.against_best.items()
        ],
        "first_places": [
            {"submitter": submitter, "single": single, "cluster": cluster}
            for submitter, single, cluster in one.first_places
        ],
        "same_system": [_improvement_json(found) for found in one.same_system],
        "scaling": [
            {
                "submitter": submitter,
                "task": task,
                "accelerator": kind,
                "points": [
                    {
                        "accelerators": point.entry.accelerators,
                        "minutes": point.entry.minutes,
                        "speedup": round(point.speedup, 4),
                        "efficiency": round(point.efficiency, 4),
                    }
                    for point in points
                ],
            }
            for submitter, task, kind, points in one.scaling
        ],
        "host_ratios": [
            {"submitter": submitter, "ratio": ratio, "tasks": tasks} for submitter, ratio, tasks in one.host_ratios
        ],
        "unranked": [{**_entry_json(entry), "reason": reason} for entry, reason in one.unranked],
    }


def _entry_json(entry: Entry) -> dict[str, Any]:
    found = {
        "submitter": entry.submitter,
        "system": entry.system,
        "task": entry.task,
        "minutes": entry.minutes,
        "nodes": entry.nodes,
        "accelerators": entry.accelerators,
        "accelerator": entry.accelerator,
        "host_processors": entry.host_processors,
        "ratio": entry.ratio,
        "availability": entry.availability,
        "source": entry.source,
        "round": entry.round,
    }
    return {**found, "label": LABEL} if entry.round == OWN else found


def _improvement_json(found: Improvement) -> dict[str, Any]:
    return {
        "system": found.new.system,
        "submitter": found.new.submitter,
        "task": found.new.task,
        "old_submitter": found.old.submitter,
        "old_system": found.old.system,
        "old_minutes": found.old.minutes,
        "minutes": found.new.minutes,
        "time_cut": round(found.time_cut, 4),
        "rate_gain": round(found.rate_gain, 4),
    }
