"""Judges a folder of logs by a rule set: one verdict per rule, each with the file and line it rests on.

Rules that ask something of a single log are in podium.bench.check_log; here is what is asked of the runs of an entry
together: one benchmark and system, enough runs, seeds, convergence, the system's description and the ledger.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from podium.bench.check_log import log_verdicts
from podium.bench.ledger import (
    Declaration,
    LaunchedRun,
    declarations,
    disagreement,
    ledger_of,
    read_ledger,
    without_success,
)
from podium.bench.mllog import read_log
from podium.bench.rcp import judge_convergence, reference_points
from podium.bench.rules import Ruleset, ruleset_versions
from podium.bench.runs import NO_RESULT, Run, result_files, rules_for, run_of, runs_of
from podium.bench.system_desc import empty_fields, missing_fields, read_description
from podium.bench.verdict import Outcome, Verdict, place
from podium.errors import PodiumError

SAME = ("submission_benchmark", "submission_division", "submission_org", "submission_platform", "global_batch_size")


@dataclass(slots=True)
class CheckedFolder:
    """The verdicts on one entry. It passes when none of them is `fail`."""

    folder: Path
    benchmark: str
    division: str
    ruleset: str
    runs: list[Run]
    verdicts: list[Verdict] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not any(verdict.outcome == "fail" for verdict in self.verdicts)

    def to_json(self) -> dict[str, Any]:
        return {
            "folder": str(self.folder),
            "benchmark": self.benchmark,
            "division": self.division,
            "ruleset": self.ruleset,
            "runs": len(self.runs),
            "converged": sum(run.converged for run in self.runs),
            "passed": self.passed,
            "verdicts": [verdict.to_json() for verdict in self.verdicts],
        }


def check_folder(folder: Path, ruleset: Ruleset | None = None) -> CheckedFolder:
    """Judge the logs of one entry; without `ruleset` by podium.bench.runs.rules_for.

    Raises:
        InputError, StorageError: the folder or a log cannot be read at all.
    """
    logs = [read_log(path) for path in result_files(folder)]
    rules, why = rules_for(logs, ruleset)
    runs = runs_of(logs, rules)
    first = runs[0]
    checked = CheckedFolder(folder, first.benchmark, first.division, rules.version, runs)
    add = checked.verdicts.append
    add(_ruleset_verdict(runs, rules, why))
    checked.verdicts += _result_verdicts(runs)
    checked.verdicts += _same_verdicts(runs)
    checked.verdicts += log_verdicts(runs, rules)
    known = first.benchmark in rules.benchmarks and first.division in rules.divisions
    if known:
        checked.verdicts += [_count_verdict(runs, rules), _success_verdict(folder, runs, rules)]
        add(_seed_verdict(runs, rules))
        if rules.divisions[first.division].reference_convergence and first.size == "full":
            add(_convergence_verdict(runs, rules))
    add(_stray_verdict(folder))
    add(_system_verdict(folder, first))
    checked.verdicts += _ledger_verdicts(folder, runs)
    return checked


def check_file(path: Path, ruleset: Ruleset | None = None) -> CheckedFolder:
    """Judge one log by itself: its lines, keys, clock and target, whatever the file is called.

    Raises:
        InputError, StorageError: the file cannot be read at all.
    """
    log = read_log(path)
    rules, why = rules_for([log], ruleset)
    run = run_of(log, rules)
    verdicts = [_ruleset_verdict([run], rules, why), *_result_verdicts([run]), *log_verdicts([run], rules)]
    return CheckedFolder(path, run.benchmark, run.division, rules.version, [run], verdicts)


def _ruleset_verdict(runs: Sequence[Run], rules: Ruleset, why: str) -> Verdict:
    for run in runs:
        event = run.log.first("benchmark_ruleset")
        if event is None:
            continue
        where = place(run.path, event.number)
        if event.value not in ruleset_versions():
            known = ", ".join(ruleset_versions())
            return Verdict("ruleset", "fail", f"the log names rule set {event.value!r}; known: {known}", where)
        if event.value != rules.version:
            return Verdict("ruleset", "warn", f"judged by {rules.version}, the log names {event.value}", where)
    return Verdict("ruleset", "pass", f"{rules.version} ({why})" if why else rules.version)


def _result_verdicts(runs: Sequence[Run]) -> Iterable[Verdict]:
    """Nothing to say where no log says of itself that it is no result."""
    for key, kind in NO_RESULT.items():
        found = [(run, event) for run in runs for event in run.log.of(key)]
        if found:
            run, event = found[0]
            said = f"{kind} ({str(event.value)[:40]}) is no entry"
            yield Verdict(key.replace("_", " "), "fail", said, place(run.path, event.number), len(found) - 1)


def _same_verdicts(runs: Sequence[Run]) -> Iterable[Verdict]:
    """All logs of an entry speak of the same benchmark, division, system and batch size."""
    for key in SAME:
        places = [(event.value, place(run.path, event.number)) for run in runs for event in run.log.of(key)]
        different = [(value, where) for value, where in places if value != places[0][0]]
        if different:
            values = f"{places[0][0]!r} and {different[0][0]!r}"
            yield Verdict(f"one {key}", "fail", f"{values} in one folder", different[0][1], len(different) - 1)
        elif places:
            yield Verdict(f"one {key}", "pass", str(places[0][0]))


def _count_verdict(runs: Sequence[Run], rules: Ruleset) -> Verdict:
    counting = rules.counting(runs[0].benchmark, runs[0].size)
    tier = "" if runs[0].size == "full" else f" (size {runs[0].size})"
    where = str(runs[0].path.parent)
    if len(runs) < counting.runs:
        return Verdict("runs", "fail", f"{len(runs)} of {counting.runs} runs{tier}", where)
    if len(runs) > counting.runs:
        extra = f"{len(runs)} runs, {counting.runs} needed{tier}: only runs declared beforehand may be more"
        return Verdict("runs", "warn" if ledger_of(runs[0].path.parent) else "fail", extra, where)
    return Verdict("runs", "pass", f"{len(runs)} of {counting.runs}{tier}")


def _success_verdict(folder: Path, runs: Sequence[Run], rules: Ruleset) -> Verdict:
    counting = rules.counting(runs[0].benchmark, runs[0].size)
    lost = without_success(folder)
    failed = [run for run in runs if not run.converged or run.path.resolve() in lost]
    if not failed:
        return Verdict("success", "pass", f"all {len(runs)} runs reached the target")
    said = f"{len(failed)} of {len(runs)} runs without success, {counting.may_fail} may be"
    outcome: Outcome = "warn" if len(failed) <= counting.may_fail else "fail"
    stop = failed[0].log.first("run_stop")
    return Verdict("success", outcome, said, place(failed[0].path, stop.number if stop else None), len(failed) - 1)


def _seed_verdict(runs: Sequence[Run], rules: Ruleset) -> Verdict:
    """Seeds are logged, whole numbers, and no two runs log the same one at the same line of the same program."""
    strict = rules.divisions[runs[0].division].seeds or any(run.log.first("ledger_entry") for run in runs)
    bad: Outcome = "fail" if strict else "warn"
    seen: dict[tuple[Any, ...], str] = {}
    for run in runs:
        events = run.log.of("seed")
        if not events:
            return Verdict("seeds", bad, "no seed is logged", str(run.path))
        for event in events:
            where = place(run.path, event.number)
            try:
                seed = int(event.value)
            except (TypeError, ValueError, OverflowError):
                return Verdict("seeds", bad, f"{str(event.value)[:40]!r} is no whole number", where)
            spot = (str(event.metadata.get("file")), str(event.metadata.get("lineno")), seed)
            if seen.setdefault(spot, run.name) != run.name:
                return Verdict("seeds", bad, f"{run.name} has seed {seed} as {seen[spot]} has", where)
    return Verdict("seeds", "pass", f"{len({seed for *_, seed in seen})} different seeds")


def _convergence_verdict(runs: Sequence[Run], rules: Ruleset) -> Verdict:
    name, rule = "reference convergence", rules.benchmark(runs[0].benchmark)
    where = str(runs[0].path.parent)
    if not rule.reference_convergence:
        return Verdict(name, "pass", f"not asked of {runs[0].benchmark}")
    batch = runs[0].batch
    if batch is None:
        return Verdict(name, "fail", "no global_batch_size to compare by", where)
    if len(runs) < rule.runs:
        return Verdict(name, "warn", f"not judged: {len(runs)} of {rule.runs} runs", where)
    unknown = next((run for run in runs if run.converged and run.epochs is None), None)
    if unknown:
        said = f"{unknown.name} does not say how many {rule.epoch_unit} it was trained for when it converged"
        return Verdict(name, "fail", said, str(unknown.path))
    epochs = [run.epochs if run.converged and run.epochs is not None else math.inf for run in runs]
    if sum(math.isinf(value) for value in epochs) > rule.drop:
        return Verdict(name, "fail", "too few runs converged to compare", where)
    points = reference_points(rules, runs[0].benchmark)
    found = judge_convergence(batch, epochs, points, runs=rule.runs, drop=rule.drop, slack=rule.reference_slack)
    if found.point is None:
        said = f"batch {batch:g} is {found.how}: supply a reference convergence point"
        return Verdict(name, "fail", said, where)
    said = f"mean {found.mean:g} {rule.epoch_unit}, floor {found.point.floor:.6g} ({found.how})"
    outcome: Outcome = "pass" if found.outcome == "pass" else "fail"
    return Verdict(name, outcome, said, "" if outcome == "pass" else where)


def _stray_verdict(folder: Path) -> Verdict:
    logs = set(result_files(folder))
    allowed = {"scaling.json", "package_checker_params", "power", "ledger.jsonl"}
    stray = sorted(path.name for path in folder.iterdir() if path not in logs and path.name not in allowed)
    if stray:
        return Verdict("folder", "warn", f"{stray[0]} is no result_<i>.txt", str(folder / stray[0]), len(stray) - 1)
    return Verdict("folder", "pass", f"{len(logs)} logs, nothing else")


def _system_verdict(folder: Path, run: Run) -> Verdict:
    """`systems/<system>.json` of the organisation the folder lies in."""
    path = folder.resolve().parent.parent.parent / "systems" / f"{folder.resolve().parent.name}.json"
    if not path.is_file():
        return Verdict("system", "warn", f"no description systems/{path.name} beside results/", str(folder))
    try:
        description = read_description(path)
    except PodiumError as error:
        return Verdict("system", "fail", error.message, str(path))
    if missing := missing_fields(description):
        return Verdict("system", "fail", f"{missing[0]} is missing", str(path), len(missing) - 1)
    # One "closed" of a published round is spelt close.
    if not str(description["division"]).lower().startswith(run.division[:5]):
        return Verdict(
            "system", "fail", f"division {description['division']!r}, the logs say {run.division!r}", str(path)
        )
    if empty := empty_fields(description):
        return Verdict("system", "warn", f"{empty[0]} says nothing", str(path), len(empty) - 1)
    return Verdict("system", "pass", str(description["system_name"]))


# -- the ledger --------------------------------------------------------------------------------------------------


def _ledger_verdicts(folder: Path, runs: Sequence[Run]) -> list[Verdict]:
    """Whether the ledger beside these logs is whole, and whether it and the logs tell of the same runs."""
    path = ledger_of(folder)
    tied = next((run for run in runs if run.log.first("ledger_entry")), None)
    if path is None:
        if tied is not None:
            return [
                Verdict("ledger", "fail", "the log names a ledger entry, but there is no ledger.jsonl", str(tied.path))
            ]
        return []
    entries, faults = read_ledger(path)
    if faults:
        return [Verdict("ledger", "fail", faults[0].message, place(path, faults[0].line), len(faults) - 1)]
    root, ours = path.parent, {run.path.resolve(): run for run in runs}
    mine = [
        declared
        for declared in declarations(entries)
        if any((root / launched.log).resolve().parent == folder.resolve() for launched in declared.launched)
    ]
    verdicts = [Verdict("ledger", "pass", f"{len(entries)} entries, head {entries[-1].hash[:12] if entries else '-'}")]
    judges: tuple[Callable[..., Verdict], ...] = (_all_declared, _all_there, _all_agree)
    verdicts += [judge(path, declared, root) for declared in mine for judge in judges]
    known = {(root / launched.log).resolve(): launched for declared in mine for launched in declared.launched}
    verdicts.append(_all_known(path, ours, known))
    if len(mine) > 1:
        said = f"this entry was declared {len(mine)} times; every declaration counts, not the best"
        verdicts.append(Verdict("declared once", "fail", said, place(path, mine[1].line)))
    return verdicts


def _all_declared(path: Path, declared: Declaration, root: Path) -> Verdict:
    said = f"{len(declared.launched)} of {declared.runs} declared runs were launched"
    if len(declared.launched) < declared.runs:
        return Verdict("declared runs", "fail", said, place(path, declared.line))
    return Verdict("declared runs", "pass", said)


def _all_there(path: Path, declared: Declaration, root: Path) -> Verdict:
    """Every launched run has its log, unchanged since it ended."""
    for launched in declared.launched:
        log = root / launched.log
        if launched.sha256 is None and launched.status is None:
            said = f"run {launched.number} was launched and never ended: it counts as failed"
            return Verdict("launched runs", "warn", said, place(path, launched.line))
        if not log.is_file():
            return Verdict(
                "launched runs", "fail", f"{launched.log} was launched and is missing", place(path, launched.line)
            )
        if launched.sha256 and hashlib.sha256(log.read_bytes()).hexdigest() != launched.sha256:
            return Verdict("launched runs", "fail", "the log was changed after the run ended", str(log))
    return Verdict("launched runs", "pass", f"{len(declared.launched)} logs, as they were written")


def _all_agree(path: Path, declared: Declaration, root: Path) -> Verdict:
    """The ledger and the logs tell of the same ends."""
    for launched in declared.launched:
        log = root / launched.log
        if log.is_file() and (why := disagreement(launched, read_log(log))):
            return Verdict("ends of runs", "fail", f"run {launched.number}: {why}", place(path, launched.line))
    return Verdict("ends of runs", "pass", "the ledger and the logs agree")


def _all_known(path: Path, runs: dict[Path, Run], known: dict[Path, LaunchedRun]) -> Verdict:
    for log, run in runs.items():
        launched, event = known.get(log), run.log.first("ledger_entry")
        if launched is None:
            return Verdict("logs in the ledger", "fail", "no launch of this log is on record", str(run.path))
        if event is None or event.value != launched.hash:
            where = place(run.path, event.number if event else None)
            return Verdict("logs in the ledger", "fail", "the log does not name the launch of the ledger", where)
    return Verdict("logs in the ledger", "pass", f"{len(runs)} logs, each launched")
