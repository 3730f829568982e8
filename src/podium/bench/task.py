"""What a time-to-quality task is: model, data, objective, optimiser, metric, target and evaluation points, by size.

Knows nothing of clocks, logs or scores; the harness (podium.bench.run) trains a task with the one trainer and stops
when the target is reached.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from podium.bench.rules import Condition
from podium.bench.twins import Twin
from podium.errors import InputError, nearest
from podium.train.objective import Objective
from podium.train.trainer import BatchSource, TrainConfig

Size = Literal["smoke", "small", "full"]
SIZES: tuple[Size, ...] = ("smoke", "small", "full")


@dataclass(frozen=True, slots=True)
class MetricBound:
    """One metric and the bound that it has to reach; the bound itself counts as reached.

    `logged` is the name of the metric in the value of eval_accuracy, where that value has several (BBOX and SEGM of
    maskrcnn); the metric's own name unless given.
    """

    metric: str
    direction: Literal["max", "min"]
    bound: float
    logged: str = ""

    def rule(self) -> Condition:
        """The bound as the rules write it."""
        return Condition(at_least=self.bound) if self.direction == "max" else Condition(at_most=self.bound)

    def __str__(self) -> str:
        return f"{self.metric} {'>=' if self.direction == 'max' else '<='} {self.bound:g}"


@dataclass(frozen=True, slots=True)
class Target:
    """Every bound at once (v1.1 needs two for maskrcnn: box and mask precision)."""

    bounds: tuple[MetricBound, ...]

    def rule(self) -> Condition:
        """What the value of eval_accuracy must be: the one condition that a run is stopped by and judged by."""
        if len(self.bounds) == 1:
            return self.bounds[0].rule()
        return Condition(fields={bound.logged or bound.metric: bound.rule() for bound in self.bounds})

    def logged(self, values: Mapping[str, float]) -> float | dict[str, float]:
        """The value of eval_accuracy: the metric, or several by the names that logs have for them.

        Raises:
            InputError: the evaluation did not return a metric of the target.
        """
        missing = [bound.metric for bound in self.bounds if bound.metric not in values]
        if missing:
            raise InputError(
                f"the evaluation returned no {missing[0]!r}, which the target names", nearest(missing[0], values)
            )
        if len(self.bounds) == 1:
            return values[self.bounds[0].metric]
        return {bound.logged or bound.metric: values[bound.metric] for bound in self.bounds}

    def __str__(self) -> str:
        return " and ".join(map(str, self.bounds))


def at_least(metric: str, bound: float) -> Target:
    """The target of a metric that must not be lower than `bound`."""
    return Target((MetricBound(metric, "max", bound),))


def at_most(metric: str, bound: float) -> Target:
    """The target of a metric that must not be higher than `bound`."""
    return Target((MetricBound(metric, "min", bound),))


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


class Task(ABC):
    """One benchmark task: everything that the harness, the rules and the scoreboard know of it stands in its class.

    `key` is its name in commands, logs and folders, `area` its field in a few words, `model` the network's name,
    `presets` its sizes, `control` the negative control that says most about it (podium.bench.twins).
    A class becomes a task by `@benchmark_task` (podium.bench.registry).
    """

    key: str
    area: str
    model: str = ""
    presets: Mapping[Size, Preset]
    control: Twin = "shuffled labels"

    @abstractmethod
    def prepare(self, preset: Preset, folder: Path) -> None:
        """Write the dataset into `folder`; not timed, done once. Not called for official datasets."""

    @abstractmethod
    def build(self, preset: Preset, seed: int) -> nn.Module:
        """The untrained network; touches no data."""

    @abstractmethod
    def objective(self, preset: Preset) -> Objective:
        """The loss that is trained on."""

    @abstractmethod
    def open(self, preset: Preset, folder: Path, model: nn.Module, seed: int) -> Data:
        """Read what `prepare` wrote, or the official dataset; inside the timed window. `model` is for data that is made
        with it (minigo).

        Raises:
            InputError: `folder` is not laid out as that dataset.
        """
