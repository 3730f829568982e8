"""Average precision as COCO measures it: over classes and overlaps of 0.50, 0.55 … 0.95, precision at 101 recalls.

Boxes or masks: the caller says how detections and truths overlap. No crowd regions, all sizes, 100 detections per
image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
MOST = 100


@dataclass(frozen=True, slots=True)
class Found:
    """Detections in one image: `shapes` [K, ...] (boxes or masks), scores [K], classes [K]."""

    shapes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray


@dataclass(frozen=True, slots=True)
class True_:
    """What is in one image: `shapes` [M, ...] and classes [M]."""

    shapes: np.ndarray
    classes: np.ndarray


Overlap = Callable[[np.ndarray, np.ndarray], np.ndarray]


def box_overlap(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Intersection over union [K, M] of boxes (left, top, right, bottom)."""
    corner = np.maximum(found[:, None, :2], true[None, :, :2])
    opposite = np.minimum(found[:, None, 2:], true[None, :, 2:])
    both = np.clip(opposite - corner, 0, None).prod(-1)
    size = lambda boxes: (boxes[:, 2:] - boxes[:, :2]).prod(-1)  # noqa: E731
    return both / (size(found)[:, None] + size(true)[None] - both)


def mask_overlap(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Intersection over union [K, M] of masks [K, H, W] and [M, H, W] of booleans."""
    if not len(found) or not len(true):
        return np.zeros((len(found), len(true)))
    ours, theirs = (masks.reshape(len(masks), -1).astype(np.float64) for masks in (found, true))
    both = ours @ theirs.T
    either = ours.sum(1)[:, None] + theirs.sum(1)[None] - both
    return np.divide(both, either, out=np.zeros_like(both), where=either > 0)


def average_precision(found: Sequence[Found], true: Sequence[True_], overlap: Overlap) -> float:
    """Mean over the classes that are in `true` and over THRESHOLDS; NaN where there is nothing to find.

    Per class and threshold, detections take truths greedily by score (each the truth it overlaps most among those
    left), precision is made non-increasing from the right, and read at RECALLS.
    """
    classes = np.unique(np.concatenate([image.classes for image in true])) if true else np.zeros(0)
    scores = [_class_precision(found, true, int(kind), overlap) for kind in classes]
    return float(np.mean(scores)) if scores else float("nan")


def _class_precision(found: Sequence[Found], true: Sequence[True_], kind: int, overlap: Overlap) -> float:
    hits, scores, wanted = [], [], 0
    for ours, theirs in zip(found, true, strict=True):
        order = np.argsort(-ours.scores, kind="stable")[:MOST]
        order = order[ours.classes[order] == kind]
        truths = theirs.shapes[theirs.classes == kind]
        wanted += len(truths)
        scores.append(ours.scores[order])
        hits.append(_matches(overlap(ours.shapes[order], truths)))
    order = np.argsort(-np.concatenate(scores), kind="stable")
    right = np.concatenate(hits, axis=1)[:, order]  # [thresholds, detections]
    gained = right.cumsum(1)
    recall = gained / wanted
    precision = gained / np.arange(1, right.shape[1] + 1)
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    total = 0.0
    for row_recall, row_precision in zip(recall, precision, strict=True):
        at = np.searchsorted(row_recall, RECALLS, side="left")
        total += np.append(row_precision, 0.0)[at].mean()
    return total / len(THRESHOLDS)


def _matches(overlaps: np.ndarray) -> np.ndarray:
    """[thresholds, K]: is the detection right, of overlaps [K, M] with detections best first."""
    right = np.zeros((len(THRESHOLDS), len(overlaps)), dtype=bool)
    for row, threshold in enumerate(THRESHOLDS):
        free = np.ones(overlaps.shape[1], dtype=bool)
        for detection, with_truths in enumerate(overlaps):
            left = np.where(free, with_truths, -1.0)
            if len(left) and left.max() >= min(threshold, 1 - 1e-10):
                # Among equal overlaps COCO's reference takes the last.
                best = len(left) - 1 - int(left[::-1].argmax())
                free[best], right[row, detection] = False, True
    return right
