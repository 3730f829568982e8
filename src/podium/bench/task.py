"""What a time-to-quality task is: model, data, objective, optimiser, metric, target and evaluation points, by size.

Knows nothing of clocks, logs or scores; the harness (podium.bench.run) trains a task with the one trainer and stops
when the target is reached.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from podium.train.objective import Objective
from podium.train.trainer import BatchSource, TrainConfig

Size = Literal["smoke", "small", "full"]
SIZES: tuple[Size, ...] = ("smoke", "small", "full")


# How the two metrics of maskrcnn are called in logs.
LOG_NAMES = {"box_ap": "BBOX", "mask_ap": "SEGM"}


@dataclass(frozen=True, slots=True)
class Condition:
    """One named metric on the right side of a bound, the bound included."""

    metric: str
    direction: Literal["max", "min"]
    bound: float

    def holds(self, values: Mapping[str, float]) -> bool:
        value = values[self.metric]
        return value >= self.bound if self.direction == "max" else value <= self.bound  # NaN holds nowhere

    def __str__(self) -> str:
        return f"{self.metric} {'>=' if self.direction == 'max' else '<='} {self.bound:g}"


@dataclass(frozen=True, slots=True)
class Target:
    """Every condition at once (v1.1 needs two for maskrcnn: box and mask precision)."""

    conditions: tuple[Condition, ...]

    def reached(self, values: Mapping[str, float]) -> bool:
        return all(condition.holds(values) for condition in self.conditions)

    def rule(self) -> dict[str, Any]:
        """As a condition of a rule set, on the value that logs give."""
        bounds = {c.metric: {"at_least" if c.direction == "max" else "at_most": c.bound} for c in self.conditions}
        if len(bounds) == 1:
            return next(iter(bounds.values()))
        return {"fields": {LOG_NAMES[metric]: bound for metric, bound in bounds.items()}}

    def logged(self, values: Mapping[str, float]) -> float | dict[str, float]:
        """The value that logs give: the metric, or several by the names of v1.1."""
        if len(self.conditions) == 1:
            return values[self.conditions[0].metric]
        return {LOG_NAMES[condition.metric]: values[condition.metric] for condition in self.conditions}

    def __str__(self) -> str:
        return " and ".join(map(str, self.conditions))


def at_least(metric: str, bound: float) -> Target:
    return Target((Condition(metric, "max", bound),))


def at_most(metric: str, bound: float) -> Target:
    return Target((Condition(metric, "min", bound),))


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A task at one size.

    `train.steps` is the limit after which a run counts as not converged, `train.evaluate_every` the evaluation
    points in steps. `epoch` says what the log's epoch_num counts: passes over the data, the same from one on (dlrm), or
    trained samples (bert).
    `settings` are further hyper-parameters by the keys that the rules pin (opt_momentum, max_samples …).
    With `official`, the dataset is a folder that the user has, read as it is, instead of one made by `prepare`;
    `samples` are those that it has to train and to evaluate with, `published` the MD5 sums that its makers give.
    """

    network: Any
    data: Any
    batch: int
    train: TrainConfig
    target: Target
    dataset: str
    epoch: Literal["epochs", "from one", "samples"] = "epochs"
    settings: Mapping[str, Any] = field(default_factory=dict)
    official: bool = False
    samples: tuple[int, int] | None = None
    published: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Samples:
    """A batch: `inputs` and `labels` are tensors whose first dimension is the sample."""

    inputs: tuple[Tensor, ...]
    labels: tuple[Tensor, ...]
    unit: str = "samples"
    count: int = field(init=False)

    def __post_init__(self) -> None:
        self.count = self.inputs[0].shape[0]

    def to(self, device: torch.device) -> Samples:
        move = lambda tensors: tuple(tensor.to(device, non_blocking=True) for tensor in tensors)  # noqa: E731
        return Samples(move(self.inputs), move(self.labels), self.unit)


@dataclass(slots=True)
class Data:
    """An opened dataset. `evaluate` returns the metrics that the target names, of the whole evaluation set."""

    batches: BatchSource
    evaluate: Callable[[nn.Module], dict[str, float]]
    train_samples: int
    eval_samples: int


class Task(Protocol):
    """One of the eight. `key` is its name in logs; `presets` its sizes."""

    key: str
    area: str
    presets: Mapping[Size, Preset]

    def prepare(self, preset: Preset, folder: Path) -> None:
        """Write the dataset into `folder`; not timed, done once. Not called for official datasets."""
        ...

    def build(self, preset: Preset, seed: int) -> nn.Module:
        """The untrained network; touches no data."""
        ...

    def objective(self, preset: Preset) -> Objective: ...

    def open(self, preset: Preset, folder: Path, model: nn.Module, seed: int) -> Data:
        """Read what `prepare` wrote, or the official dataset; inside the timed window. `model` is for data that is made
        with it (minigo).

        Raises:
            InputError: `folder` is not laid out as that dataset.
        """
        ...
