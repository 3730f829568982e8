"""Ranks entries and compares rounds. Pure functions of entries; what is compared with what is always said.

Closed and open entries are never in one list. A single machine is `nodes <= max_nodes` and
`accelerators <= max_accelerators`; everything else is a cluster. Improvement is given in both conventions, which
differ and are both in use: time cut = 1 - new / old, rate gain = old / new - 1.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from podium.bench.published import OWN, Entry
from podium.bench.rules import load_ruleset

Category = Literal["single", "cluster"]
CATEGORIES: tuple[Category, ...] = ("single", "cluster")


@dataclass(frozen=True, slots=True)
class Definition:
    """What a single machine is, and which classes of availability are ranked."""

    max_nodes: int = 1
    max_accelerators: int = 16
    availability: tuple[str, ...] = ("available", "cloud", "preview", "research")

    def category(self, entry: Entry) -> Category:
        single = entry.nodes <= self.max_nodes and entry.accelerators <= self.max_accelerators
        return "single" if single else "cluster"

    def words(self) -> str:
        nodes = "1 node" if self.max_nodes == 1 else f"up to {self.max_nodes} nodes"
        classes = ", ".join(self.availability)
        return f"single machine: {nodes} and up to {self.max_accelerators} accelerators; ranked: {classes}"


@dataclass(frozen=True, slots=True)
class Improvement:
    """`old` to `new` minutes, in both conventions."""

    old: Entry
    new: Entry

    @property
    def time_cut(self) -> float:
        return 1 - _known(self.new) / _known(self.old)

    @property
    def rate_gain(self) -> float:
        return _known(self.old) / _known(self.new) - 1


@dataclass(frozen=True, slots=True)
class ScalePoint:
    """One size of a system; `efficiency` is against the smallest size: (t0 * n0) / (t * n)."""

    entry: Entry
    speedup: float
    efficiency: float


def tasks_of(entries: Iterable[Entry]) -> tuple[str, ...]:
    """The tasks that a scoreboard of `entries` shows: the benchmarks of the round, then whatever else was run."""
    official = tuple(load_ruleset().benchmarks)
    return official + tuple(sorted({entry.task for entry in entries} - set(official)))


def _known(entry: Entry) -> float:
    if entry.minutes is None:
        raise ValueError(f"{entry.submitter} {entry.system} {entry.task}: no figure")
    return entry.minutes


def ranked(entries: Iterable[Entry], task: str, category: Category, division: str, by: Definition) -> list[Entry]:
    """Entries of one list, fastest first; those without a figure or with a note are left out."""
    chosen = [
        entry
        for entry in entries
        if entry.task == task
        and entry.division == division
        and entry.availability in by.availability
        and by.category(entry) == category
        and entry.minutes is not None
        and not entry.note
        and entry.size == "full"
    ]
    return sorted(chosen, key=lambda entry: (_known(entry), entry.submitter, entry.system))


def unranked(entries: Iterable[Entry], division: str, by: Definition) -> list[tuple[Entry, str]]:
    """Entries that stand in no list, with the reason."""
    found = []
    for entry in entries:
        if entry.division != division or entry.round == OWN:
            continue
        if entry.availability not in by.availability:
            found.append((entry, f"class {entry.availability} is not ranked"))
        elif entry.note:
            found.append((entry, entry.note))
        elif entry.minutes is None:
            found.append((entry, "no figure: logs absent from the copy that was read"))
    return found


def winners(entries: Sequence[Entry], division: str, by: Definition) -> dict[tuple[str, Category], Entry]:
    """The fastest entry of every list that has one."""
    found = {}
    for task in tasks_of(entries):
        for category in CATEGORIES:
            rows = ranked(entries, task, category, division, by)
            if rows:
                found[task, category] = rows[0]
    return found


def first_places(best: dict[tuple[str, Category], Entry]) -> list[tuple[str, int, int]]:
    """Submitter, first places among single machines, among clusters; most first."""
    count: dict[str, Counter[Category]] = defaultdict(Counter)
    for (_, category), entry in best.items():
        count[entry.submitter][category] += 1
    rows = [(submitter, places["single"], places["cluster"]) for submitter, places in count.items()]
    return sorted(rows, key=lambda row: (-row[1] - row[2], row[0]))


def best_against_best(
    new: Sequence[Entry], old: Sequence[Entry], division: str, by: Definition
) -> dict[tuple[str, Category], Improvement]:
    """The fastest of a list against the fastest of the same list a round before, whosoever it was."""
    before, after = winners(old, division, by), winners(new, division, by)
    return {key: Improvement(before[key], after[key]) for key in after if key in before}


def same_system(new: Sequence[Entry], old: Sequence[Entry], division: str) -> list[Improvement]:
    """Entries against the same submitter's of the round before: same task, box, nodes and accelerators.

    Where several fit (two host variants of one box), the fastest of either side is taken.
    """
    best: dict[tuple[Any, ...], Entry] = {}
    for entry in (*old, *new):
        if entry.division != division or entry.minutes is None or entry.note:
            continue
        key = (entry.round, *_scale(entry))
        if key not in best or _known(entry) < _known(best[key]):
            best[key] = entry
    rounds = ({entry.round for entry in old} or {""}).pop(), ({entry.round for entry in new} or {""}).pop()
    pairs = [
        Improvement(best[rounds[0], *key[1:]], entry)
        for key, entry in best.items()
        if key[0] == rounds[1] and (rounds[0], *key[1:]) in best
    ]
    return sorted(pairs, key=lambda pair: -pair.time_cut)


def _scale(entry: Entry) -> tuple[Any, ...]:
    # NVIDIA's names end with the release of the software, which is what changes between rounds.
    box = re.sub(r"_ngc\d.*", "", entry.system)
    return entry.submitter, entry.task, entry.nodes, entry.accelerators, accelerator_kind(entry.accelerator), box


def accelerator_kind(accelerator: str) -> str:
    """The accelerator's name without its power limit."""
    return accelerator.split(" (")[0]


