"""What the rules ask of each log by itself: its lines, its keys, its clock, its target.

Each rule is asked of all logs of an entry and answered in one verdict: the first place where it fails, and how many
more there are. A rule that only an unfinished run breaks (no run_stop, target not reached) is still broken: how many
runs may be without success is the business of podium.bench.check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from podium.bench.mllog import Event, Log
from podium.bench.rules import EvaluationRule, KeyRule, Ruleset
from podium.bench.runs import Run, target_of
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
        verdicts.append(_gather("tensors", runs, lambda run: _tensor_findings(run, wanted), "all reported"))
        rule = rules.benchmark(first.benchmark).evaluation
        verdicts.append(_gather("evaluation points", runs, lambda run: _evaluation_findings(run, rule), rule.words))
    verdicts.append(_gather("initialisation", runs, lambda run: _initialisation_findings(run.log, rules), "in time"))
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
    if not log.events:
        yield _Finding("fail", "no MLLOG line in the file")
    for fault in log.faults:
        torn = log.cut_off and fault.number == log.lines
        yield _Finding("fail", "the log is cut off in the middle of a line" if torn else fault.message, fault.number)


def _clock_findings(run: Run) -> Iterator[_Finding]:
    """Milestones in order fail; other lines may be a little out of order, several ranks write them."""
    marks = [event for event in run.log.events if event.key in MILESTONES]
    for before, after in pairwise(marks):
        if after.time_ms < before.time_ms:
            said = f"the clock runs backwards: {after.key} {before.time_ms - after.time_ms:g} ms before {before.key}"
            yield _Finding("fail", said, after.number)
    start, stop = run.log.first("run_start"), run.log.first("run_stop")
    latest: Event | None = None
    for event in run.log.events:
        inside = start and stop and start.number <= event.number <= stop.number
        if latest and event.time_ms < latest.time_ms and event not in marks:
            late = latest.time_ms - event.time_ms
            clocked = inside and event.key.startswith(("eval_", "epoch_", "block_"))
            said = f"the clock runs backwards by {late:g} ms at {event.key}"
            yield _Finding("fail" if clocked and late > 1000 else "warn", said, event.number)
        if latest is None or event.time_ms > latest.time_ms:
            latest = event


def _key_findings(log: Log, own: Sequence[KeyRule]) -> Iterator[_Finding]:
    for rule in own:
        bad: Outcome = "fail" if rule.level == "error" else "warn"
        if any(not condition.holds(log.value(key)) for key, condition in rule.when.items()):
            continue
        events = log.of(rule.key)
        yield from _count_findings(log, rule, events, bad)
        for event in events:
            if why := rule.value.fault(event.value):
                yield _Finding(bad, f"{str(event.value)[:60]} {why}", event.number)
            for name, condition in rule.metadata.items():
                if name not in event.metadata:
                    yield _Finding(bad, f"metadata {name} is missing", event.number)
                elif why := condition.fault(event.metadata[name]):
                    yield _Finding(bad, f"metadata {name} {why}", event.number)
            yield from _order_findings(log, rule, event, bad)


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


def _initialisation_findings(log: Log, rules: Ruleset) -> Iterator[_Finding]:
    """The text of the rules gives less time than the checker of the round; the difference is a warning."""
    start, stop = log.first("init_start"), log.first("init_stop")
    if start and stop:
        minutes = (stop.time_ms - start.time_ms) / 60000
        if minutes >= rules.initialisation.rule_minutes:
            limit = f"{minutes:.1f} min, the rules allow {rules.initialisation.rule_minutes:g}"
            outcome: Outcome = "fail" if minutes >= rules.initialisation.checked_minutes else "warn"
            yield _Finding(outcome, limit, stop.number)


def _tensor_findings(run: Run, wanted: Sequence[str]) -> Iterator[_Finding]:
    if run.size != "full":
        return
    reported = {str(event.metadata.get("tensor")) for event in run.log.of("weights_initialization")}
    missing = [name for name in wanted if name not in reported]
    if missing:
        said = f"{len(missing)} of {len(wanted)} tensors not reported: {missing[0]} (a warning in v1.1, an error today)"
        yield _Finding("warn", said)


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
    values = [event.value for event in run.log.of("eval_accuracy")]
    if target is None or run.status != "success" or any(target.holds(value) for value in values):
        return
    best = f"last {_brief(values[-1])}" if values else "no evaluation"
    yield _Finding("fail", f"success without the target ({target.words()}): {best}", stop.number if stop else None)


def _target_words(run: Run, rules: Ruleset) -> str:
    target = target_of(run.log, rules, run.benchmark, run.division)
    return target.words() if target else ""


def _brief(value: Any) -> str:
    return str(value)[:40]
