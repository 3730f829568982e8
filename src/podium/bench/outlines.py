"""The outlines of COCO's instances as masks: polygons, and run lengths of crowds. Knows pixels, not files.

Polygons are filled as COCO's own tool fills them (pycocotools, rleFrPoly), to the pixel: the outline is walked in
fifths of a pixel, and a column's pixels begin and end where the walk crosses it. Other rules differ along the edge,
which costs average precision at high overlaps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

FINER = 5  # steps per pixel along the outline


def mask_of(segmentation: Any, height: int, width: int) -> np.ndarray:
    """[H, W] of booleans of what `segmentation` of an annotation says: polygons as lists of x, y, x, y …, or
    {"counts": [...], "size": [height, width]}, runs of 0 and 1 in turn, column by column.

    Raises:
        ValueError: neither of them, or runs that do not fill the picture.
    """
    if isinstance(segmentation, dict):
        counts = segmentation["counts"]
        if not isinstance(counts, list) or sum(counts) != height * width:
            raise ValueError("run lengths that do not fill the picture")
        return from_runs(np.array(counts), height, width)
    mask = np.zeros((height, width), bool)
    for polygon in segmentation:
        if len(polygon) < 6 or len(polygon) % 2:
            raise ValueError("a polygon of less than three points")
        mask |= fill_polygon(polygon, height, width)
    return mask


def from_runs(counts: np.ndarray, height: int, width: int) -> np.ndarray:
    """[H, W] of runs of 0 and 1 in turn, column by column."""
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape(width, height).T


def fill_polygon(polygon: Sequence[float], height: int, width: int) -> np.ndarray:
    """[H, W] of a closed polygon x, y, x, y …"""
    points = np.array(polygon, np.float64).reshape(-1, 2)
    xs, ys = (FINER * points + 0.5).astype(np.int64).T
    walked = [
        _walk(*edge)
        for edge in zip(xs.tolist(), ys.tolist(), np.roll(xs, -1).tolist(), np.roll(ys, -1).tolist(), strict=True)
    ]
    across, down = (np.concatenate([part[axis] for part in walked]) for axis in (0, 1))
    # Where the walk goes on to another column of fifths: the crossing lies on the left one of the two.
    change = np.flatnonzero(across[1:] != across[:-1])
    left = np.where(across[change + 1] < across[change], across[change + 1], across[change + 1] - 1)
    column = (left + 0.5) / FINER - 0.5
    row = (np.minimum(down[change], down[change + 1]) + 0.5) / FINER - 0.5
    kept = (np.floor(column) == column) & (column >= 0) & (column <= width - 1)
    row = np.ceil(np.clip(row[kept], 0, height)).astype(np.int64)
    # Each crossing turns the pixels after it over, in the order of columns; an even number of turns is background.
    turns = np.bincount(column[kept].astype(np.int64) * height + row, minlength=height * width + 1)
    inside = (turns[: height * width].cumsum() % 2).astype(bool)
    return inside.reshape(width, height).T


def _walk(x0: int, y0: int, x1: int, y1: int) -> tuple[np.ndarray, np.ndarray]:
    """The fifths of pixels from one corner to the next, both included, a step at a time along the longer side."""
    dx, dy = abs(x1 - x0), abs(y1 - y0)
    turned = (dx >= dy and x0 > x1) or (dx < dy and y0 > y1)
    if turned:
        x0, y0, x1, y1 = x1, y1, x0, y0
    if dx >= dy:
        steps = np.arange(dx + 1)
        slope = (y1 - y0) / dx if dx else 0.0
        across, down = x0 + steps, (y0 + slope * steps + 0.5).astype(np.int64)
    else:
        steps = np.arange(dy + 1)
        across, down = (x0 + (x1 - x0) / dy * steps + 0.5).astype(np.int64), y0 + steps
    return (across[::-1], down[::-1]) if turned else (across, down)
