"""What the rules ask of each log by itself: its lines, its keys, its clock, its target.

Each rule is asked of all logs of an entry and answered in one verdict: the first place where it fails, and how many
more there are. A rule that only an unfinished run breaks (no run_stop, target not reached) is still broken: how many
runs may be without success is the business of podium.bench.check.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from podium.bench.mllog import Event, Log
from podium.bench.rules import EvaluationRule, KeyRule, Ruleset
from podium.bench.runs import Run, evaluations, target_of
from podium.bench.verdict import Outcome, Verdict, place

MILESTONES = ("init_start", "init_stop", "run_start", "run_stop")


@dataclass(frozen=True, slots=True)
class _Finding:
    outcome: Outcome
    message: str
    number: int | None = None


def log_verdicts(runs: Sequence[Run], rules: Ruleset) -> list[Verdict]:
    """One verdict per rule over all `runs`."""
    verdicts = [
        _gather("lines", runs, _line_findings, f"{sum(len(run.log.events) for run in runs)} events"),
        _gather("clock", runs, _clock_findings, "never backwards"),
    ]
    first = runs[0]
    if first.benchmark not in rules.benchmarks or first.division not in rules.divisions:
        return [*verdicts, *_unknown(first, rules)]
    optimizer = first.log.value("opt_name")
    key_rules = rules.key_rules(first.benchmark, first.division, optimizer if isinstance(optimizer, str) else None)
    for key in dict.fromkeys(rule.key for rule in key_rules):
        own = [rule for rule in key_rules if rule.key == key]
        verdicts.append(_gather(key, runs, lambda run, own=own: _key_findings(run.log, own), _found(runs, key)))
    if first.division == "closed":
        wanted = rules.tensors(first.benchmark)
        if wanted:
            verdicts.append(_gather("tensors", runs, lambda run: _tensor_findings(run, wanted, rules), "all reported"))
        if rule := rules.benchmark(first.benchmark).evaluation:
            found = _gather("evaluation points", runs, lambda run: _evaluation_findings(run, rule), rule.words)
            verdicts.append(found)
    verdicts.append(_gather("initialisation", runs, lambda run: _initialisation_findings(run, rules), "in time"))
    verdicts.append(_gather("target", runs, lambda run: _target_findings(run, rules), _target_words(first, rules)))
    return verdicts


def _gather(rule: str, runs: Sequence[Run], find: Callable[[Run], Iterable[_Finding]], fine: str) -> Verdict:
    found = [(finding, run) for run in runs for finding in find(run)]
    worst = [pair for pair in found if pair[0].outcome == "fail"] or found
    if not worst:
        return Verdict(rule, "pass", fine)
    finding, run = worst[0]
    return Verdict(rule, finding.outcome, finding.message, place(run.path, finding.number), len(found) - 1)


def _unknown(run: Run, rules: Ruleset) -> list[Verdict]:
    """A log whose benchmark or division no rule is written for: say so, and ask nothing more."""
    verdicts = []
    asked = (("submission_benchmark", rules.benchmarks), ("submission_division", rules.divisions))
    for key, known in asked:
        event = run.log.first(key)
        if event is None:
            verdicts.append(Verdict(key, "fail", "exactly one is needed, found none", str(run.path)))
        elif not isinstance(event.value, str) or event.value not in known:
            said = f"{str(event.value)[:40]!r} must be one of {', '.join(known)}"
            verdicts.append(Verdict(key, "fail", said, place(run.path, event.number)))
    return verdicts


def _found(runs: Sequence[Run], key: str) -> str:
    values = [event.value for run in runs for event in run.log.of(key)]
    if not values:
        return "not asked for"
    different = list(dict.fromkeys(str(value) for value in values))
    count = f"{len(values)} in {len(runs)} logs" if len(runs) > 1 or len(values) > 1 else "1"
    return f"{count}: {different[0][:40]}" if len(different) == 1 and values[0] is not None else count


# -- findings in one log -----------------------------------------------------------------------------------------


def _line_findings(run: Run) -> Iterator[_Finding]:
    log = run.log
    if not log.events and not log.faults:
        yield _Finding("fail", "no MLLOG line in the file")
    for fault in log.faults:
        torn = log.cut_off and fault.number == log.lines
        yield _Finding("fail", "the log is cut off in the middle of a line" if torn else fault.message, fault.number)


def _clock_findings(run: Run) -> Iterator[_Finding]:
    """Time never goes backwards within what one process wrote.

    Processes of one file have clocks of their own and their lines are mixed, so that nothing follows from the order of
    two of them; the official checker asks nothing of it either. Only the run's own clock, run_start to run_stop, counts
    whoever wrote it. Where no line says who wrote it and some are out of order, several processes may have: a warning.
    """
    start, stop = run.log.first("run_start"), run.log.first("run_stop")
    if start and stop and stop.time_ms < start.time_ms:
        said = f"the clock runs backwards: run_stop {start.time_ms - stop.time_ms:g} ms before run_start"
        yield _Finding("fail", said, stop.number)
    writers: dict[str, list[Event]] = {}
    several = _several_writers(run.log)
    for event in run.log.events:
        writers.setdefault(event.writer, []).append(event)
    for writer, events in writers.items():
        marks = [event for event in events if event.key in MILESTONES]
        for before, after in pairwise(marks):
            if after.time_ms < before.time_ms and (before, after) != (start, stop):
                late = before.time_ms - after.time_ms
                said = f"the clock runs backwards: {after.key} {late:g} ms before {before.key}"
                yield _Finding("fail", said, after.number)
        latest: Event | None = None
        for event in events:
            if latest and event.time_ms < latest.time_ms and event not in marks:
                late = latest.time_ms - event.time_ms
                inside = start and stop and start.number <= event.number <= stop.number
                clocked = inside and event.key.startswith(("eval_", "epoch_", "block_"))
                alone = writer or not several
                said = f"the clock runs backwards by {late:g} ms at {event.key}"
                yield _Finding("fail" if clocked and alone and late > 1000 else "warn", said, event.number)
            if latest is None or event.time_ms > latest.time_ms:
                latest = event


def _several_writers(log: Log) -> bool:
    """Whether an unlabelled log shows that more than one process wrote it: one place of a program speaks twice of what
    is said once in a process, or the lines are mixed with labelled ones."""
    if len({event.writer for event in log.events}) > 1:
        return True
    once = (*MILESTONES, "seed", "global_batch_size", "submission_benchmark")
    return any(len(log.of(key)) > 1 for key in once)


def _key_findings(log: Log, own: Sequence[KeyRule]) -> Iterator[_Finding]:
    for rule in own:
        bad: Outcome = "fail" if rule.level == "error" else "warn"
        if any(not condition.holds(log.value(key)) for key, condition in rule.when.items()):
            continue
        events = log.of(rule.key)
        yield from _count_findings(log, rule, events, bad)
        for event in events:
            if why := rule.value.fault(event.value) or _expected_fault(log, rule, event):
                yield _Finding(bad, f"{str(event.value)[:60]} {why}", event.number)
            yield from (_Finding(bad, why, event.number) for why in _metadata_faults(rule, event.metadata))
            yield from _order_findings(log, rule, event, bad)


def _expected_fault(log: Log, rule: KeyRule, event: Event) -> str:
    """Why the value is not the one that follows from others; empty where it is, or where nothing is asked."""
    if rule.expected is None:
        return ""
    wanted = rule.expected.value(log.value)
    if wanted is None:
        return "cannot be judged: a key it follows from is missing or no number"
    if isinstance(event.value, bool) or not isinstance(event.value, int | float):
        return "must be a number"
    return "" if math.isclose(event.value, wanted, rel_tol=1e-12) else f"must be {wanted:g}"


def _metadata_faults(rule: KeyRule, metadata: dict[str, Any]) -> Iterator[str]:
    for name, condition in rule.metadata.items():
        if name not in metadata:
            yield f"metadata {name} is missing"
        elif why := condition.fault(metadata[name]):
            yield f"metadata {name} {why}"
    if rule.metadata_any and not any(name in metadata for name in rule.metadata_any):
        yield f"metadata {' or '.join(rule.metadata_any)} is missing"
    for name, condition in rule.metadata_if.items():
        if name in metadata and (why := condition.fault(metadata[name])):
            yield f"metadata {name} {why}"
    for name, beside in rule.metadata_with.items():
        if name in metadata and beside not in metadata:
            yield f"metadata {beside} is missing beside {name}"


def _count_findings(log: Log, rule: KeyRule, events: list[Event], bad: Outcome) -> Iterator[_Finding]:
    if rule.count == "exactly_one" and len(events) != 1:
        if not events:
            yield _Finding(bad, "exactly one is needed, found none")
        elif all(event.value == events[0].value for event in events):
            yield _Finding("warn", f"exactly one is needed, found {len(events)} of the same value", events[1].number)
        else:
            other = next(event for event in events if event.value != events[0].value)
            said = f"exactly one is needed, found {len(events)}: {_brief(events[0].value)}, {_brief(other.value)}"
            yield _Finding(bad, said, other.number)
    if rule.count == "at_least_two" and len(events) < 2:
        yield _Finding(bad, f"at least two are needed, found {len(events)}")
    if rule.count == "at_least_one" and not events and not any(log.first(key) for key in rule.alternatives):
        words = " or ".join((rule.key, *rule.alternatives))
        yield _Finding(bad, f"at least one {words} is needed")


def _order_findings(log: Log, rule: KeyRule, event: Event, bad: Outcome) -> Iterator[_Finding]:
    for key in rule.after:
        first = log.first(key)
        if first is None or first.number > event.number:
            yield _Finding(bad, f"{rule.key} before {key}", event.number)
    for key in rule.before:
        first = log.first(key)
        if first is not None and first.number < event.number:
            yield _Finding(bad, f"{rule.key} after {key}", event.number)


def _initialisation_findings(run: Run, rules: Ruleset) -> Iterator[_Finding]:
    """The text of the rules gives less time than the checker of the round; the difference is a warning."""
    starts, stop = run.log.of("init_start"), run.log.first("init_stop")
    if starts and stop:
        given = rules.initialisation
        own = given.open_minutes if run.division == "open" else None
        allowed, checked = own or given.rule_minutes, own or given.checked_minutes
        minutes = (stop.time_ms - min(event.time_ms for event in starts)) / 60000
        if minutes >= allowed:
            limit = f"{minutes:.1f} min, the rules allow {allowed:g}"
            outcome: Outcome = "fail" if minutes >= checked else "warn"
            yield _Finding(outcome, limit, stop.number)


def _tensor_findings(run: Run, wanted: Sequence[str], rules: Ruleset) -> Iterator[_Finding]:
    if run.size != "full":
        return
    events = run.log.of("weights_initialization")
    reported = Counter(str(event.metadata.get("tensor")) for event in events)
    missing = [name for name in wanted if not reported[name]]
    strict = rules.tensors_level == "error"
    if missing:
        when = "" if strict else " (a warning in v1.1, an error today)"
        whole = " (only 'all', which names none)" if set(reported) == {"all"} else ""
        said = f"{len(missing)} of {len(wanted)} tensors not reported: {missing[0]}{whole}{when}"
        yield _Finding("fail" if strict else "warn", said, events[0].number if events else None)
        return
    odd = next((name for name in reported if reported[name] > 1 or name not in wanted), None)
    if odd is not None:
        said = f"{odd} is reported {reported[odd]} times" if odd in wanted else f"{odd} is no tensor of this network"
        yield _Finding("fail" if strict else "warn", said, events[0].number)


def _evaluation_findings(run: Run, rule: EvaluationRule) -> Iterator[_Finding]:
    """The text of the rules fixes the points; no checker of the round looks at them, so that it is a warning."""
    points = [(event.metadata.get("epoch_num"), event.number) for event in run.log.of("eval_accuracy")]
    numbers = [(epoch, number) for epoch, number in points if isinstance(epoch, int | float) and abs(epoch) < 1e300]
    if run.size != "full" or not run.batch or run.batch <= 0 or not numbers:
        return
    first, every = rule.schedule(run.batch)
    if rule.share and max(epoch for epoch, _ in numbers) < run.batch:
        return  # the log counts evaluations, not samples
    at = 0.0
    for epoch, number in numbers:
        allowed = every if at else first
        if epoch - at > allowed * (1 + 1e-9):
            after = f"{at:g}" if at else "the start"
            yield _Finding("warn", f"evaluated at {epoch:g} after {after}: at most {allowed:g} apart", number)
        at = epoch


def _target_findings(run: Run, rules: Ruleset) -> Iterator[_Finding]:
    """A run that claims success has an evaluation that met the target."""
    target = target_of(run.log, rules, run.benchmark, run.division)
    stop = run.log.first("run_stop")
    values = [event.value for event in evaluations(run.log, rules, run.benchmark, run.division)]
    if target is None or run.status != "success" or any(target.holds(value) for value in values):
        return
    best = f"last {_brief(values[-1])}" if values else "no evaluation"
    yield _Finding("fail", f"success without the target ({target.words()}): {best}", stop.number if stop else None)


def _target_words(run: Run, rules: Ruleset) -> str:
    target = target_of(run.log, rules, run.benchmark, run.division)
    return target.words() if target else ""


def _brief(value: Any) -> str:
    return str(value)[:40]
