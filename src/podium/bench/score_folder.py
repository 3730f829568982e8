"""The score of a folder of logs, by the run counts of its rule set and, where there is one, its ledger.

With a ledger the declared runs are scored in launch order: a run that was launched and left no whole log, or whose
success is not on record, failed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from podium.bench.ledger import declarations, ledger_of, read_ledger, without_success
from podium.bench.mllog import read_log
from podium.bench.rules import Ruleset, load_ruleset
from podium.bench.runs import NO_RESULT, Run, named_ruleset, result_files, rules_for, runs_of
from podium.bench.score import CONFIDENCE, Score, score_runs
from podium.errors import InputError

LABEL = "MLPerf-style, unverified"


@dataclass(frozen=True, slots=True)
class FolderScore:
    """`minutes`: of each scored run in launch order, None for one without success; `size`: full, small or smoke."""

    folder: Path
    benchmark: str
    division: str
    system: str
    size: str
    ruleset: str
    minutes: tuple[float | None, ...]
    score: Score

    def to_json(self) -> dict[str, Any]:
        """Minutes rounded to a millisecond; None where there is no figure."""
        found = self.score
        interval = found.interval
        return {
            "benchmark": self.benchmark,
            "ruleset": self.ruleset,
            "runs": found.runs,
            "converged": found.converged,
            "score_minutes": _rounded(found.score),
            "median_minutes": _rounded(found.median),
            "low_minutes": _rounded(interval.low if interval else None),
            "high_minutes": _rounded(interval.high if interval else None),
            "interval": f"{CONFIDENCE:.0%} bootstrap of the olympic mean",
            "fastest_minutes": _rounded(found.fastest),
            "slowest_minutes": _rounded(found.slowest),
            "spread": round(found.spread, 6) if found.spread is not None else None,
            "runs_needed": found.needed,
            "dropped_each_side": found.drop,
            "windows": [_rounded(value) for value in found.windows],
            "window": found.window,
            "valid": not found.reasons and found.score is not None,
            "reasons": list(found.reasons),
            "division": self.division,
            "system": self.system,
            "size": self.size,
            "run_minutes": [_rounded(value) for value in self.minutes],
            "label": LABEL,
            "folder": str(self.folder),
        }


def _rounded(value: float | None) -> float | None:
    # Milliseconds of a minute; JSON has no infinity, a window with too many failed runs has no score.
    return round(value, 6) if value is not None and value != float("inf") else None


def score_folder(folder: Path, ruleset: Ruleset | None = None) -> FolderScore:
    """Score the runs of one benchmark on one system.

    Raises:
        InputError: no such folder, or logs of several benchmarks, or of one that the rule set does not have.
    """
    logs = [read_log(path) for path in result_files(folder)]
    named = named_ruleset(logs)
    # A rule set that is named and not shipped is refused: by another one the score would be wrong.
    rules, _ = rules_for(logs, ruleset or (None if named is None else load_ruleset(str(named))))
    runs = runs_of(logs, rules)
    silent = [run for run in runs if not run.benchmark]
    if silent:
        raise InputError(
            f"{silent[0].path}: names no benchmark (submission_benchmark)",
            "podium bench check says what is wrong with it",
        )
    # Of all that a log says: two of them may have been written into one.
    benchmarks = {str(event.value) for run in runs for event in run.log.of("submission_benchmark")}
    if len(benchmarks) > 1:
        named = ", ".join(sorted(map(repr, benchmarks)))
        raise InputError(
            f"{folder}: logs of several benchmarks: {named}", "one folder holds one benchmark on one system"
        )
    first = runs[0]
    counting = rules.counting(first.benchmark, first.size)
    marked = [f"{run.name} is {kind}" for run in runs for key, kind in NO_RESULT.items() if run.log.first(key)]
    lost = without_success(folder)
    minutes = tuple(
        run.minutes if run and run.converged and run.path.resolve() not in lost else None
        for run in declared_runs(folder, runs)
    )
    found = score_runs(minutes, needed=counting.runs, drop=counting.drop, may_fail=counting.may_fail)
    return FolderScore(
        folder=folder,
        benchmark=first.benchmark,
        division=first.division,
        system=str(first.log.value("submission_platform") or folder.resolve().parent.name),
        size=first.size,
        ruleset=rules.version,
        minutes=minutes,
        score=replace(found, reasons=(*marked, *found.reasons)),
    )


def declared_runs(folder: Path, runs: list[Run]) -> list[Run | None]:
    """The runs that count, in launch order: those of the ledger, None for one whose log is gone; else all there are."""
    path = ledger_of(folder)
    entries, faults = read_ledger(path) if path else ([], [])
    if path is None or faults:
        return list(runs)
    by_path = {run.path.resolve(): run for run in runs}
    launched = [
        (path.parent / one.log).resolve()
        for declared in declarations(entries)
        for one in declared.launched
        if (path.parent / one.log).resolve().parent == folder.resolve()
    ]
    if not set(by_path) <= set(launched):
        return list(runs)
    return [by_path.get(log) for log in launched]
