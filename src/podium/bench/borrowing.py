"""Hyper-parameter borrowing: were another submitter's hyper-parameters taken over as the review period allows?

All of them as a group; only batch sizes and the batch-norm span may differ. System and software stay as they were.
(MLPerf Training v1.1 rules, "Hyperparameter Borrowing".) Knows runs and system descriptions; the rule set says which
keys are hyper-parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from podium.bench.rules import Ruleset
from podium.bench.runs import Run, read_runs
from podium.bench.system_desc import read_description
from podium.bench.verdict import Verdict, place

NOT_HYPERPARAMETERS = {
    "weights_initialization",
    "seed",
    "train_samples",
    "eval_samples",
    "block_start",
    "block_stop",
    "eval_accuracy",
}
SCALE = ("number_of_nodes", "accelerators_per_node", "host_processors_per_node", "system_name", "hw_notes", "sw_notes")


def hyperparameters(run: Run, rules: Ruleset) -> dict[str, Any]:
    """Key -> value of every hyper-parameter that the closed division asks this benchmark for."""
    optimizer = run.log.value("opt_name")
    asked = rules.key_rules(run.benchmark, "closed", optimizer if isinstance(optimizer, str) else None)
    common = {rule.key for rule in rules.events} | NOT_HYPERPARAMETERS | set(rules.borrowing.never)
    return {rule.key: run.log.value(rule.key) for rule in asked if rule.key not in common}


def check_borrowing(before: Path, after: Path, lender: Path, rules: Ruleset) -> list[Verdict]:
    """Verdicts on `after`, a resubmission of `before` with the hyper-parameters of `lender` (folders of logs)."""
    first = {name: read_runs(folder, rules)[0] for name, folder in (("b", before), ("a", after), ("l", lender))}
    old, new, lent = first["b"], first["a"], first["l"]
    benchmarks = {old.benchmark, new.benchmark, lent.benchmark}
    if len(benchmarks) > 1 or new.benchmark not in rules.benchmarks:
        said = "three entries of one benchmark are needed, found " + ", ".join(sorted(map(str, benchmarks)))
        return [Verdict("borrowing: benchmark", "fail", said, str(after))]
    verdicts = [Verdict("borrowing: benchmark", "pass", new.benchmark)]
    wanted, found = hyperparameters(lent, rules), hyperparameters(new, rules)
    for key, value in wanted.items():
        same = found.get(key) == value
        if not same and key not in rules.borrowing.free:
            event = new.log.first(key)
            where = place(new.path, event.number if event else None)
            said = f"{key} is {found.get(key)!r}, the lender has {value!r}: all are replaced as a group"
            verdicts.append(Verdict("borrowing: as a group", "fail", said, where))
    if len(verdicts) == 1:
        free = [key for key in rules.borrowing.free if key in wanted and found.get(key) != wanted[key]]
        apart = f", apart from {', '.join(free)}" if free else ""
        said = f"{len(wanted)} hyper-parameters as the lender has them{apart}"
        verdicts.append(Verdict("borrowing: as a group", "pass", said))
    return [*verdicts, _same_system(before, after)]


def _same_system(before: Path, after: Path) -> Verdict:
    descriptions: list[Mapping[str, Any]] = []
    for folder in (before, after):
        path = folder.resolve().parent.parent.parent / "systems" / f"{folder.resolve().parent.name}.json"
        if not path.is_file():
            return Verdict("borrowing: same system", "warn", "not judged: no system description", str(path))
        descriptions.append(read_description(path))
    old, new = descriptions
    changed = [key for key in old if key not in SCALE and old[key] != new.get(key)]
    if changed:
        said = f"{changed[0]} was {old[changed[0]]!r} and is {new.get(changed[0])!r}"
        return Verdict("borrowing: same system", "fail", said, str(after), len(changed) - 1)
    scaled = [key for key in SCALE[:3] if old.get(key) != new.get(key)]
    if scaled:
        said = "the scale changed: allowed for the largest entry of a system, if larger or faster"
        return Verdict("borrowing: same system", "warn", said, str(after))
    return Verdict("borrowing: same system", "pass", str(new.get("system_name", "")))
