"""COCO 2017 as it is unpacked, for detectors of boxes: annotations/instances_{train,val}2017.json beside train2017/ and
val2017/, decoded by Pillow in threads and stretched to a square.

Training images are cropped as SSD's paper does (arXiv:1512.02325, section 2.2): all of the image, or a part that
overlaps an object by at least 0.1, 0.3, 0.5, 0.7 or 0.9, or any part; objects whose centre lies outside are dropped.
Half of them are mirrored, and their colours shifted as in MLPerf's reference (single_stage_detector/ssd/README.md:
brightness, contrast, saturation, hue). Category ids, which have gaps, become 1 .. 80. Crowds are not trained on; in
evaluation what is found in one is neither right nor wrong.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from podium.bench.imagenet import DEVIATION, MEAN, pillow
from podium.bench.quality.detection import Found, Precision, True_, box_overlap
from podium.bench.shuffled import Shuffled
from podium.bench.task import Data, Samples
from podium.errors import InputError
from podium.models.ssd import SSD

CROPS = (None, 0.1, 0.3, 0.5, 0.7, 0.9, 0.0)


@dataclass(frozen=True, slots=True)
class Picture:
    """A file and what is in it: boxes [M, 4] (left, top, right, bottom) in pixels, classes [M] from 1 on, which are
    crowds [M], and the outline of each as the annotations have it (podium.bench.outlines)."""

    path: Path
    width: int
    height: int
    boxes: np.ndarray
    classes: np.ndarray
    crowds: np.ndarray
    outlines: list[Any]

    def objects(self) -> Picture:
        """Without its crowds."""
        single = ~self.crowds
        outlines = [outline for outline, crowd in zip(self.outlines, self.crowds, strict=True) if not crowd]
        return replace(
            self,
            boxes=self.boxes[single],
            classes=self.classes[single],
            crowds=self.crowds[single],
            outlines=outlines,
        )


def read_coco(folder: Path, part: str) -> list[Picture]:
    """The pictures of "train2017" or "val2017".

    Raises:
        InputError: the annotations are missing or are none of instances.
    """
    path = folder / "annotations" / f"instances_{part}.json"
    try:
        content = json.loads(path.read_bytes())
        kinds = {c["id"]: number for number, c in enumerate(sorted(content["categories"], key=lambda c: c["id"]), 1)}
        objects: dict[int, list[tuple[list[float], int, bool, Any]]] = {image["id"]: [] for image in content["images"]}
        for annotation in content["annotations"]:
            x, y, width, height = annotation["bbox"]
            if width > 0 and height > 0:
                objects[annotation["image_id"]].append(
                    (
                        [x, y, x + width, y + height],
                        kinds[annotation["category_id"]],
                        bool(annotation.get("iscrowd")),
                        annotation.get("segmentation"),
                    )
                )
        return [
            Picture(
                folder / part / image["file_name"],
                image["width"],
                image["height"],
                np.array([box for box, *_ in found], dtype=np.float32).reshape(-1, 4),
                np.array([kind for _, kind, _, _ in found], dtype=np.int64),
                np.array([crowd for _, _, crowd, _ in found], dtype=bool),
                [outline for *_, outline in found],
            )
            for image in content["images"]
            for found in [objects[image["id"]]]
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
    train, held_out = both_parts(folder)
    load_backbone(model.backbone, folder, "ResNet-34")
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

    def evaluate(model: nn.Module) -> dict[str, float]:
        assert isinstance(model, SSD)
        precision = Precision(box_overlap)
        for start in range(0, len(held_out), batch):
            part = held_out[start : start + batch]
            whole = [(0.0, 0.0, picture.width, picture.height) for picture in part]
            jobs = zip(part, whole, strict=True)
            images = torch.stack(list(pool.map(lambda job: normalised(stretched(reader, job[0], job[1], side)), jobs)))
            for picture, (boxes, scores, kinds) in zip(
                part, model.detect(images.to(model.defaults.device)), strict=True
            ):
                scale = np.array([picture.width, picture.height] * 2) / side
                found = Found(boxes.cpu().numpy() * scale, scores.cpu().numpy(), kinds.cpu().numpy())
                precision.add(found, True_(picture.boxes, picture.classes, picture.crowds))
        return {"box_ap": precision.result()}

    return Data(Shuffled(len(train), batch, seed, make), evaluate, len(train), len(held_out))


def both_parts(folder: Path) -> tuple[list[Picture], list[Picture]]:
    """Pictures with objects to train on, crowds left out, and all of those to be judged by.

    Raises:
        InputError: there are none, or their annotations are missing.
    """
    train = [objects for picture in read_coco(folder, "train2017") if len((objects := picture.objects()).boxes)]
    held_out = read_coco(folder, "val2017")
    if not train or not held_out:
        raise InputError(f"{folder}: no pictures with objects", "unpack COCO 2017 again")
    return train, held_out


def load_backbone(backbone: nn.Module, folder: Path, name: str) -> None:
    """Give the backbone the weights of `folder`/backbone.pth: a state dictionary with torchvision's names.

    Raises:
        InputError: it is missing, or one of another network.
    """
    path = folder / "backbone.pth"
    if not path.is_file():
        raise InputError(f"{path}: missing", f"save the state dictionary of a {name} trained on ImageNet there")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        wanted = backbone.state_dict()
        missing = sorted(key for key in wanted if key not in state and not key.endswith("num_batches_tracked"))
        if missing:
            raise InputError(f"{path}: no {missing[0]} in it", f"it must be the state dictionary of a {name}")
        backbone.load_state_dict({key: state.get(key, value) for key, value in wanted.items()})
    except (RuntimeError, UnpicklingError, EOFError, AttributeError, TypeError) as error:
        first = str(error).strip().splitlines()[0]
        raise InputError(f"{path}: {first}", f"it must be the state dictionary of a {name}") from None


def augmented(
    reader: Any, picture: Picture, draw: np.random.Generator, side: int
) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """The picture cropped and perhaps mirrored: image [3, side, side], boxes [K, 4] in its pixels, classes [K]."""
    crop = choose_crop(picture, draw)
    left, top, right, bottom = crop
    image = normalised(shifted(reader, stretched(reader, picture, crop, side), draw))
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


def stretched(reader: Any, picture: Picture, crop: tuple[float, float, float, float], side: int) -> Any:
    """A part of the picture as a square of Pillow's."""
    try:
        with reader.open(picture.path) as file:
            return file.convert("RGB").resize((side, side), reader.Resampling.BILINEAR, box=crop)
    except OSError as error:
        raise InputError(f"{picture.path}: cannot be read ({error})", "unpack COCO 2017 again") from None


def shifted(reader: Any, image: Any, draw: np.random.Generator) -> Any:
    """The image with other colours: brightness times 0.875 to 1.125, contrast and saturation times 0.5 to 1.5, hue
    turned by up to 18 degrees, in an order that is drawn."""
    from PIL import ImageEnhance

    for change in draw.permutation(4):
        if change == 3:
            hue, saturation, value = image.convert("HSV").split()
            turn = int(draw.integers(-13, 14))  # of 256
            hue = reader.fromarray(((np.array(hue).astype(np.int64) + turn) % 256).astype(np.uint8))
            image = reader.merge("HSV", (hue, saturation, value)).convert("RGB")
            continue
        kind = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)[change]
        most = 0.125 if change == 0 else 0.5
        image = kind(image).enhance(float(draw.uniform(1 - most, 1 + most)))
    return image


def normalised(image: Any) -> Tensor:
    """[3, H, W] of an image of Pillow's."""
    return (torch.from_numpy(np.array(image)).permute(2, 0, 1).float() - MEAN) / DEVIATION
