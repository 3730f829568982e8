"""COCO 2017 with outlines, for Mask R-CNN: pictures keep their shape, 800 pixels along the shorter side and at most
1333 along the longer one, padded to one size per batch; half of those to train on are mirrored.

Masks are drawn when a picture is taken and forgotten with its batch; of an evaluation one picture's masks are in
memory at a time, at the size the picture has on disk, where COCO's tool measures them.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from podium.bench.coco import Picture, both_parts, load_backbone, normalised
from podium.bench.imagenet import pillow
from podium.bench.outlines import mask_of
from podium.bench.quality.detection import Found, Precision, True_, box_overlap, mask_overlap
from podium.bench.shuffled import Shuffled
from podium.bench.task import Data, Samples
from podium.errors import InputError
from podium.models.maskrcnn import MaskRCNN

STEP = 32  # sides of a batch are whole cells of the coarsest stage


def open_coco_masks(
    folder: Path, model: nn.Module, batch: int, seed: int, *, shorter: int, longer: int, workers: int
) -> Data:
    """The dataset in `folder`; the backbone of `model` gets the weights in `backbone.pth` (a ResNet-50 trained on
    ImageNet: the rules begin with one).

    Raises:
        InputError: annotations, images or weights are missing, or Pillow is not installed.
    """
    assert isinstance(model, MaskRCNN)
    reader = pillow()
    train, held_out = both_parts(folder)
    load_backbone(model.backbone, folder, "ResNet-50")
    pool = ThreadPoolExecutor(workers)

    def make(chosen: Tensor, generator: torch.Generator) -> Samples:
        mirrored = (torch.rand(len(chosen), generator=generator) < 0.5).tolist()
        jobs = zip([train[index] for index in chosen.tolist()], mirrored, strict=True)
        return together(list(pool.map(lambda job: resized(reader, job[0], job[1], shorter, longer), jobs)))

    def evaluate(model: nn.Module) -> dict[str, float]:
        assert isinstance(model, MaskRCNN)
        device = model.box_kind.weight.device
        boxes, masks = Precision(box_overlap), Precision(mask_overlap)
        for start in range(0, len(held_out), batch):
            part = held_out[start : start + batch]
            images = list(pool.map(lambda picture: image_of(reader, picture, shorter, longer), part))
            sizes = [(image.shape[1], image.shape[2]) for image in images]
            originals = [(picture.height, picture.width) for picture in part]
            detections = model.detect(padded(images).to(device), sizes=sizes, originals=originals)
            for picture, found in zip(part, detections, strict=True):
                scores, kinds = found.scores.float().cpu().numpy(), found.classes.cpu().numpy()
                true = (picture.classes, picture.crowds)
                boxes.add(Found(found.boxes.float().cpu().numpy(), scores, kinds), True_(picture.boxes, *true))
                masks.add(Found(found.masks.cpu().numpy(), scores, kinds), True_(outlines_of(picture), *true))
        return {"box_ap": boxes.result(), "mask_ap": masks.result()}

    return Data(Shuffled(len(train), batch, seed, make), evaluate, len(train), len(held_out))


def image_of(reader: Any, picture: Picture, shorter: int, longer: int) -> Tensor:
    """[3, h, w], normalised."""
    scale = min(shorter / min(picture.width, picture.height), longer / max(picture.width, picture.height))
    size = (round(picture.width * scale), round(picture.height * scale))
    try:
        with reader.open(picture.path) as file:
            return normalised(file.convert("RGB").resize(size, reader.Resampling.BILINEAR))
    except OSError as error:
        raise InputError(f"{picture.path}: cannot be read ({error})", "unpack COCO 2017 again") from None


def outlines_of(picture: Picture) -> np.ndarray:
    """Masks [M, H, W] of what is in the picture, at its own size.

    Raises:
        InputError: an outline is none.
    """
    try:
        masks = [mask_of(outline, picture.height, picture.width) for outline in picture.outlines]
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{picture.path.name}: outline of an instance: {error}", "unpack COCO 2017 again") from None
    return np.stack(masks) if masks else np.zeros((0, picture.height, picture.width), bool)


def resized(
    reader: Any, picture: Picture, mirrored: bool, shorter: int, longer: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Image [3, h, w], boxes [M, 4] in its pixels, classes [M] and masks [M, h, w] (booleans)."""
    image = image_of(reader, picture, shorter, longer)
    height, width = image.shape[1:]
    boxes = torch.from_numpy(picture.boxes) * torch.tensor([width / picture.width, height / picture.height] * 2)
    drawn = torch.from_numpy(outlines_of(picture)).float()[:, None]
    masks = F.interpolate(drawn, (height, width), mode="bilinear")[:, 0] >= 0.5
    if mirrored:
        image, masks = image.flip(-1), masks.flip(-1)
        boxes = boxes[:, [2, 1, 0, 3]] * torch.tensor([-1.0, 1, -1, 1]) + torch.tensor([float(width), 0, width, 0])
    return image, boxes, torch.from_numpy(picture.classes), masks


def padded(tensors: Sequence[Tensor]) -> Tensor:
    """[B, ..., H, W] of [..., h, w], with zeros below and to the right; H and W are multiples of STEP."""
    height, width = (-(-max(tensor.shape[axis] for tensor in tensors) // STEP) * STEP for axis in (-2, -1))
    return torch.stack([F.pad(t, (0, width - t.shape[-1], 0, height - t.shape[-2])) for t in tensors])


def together(samples: Sequence[tuple[Tensor, Tensor, Tensor, Tensor]]) -> Samples:
    """Inputs: images and their sizes [B, 2] without padding; labels: boxes, classes (0: padding) and masks."""
    most = max(len(classes) for _, _, classes, _ in samples)
    boxes = torch.zeros(len(samples), most, 4)
    classes = torch.zeros(len(samples), most, dtype=torch.long)
    for row, (_, image_boxes, image_classes, _) in enumerate(samples):
        boxes[row, : len(image_boxes)], classes[row, : len(image_classes)] = image_boxes, image_classes
    masks = padded([F.pad(masks, (0, 0, 0, 0, 0, most - len(masks))) for *_, masks in samples])
    sizes = torch.tensor([image.shape[1:] for image, *_ in samples])
    return Samples((padded([image for image, *_ in samples]), sizes), (boxes, classes, masks), "images")
