"""Logs of runs that never took place, written by the real writer: every benchmark, both divisions."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from podium.bench.events import RunEvents
from podium.bench.ledger import Ledger
from podium.bench.rules import Condition, load_ruleset

SHARED = Path(__file__).parents[3] / "shared" / "data"
LOGS = SHARED / "mlperf_logs" / "v1.1"
TOKEN = ":::MLLOG "
RULES = load_ruleset()
GOOD = {"resnet": 0.76, "unet3d": 0.91, "ssd": 0.231, "maskrcnn": {"BBOX": 0.378, "SEGM": 0.34}}
GOOD |= {"rnnt": 0.057, "bert": 0.721, "dlrm": 0.803, "minigo": 0.51}
BAD = {"rnnt": 0.5, "maskrcnn": {"BBOX": 0.2, "SEGM": 0.2}}
HANDLED = {"weights_initialization", "seed", "train_samples", "eval_samples", "eval_accuracy", "cache_clear"}
PLACES = ("submission_", "init_", "run_", "block_", "epoch_", "eval_start", "eval_stop")


def value_for(condition: Condition) -> Any:
    """Some value that holds."""
    if condition.one_of:
        return condition.one_of[0]
    if condition.equals is not None:
        return condition.equals
    if condition.items:
        return [value_for(item) for item in condition.items]
    if condition.length:
        return [1] * condition.length
    if condition.multiple_of:
        return condition.multiple_of * 12
    if condition.power_of_two_times:
        return condition.power_of_two_times / 2
    return math.ceil(condition.at_least or 0) + 1 if condition.above is None else condition.above + 1


def closed_settings(benchmark: str, optimizer: str | None) -> dict[str, Any]:
    """Every hyper-parameter that the closed rules ask for, with a value they take."""
    chosen: dict[str, Any] = {"opt_name": optimizer} if optimizer else {}
    for rule in RULES.key_rules(benchmark, "closed", optimizer):
        special = rule.key in HANDLED or rule.key.startswith(PLACES)
        if special or (rule.level == "error" and rule.count == "any"):
            continue
        if rule.level == "warning":  # the text of the rules, stricter than the checker
            chosen[rule.key] = value_for(rule.value)
        else:
            chosen.setdefault(rule.key, value_for(rule.value))
    return chosen


def write_run(
    path: Path,
    benchmark: str = "resnet",
    *,
    division: str = "open",
    seed: int = 1,
    size: str = "full",
    target: dict[str, Any] | None = None,
    succeeds: bool = True,
    optimizer: str | None = None,
    tie: str | None = None,
    epochs: Sequence[float] = (2, 4),
    **settings: Any,
) -> Path:
    """One log; `tie` is the ledger entry it names."""
    if benchmark == "resnet" and optimizer is None:
        optimizer = "sgd"
    good, bad = GOOD[benchmark], BAD.get(benchmark, 0.1)
    with RunEvents(
        path,
        benchmark=benchmark,
        division=division,  # type: ignore[arg-type]
        org="paper",
        platform="none",
        size=size,
        target=Condition.model_validate(target) if target else None,
    ) as events:
        events.cache_clear()
        events.init_start()
        events.seed(seed)
        if tie:
            events.setting(ledger_entry=tie)
        if division == "closed":
            chosen = closed_settings(benchmark, optimizer)
            fixed = {rule.key: rule.value for rule in RULES.key_rules(benchmark, "closed", optimizer)}
            events.setting(**{**chosen, **settings})
            samples = [fixed.get(key, Condition()) for key in ("train_samples", "eval_samples")]
            events.samples(train=samples[0].equals or 100, evaluation=samples[1].equals or 10)
            events.tensor_initialised(*RULES.tensors(benchmark))
        else:
            events.setting(**{"global_batch_size": 32, **settings})
            events.samples(train=100, evaluation=10)
        events.init_stop()
        events.run_start()
        for number, epoch in enumerate(epochs):
            last = number == len(epochs) - 1
            events.block_start(number, 2)
            events.eval_start(epoch)
            reached = events.eval_stop(good if last and succeeds else bad)
            events.block_stop()
            if reached:
                break
        events.run_stop("success" if succeeds else "aborted")
    return path


def write_entry(root: Path, runs: int = 5, declared: int | None = None, **keywords: Any) -> Path:
    """A folder of smoke runs with a ledger, as the harness makes one; returns the folder of logs."""
    ledger = Ledger(root / "ledger.jsonl")
    common = {"benchmark": "resnet", "system": "none", "division": "open", "size": "smoke", "ruleset": "1.1.0"}
    declaration = ledger.declare(**common, runs=declared or runs)
    folder = root / "results" / "none" / "resnet"
    for number in range(runs):
        launch = ledger.launch(declaration, folder)
        write_run(launch.log, size="smoke", target={"at_least": 0.7}, seed=launch.seed, tie=launch.hash, **keywords)
        stretch(launch.log, 10.0 + number)
        ledger.end(launch)
    return folder


def edit(path: Path, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    """Rewrite the events of a log."""
    events = [json.loads(line[len(TOKEN) :]) for line in path.read_text().splitlines()]
    path.write_text("".join(f"{TOKEN}{json.dumps(event)}\n" for event in change(events)))


def stretch(path: Path, minutes: float) -> None:
    """Let the run have taken so long, its evaluations spread over it."""

    def change(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        keys = [event["key"] for event in events]
        start, stop = keys.index("run_start"), keys.index("run_stop")
        first = events[start]["time_ms"]
        for number in range(start, stop + 1):
            events[number]["time_ms"] = first + round(minutes * 60000 * (number - start) / (stop - start))
        return events

    edit(path, change)
