"""Dice coefficient of segmentations."""

from __future__ import annotations

import torch
from torch import Tensor


def dice(predicted: Tensor, truth: Tensor, classes: int) -> Tensor:
    """2 |P and T| / (|P| + |T|) of each class but the background 0: [N, classes - 1].

    predicted and truth are class numbers [N, ...]. A class that is in neither counts 1.
    """
    scores = []
    for kind in range(1, classes):
        ours, theirs = (predicted == kind).flatten(1), (truth == kind).flatten(1)
        both = (ours & theirs).sum(1).double()
        total = ours.sum(1) + theirs.sum(1)
        scores.append(torch.where(total > 0, 2 * both / total.clamp(min=1), torch.ones_like(both)))
    return torch.stack(scores, dim=1)
