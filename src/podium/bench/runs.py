"""A timed run as its log tells it, and folders of such logs as they are laid out in published rounds.

Knows the meaning of the events; whether they keep the rules is podium.bench.check's question.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from podium.bench.mllog import Event, Log, read_log, run_end
from podium.bench.registry import with_benchmark
from podium.bench.rules import DEFAULT_RULESET, BenchmarkRules, Condition, Ruleset, load_ruleset, ruleset_versions
from podium.errors import InputError

NAME = re.compile(r"result_(\d+)\.txt(?:\.gz)?")
# Evaluations of one metric each, joined by how far the training had come: the key they are judged under.
AGGREGATED = "aggregated_eval_accuracy"
# Keys of logs that count for nothing, and what these are: a model broken on purpose, events without a training.
NO_RESULT = {"negative_control": "a negative control", "dry_run": "a dry run"}


@dataclass(slots=True)
class Run:
    """One log. `minutes` is run_stop minus run_start, None when either is missing or the clock ran backwards.

    `converged`: run_stop says success and, where the log or the rules name a target, some evaluation met it. What is no
    result by its own words (NO_RESULT) never counts.
    `epochs`: of the evaluation that the run ended with, in the unit of the benchmark; None without one.
    """

    path: Path
    log: Log
    benchmark: str
    division: str
    status: str
    minutes: float | None
    converged: bool
    epochs: float | None
    batch: float | None
    launched_ms: float

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def size(self) -> str:
        """smoke and small name themselves in their logs; whatever says nothing is a full one."""
        return str(self.log.value("benchmark_size") or "full")


def result_files(folder: Path) -> list[Path]:
    """The logs of a folder, in the order of their numbers."""
    found = [(int(match[1]), path.name, path) for path in folder.iterdir() if (match := NAME.fullmatch(path.name))]
    return [path for _, _, path in sorted(found)]


def result_folders(root: Path | str) -> list[Path]:
    """`root` itself when it holds logs, else every folder below it that does: a system, an organisation, a round.

    Raises:
        InputError: there is no such folder, or no log in it.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder", "name a folder of result_<i>.txt, or one above such folders")
    if result_files(root):
        return [root]
    folders = sorted({path.parent for path in root.rglob("result_*.txt*") if NAME.fullmatch(path.name)})
    if not folders:
        raise InputError(f"{root}: no result_<i>.txt in it", "a run writes one log named result_0.txt, result_1.txt …")
    return folders


def read_runs(folder: Path, ruleset: Ruleset) -> list[Run]:
    """The runs of a folder in launch order (the first event of each log), which no name can change."""
    return runs_of([read_log(path) for path in result_files(folder)], ruleset)


def runs_of(logs: Sequence[Log], ruleset: Ruleset) -> list[Run]:
    """The runs of logs that were read, in launch order."""
    runs = [run_of(log, ruleset) for log in logs]
    return sorted(runs, key=lambda run: (run.launched_ms, run.path.name))


def read_run(path: Path, ruleset: Ruleset) -> Run:
    return run_of(read_log(path), ruleset)


def named_ruleset(logs: Sequence[Log]) -> Any:
    """What the logs say their rule set is, known or not; None where they say nothing."""
    return next((event.value for log in logs for event in log.of("benchmark_ruleset")), None)


def rules_for(logs: Sequence[Log], chosen: Ruleset | None = None) -> tuple[Ruleset, str]:
    """The rules that logs are judged by, and why these, in a few words.

    They are `chosen`, where somebody chose. Else they are the rule set that the logs name, else that of the round that
    was open when they were written, else the default; where that round does not have the benchmark, the newest one that
    has it. An unofficial task brings its own rules with it (podium.bench.registry).

    Raises:
        InputError: the package that offers an unofficial task cannot be imported.
    """
    rules, why = (chosen, "") if chosen else _ruleset_for(logs)
    for benchmark in {event.value for log in logs for event in log.of("submission_benchmark")}:
        rules = with_benchmark(rules, benchmark) if isinstance(benchmark, str) else rules
    return rules, why


def _ruleset_for(logs: Sequence[Log]) -> tuple[Ruleset, str]:
    named = named_ruleset(logs)
    if named is not None:
        return load_ruleset(named if named in ruleset_versions() else DEFAULT_RULESET), "named by the log"
    known = [load_ruleset(version) for version in ruleset_versions()]
    benchmark = next((event.value for log in logs for event in log.of("submission_benchmark")), None)
    first = next((log.events[0] for log in logs if log.events), None)
    written = _day(first.time_ms) if first else None
    chosen, why = load_ruleset(DEFAULT_RULESET), "the default"
    if written is not None and known[0].published < written <= known[-1].published:
        chosen = next(rules for rules in known if written <= rules.published)
        why = f"the round of the log's date, {written}"
    having = [rules for rules in known if benchmark in rules.benchmarks]
    if having and chosen not in having:
        return having[-1], f"the newest with {benchmark}"
    return chosen, why


