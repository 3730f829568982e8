"""Recommendation: DLRM, area under the ROC curve.

smoke and small train on synthetic click logs with the columns of Criteo's (13 counts, 26 categories, popularity by
Zipf's law). What is planted: every category has a hidden vector, and a click depends on some products of two such
vectors, on category biases and on the counts. A model without working embeddings and products stays far below the
target; the best possible one, which knows the probabilities, stays somewhat above it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from podium.bench.quality.ranking import area_under_curve
from podium.bench.registry import benchmark_task
from podium.bench.shuffled import Shuffled
from podium.bench.task import Data, Preset, Samples, Size, Task, at_least
from podium.errors import InputError
from podium.models.dlrm import CRITEO_TABLES, DLRM, DLRMConfig
from podium.train.objective import Loss
from podium.train.optim import OptimizerConfig
from podium.train.schedule import ScheduleConfig
from podium.train.trainer import TrainConfig

SMOKE_TABLES = (
    800,
    500,
    400,
    300,
    200,
    150,
    100,
    100,
    80,
    60,
    50,
    40,
    40,
    30,
    30,
    20,
    20,
    15,
    12,
    10,
    8,
    6,
    5,
    4,
    3,
    3,
)

SMALL_TABLES = tuple(25 * size for size in SMOKE_TABLES)


@dataclass(frozen=True, slots=True)
class ClickLogs:
    """How synthetic logs are made."""

    tables: tuple[int, ...]
    train: int
    evaluation: int
    pairs: int = 12
    hidden: int = 3
    seed: int = 20211201


class Click:
    """Binary cross-entropy."""

    def __call__(self, model: Any, batch: Samples) -> Loss:
        (dense, categories), (clicks,) = batch.inputs, batch.labels
        logits = model(dense, categories).float()
        return Loss(F.binary_cross_entropy_with_logits(logits, clicks, reduction="sum"), batch.count)

    def flops(self, model: Any, batch: Samples) -> float:
        return 0.0


@benchmark_task
class DLRMTask(Task):
    key = "dlrm"
    area = "recommendation"
    presets: Mapping[Size, Preset] = {
        "smoke": Preset(
            network=DLRMConfig(tables=SMOKE_TABLES, bottom=(64, 32, 16), top=(128, 64)),
            data=ClickLogs(SMOKE_TABLES, train=200_000, evaluation=20_000),
            batch=512,
            train=TrainConfig(
                steps=390 * 6,
                optimizer=OptimizerConfig(name="sgd", lr=0.5, momentum=0.9, weight_decay=0.0),
                schedule=ScheduleConfig(name="linear", warmup=50),
                clip=1.0,
                guard_sigmas=0,
                evaluate_every=130,
            ),
            target=at_least("auc", 0.80),
            dataset="synthetic click logs with planted interactions",
        ),
        "small": Preset(
            network=DLRMConfig(tables=SMALL_TABLES, bottom=(512, 256, 64), top=(1024, 1024, 512, 256)),
            data=ClickLogs(SMALL_TABLES, train=8_000_000, evaluation=500_000),
            batch=8192,
            train=TrainConfig(
                steps=976 * 10,
                optimizer=OptimizerConfig(name="sgd", lr=1.0, momentum=0.9, weight_decay=0.0),
                schedule=ScheduleConfig(name="linear", warmup=500),
                clip=1.0,
                guard_sigmas=0,
                evaluate_every=244,
            ),
            target=at_least("auc", 0.80),
            dataset="synthetic click logs with planted interactions",
        ),
        "full": Preset(
            network=DLRMConfig(),
            data=ClickLogs(CRITEO_TABLES, train=4_195_197_692, evaluation=89_137_319),
            batch=55_296,
            train=TrainConfig(
                steps=75_868,
                optimizer=OptimizerConfig(name="sgd", lr=24.0, momentum=0.0, weight_decay=0.0),
                schedule=ScheduleConfig(name="polynomial", warmup=2750, decay_after=0.65),
                clip=0,
                guard_sigmas=0,
                evaluate_every=3793,
            ),
            target=at_least("auc", 0.8025),
            dataset="the Criteo Terabyte click logs",
            settings={
                "lr_decay_start_steps": 49_315,
                "sgd_opt_base_learning_rate": 24.0,
                "sgd_opt_learning_rate_decay_poly_power": 2,
                "sgd_opt_learning_rate_decay_steps": 26_553,
            },
            official=True,
            samples=(4_195_197_692, 89_137_319),
            epoch="from one",
        ),
    }

    def prepare(self, preset: Preset, folder: Path) -> None:
        logs: ClickLogs = preset.data
        for name, columns in make_logs(logs).items():
            np.save(folder / f"{name}.npy", columns)

    def build(self, preset: Preset, seed: int) -> DLRM:
        return DLRM(preset.network).initialise(seed)

    def objective(self, preset: Preset) -> Click:
        return Click()

    def open(self, preset: Preset, folder: Path, model: nn.Module, seed: int) -> Data:
        logs: ClickLogs = preset.data
        # Mapped, not read: at full size the logs are larger than memory.
        counts, categories, clicks = (
            np.load(_present(folder / f"{name}.npy"), mmap_mode="r" if preset.official else None)
            for name in ("counts", "categories", "clicks")
        )
        if len(clicks) != logs.train + logs.evaluation or counts.shape[1:] != (13,) or categories.shape[1:] != (26,):
            raise InputError(
                f"{folder}: {len(clicks)} rows, counts {counts.shape[1:]}, categories {categories.shape[1:]}",
                f"expected {logs.train} + {logs.evaluation} rows to train and evaluate, 13 and 26 columns",
            )

        def take(chosen: np.ndarray | slice) -> Samples:
            # Copied: what is mapped cannot be written to, and torch wants to be able to.
            dense, ids, labels = (torch.from_numpy(np.array(rows[chosen])) for rows in (counts, categories, clicks))
            return Samples((torch.log1p(dense.float()), ids.long()), (labels.float(),))

        def evaluate(model: nn.Module) -> dict[str, float]:
            device = next(model.parameters()).device
            scores = []
            for start in range(logs.train, len(clicks), 4096):
                dense, ids = take(slice(start, start + 4096)).inputs
                scores.append(model(dense.to(device), ids.to(device)).float().cpu())
            return {"auc": area_under_curve(torch.cat(scores).numpy(), clicks[logs.train :])}

        source = Shuffled(logs.train, preset.batch, seed, lambda chosen, _: take(chosen.numpy()))
        return Data(source, evaluate, logs.train, logs.evaluation)


def _present(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"{path}: missing", "docs/bench_tasks.md says how the click logs are laid out")
    return path


def make_logs(logs: ClickLogs) -> dict[str, np.ndarray]:
    """counts [N, 13], categories [N, 26], clicks [N] and the true click probability [N], training rows first."""
    draw = np.random.default_rng(logs.seed)
    rows = logs.train + logs.evaluation
    latent = draw.normal(size=(rows, 13))
    counts = np.floor(np.exp(latent * 1.2 + 1)).astype(np.int32)
    categories = np.empty((rows, len(logs.tables)), dtype=np.int32)
    logit = 0.25 * np.log1p(counts) @ draw.normal(size=13)
    vectors = []
    for column, size in enumerate(logs.tables):
        popularity = 1 / np.arange(1, size + 1) ** 0.8
        ids = draw.permutation(size)[draw.choice(size, size=rows, p=popularity / popularity.sum())]
        categories[:, column] = ids
        vectors.append(draw.normal(size=(size, logs.hidden))[ids])
        logit += 0.15 * draw.normal(size=size)[ids]
    for _ in range(logs.pairs):
        left, right = draw.choice(len(logs.tables), size=2, replace=False)
        logit += 0.6 * (vectors[left] * vectors[right]).sum(1) / logs.hidden**0.5
    probability = 1 / (1 + np.exp(-(logit - np.quantile(logit, 0.7))))
    clicks = (draw.random(rows) < probability).astype(np.uint8)
    return {"counts": counts, "categories": categories, "clicks": clicks, "probability": probability}
