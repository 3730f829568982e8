"""Image classification: ResNet v1.5, top-1 accuracy.

smoke and small read the handwritten digits that ship with the package (podium/bench/data/README.md): the first 1437
train, the last 360 evaluate, so that most of those come from writers never seen in training. full reads ImageNet.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from podium.bench.imagenet import open_imagenet
from podium.bench.registry import benchmark_task
from podium.bench.shuffled import Shuffled
from podium.bench.task import Data, Preset, Samples, Size, Task, at_least
from podium.models.resnet import RESNET50, ResNet, ResNetConfig
from podium.train.objective import Loss
from podium.train.optim import OptimizerConfig
from podium.train.schedule import ScheduleConfig
from podium.train.trainer import TrainConfig

HELD_OUT = 360


class Classify:
    """Cross-entropy over images; `smoothing` is the share of the label that goes to all classes alike."""

    def __init__(self, smoothing: float = 0.0) -> None:
        self.smoothing = smoothing

    def __call__(self, model: Any, batch: Samples) -> Loss:
        (images,), (labels,) = batch.inputs, batch.labels
        logits = model(images).float()
        total = F.cross_entropy(logits, labels, reduction="sum", label_smoothing=self.smoothing)
        return Loss(total, batch.count)

    def flops(self, model: Any, batch: Samples) -> float:
        return 0.0


@benchmark_task
class ResNetTask(Task):
    key = "resnet"
    area = "image classification"
    presets: Mapping[Size, Preset] = {
        "smoke": Preset(
            network=ResNetConfig(layers=(1, 1, 1), strides=(1, 2, 2), width=16, classes=10, channels=1, stem="small"),
            data={"enlarge": 1},
            batch=64,
            train=TrainConfig(
                steps=22 * 20,
                optimizer=OptimizerConfig(name="sgd", lr=0.1, momentum=0.9, weight_decay=5e-4),
                schedule=ScheduleConfig(name="linear", warmup=22),
                clip=0,
                guard_sigmas=0,
                evaluate_every=22,
            ),
            target=at_least("accuracy", 0.92),
            dataset="UCI digits, 8 x 8",
        ),
        "small": Preset(
            network=replace(RESNET50, classes=10, channels=1),
            data={"enlarge": 8},
            batch=128,
            train=TrainConfig(
                steps=11 * 60,
                optimizer=OptimizerConfig(name="sgd", lr=0.1, momentum=0.9, weight_decay=5e-4),
                schedule=ScheduleConfig(name="linear", warmup=55),
                clip=0,
                guard_sigmas=0,
                precision="bfloat16",
                evaluate_every=22,
            ),
            target=at_least("accuracy", 0.95),
            dataset="UCI digits, enlarged to 64 x 64",
        ),
        "full": Preset(
            network=RESNET50,
            data={"workers": 8},
            batch=256,
            train=TrainConfig(
                steps=1251 * 9,
                accumulation=16,
                optimizer=OptimizerConfig(name="lars", lr=10.5, momentum=0.9, weight_decay=5e-5, trust=0.001),
                schedule=ScheduleConfig(name="polynomial", warmup=626, final_ratio=1e-4 / 10.5),
                clip=0,
                guard_sigmas=0,
                precision="bfloat16",
                evaluate_every=1251,  # four passes of 5004 batches
            ),
            target=at_least("accuracy", 0.759),
            dataset="ImageNet (ILSVRC 2012)",
            settings={
                "lars_opt_base_learning_rate": 10.5,
                "lars_opt_end_learning_rate": 1e-4,
                "lars_opt_learning_rate_decay_poly_power": 2,
                "lars_opt_learning_rate_decay_steps": 1251 * 9 - 626,
                "lars_epsilon": 0.0,
                "lars_opt_learning_rate_warmup_epochs": 2,
                "lars_opt_momentum": 0.9,
                "lars_opt_weight_decay": 5e-5,
            },
            official=True,
            samples=(1_281_167, 50_000),
        ),
    }

    def prepare(self, preset: Preset, folder: Path) -> None:
        packed = files("podium.bench.data").joinpath("digits.csv.gz").read_bytes()
        table = np.loadtxt(gzip.decompress(packed).decode().splitlines(), delimiter=",", dtype=np.uint8)
        np.savez(folder / "digits.npz", images=table[:, :64].reshape(-1, 8, 8), labels=table[:, 64])

    def build(self, preset: Preset, seed: int) -> ResNet:
        return ResNet(preset.network).initialise(seed)

    def objective(self, preset: Preset) -> Classify:
        return Classify(0.1 if preset.official else 0.0)

    def open(self, preset: Preset, folder: Path, model: nn.Module, seed: int) -> Data:
        if preset.official:
            return open_imagenet(folder, preset.batch, seed, preset.data["workers"])
        with np.load(folder / "digits.npz") as stored:
            images = torch.from_numpy(stored["images"]).float()[:, None] / 8 - 1
            labels = torch.from_numpy(stored["labels"]).long()
        enlarge = preset.data["enlarge"]
        train, held_out = images[:-HELD_OUT], images[-HELD_OUT:]
        pad = 1

        def make(chosen: Tensor, generator: torch.Generator) -> Samples:
            # Shifts by up to one pixel of the original.
            padded = F.pad(train[chosen], (pad,) * 4, value=-1.0)
            down, right = torch.randint(0, 2 * pad + 1, (2, len(chosen)), generator=generator)
            rows = (down[:, None] + torch.arange(8))[:, :, None]
            columns = (right[:, None] + torch.arange(8))[:, None, :]
            shifted = padded[torch.arange(len(chosen))[:, None, None], 0, rows, columns][:, None]
            return Samples((_enlarge(shifted, enlarge),), (labels[:-HELD_OUT][chosen],), "images")

        def evaluate(model: nn.Module) -> dict[str, float]:
            device = next(model.parameters()).device
            right = 0
            for part, truth in zip(held_out.split(180), labels[-HELD_OUT:].split(180), strict=True):
                right += int((model(_enlarge(part, enlarge).to(device)).argmax(-1).cpu() == truth).sum())
            return {"accuracy": right / HELD_OUT}

        return Data(Shuffled(len(train), preset.batch, seed, make), evaluate, len(train), HELD_OUT)


def _enlarge(images: Tensor, factor: int) -> Tensor:
    return images if factor == 1 else F.interpolate(images, scale_factor=factor, mode="bilinear")
