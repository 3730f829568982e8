"""Metrics against other definitions of the same thing: pairs, sets, COCO's own tool."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from podium.bench.quality.detection import Found, True_, average_precision, box_overlap, mask_overlap
from podium.bench.quality.overlap import dice
from podium.bench.quality.ranking import area_under_curve
from podium.bench.quality.words import edit_distance, word_error_rate


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=40))
def test_area_under_curve_is_the_share_of_pairs_in_order(rows):
    scores, labels = [score for score, _ in rows], [label for _, label in rows]
    positive = [s for s, label in rows if label]
    negative = [s for s, label in rows if not label]
    area = area_under_curve(scores, labels)
    if not positive or not negative:
        assert np.isnan(area)
        return
    pairs = [(p > n) + 0.5 * (p == n) for p in positive for n in negative]
    assert area == pytest.approx(sum(pairs) / len(pairs))


def test_scores_that_are_not_finite_rank_nothing():
    assert np.isnan(area_under_curve([0.1, np.nan], [0, 1]))


def test_dice_of_each_class():
    predicted = torch.tensor([[1, 1, 0, 2], [0, 0, 0, 0]])
    truth = torch.tensor([[1, 0, 0, 2], [0, 1, 0, 0]])
    expected = torch.tensor([[2 / 3, 1.0], [0.0, 1.0]], dtype=torch.double)
    torch.testing.assert_close(dice(predicted, truth, 3), expected)


@settings(max_examples=60, deadline=None)
@given(st.text("abc", max_size=7), st.text("abc", max_size=7))
def test_edit_distance_by_recursion(a: str, b: str):
    def distance(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        change = distance(i - 1, j - 1) + (a[i - 1] != b[j - 1])
        return change if a[i - 1] == b[j - 1] else min(change, distance(i - 1, j) + 1, distance(i, j - 1) + 1)

    assert edit_distance(a, b) == distance(len(a), len(b))


def test_word_error_rate_is_of_words_and_may_exceed_one():
    assert word_error_rate(["a b c", "x"], ["a c", "x y"]) == pytest.approx(2 / 4)
    assert word_error_rate(["a b c"], ["d"]) == 3.0


def random_scene(draw: np.random.Generator, images: int, classes: int) -> tuple[list[Found], list[True_]]:
    found, true = [], []
    for _ in range(images):
        number = int(draw.integers(0, 5))
        corner, sides = draw.uniform(0, 40, (number, 2)), draw.uniform(5, 20, (number, 2))
        boxes, kinds = np.concatenate([corner, corner + sides], 1), draw.integers(1, classes + 1, number)
        true.append(True_(boxes, kinds))
        near = boxes[draw.integers(0, number, 8)] + draw.normal(scale=1.5, size=(8, 4)) if number else np.zeros((0, 4))
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        guessed = kinds[draw.integers(0, number, 8)] if number else np.zeros(0, int)
        found.append(Found(near, draw.uniform(size=len(near)).round(2), guessed))
    return found, true


def reference_precision(found: list[Found], true: list[True_], kind: str) -> float:
    """COCO's own evaluation."""
    coco = pytest.importorskip("pycocotools.coco").COCO()
    mask_tool = pytest.importorskip("pycocotools.mask")
    evaluator = pytest.importorskip("pycocotools.cocoeval").COCOeval

    def shape(value: np.ndarray) -> dict:
        if kind == "bbox":
            left, top, right, bottom = value.tolist()
            return {"bbox": [left, top, right - left, bottom - top], "area": (right - left) * (bottom - top)}
        packed = mask_tool.encode(np.asfortranarray(value.astype(np.uint8)))
        return {"segmentation": packed, "bbox": mask_tool.toBbox(packed).tolist(), "area": float(value.sum())}

    annotations, results = [], []
    for image, (ours, theirs) in enumerate(zip(found, true, strict=True)):
        crowds = np.zeros(len(theirs.classes), bool) if theirs.crowds is None else theirs.crowds
        for value, label, crowd in zip(theirs.shapes, theirs.classes, crowds, strict=True):
            entry = {"id": len(annotations) + 1, "image_id": image, "category_id": int(label), "iscrowd": int(crowd)}
            annotations.append({**entry, **shape(value)})
        for value, score, label in zip(ours.shapes, ours.scores, ours.classes, strict=True):
            results.append({"image_id": image, "category_id": int(label), "score": float(score), **shape(value)})
    kinds = sorted({a["category_id"] for a in annotations})
    coco.dataset = {
        "info": {},
        "images": [{"id": i, "height": 64, "width": 64} for i in range(len(true))],
        "annotations": annotations,
        "categories": [{"id": k, "name": str(k)} for k in kinds],
    }
    coco.createIndex()
    judge = evaluator(coco, coco.loadRes(results), kind)
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    return float(judge.stats[0])


