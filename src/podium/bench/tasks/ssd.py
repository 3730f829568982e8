"""Object detection, light: SSD, COCO's average precision of boxes.

smoke and small draw discs, squares and triangles (podium.bench.shapes); full reads COCO 2017.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from podium.bench.coco import open_coco
from podium.bench.quality.detection import Found, True_, average_precision, box_overlap
from podium.bench.registry import benchmark_task
from podium.bench.shapes import Shapes, read_shapes, write_shapes
from podium.bench.shuffled import Shuffled
from podium.bench.task import Data, Preset, Samples, Size, Task, at_least
from podium.models.boxes import encode
from podium.models.resnet import ResNetConfig
from podium.models.ssd import CODE_WEIGHTS, SSD, Extra, SSDConfig, match, multibox_loss
from podium.train.objective import Loss
from podium.train.optim import OptimizerConfig
from podium.train.schedule import ScheduleConfig
from podium.train.trainer import TrainConfig


class Multibox:
    """The loss of the paper; true boxes come padded to one number with class 0."""

    def __call__(self, model: SSD, batch: Samples) -> Loss:
        (images,), (boxes, classes) = batch.inputs, batch.labels
        codes, logits = model(images)
        wanted, kinds = [], []
        for image_boxes, image_classes in zip(boxes, classes, strict=True):
            real = image_classes > 0
            which = match(image_boxes[real], model.defaults)
            kinds.append(torch.where(which >= 0, image_classes[real][which], 0))
            wanted.append(encode(image_boxes[real][which], model.defaults, CODE_WEIGHTS))
        loss = multibox_loss(codes.float(), logits.float(), torch.stack(wanted), torch.stack(kinds))
        return Loss(loss.sum(), batch.count)

    def flops(self, model: SSD, batch: Samples) -> float:
        return 0.0


@benchmark_task
class SSDTask(Task):
    key = "ssd"
    area = "object detection, light"
    presets: Mapping[Size, Preset] = {
        "smoke": Preset(
            network=SSDConfig(
                image=64,
                classes=4,
                backbone=ResNetConfig(
                    block="basic", layers=(1, 1, 1), strides=(2, 2, 2), width=16, classes=0, stem="small"
                ),
                extras=(Extra(32, 64, 2, 1), Extra(32, 64, 2, 1)),
                cells=(8, 4, 2),
                steps=(8, 16, 32),
                scales=(14, 24, 36, 50),
                ratios=((2,), (2,), (2,)),
            ),
            data=Shapes(side=64, train=800, evaluation=100),
            batch=16,
            train=TrainConfig(
                steps=50 * 18,
                optimizer=OptimizerConfig(name="sgd", lr=0.02, momentum=0.9, weight_decay=5e-4),
                schedule=ScheduleConfig(name="linear", warmup=50),
                clip=10.0,
                guard_sigmas=0,
                evaluate_every=100,
            ),
            target=at_least("box_ap", 0.50),
            dataset="drawn shapes in COCO form",
        ),
        "small": Preset(
            network=SSDConfig(classes=4),
            data=Shapes(side=300, train=2000, evaluation=200, smallest=30, largest=150, most=5),
            batch=32,
            train=TrainConfig(
                steps=62 * 60,
                optimizer=OptimizerConfig(name="sgd", lr=2.5e-3, momentum=0.9, weight_decay=5e-4),
                schedule=ScheduleConfig(name="linear", warmup=300),
                clip=10.0,
                guard_sigmas=0,
                precision="bfloat16",
                evaluate_every=310,
            ),
            target=at_least("box_ap", 0.60),
            dataset="drawn shapes in COCO form",
        ),
        # 229 steps are a pass. Rates fall at 44 and 55 passes: the rules' (40, 50) times 1.1.
        "full": Preset(
            network=SSDConfig(),
            data={"workers": 8},
            batch=128,
            train=TrainConfig(
                steps=229 * 65,
                accumulation=4,
                optimizer=OptimizerConfig(name="sgd", lr=0.05, momentum=0.9, weight_decay=1.3e-4),
                schedule=ScheduleConfig(name="step", warmup=1000, boundaries=(229 * 44, 229 * 55), gamma=0.1),
                clip=0,
                guard_sigmas=0,
                precision="bfloat16",
                evaluate_every=229 * 5,
            ),
            target=at_least("box_ap", 0.23),
            dataset="COCO 2017",
            settings={
                "opt_learning_rate_warmup_factor": 0,
                "opt_learning_rate_decay_boundary_epochs": [44, 55],
                "opt_weight_decay": 1.3e-4,
                "model_bn_span": 128,
                "max_samples": 50,
            },
            official=True,
            samples=(117_266, 5000),
        ),
    }

    def prepare(self, preset: Preset, folder: Path) -> None:
        write_shapes(preset.data, folder)

    def build(self, preset: Preset, seed: int) -> SSD:
        return SSD(preset.network).initialise(seed)

    def objective(self, preset: Preset) -> Multibox:
        return Multibox()

    def open(self, preset: Preset, folder: Path, model: nn.Module, seed: int) -> Data:
        if preset.official:
            return open_coco(folder, model, preset.batch, seed, preset.data["workers"])
        shapes: Shapes = preset.data
        train, held_out = read_shapes(folder, "train"), read_shapes(folder, "evaluation")
        images = _normalised(train.images)
        boxes = torch.zeros(len(images), shapes.most, 4)
        classes = torch.zeros(len(images), shapes.most, dtype=torch.long)
        for index, (image_boxes, image_classes) in enumerate(zip(train.boxes, train.classes, strict=True)):
            boxes[index, : len(image_boxes)] = torch.from_numpy(image_boxes)
            classes[index, : len(image_classes)] = torch.from_numpy(image_classes)

        def make(chosen: Tensor, generator: torch.Generator) -> Samples:
            # Half of the batches mirrored.
            image, image_boxes = images[chosen], boxes[chosen]
            if torch.rand((), generator=generator) < 0.5:
                image = image.flip(-1)
                image_boxes = image_boxes[..., [2, 1, 0, 3]]
                image_boxes[..., [0, 2]] = shapes.side - image_boxes[..., [0, 2]]
            return Samples((image,), (image_boxes, classes[chosen]), "images")

        evaluation = _normalised(held_out.images)
        truth = [True_(b, c) for b, c in zip(held_out.boxes, held_out.classes, strict=True)]

        def evaluate(model: nn.Module) -> dict[str, float]:
            assert isinstance(model, SSD)
            found = []
            for part in evaluation.split(50):
                for image_boxes, scores, kinds in model.detect(part.to(model.defaults.device)):
                    found.append(Found(image_boxes.cpu().numpy(), scores.cpu().numpy(), kinds.cpu().numpy()))
            return {"box_ap": average_precision(found, truth, box_overlap)}

        return Data(Shuffled(len(images), preset.batch, seed, make), evaluate, len(images), len(evaluation))


def _normalised(images: np.ndarray) -> Tensor:
    return torch.from_numpy(images).movedim(-1, 1).float() / 127.5 - 1
