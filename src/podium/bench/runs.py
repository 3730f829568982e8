"""A timed run as its log tells it, and folders of such logs as they are laid out in published rounds.

Knows the meaning of the events; whether they keep the rules is podium.bench.check's question.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podium.bench.mllog import Event, Log, read_log
from podium.bench.rules import BenchmarkRules, Condition, Ruleset
from podium.errors import InputError

NAME = re.compile(r"result_(\d+)\.txt")
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
    folders = sorted({path.parent for path in root.rglob("result_*.txt") if NAME.fullmatch(path.name)})
    if not folders:
        raise InputError(f"{root}: no result_<i>.txt in it", "a run writes one log named result_0.txt, result_1.txt …")
    return folders


def read_runs(folder: Path, ruleset: Ruleset) -> list[Run]:
    """The runs of a folder in launch order (the first event of each log), which no name can change."""
    runs = [read_run(path, ruleset) for path in result_files(folder)]
    return sorted(runs, key=lambda run: (run.launched_ms, run.path.name))


def read_run(path: Path, ruleset: Ruleset) -> Run:
    log = read_log(path)
    benchmark, division = str(log.value("submission_benchmark") or ""), str(log.value("submission_division") or "")
    start, stop = log.first("run_start"), log.first("run_stop")
    status = str(stop.metadata.get("status", "")) if stop else ""
    minutes = (stop.time_ms - start.time_ms) / 60000 if start and stop and stop.time_ms >= start.time_ms else None
    rules = ruleset.benchmarks.get(benchmark)
    last = _last_evaluation(log, stop)
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
    return target is None or any(target.holds(event.value) for event in log.of("eval_accuracy"))


def _last_evaluation(log: Log, stop: Event | None) -> Event | None:
    before = [event for event in log.of("eval_accuracy") if stop is None or event.number <= stop.number]
    return before[-1] if before else None


def _epochs(log: Log, last: Event | None, rules: BenchmarkRules | None) -> float | None:
    epochs = _number(last.metadata.get("epoch_num")) if last else None
    batch = _number(log.value("global_batch_size"))
    if rules and rules.epoch_unit == "samples" and epochs is not None and batch is not None and epochs < batch:
        # Some logs count evaluations where samples belong; train_samples then holds what was trained.
        trained = log.of("train_samples")
        value = trained[-1].value if trained else None
        return _number(value[0] if isinstance(value, list) and value else value)
    return round(epochs, 3) if epochs is not None else None


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300 else None
