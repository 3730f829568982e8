"""ImageNet as it is unpacked: train/<class>/*.JPEG and val/<class>/*.JPEG, decoded by Pillow in threads.

Training images are cut out at random (8 to 100 % of the area, sides 3 : 4 to 4 : 3), resized to 224 and mirrored half
of the time; evaluation images are resized to 256 along their shorter side and cut out in the middle (Goyal et al.
2017, arXiv:1706.02677, section 5.1).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from podium.bench.shuffled import Shuffled
from podium.bench.task import Data, Samples
from podium.errors import InputError

MEAN = torch.tensor([123.675, 116.28, 103.53])[:, None, None]
DEVIATION = torch.tensor([58.395, 57.12, 57.375])[:, None, None]
SIDE, SHORT = 224, 256


def open_imagenet(folder: Path, batch: int, seed: int, workers: int) -> Data:
    """The dataset in `folder`.

    Raises:
        InputError: no train/ and val/ with the same class folders, or Pillow is not installed.
    """
    reader = pillow()
    train, classes = _listing(folder / "train")
    held_out, same = _listing(folder / "val")
    if classes != same:
        raise InputError(
            f"{folder}: train/ has {len(classes)} classes, val/ has {len(same)}, not the same ones",
            "sort the validation images into a folder per class, named as in train/",
        )
    pool = ThreadPoolExecutor(workers)

    def make(chosen: Tensor, generator: torch.Generator) -> Samples:
        # Drawn before the threads start: their order must not matter.
        draws = torch.rand(len(chosen), 10, 4, generator=generator).numpy()
        mirrored = torch.rand(len(chosen), generator=generator) < 0.5
        files = [train[index] for index in chosen.tolist()]
        jobs = zip(files, draws, mirrored.tolist(), strict=True)
        images = pool.map(lambda job: _cut_at_random(reader, job[0][0], job[1], job[2]), jobs)
        return Samples((torch.stack(list(images)),), (torch.tensor([label for _, label in files]),), "images")

    def evaluate(model: nn.Module) -> dict[str, float]:
        device = next(model.parameters()).device
        right = 0
        for start in range(0, len(held_out), batch):
            part = held_out[start : start + batch]
            images = torch.stack(list(pool.map(lambda job: _cut_middle(reader, job[0]), part)))
            guesses = model(images.to(device)).argmax(-1).cpu()
            right += int((guesses == torch.tensor([label for _, label in part])).sum())
        return {"accuracy": right / len(held_out)}

    return Data(Shuffled(len(train), batch, seed, make), evaluate, len(train), len(held_out))


def pillow() -> Any:
    """Pillow's Image module; raises InputError when it is not installed."""
    try:
        from PIL import Image
    except ImportError:
        raise InputError("reading JPEG files needs Pillow", "pip install pillow") from None
    return Image


def _listing(folder: Path) -> tuple[list[tuple[Path, int]], list[str]]:
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    files = [
        (path, number)
        for number, name in enumerate(classes)
        for path in sorted((folder / name).iterdir())
        if path.suffix.lower() in (".jpeg", ".jpg")
    ]
    if not files:
        raise InputError(f"{folder}: no images", "expected one folder per class with .JPEG files in it")
    return files, classes


def _cut_at_random(reader: Any, path: Path, draws: np.ndarray, mirrored: bool) -> Tensor:
    with reader.open(path) as file:
        width, height = file.size
        left, top, wide, high = 0.0, 0.0, float(width), float(height)
        for area, ratio, across, down in draws:  # the first that fits into the image; else all of it
            surface = (0.08 + 0.92 * area) * width * height
            slope = np.exp((2 * ratio - 1) * np.log(4 / 3))
            w, h = (surface * slope) ** 0.5, (surface / slope) ** 0.5
            if w <= width and h <= height:
                left, top, wide, high = across * (width - w), down * (height - h), w, h
                break
        box = (left, top, left + wide, top + high)
        image = file.convert("RGB").resize((SIDE, SIDE), reader.Resampling.BILINEAR, box=box)
    pixels = _normalised(image)
    return pixels.flip(-1) if mirrored else pixels


def _cut_middle(reader: Any, path: Path) -> Tensor:
    with reader.open(path) as file:
        width, height = file.size
        part = SIDE / SHORT * min(width, height)
        left, top = (width - part) / 2, (height - part) / 2
        box = (left, top, left + part, top + part)
        return _normalised(file.convert("RGB").resize((SIDE, SIDE), reader.Resampling.BILINEAR, box=box))


def _normalised(image: Any) -> Tensor:
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float()
    return (pixels - MEAN) / DEVIATION