def _day(time_ms: float) -> date | None:
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC).date()
    except (ValueError, OverflowError, OSError):
        return None


def _join_metrics(log: Log, by: str) -> None:
    """Add one event for all evaluations of one metric each at the same `by`: {by: …, metric: value, …}."""
    joined: dict[Any, Event] = {}
    for event in log.of("eval_accuracy"):
        at, metric = event.metadata.get(by), event.metadata.get("metric")
        if isinstance(at, int | float | str) and isinstance(metric, str):
            before = joined[at].value if at in joined else {by: at}
            joined[at] = replace(event, key=AGGREGATED, value={**before, metric: event.value})
    if not log.of(AGGREGATED):
        for event in joined.values():
            log.add(event)


def run_of(log: Log, ruleset: Ruleset) -> Run:
    """What a log tells of its run."""
    path = log.path
    benchmark, division = str(log.value("submission_benchmark") or ""), str(log.value("submission_division") or "")
    stop = log.first("run_stop")
    status, minutes = run_end(log)
    rules = ruleset.benchmarks.get(benchmark)
    if rules and rules.metrics_by:
        _join_metrics(log, rules.metrics_by)
    target = target_of(log, ruleset, benchmark, division)
    last = _last_evaluation(log, stop, rules, target)
    return Run(
        path=path,
        log=log,
        benchmark=benchmark,
        division=division,
        status=status,
        minutes=minutes,
        converged=status == "success"
        and minutes is not None
        and not any(log.first(key) for key in NO_RESULT)
        and reached_target(log, ruleset, benchmark, division),
        epochs=_epochs(log, last, rules),
        batch=_number(log.value("global_batch_size")),
        launched_ms=log.events[0].time_ms if log.events else float("inf"),
    )


def own_target(log: Log) -> Condition | None:
    """The target that a log names itself (quality_target), as smoke and small runs do; None when it names none."""
    given = log.value("quality_target")
    if not isinstance(given, dict):
        return None
    try:
        return Condition.model_validate(given)
    except ValueError:
        return None


def target_of(log: Log, ruleset: Ruleset, benchmark: str, division: str) -> Condition | None:
    """What some evaluation must meet: the log's own target if it is a small or an open one, else the round's."""
    own = own_target(log)
    if own is not None and (division == "open" or log.value("benchmark_size") in ("smoke", "small")):
        return own
    if benchmark in ruleset.benchmarks and division in ruleset.divisions:
        return ruleset.target(benchmark, division)
    return None


def reached_target(log: Log, ruleset: Ruleset, benchmark: str, division: str) -> bool:
    target = target_of(log, ruleset, benchmark, division)
    return target is None or any(target.holds(event.value) for event in evaluations(log, ruleset, benchmark, division))


def evaluations(log: Log, ruleset: Ruleset, benchmark: str, division: str) -> list[Event]:
    """The events whose values the target is asked of."""
    if benchmark not in ruleset.benchmarks:
        return log.of("eval_accuracy")
    return log.of(ruleset.target_key(benchmark, division))


def _last_evaluation(
    log: Log, stop: Event | None, rules: BenchmarkRules | None, target: Condition | None
) -> Event | None:
    """The evaluation that the run ended with; of metrics that are joined afterwards, the first that met the target."""
    if rules and rules.metrics_by:
        met = [event for event in log.of(AGGREGATED) if target is None or target.holds(event.value)]
        return min(met, key=lambda event: _number(event.metadata.get(rules.position)) or math.inf, default=None)
    before = [event for event in log.of("eval_accuracy") if stop is None or event.number <= stop.number]
    return before[-1] if before else None


def _epochs(log: Log, last: Event | None, rules: BenchmarkRules | None) -> float | None:
    position = rules.position if rules else "epoch_num"
    epochs = _number(last.metadata.get(position)) if last else None
    batch = _number(log.value("global_batch_size"))
    if rules and rules.epoch_unit == "samples" and epochs is not None and batch is not None and epochs < batch:
        # Some logs count evaluations where samples belong; what was trained then stands in a train_samples that the
        # run wrote when it was over. One written before it is what was planned, or the size of the data.
        ended = [event for event in log.of("train_samples") if event.number > last.number] if last else []
        value = ended[-1].value if ended else None
        return _number(value[0] if isinstance(value, list) and value else value)
    return round(epochs, 3) if epochs is not None else None


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300 else None
