"""Boxes in images: overlap, coding against reference boxes, suppression. Knows rectangles, not networks.

A box is (left, top, right, bottom) in any unit, its corners on a continuous plane: width = right - left.
"""

from __future__ import annotations

import torch
from torch import Tensor


def area(boxes: Tensor) -> Tensor:
    """[N] of boxes [N, 4]; nothing is negative."""
    return (boxes[..., 2] - boxes[..., 0]).clamp(min=0) * (boxes[..., 3] - boxes[..., 1]).clamp(min=0)


def overlap(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union [A, B] of boxes [A, 4] and [B, 4]; 0 where both are empty."""
    corner = torch.maximum(a[:, None, :2], b[None, :, :2])
    opposite = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    sides = (opposite - corner).clamp(min=0)
    both = sides[..., 0] * sides[..., 1]
    either = area(a)[:, None] + area(b)[None] - both
    return both / either.clamp(min=torch.finfo(either.dtype).tiny)


def encode(boxes: Tensor, references: Tensor, weights: tuple[float, float, float, float]) -> Tensor:
    """Shift of the centre in sides of the reference, and logarithms of the sides' ratios, each times its weight
    (R-CNN, arXiv:1311.2524, appendix C): [N, 4]."""
    size, centre = boxes[..., 2:] - boxes[..., :2], (boxes[..., :2] + boxes[..., 2:]) / 2
    reference = references[..., 2:] - references[..., :2]
    middle = (references[..., :2] + references[..., 2:]) / 2
    scale = boxes.new_tensor(weights)
    return torch.cat([(centre - middle) / reference, (size / reference).log()], dim=-1) * scale


def decode(codes: Tensor, references: Tensor, weights: tuple[float, float, float, float]) -> Tensor:
    """The boxes that `encode` made `codes` of; sides grow by no more than 62.5 (1000 / 16, as in Detectron)."""
    codes = codes / codes.new_tensor(weights)
    reference = references[..., 2:] - references[..., :2]
    middle = (references[..., :2] + references[..., 2:]) / 2
    centre = middle + codes[..., :2] * reference
    half = reference * codes[..., 2:].clamp(max=4.135166556742356).exp() / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def clip(boxes: Tensor, height: float, width: float) -> Tensor:
    """Boxes cut off at the edges of the image."""
    return torch.stack(
        [
            boxes[..., 0].clamp(0, width),
            boxes[..., 1].clamp(0, height),
            boxes[..., 2].clamp(0, width),
            boxes[..., 3].clamp(0, height),
        ],
        dim=-1,
    )


def suppress(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Greedy non-maximum suppression: numbers of the boxes kept, best first; equal scores in their given order.

    A box goes when one with a higher score that is kept overlaps it by more than `threshold`.
    """
    order = scores.argsort(descending=True, stable=True)
    hits = (overlap(boxes[order], boxes[order]) > threshold).cpu().numpy()
    gone = [False] * len(order)
    kept = []
    for place in range(len(order)):
        if gone[place]:
            continue
        kept.append(place)
        for later in (hits[place, place + 1 :]).nonzero()[0]:
            gone[place + 1 + int(later)] = True
    return order[torch.tensor(kept, dtype=torch.long, device=order.device)]


def suppress_by_class(boxes: Tensor, scores: Tensor, classes: Tensor, threshold: float) -> Tensor:
    """`suppress`, boxes of different classes not touching each other."""
    if not len(boxes):
        return torch.zeros(0, dtype=torch.long, device=boxes.device)
    # Classes are moved apart, so that they never overlap.
    apart = classes.to(boxes)[:, None] * (boxes.max() - boxes.min() + 1)
    return suppress(boxes + apart, scores, threshold)
