"""COCO 2017 as it is unpacked, for detectors of boxes: annotations/instances_{train,val}2017.json beside train2017/ and
val2017/, decoded by Pillow in threads and stretched to a square.

Training images are cropped as SSD's paper does (arXiv:1512.02325, section 2.2): all of the image, or a part that
overlaps an object by at least 0.1, 0.3, 0.5, 0.7 or 0.9, or any part; objects whose centre lies outside are dropped.
Half of them are mirrored. Category ids, which have gaps, become 1 .. 80; crowds are left out.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from podium.bench.imagenet import DEVIATION, MEAN, pillow
from podium.bench.quality.detection import Found, True_, average_precision, box_overlap
from podium.bench.shuffled import Shuffled
from podium.bench.task import Data, Samples
from podium.errors import InputError
from podium.models.ssd import SSD

CROPS = (None, 0.1, 0.3, 0.5, 0.7, 0.9, 0.0)


@dataclass(frozen=True, slots=True)
class Picture:
    """A file and what is in it: boxes [M, 4] (left, top, right, bottom) in pixels, classes [M] from 1 on."""

    path: Path
    width: int
    height: int
    boxes: np.ndarray
    classes: np.ndarray


def read_coco(folder: Path, part: str) -> list[Picture]:
    """The pictures of "train2017" or "val2017".

    Raises:
        InputError: the annotations are missing or are none of instances.
    """
    path = folder / "annotations" / f"instances_{part}.json"
    try:
        content = json.loads(path.read_bytes())
        kinds = {c["id"]: number for number, c in enumerate(sorted(content["categories"], key=lambda c: c["id"]), 1)}
        objects: dict[int, list[tuple[list[float], int]]] = {image["id"]: [] for image in content["images"]}
        for annotation in content["annotations"]:
            x, y, width, height = annotation["bbox"]
            if not annotation.get("iscrowd") and width > 0 and height > 0:
                box = [x, y, x + width, y + height]
                objects[annotation["image_id"]].append((box, kinds[annotation["category_id"]]))
        return [
            Picture(
                folder / part / image["file_name"],
                image["width"],
                image["height"],
                np.array([box for box, _ in objects[image["id"]]], dtype=np.float32).reshape(-1, 4),
                np.array([kind for _, kind in objects[image["id"]]], dtype=np.int64),
            )
            for image in content["images"]
        ]
    except FileNotFoundError:
        raise InputError(f"{path}: missing", "unpack COCO 2017's annotations and images into one folder") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: no annotations of instances ({error!r})", "unpack COCO 2017 again") from None


def open_coco(folder: Path, model: nn.Module, batch: int, seed: int, workers: int) -> Data:
    """The dataset in `folder`; training leaves out pictures without objects.

    The backbone of `model` gets the weights in `backbone.pth` (torchvision's ResNet-34 trained on ImageNet: the rules
    begin with it).

    Raises:
        InputError: annotations, images or weights are missing, or Pillow is not installed.
    """
    assert isinstance(model, SSD)
    reader = pillow()
    train = [picture for picture in read_coco(folder, "train2017") if len(picture.boxes)]
    held_out = read_coco(folder, "val2017")
    if not train or not held_out:
        raise InputError(f"{folder}: no pictures with objects", "unpack COCO 2017 again")
    weights = folder / "backbone.pth"
    if not weights.is_file():
        raise InputError(f"{weights}: missing", "save the state dictionary of a ResNet-34 trained on ImageNet there")
    state = torch.load(weights, map_location="cpu", weights_only=True)
    wanted = model.backbone.state_dict()
    model.backbone.load_state_dict({name: state.get(name, value) for name, value in wanted.items()})
    side, most = model.config.image, max(len(picture.boxes) for picture in train)
    pool = ThreadPoolExecutor(workers)

    def make(chosen: Tensor, generator: torch.Generator) -> Samples:
        seeds = torch.randint(2**31, (len(chosen),), generator=generator).tolist()
        jobs = [(train[index], np.random.default_rng(one)) for index, one in zip(chosen.tolist(), seeds, strict=True)]
        boxes, classes = torch.zeros(len(jobs), most, 4), torch.zeros(len(jobs), most, dtype=torch.long)
        images = []
        for row, (image, found, kinds) in enumerate(
            pool.map(lambda job: augmented(reader, job[0], job[1], side), jobs)
        ):
            images.append(image)
            boxes[row, : len(found)], classes[row, : len(kinds)] = torch.from_numpy(found), torch.from_numpy(kinds)
        return Samples((torch.stack(images),), (boxes, classes), "images")

    truth = [True_(picture.boxes, picture.classes) for picture in held_out]

    def evaluate(model: nn.Module) -> dict[str, float]:
        assert isinstance(model, SSD)
        found = []
        for start in range(0, len(held_out), batch):
            part = held_out[start : start + batch]
            whole = [(0.0, 0.0, picture.width, picture.height) for picture in part]
            images = torch.stack(
                list(pool.map(lambda job: stretched(reader, job[0], job[1], side), zip(part, whole, strict=True)))
            )
            for picture, (boxes, scores, kinds) in zip(
                part, model.detect(images.to(model.defaults.device)), strict=True
            ):
                scale = np.array([picture.width, picture.height] * 2) / side
                found.append(Found(boxes.cpu().numpy() * scale, scores.cpu().numpy(), kinds.cpu().numpy()))
        return {"box_ap": average_precision(found, truth, box_overlap)}

    return Data(Shuffled(len(train), batch, seed, make), evaluate, len(train), len(held_out))


def augmented(
    reader: Any, picture: Picture, draw: np.random.Generator, side: int
) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """The picture cropped and perhaps mirrored: image [3, side, side], boxes [K, 4] in its pixels, classes [K]."""
    crop = choose_crop(picture, draw)
    left, top, right, bottom = crop
    image = stretched(reader, picture, crop, side)
    middle = (picture.boxes[:, :2] + picture.boxes[:, 2:]) / 2
    inside = ((middle >= (left, top)) & (middle < (right, bottom))).all(1)
    boxes = picture.boxes[inside].clip((left, top, left, top), (right, bottom, right, bottom))
    boxes = (boxes - (left, top, left, top)) * (side / np.array([right - left, bottom - top] * 2))
    if draw.random() < 0.5:
        image, boxes = image.flip(-1), boxes[:, [2, 1, 0, 3]] * (-1, 1, -1, 1) + (side, 0, side, 0)
    return image, boxes.astype(np.float32), picture.classes[inside]


def choose_crop(picture: Picture, draw: np.random.Generator) -> tuple[float, float, float, float]:
    """A part of the picture that keeps the centre of an object and overlaps one as much as was drawn."""
    whole = (0.0, 0.0, float(picture.width), float(picture.height))
    while (least := CROPS[draw.integers(len(CROPS))]) is not None:
        for _ in range(50):
            width, height = draw.uniform(0.3, 1.0, 2) * (picture.width, picture.height)
            if not 0.5 <= width / height <= 2:
                continue
            left, top = draw.uniform(0, picture.width - width), draw.uniform(0, picture.height - height)
            crop = np.array([left, top, left + width, top + height])
            middle = (picture.boxes[:, :2] + picture.boxes[:, 2:]) / 2
            kept = ((middle >= crop[:2]) & (middle < crop[2:])).all(1)
            if kept.any() and box_overlap(crop[None], picture.boxes).max() >= least:
                return (left, top, left + width, top + height)
    return whole


def stretched(reader: Any, picture: Picture, crop: tuple[float, float, float, float], side: int) -> Tensor:
    """Image [3, side, side] of a part of the picture, normalised."""
    try:
        with reader.open(picture.path) as file:
            image = file.convert("RGB").resize((side, side), reader.Resampling.BILINEAR, box=crop)
    except OSError as error:
        raise InputError(f"{picture.path}: cannot be read ({error})", "unpack COCO 2017 again") from None
    return (torch.from_numpy(np.array(image)).permute(2, 0, 1).float() - MEAN) / DEVIATION
