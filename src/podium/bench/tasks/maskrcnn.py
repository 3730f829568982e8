"""Object detection, heavy: Mask R-CNN, COCO's average precision of boxes and of masks, both at once.

smoke and small draw discs, squares and triangles (podium.bench.shapes); full reads COCO 2017.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from podium.bench.coco_masks import open_coco_masks
from podium.bench.quality.detection import Found, True_, average_precision, box_overlap, mask_overlap
from podium.bench.registry import benchmark_task
from podium.bench.shapes import Shapes, read_shapes, write_shapes
from podium.bench.shuffled import Shuffled
from podium.bench.task import Data, MetricBound, Preset, Samples, Size, Target, Task
from podium.models.maskrcnn import MaskRCNN, MaskRCNNConfig
from podium.models.resnet import ResNetConfig
from podium.train.detection import ANCHORS, PROPOSALS, Matching, mask_rcnn_losses
from podium.train.objective import Loss
from podium.train.optim import OptimizerConfig
from podium.train.schedule import ScheduleConfig
from podium.train.trainer import TrainConfig


def both(boxes: float, masks: float) -> Target:
    """Precision of boxes and of masks at once, by the names that logs of v1.1 have for them."""
    return Target((MetricBound("box_ap", "max", boxes, "BBOX"), MetricBound("mask_ap", "max", masks, "SEGM")))


class FiveLosses:
    """The five losses of the paper, added up."""

    def __init__(self, anchors: Matching, proposals: Matching) -> None:
        self.anchors, self.proposals = anchors, proposals

    def __call__(self, model: MaskRCNN, batch: Samples) -> Loss:
        (images, *sizes), (boxes, classes, masks) = batch.inputs, batch.labels
        losses = mask_rcnn_losses(
            model, images, boxes, classes, masks, self.anchors, self.proposals, sizes[0] if sizes else None
        )
        metrics = {name: float(value.detach()) * batch.count for name, value in losses.items()}
        return Loss(torch.stack(list(losses.values())).sum() * batch.count, batch.count, metrics)

    def flops(self, model: MaskRCNN, batch: Samples) -> float:
        return 0.0


@benchmark_task
class MaskRCNNTask(Task):
    key = "maskrcnn"
    area = "object detection, heavy"
    control = "wrong loss sign"
    presets: Mapping[Size, Preset] = {
        "smoke": Preset(
            network=MaskRCNNConfig(
                classes=4,
                backbone=ResNetConfig(
                    block="basic", layers=(1, 1, 1), strides=(2, 2, 2), width=16, classes=0, stem="small"
                ),
                first_stride=2,
                pyramid=32,
                coarser=False,
                anchors=(8, 16, 28),
                ratios=(1.0,),
                proposals_before=100,
                proposals=60,
                proposals_tested=30,
                box_cells=7,
                box_hidden=96,
                mask_cells=7,
                mask_width=32,
                mask_layers=2,
            ),
            data=Shapes(side=64, train=600, evaluation=80),
            batch=8,
            train=TrainConfig(
                steps=75 * 8,
                optimizer=OptimizerConfig(name="sgd", lr=0.02, momentum=0.9, weight_decay=1e-4),
                schedule=ScheduleConfig(name="linear", warmup=50),
                clip=10.0,
                guard_sigmas=0,
                evaluate_every=75,
            ),
            target=both(0.50, 0.50),
            dataset="drawn shapes in COCO form",
        ),
        "small": Preset(
            network=MaskRCNNConfig(classes=4, proposals_before=500, proposals=500, proposals_tested=200),
            data=Shapes(side=256, train=1000, evaluation=100, smallest=30, largest=130, most=5),
            batch=8,
            train=TrainConfig(
                steps=125 * 30,
                optimizer=OptimizerConfig(name="sgd", lr=0.01, momentum=0.9, weight_decay=1e-4),
                schedule=ScheduleConfig(name="linear", warmup=500),
                clip=10.0,
                guard_sigmas=0,
                evaluate_every=250,
            ),
            target=both(0.60, 0.60),
            dataset="drawn shapes in COCO form",
        ),
        # Batch 48 of the reference convergence points of the round. There the 6000 candidates are the best of six
        # images together, here 1000 of each of the six of a micro-batch.
        "full": Preset(
            network=MaskRCNNConfig(proposals_before=2000, proposals=1000, frozen=True),
            data={"shorter": 800, "longer": 1333, "workers": 8},
            batch=6,
            train=TrainConfig(
                steps=2443 * 26,
                accumulation=8,
                optimizer=OptimizerConfig(name="sgd", lr=0.06, momentum=0.9, weight_decay=1e-4),
                schedule=ScheduleConfig(name="step", warmup=800, boundaries=(24_000, 32_000), gamma=0.1),
                clip=0,
                guard_sigmas=0,
                precision="bfloat16",
                evaluate_every=2443,
            ),
            target=both(0.377, 0.339),
            dataset="COCO 2017",
            settings={
                "opt_learning_rate_warmup_factor": 1 / 800,
                "opt_learning_rate_decay_factor": 0.1,
                "opt_learning_rate_decay_steps": [24_000, 32_000],
                "num_image_candidates": 6000,
                "min_image_size": 800,
                "max_image_size": 1333,
            },
            official=True,
            samples=(117_266, 5000),
        ),
    }

    def prepare(self, preset: Preset, folder: Path) -> None:
        write_shapes(preset.data, folder)

    def build(self, preset: Preset, seed: int) -> MaskRCNN:
        return MaskRCNN(preset.network).initialise(seed)

    def objective(self, preset: Preset) -> FiveLosses:
        small = preset.network.proposals < 100
        return FiveLosses(
            Matching(0.6, 0.3, 64, 0.5, True) if small else ANCHORS,
            Matching(0.5, 0.5, 32, 0.5, False) if small else PROPOSALS,
        )

    def open(self, preset: Preset, folder: Path, model: nn.Module, seed: int) -> Data:
        if preset.official:
            return open_coco_masks(folder, model, preset.batch, seed, **preset.data)
        shapes: Shapes = preset.data
        train, held_out = read_shapes(folder, "train"), read_shapes(folder, "evaluation")
        images = torch.from_numpy(train.images).movedim(-1, 1).float() / 127.5 - 1
        boxes = torch.zeros(len(images), shapes.most, 4)
        classes = torch.zeros(len(images), shapes.most, dtype=torch.long)
        masks = torch.zeros(len(images), shapes.most, shapes.side, shapes.side, dtype=torch.bool)
        for index, (b, c, m) in enumerate(zip(train.boxes, train.classes, train.masks, strict=True)):
            boxes[index, : len(b)] = torch.from_numpy(b)
            classes[index, : len(c)] = torch.from_numpy(c)
            masks[index, : len(m)] = torch.from_numpy(m)

        def make(chosen: Tensor, generator: torch.Generator) -> Samples:
            return Samples((images[chosen],), (boxes[chosen], classes[chosen], masks[chosen]), "images")

        evaluation = torch.from_numpy(held_out.images).movedim(-1, 1).float() / 127.5 - 1
        true_boxes = [True_(b, c) for b, c in zip(held_out.boxes, held_out.classes, strict=True)]
        true_masks = [True_(m, c) for m, c in zip(held_out.masks, held_out.classes, strict=True)]

        def evaluate(model: nn.Module) -> dict[str, float]:
            assert isinstance(model, MaskRCNN)
            device = model.box_kind.weight.device
            boxes, masks = [], []
            for part in evaluation.split(20):
                for found in model.detect(part.to(device)):
                    scores, kinds = found.scores.cpu().numpy(), found.classes.cpu().numpy()
                    boxes.append(Found(found.boxes.cpu().numpy(), scores, kinds))
                    masks.append(Found(found.masks.cpu().numpy(), scores, kinds))
            return {
                "box_ap": average_precision(boxes, true_boxes, box_overlap),
                "mask_ap": average_precision(masks, true_masks, mask_overlap),
            }

        return Data(Shuffled(len(images), preset.batch, seed, make), evaluate, len(images), len(evaluation))
