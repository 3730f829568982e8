"""KiTS19 as MLPerf's reference leaves it: case_00000_x.npy (one channel, 1.6 x 1.2 x 1.2 mm, normalised) and _y.npy.

`evaluation_cases.txt` beside them names the 42 cases that are held out, one number or name per line (the list of the
reference). Training takes random patches; evaluation slides a patch over each case and weighs it by a Gaussian.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from podium.bench.quality.overlap import dice
from podium.bench.shuffled import Shuffled
from podium.bench.task import Data, Samples
from podium.errors import InputError


@dataclass(frozen=True, slots=True)
class Kits:
    """Sides in voxels. `oversampling`: share of patches that must hold foreground."""

    patch: int = 128
    overlap: float = 0.5
    oversampling: float = 0.4


KITS = Kits()


def open_kits(folder: Path, kits: Kits, batch: int, seed: int, classes: int) -> Data:
    """The dataset in `folder`, its cases mapped into memory.

    Raises:
        InputError: no cases, a label missing, or no list of held-out cases.
    """
    cases = {path.name[:-6]: path for path in sorted(folder.glob("case_*_x.npy"))}
    listing = folder / "evaluation_cases.txt"
    if not cases or not listing.is_file():
        raise InputError(
            f"{folder}: {len(cases)} cases, {listing.name} {'found' if listing.is_file() else 'missing'}",
            "run the reference's preprocess_dataset.py, and put its list of evaluation cases beside the cases",
        )
    numbers = [int(number) for number in re.findall(r"(\d+)", listing.read_text())]
    held_out = [f"case_{number:05d}" for number in numbers]
    for name in (*cases, *held_out):
        for kind in ("x", "y"):
            if not (folder / f"{name}_{kind}.npy").is_file():
                raise InputError(f"{folder / name}_{kind}.npy: missing", "preprocess the dataset again")
    train = [name for name in cases if name not in held_out]

    def make(chosen: Tensor, generator: torch.Generator) -> Samples:
        pairs = []
        for index in chosen.tolist():
            image, label = load(folder, train[index])
            wanted = bool(torch.rand((), generator=generator) < kits.oversampling)
            corner = _corner(label, kits.patch, wanted, generator)
            pairs.append((_part(image, corner, kits.patch), _part(label, corner, kits.patch)))
        axes = [axis for axis in (1, 2, 3) if torch.rand((), generator=generator) < 0.5]
        images = torch.stack([image for image, _ in pairs])[:, None].float()
        labels = torch.stack([label for _, label in pairs]).long()
        return Samples((images.flip([axis + 1 for axis in axes]),), (labels.flip(axes),), "volumes")

    def evaluate(model: nn.Module) -> dict[str, float]:
        scores = []
        for name in held_out:
            image, label = load(folder, name)
            guess = slide(model, torch.from_numpy(np.array(image)).float(), kits, classes)
            scores.append(dice(guess[None], torch.from_numpy(np.array(label))[None], classes))
        kidney, tumour = torch.cat(scores).mean(0).tolist()
        return {"mean_dice": (kidney + tumour) / 2, "kidney_dice": kidney, "tumour_dice": tumour}

    return Data(Shuffled(len(train), batch, seed, make), evaluate, len(train), len(held_out))


def load(folder: Path, case: str) -> tuple[np.ndarray, np.ndarray]:
    """Image and label [D, H, W] of a case, mapped; the reference stores them with a channel in front."""
    image, label = (np.load(folder / f"{case}_{kind}.npy", mmap_mode="r") for kind in ("x", "y"))
    return image.reshape(image.shape[-3:]), label.reshape(label.shape[-3:])


def slide(model: nn.Module, image: Tensor, kits: Kits, classes: int) -> Tensor:
    """Class of every voxel of image [D, H, W], from overlapping patches weighed by a Gaussian of their centre."""
    device = next(model.parameters()).device
    patch, step = kits.patch, int(kits.patch * (1 - kits.overlap))
    shape = image.shape
    missing = [max(0, patch - side) + (-max(0, side - patch)) % step for side in shape]
    padding = [n for amount in reversed(missing) for n in (amount // 2, amount - amount // 2)]
    padded = torch.nn.functional.pad(image, padding, value=float(image.min()))
    axis = torch.arange(patch) - (patch - 1) / 2
    bell = (-0.5 * (axis / (0.125 * patch)) ** 2).exp().clamp(min=1e-3)
    weight = bell[:, None, None] * bell[:, None] * bell
    total = torch.zeros(classes, *padded.shape)
    starts = [range(0, side - patch + 1, step) for side in padded.shape]
    for d in starts[0]:
        for h in starts[1]:
            for w in starts[2]:
                place = (slice(d, d + patch), slice(h, h + patch), slice(w, w + patch))
                chances = model(padded[place][None, None].to(device)).float().softmax(1)[0].cpu()
                total[(slice(None), *place)] += chances * weight
    before = [amount // 2 for amount in missing]
    inner = tuple(slice(b, b + side) for b, side in zip(before, shape, strict=True))
    return total[(slice(None), *inner)].argmax(0)


def _corner(label: np.ndarray, patch: int, wanted: bool, generator: torch.Generator) -> list[int]:
    """Where a patch begins, at random; around a voxel of the foreground where `wanted` and there is one."""
    room = [max(0, side - patch) for side in label.shape]
    if wanted:
        places = np.argwhere(label > 0)
        if len(places):
            centre = places[int(torch.randint(len(places), (), generator=generator))]
            return [int(np.clip(c - patch // 2, 0, r)) for c, r in zip(centre, room, strict=True)]
    return [int(torch.randint(r + 1, (), generator=generator)) for r in room]


def _part(volume: np.ndarray, corner: list[int], patch: int) -> Tensor:
    """[patch, patch, patch] from `corner` on; what the volume lacks is its smallest value."""
    part = np.array(volume[tuple(slice(c, c + patch) for c in corner)])
    missing = [(0, patch - side) for side in part.shape]
    return torch.from_numpy(np.pad(part, missing, constant_values=part.min()))
