"""Drawn shapes in COCO's form: images and one JSON of annotations per set. Knows pixels and files, not networks.

`<set>.npy` holds the images [N, H, W, 3]; `instances_<set>.json` is what COCO calls instances: images, categories and
annotations with bbox [x, y, width, height] and a polygon as segmentation.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

KINDS = ("disc", "square", "triangle")


@dataclass(frozen=True, slots=True)
class Shapes:
    """How images are drawn; sides and sizes in pixels."""

    side: int
    train: int
    evaluation: int
    smallest: int = 12
    largest: int = 30
    most: int = 3
    seed: int = 2017


@dataclass(frozen=True, slots=True)
class Instances:
    """A set as read: images [N, H, W, 3] (uint8) and per image boxes [M, 4] (left, top, right, bottom), classes [M]
    from 1 on, and masks [M, H, W]."""

    images: np.ndarray
    boxes: list[np.ndarray]
    classes: list[np.ndarray]
    masks: list[np.ndarray]


def write_shapes(shapes: Shapes, folder: Path) -> None:
    """Draw both sets."""
    draw = np.random.default_rng(shapes.seed)
    for name, number in (("train", shapes.train), ("evaluation", shapes.evaluation)):
        images = np.empty((number, shapes.side, shapes.side, 3), dtype=np.uint8)
        annotations: list[dict[str, Any]] = []
        for index in range(number):
            polygons, kinds = _arrange(shapes, draw)
            images[index] = _paint(shapes.side, polygons, draw)
            for polygon, kind in zip(polygons, kinds, strict=True):
                low, high = polygon.min(0), polygon.max(0)
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": index,
                        "category_id": kind + 1,
                        "iscrowd": 0,
                        "bbox": [round(float(value), 2) for value in (*low, *(high - low))],
                        "area": round(_polygon_area(polygon), 2),
                        "segmentation": [[round(float(value), 2) for value in polygon.reshape(-1)]],
                    }
                )
        np.save(folder / f"{name}.npy", images)
        content = {
            "images": [{"id": index, "width": shapes.side, "height": shapes.side} for index in range(number)],
            "categories": [{"id": number + 1, "name": name} for number, name in enumerate(KINDS)],
            "annotations": annotations,
        }
        (folder / f"instances_{name}.json").write_text(json.dumps(content))


def read_shapes(folder: Path, name: str) -> Instances:
    """The set `name` of what `write_shapes` wrote."""
    images = np.load(folder / f"{name}.npy")
    content = json.loads((folder / f"instances_{name}.json").read_text())
    side = images.shape[1]
    boxes: list[list[list[float]]] = [[] for _ in images]
    classes: list[list[int]] = [[] for _ in images]
    masks: list[list[np.ndarray]] = [[] for _ in images]
    for annotation in content["annotations"]:
        x, y, width, height = annotation["bbox"]
        at = annotation["image_id"]
        boxes[at].append([x, y, x + width, y + height])
        classes[at].append(annotation["category_id"])
        masks[at].append(fill(np.array(annotation["segmentation"][0]).reshape(-1, 2), side, side))
    return Instances(
        images,
        [np.array(rows, dtype=np.float32).reshape(-1, 4) for rows in boxes],
        [np.array(rows, dtype=np.int64) for rows in classes],
        [np.stack(rows) if rows else np.zeros((0, side, side), bool) for rows in masks],
    )


def fill(polygon: np.ndarray, height: int, width: int) -> np.ndarray:
    """Mask [H, W] of the pixels whose centres lie inside of `polygon` [P, 2] (x, y), by the even-odd rule."""
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    inside = np.zeros((height, width), dtype=bool)
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        if y0 == y1:
            continue
        crosses = (y >= min(y0, y1)) & (y < max(y0, y1))
        where = x0 + (y - y0) * (x1 - x0) / (y1 - y0)
        inside ^= crosses[:, None] & (x[None, :] < where[:, None])
    return inside


def _arrange(shapes: Shapes, draw: np.random.Generator) -> tuple[list[np.ndarray], list[int]]:
    """One to `most` shapes that hardly touch each other."""
    polygons: list[np.ndarray] = []
    kinds: list[int] = []
    for _ in range(int(draw.integers(1, shapes.most + 1))):
        for _attempt in range(20):
            kind, size = int(draw.integers(len(KINDS))), draw.uniform(shapes.smallest, shapes.largest)
            corner = draw.uniform(0, shapes.side - size, 2)
            polygon = _outline(kind, size) + corner
            if all(_apart(polygon, other) for other in polygons):
                polygons.append(polygon)
                kinds.append(kind)
                break
    return polygons, kinds


def _outline(kind: int, size: float) -> np.ndarray:
    if KINDS[kind] == "disc":
        angles = np.arange(24) * 2 * np.pi / 24
        return size / 2 * (1 + np.stack([np.cos(angles), np.sin(angles)], axis=1))
    if KINDS[kind] == "square":
        return size * np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    return size * np.array([[0.5, 0.0], [1.0, 1.0], [0.0, 1.0]])


def _apart(a: np.ndarray, b: np.ndarray) -> bool:
    return bool((np.minimum(a.max(0), b.max(0)) - np.maximum(a.min(0), b.min(0)) < 2).any())


def _paint(side: int, polygons: list[np.ndarray], draw: np.random.Generator) -> np.ndarray:
    image = np.broadcast_to(draw.uniform(60, 120, 3), (side, side, 3)).copy()
    for polygon in polygons:
        # Brighter or darker than the ground in every channel, by no fixed amount.
        colour = image[0, 0] + draw.choice([-1, 1]) * draw.uniform(40, 100, 3)
        image[fill(polygon, side, side)] = colour
    image += draw.normal(scale=12, size=image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def _polygon_area(polygon: np.ndarray) -> float:
    x, y = polygon[:, 0], polygon[:, 1]
    return float(abs((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) / 2)
