"""A dry run: the events of a full-size run, by the code that logs a real one, with nothing trained and no data read.

The model is built without memory for its weights (torch's meta device), the dataset's sizes are those of the rules, and
in place of the trainer a script walks from evaluation to evaluation, with a quality that is made up: it reaches the
target where the reference did (its convergence point at this batch size). The log says `dry_run`; nothing counts it.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import nn

from podium.bench.rcp import judge_convergence, reference_points
from podium.bench.registry import with_benchmark
from podium.bench.rules import DEFAULT_RULESET, load_ruleset
from podium.bench.task import Data, Preset, Task
from podium.train.trainer import EventLog

MARK = "events only: nothing was trained"
WITHOUT_REFERENCE = 10  # evaluations, where the round has no convergence point


class NoData:
    """Stands where the batches would be."""

    def next(self) -> Any:
        raise AssertionError("a dry run reads no data")

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def weightless(task: Task, preset: Preset, seed: int) -> nn.Module:
    """The model with names and shapes only."""
    with torch.device("meta"):
        return task.build(preset, seed)


class Window(EventLog, Protocol):
    """The part of a timed run that a rehearsal speaks to; `values` are the metrics of the evaluation under way."""

    values: dict[str, float]

    @property
    def over(self) -> bool: ...
    def epoch(self, steps: int) -> float: ...


def imagined_data(preset: Preset) -> Data:
    """As many samples as the official dataset has, and none of them."""
    assert preset.samples is not None
    return Data(NoData(), lambda model: {}, *preset.samples)


def rehearse(benchmark: str, preset: Preset, window: Window) -> None:
    """Tell `window` what the trainer would tell it, in its order, until the target is reached."""
    config = preset.train
    every = config.evaluate_every or config.steps
    steps = [*range(every, config.steps, every), config.steps]
    last = _evaluations(benchmark, preset, [window.epoch(step) for step in steps])
    window.start("block_start", None, step=0)
    for number, step in enumerate(steps[:last], start=1):
        share = number / last
        window.end("block_stop", None, step=step)
        window.start("eval_start", None, step=step)
        window.values = {
            one.metric: round(one.bound * share if one.direction == "max" else one.bound / share, 6)
            for one in preset.target.bounds
        }
        window.end("eval_stop", None, step=step)
        if window.over:
            break
        window.start("block_start", None, step=step)


def _evaluations(benchmark: str, preset: Preset, epochs: list[float]) -> int:
    """How many evaluations the reference needed, at most all there are."""
    ruleset = with_benchmark(load_ruleset(DEFAULT_RULESET), benchmark)
    rules = ruleset.benchmark(benchmark)
    batch = preset.batch * preset.train.accumulation
    points = reference_points(ruleset, benchmark) if rules.reference_convergence else []
    point = judge_convergence(batch, [1.0] * rules.runs, points, runs=rules.runs, drop=rules.drop).point
    if point is None:
        return min(WITHOUT_REFERENCE, len(epochs))
    return next((number for number, epoch in enumerate(epochs, start=1) if epoch >= point.mean), len(epochs))
