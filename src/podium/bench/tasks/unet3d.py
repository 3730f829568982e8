"""Medical image segmentation: 3D U-Net, mean Dice of kidney and tumour.

smoke and small draw volumes: an ellipsoid body ("kidney", class 1) at any place and angle with a smaller one grown
into it ("tumour", class 2), bright blobs that are neither, and noise as strong as the contrast between the classes.
full reads KiTS19 as the reference's preprocessing leaves it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from podium.bench.kits import KITS, open_kits
from podium.bench.quality.overlap import dice
from podium.bench.registry import benchmark_task
from podium.bench.shuffled import Shuffled
from podium.bench.task import Data, Preset, Samples, Size, Task, at_least
from podium.models.unet3d import UNet3D, UNet3DConfig
from podium.train.objective import Loss
from podium.train.optim import OptimizerConfig
from podium.train.schedule import ScheduleConfig
from podium.train.trainer import TrainConfig


@dataclass(frozen=True, slots=True)
class Volumes:
    """Drawn volumes with sides of `side` voxels."""

    side: int
    train: int
    evaluation: int
    seed: int = 19


class DiceAndCrossEntropy:
    """Mean of soft Dice loss (foreground classes) and cross-entropy, per volume: the reference's objective."""

    def __call__(self, model: Any, batch: Samples) -> Loss:
        (volumes,), (truth,) = batch.inputs, batch.labels
        logits = model(volumes).float()
        cross = F.cross_entropy(logits, truth, reduction="none").flatten(1).mean(1)
        probability = logits.softmax(1)[:, 1:].flatten(2)
        wanted = F.one_hot(truth, logits.shape[1]).movedim(-1, 1)[:, 1:].flatten(2).float()
        overlap = (2 * (probability * wanted).sum(2) + 1e-6) / ((probability + wanted).sum(2) + 1e-6)
        return Loss((0.5 * cross + 0.5 * (1 - overlap.mean(1))).sum(), batch.count)

    def flops(self, model: Any, batch: Samples) -> float:
        return 0.0