def scaling(entries: Sequence[Entry], task: str, division: str, submitter: str) -> dict[str, list[ScalePoint]]:
    """Kind of accelerator -> sizes of one submitter's system on one task, smallest first.

    Of several entries at one size the fastest counts; kinds with one size only are left out.
    """
    sizes: dict[str, dict[int, Entry]] = defaultdict(dict)
    for entry in entries:
        fits = entry.task == task and entry.division == division and entry.submitter == submitter and not entry.note
        if not fits or entry.minutes is None or not entry.accelerators:
            continue
        known = sizes[accelerator_kind(entry.accelerator)].get(entry.accelerators)
        if known is None or _known(entry) < _known(known):
            sizes[accelerator_kind(entry.accelerator)][entry.accelerators] = entry
    curves = {}
    for kind, by_size in sizes.items():
        if len(by_size) < 2:
            continue
        rows = [by_size[number] for number in sorted(by_size)]
        first = rows[0]
        curves[kind] = [
            ScalePoint(
                entry,
                _known(first) / _known(entry),
                _known(first) * first.accelerators / (_known(entry) * entry.accelerators),
            )
            for entry in rows
        ]
    return curves


def host_ratios(entries: Sequence[Entry], division: str) -> list[tuple[str, str, str]]:
    """Submitter, host-processor : accelerator ratio, tasks; it can differ by task on one kind of machine."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for entry in entries:
        if entry.division == division and entry.task not in found[entry.submitter, entry.ratio]:
            found[entry.submitter, entry.ratio].append(entry.task)
    order, whole = tasks_of(entries), set(tasks_of(()))

    def words(tasks: list[str]) -> str:
        return "all" if set(tasks) == whole else ", ".join(task for task in order if task in tasks)

    return sorted((submitter, ratio, words(tasks)) for (submitter, ratio), tasks in found.items())
