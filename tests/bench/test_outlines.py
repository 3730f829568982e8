"""Masks of outlines, pixel by pixel those of COCO's own tool."""

from __future__ import annotations

import numpy as np
import pytest

from podium.bench.outlines import fill_polygon, from_runs, mask_of

coco = pytest.importorskip("pycocotools.mask")


def theirs(polygons: list[list[float]], height: int, width: int) -> np.ndarray:
    return coco.decode(coco.merge(coco.frPyObjects(polygons, height, width))).astype(bool)


@pytest.mark.parametrize("seed", range(40))
def test_polygons_are_filled_to_the_pixel(seed: int):
    """Any polygons: crossing themselves, reaching out of the picture, on whole and half pixels, thin ones."""
    draw = np.random.default_rng(seed)
    height, width = draw.integers(5, 70, 2).tolist()
    for _ in range(20):
        points = draw.uniform(-0.2, 1.2, (int(draw.integers(3, 12)), 2)) * (width, height)
        if draw.random() < 0.4:
            points = (points * 2).round() / 2
        polygon = points.reshape(-1).tolist()
        assert np.array_equal(fill_polygon(polygon, height, width), theirs([polygon], height, width))


def test_parts_are_put_together():
    parts = [[1.0, 1, 9, 1, 9, 9], [5.0, 5, 15, 5, 15, 12, 5, 12]]
    assert np.array_equal(mask_of(parts, 14, 20), theirs(parts, 14, 20))


def test_runs_go_down_the_columns():
    counts = [3, 5, 1, 2, 9]
    packed = coco.frPyObjects({"counts": counts, "size": [4, 5]}, 4, 5)
    assert np.array_equal(from_runs(np.array(counts), 4, 5), coco.decode(packed).astype(bool))
    assert np.array_equal(mask_of({"counts": counts, "size": [4, 5]}, 4, 5), coco.decode(packed).astype(bool))


@pytest.mark.parametrize("wrong", [[[1.0, 2, 3, 4]], [[1.0, 2, 3, 4, 5]], {"counts": [3], "size": [2, 2]}])
def test_what_is_no_outline_is_refused(wrong: object):
    with pytest.raises(ValueError):
        mask_of(wrong, 2, 2)