@benchmark_task
class UNet3DTask(Task):
    key = "unet3d"
    area = "medical image segmentation"
    control = "frozen weights"
    presets: Mapping[Size, Preset] = {
        "smoke": Preset(
            network=UNet3DConfig(filters=(8, 16, 32)),
            data=Volumes(side=24, train=96, evaluation=24),
            batch=4,
            train=TrainConfig(
                steps=24 * 10,
                optimizer=OptimizerConfig(name="adamw", lr=5e-3, weight_decay=0.0, betas=(0.9, 0.99)),
                schedule=ScheduleConfig(name="linear", warmup=12),
                clip=1.0,
                guard_sigmas=0,
                evaluate_every=24,
            ),
            target=at_least("mean_dice", 0.80),
            dataset="drawn ellipsoids",
        ),
        "small": Preset(
            network=UNet3DConfig(),
            data=Volumes(side=64, train=160, evaluation=40),
            batch=2,
            train=TrainConfig(
                steps=80 * 40,
                optimizer=OptimizerConfig(name="adamw", lr=1e-3, weight_decay=0.0, betas=(0.9, 0.99)),
                schedule=ScheduleConfig(name="linear", warmup=40),
                clip=1.0,
                guard_sigmas=0,
                precision="bfloat16",
                evaluate_every=80,
            ),
            target=at_least("mean_dice", 0.88),
            dataset="drawn ellipsoids",
        ),
        "full": Preset(
            network=UNet3DConfig(),
            data=KITS,
            batch=2,
            train=TrainConfig(
                steps=84 * 10_000,
                optimizer=OptimizerConfig(name="sgd", lr=0.8, momentum=0.9, weight_decay=0.0),
                schedule=ScheduleConfig(name="constant", warmup=84 * 200),
                clip=0,
                guard_sigmas=0,
                precision="bfloat16",
                evaluate_every=84 * 20,
            ),
            target=at_least("mean_dice", 0.908),
            dataset="KiTS19 as the reference preprocesses it",
            settings={
                "opt_learning_rate_warmup_epochs": 200,
                "opt_learning_rate_decay_boundary_epochs": [],
                "opt_learning_rate_decay_factor": 1.0,
                "opt_weight_decay": 0.0,
                "opt_momentum": 0.9,
                "oversampling": KITS.oversampling,
                "training_input_shape": [KITS.patch] * 3,
                "validation_input_shape": [KITS.patch] * 3,
                "validation_overlap": KITS.overlap,
            },
            official=True,
            samples=(168, 42),
        ),
    }

    def prepare(self, preset: Preset, folder: Path) -> None:
        volumes: Volumes = preset.data
        images, labels = draw_volumes(volumes)
        np.savez(folder / "volumes.npz", images=images, labels=labels)

    def build(self, preset: Preset, seed: int) -> UNet3D:
        return UNet3D(preset.network).initialise(seed)

    def objective(self, preset: Preset) -> DiceAndCrossEntropy:
        return DiceAndCrossEntropy()

    def open(self, preset: Preset, folder: Path, model: nn.Module, seed: int) -> Data:
        if preset.official:
            return open_kits(folder, preset.data, preset.batch, seed, preset.network.classes)
        volumes: Volumes = preset.data
        with np.load(folder / "volumes.npz") as stored:
            images = torch.from_numpy(stored["images"]).float()[:, None]
            labels = torch.from_numpy(stored["labels"])
        train = volumes.train

        def make(chosen: Tensor, generator: torch.Generator) -> Samples:
            # Mirrored along any axis, as the reference does.
            axes = [axis for axis in (1, 2, 3) if torch.rand((), generator=generator) < 0.5]
            image, label = images[chosen], labels[chosen].long()
            return Samples((image.flip([axis + 1 for axis in axes]),), (label.flip(axes),), "volumes")

        def evaluate(model: nn.Module) -> dict[str, float]:
            device = next(model.parameters()).device
            scores = [
                dice(model(image.to(device)).argmax(1).cpu(), truth, preset.network.classes)
                for image, truth in zip(images[train:].split(4), labels[train:].split(4), strict=True)
            ]
            kidney, tumour = torch.cat(scores).mean(0).tolist()
            return {"mean_dice": (kidney + tumour) / 2, "kidney_dice": kidney, "tumour_dice": tumour}

        return Data(Shuffled(train, preset.batch, seed, make), evaluate, train, volumes.evaluation)


def draw_volumes(volumes: Volumes) -> tuple[np.ndarray, np.ndarray]:
    """Images [N, side, side, side] (float16) and class numbers of the same shape (uint8)."""
    draw = np.random.default_rng(volumes.seed)
    number, side = volumes.train + volumes.evaluation, volumes.side
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, side)] * 3, indexing="ij"), axis=-1)
    images = np.empty((number, side, side, side), dtype=np.float16)
    labels = np.zeros((number, side, side, side), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        turn, _ = np.linalg.qr(draw.normal(size=(3, 3)))
        centre, radii = draw.uniform(-0.35, 0.35, 3), draw.uniform(0.35, 0.6, 3)
        body = _inside(grid, centre, radii, turn)
        surface = centre + turn @ (radii * 0.7 * _unit(draw))
        growth = _inside(grid, surface, draw.uniform(0.22, 0.34, 3), turn)
        label[body] = 1
        label[growth] = 2
        values = np.where(body, 1.0, 0.0)
        values[growth] = 2.0
        for _ in range(3):  # bright specks that are neither
            values[_inside(grid, draw.uniform(-1, 1, 3), draw.uniform(0.08, 0.15, 3), turn) & (label == 0)] = 2.0
        image[:] = values - 0.5 + draw.normal(scale=0.8, size=values.shape)
    return images, labels


def _inside(grid: np.ndarray, centre: np.ndarray, radii: np.ndarray, turn: np.ndarray) -> np.ndarray:
    return ((((grid - centre) @ turn) / radii) ** 2).sum(-1) <= 1


def _unit(draw: np.random.Generator) -> np.ndarray:
    vector = draw.normal(size=3)
    return vector / np.linalg.norm(vector)
