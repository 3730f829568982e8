"""Average precision as COCO measures it: over classes and overlaps of 0.50, 0.55 … 0.95, precision at 101 recalls.

Boxes or masks: the caller says how detections and truths overlap. All sizes, at most 100 detections per image and
class. Images are taken in one at a time and forgotten: of each detection a score and ten bits are kept, so that the
memory does not grow with the size of the masks.
"""

from __future__ import annotations

from collections import defaultdict
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
    """What is in one image: `shapes` [M, ...], classes [M], and which are crowds [M] (default: none is)."""

    shapes: np.ndarray
    classes: np.ndarray
    crowds: np.ndarray | None = None


# Of detections [K, ...] with truths [M, ...] that are crowds or not [M].
Overlap = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def box_overlap(found: np.ndarray, true: np.ndarray, crowds: np.ndarray | None = None) -> np.ndarray:
    """Intersection over union [K, M] of boxes (left, top, right, bottom); with a crowd, over the detection alone."""
    corner = np.maximum(found[:, None, :2], true[None, :, :2])
    opposite = np.minimum(found[:, None, 2:], true[None, :, 2:])
    size = lambda boxes: (boxes[:, 2:] - boxes[:, :2]).prod(-1)  # noqa: E731
    return _shares(np.clip(opposite - corner, 0, None).prod(-1), size(found), size(true), crowds)


def mask_overlap(found: np.ndarray, true: np.ndarray, crowds: np.ndarray | None = None) -> np.ndarray:
    """The same of masks [K, H, W] and [M, H, W] of booleans."""
    if not len(found) or not len(true):
        return np.zeros((len(found), len(true)))
    # Counts of pixels are exact in float32 up to 16 million of them.
    ours, theirs = (masks.reshape(len(masks), -1).astype(np.float32) for masks in (found, true))
    both = (ours @ theirs.T).astype(np.float64)
    return _shares(both, ours.sum(1, dtype=np.float64), theirs.sum(1, dtype=np.float64), crowds)


def _shares(both: np.ndarray, ours: np.ndarray, theirs: np.ndarray, crowds: np.ndarray | None) -> np.ndarray:
    whole = ours[:, None] + theirs[None] - both
    if crowds is not None:
        whole = np.where(crowds[None], ours[:, None], whole)
    return np.divide(both, whole, out=np.zeros_like(whole), where=whole > 0)


class Precision:
    """Average precision of images as they come."""

    def __init__(self, overlap: Overlap) -> None:
        self.overlap = overlap
        self.wanted: dict[int, int] = defaultdict(int)  # of each class, crowds not counted
        self.scores: dict[int, list[np.ndarray]] = defaultdict(list)
        self.right: dict[int, list[np.ndarray]] = defaultdict(list)

    def add(self, found: Found, true: True_) -> None:
        """One image. Per class and threshold, detections take truths greedily by score, each the truth it overlaps
        most among those left; one that only lies in a crowd is neither right nor wrong."""
        crowds = np.zeros(len(true.classes), bool) if true.crowds is None else true.crowds
        for kind in np.unique(np.concatenate([found.classes, true.classes])).astype(int).tolist():
            theirs = true.classes == kind
            # The class is there even where all of it is crowds; it then has no precision.
            self.wanted[kind] += int((theirs & ~crowds).sum())
            ours = np.flatnonzero(found.classes == kind)
            ours = ours[np.argsort(-found.scores[ours], kind="stable")[:MOST]]
            overlaps = self.overlap(found.shapes[ours], true.shapes[theirs], crowds[theirs])
            right, ignored = _matches(overlaps, crowds[theirs])
            self.scores[kind].append(found.scores[ours])
            self.right[kind].append(np.where(ignored, -1, right).astype(np.int8))

    def result(self) -> float:
        """Mean over the classes that had anything to be found and over THRESHOLDS; NaN where nothing had."""
        classes = [kind for kind, number in self.wanted.items() if number]
        return float(np.mean([self._of_class(kind) for kind in classes])) if classes else float("nan")

    def _of_class(self, kind: int) -> float:
        """Precision is made non-increasing from the right, and read at RECALLS."""
        order = np.argsort(-np.concatenate(self.scores[kind]), kind="stable")
        total = 0.0
        for row in np.concatenate(self.right[kind], axis=1)[:, order]:
            hits = row[row >= 0]
            gained = hits.cumsum(dtype=np.int64)
            precision = gained / np.arange(1, len(hits) + 1)
            precision = np.maximum.accumulate(precision[::-1])[::-1]
            at = np.searchsorted(gained / self.wanted[kind], RECALLS, side="left")
            total += np.append(precision, 0.0)[at].mean()
        return total / len(THRESHOLDS)


def average_precision(found: Sequence[Found], true: Sequence[True_], overlap: Overlap) -> float:
    """Of images that are in memory all at once."""
    precision = Precision(overlap)
    for ours, theirs in zip(found, true, strict=True):
        precision.add(ours, theirs)
    return precision.result()


def _matches(overlaps: np.ndarray, crowds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[thresholds, K] each: is the detection right, and does it lie in a crowd and nothing else; of overlaps [K, M]
    with detections best first. A crowd holds any number of detections."""
    right = np.zeros((len(THRESHOLDS), len(overlaps)), dtype=bool)
    ignored = np.zeros_like(right)
    if not overlaps.shape[1]:
        return right, ignored
    in_crowd = np.where(crowds, overlaps, -1.0).max(1)
    for row, threshold in enumerate(THRESHOLDS):
        least = min(threshold, 1 - 1e-10)
        free = ~crowds
        for detection, with_truths in enumerate(overlaps):
            left = np.where(free, with_truths, -1.0)
            if left.max() >= least:
                # Among equal overlaps COCO's reference takes the last.
                best = len(left) - 1 - int(left[::-1].argmax())
                free[best], right[row, detection] = False, True
            else:
                ignored[row, detection] = in_crowd[detection] >= least
    return right, ignored