@pytest.mark.parametrize("seed", range(4))
def test_box_precision_is_that_of_cocos_own_tool(seed: int):
    found, true = random_scene(np.random.default_rng(seed), images=12, classes=3)
    expected = reference_precision(found, true, "bbox")
    assert 0.05 < expected < 0.95
    assert average_precision(found, true, box_overlap) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_crowds_are_neither_found_nor_missed(seed: int):
    draw = np.random.default_rng(100 + seed)
    found, true = random_scene(draw, images=12, classes=3)
    true = [replace(t, crowds=draw.random(len(t.classes)) < 0.4) for t in true]
    expected = reference_precision(found, true, "bbox")
    assert average_precision(found, true, box_overlap) == pytest.approx(expected, abs=1e-9)
    plain = average_precision(found, [replace(t, crowds=None) for t in true], box_overlap)
    assert plain != pytest.approx(expected, abs=1e-3)


def test_a_hundred_detections_count_of_each_class_and_image():
    draw = np.random.default_rng(3)
    true = [True_(np.array([[0.0, 0, 10, 10], [30, 30, 45, 45]]), np.array([1, 2]))]
    near = true[0].shapes[np.arange(300) % 2] + draw.normal(scale=1, size=(300, 4))
    found = [Found(near, np.sort(draw.uniform(size=300))[::-1].copy(), 1 + np.arange(300) % 2)]
    expected = reference_precision(found, true, "bbox")
    assert average_precision(found, true, box_overlap) == pytest.approx(expected, abs=1e-9)
    kept = np.concatenate([np.flatnonzero(found[0].classes == kind)[:100] for kind in (1, 2)])
    first = [Found(near[kept], found[0].scores[kept], found[0].classes[kept])]
    assert average_precision(first, true, box_overlap) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("crowded", [False, True])
def test_mask_precision_is_that_of_cocos_own_tool(crowded: bool):
    draw = np.random.default_rng(9)
    found, true = random_scene(draw, images=10, classes=2)
    if crowded:
        true = [replace(t, crowds=draw.random(len(t.classes)) < 0.3) for t in true]

    def filled(boxes: np.ndarray) -> np.ndarray:
        masks = np.zeros((len(boxes), 64, 64), dtype=bool)
        for mask, (left, top, right, bottom) in zip(masks, boxes.astype(int).clip(0), strict=True):
            mask[top : bottom + 1, left : right + 1] = True
        return masks

    found = [Found(filled(f.shapes), f.scores, f.classes) for f in found]
    true = [True_(filled(t.shapes), t.classes, t.crowds) for t in true]
    expected = reference_precision(found, true, "segm")
    assert average_precision(found, true, mask_overlap) == pytest.approx(expected, abs=1e-9)


def test_precision_by_hand():
    """Two truths; the better detection is wrong, the second right up to an overlap of 0.8: precision 1/2 at recalls up
    to one half (51 of 101 points), at 7 of 10 thresholds (0.50 ... 0.80)."""
    true = [True_(np.array([[0.0, 0, 10, 10], [20, 20, 30, 30]]), np.array([1, 1]))]
    found = [Found(np.array([[50.0, 50, 60, 60], [0, 0, 10, 8]]), np.array([0.9, 0.8]), np.array([1, 1]))]
    assert average_precision(found, true, box_overlap) == pytest.approx(0.7 * 0.5 * 51 / 101)


def test_exact_detections_are_perfect_and_none_are_nothing():
    true = [True_(np.array([[0.0, 0, 10, 10]]), np.array([2])), True_(np.zeros((0, 4)), np.zeros(0, int))]
    exact = [Found(t.shapes, np.ones(len(t.shapes)), t.classes) for t in true]
    nothing = [Found(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int)) for _ in true]
    assert average_precision(exact, true, box_overlap) == pytest.approx(1.0)
    assert average_precision(nothing, true, box_overlap) == 0.0
