"""The page of a plan: whole, self-contained, and its charts true to the plan."""

from __future__ import annotations

import html
import json
import random
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from podium.board.svg import Bar, Point, frontier, stacked_bars, ticks
from podium.errors import StorageError
from podium.plan.hardware import find_device
from podium.plan.named import find_model
from podium.plan.page import render, write_page
from podium.plan.search import Job, Plan, search
from podium.plan.shapes import Shape


@pytest.fixture(scope="module")
def plan() -> Plan:
    shape = find_model("yuan-1.0")
    assert isinstance(shape, Shape)
    return search(Job(shape, find_device("A100"), 2128, 180e9, 3360, 2048))


def test_the_page_is_written_with_every_chart_for_wide_and_narrow_windows(plan: Plan, tmp_path: Path) -> None:
    path = tmp_path / "new" / "plan.html"
    write_page(plan, path)
    text = path.read_text()
    charts = re.findall(r"<svg.*?</svg>", text)
    assert len(charts) == 8
    boxes = [float(ElementTree.fromstring(chart).attrib["viewBox"].split()[2]) for chart in charts]
    assert boxes == [860, 380] * 4
    assert "T8 P38 D7" in text


def test_bars_are_as_long_as_the_memory_they_show(plan: Plan) -> None:
    best = plan.best_of_each()[0]
    chart = ElementTree.fromstring(re.findall(r"<svg.*?</svg>", render(plan))[0])
    widths = [
        float(rect.attrib["width"])
        for rect in chart.iter("{http://www.w3.org/2000/svg}rect")
        if str(best.layout) == (rect[0].text or "").split(":")[0]
    ]
    (line,) = [line for line in chart.iter("{http://www.w3.org/2000/svg}line") if line.attrib["class"] == "limit"]
    limit = float(line.attrib["x1"]) - 150
    assert sum(widths) / limit == pytest.approx(best.memory_total / plan.job.device.memory, rel=1e-3)


def test_a_wide_range_is_explained(plan: Plan) -> None:
    shape = find_model("deepseek-v3")
    assert isinstance(shape, Shape)
    wide = search(Job(shape, find_device("B200"), 256, 1e12, 2048, 4096))
    assert wide.spread.because
    assert all(html.escape(why) in render(wide) for why in wide.spread.because)
    assert "times as long as predicted" not in render(plan)


def test_a_plan_without_a_layout_says_why() -> None:
    shape = find_model("llama-3.1-405b")
    assert isinstance(shape, Shape)
    text = render(search(Job(shape, find_device("H100"), 8, 1e12, 1024, 8192)))
    assert "No layout fits" in text
    assert "per device" in text


def test_names_cannot_break_the_page(plan: Plan) -> None:
    from dataclasses import replace

    hostile = replace(plan, job=replace(plan.job, shape=replace(plan.job.shape, name="<script>alert(1)</script>")))
    assert "<script>alert" not in render(hostile)
    assert "&lt;script&gt;alert(1)&lt;/script&gt; on 2,128" in render(hostile)


def test_an_impossible_file_is_refused(plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="--html"):
        write_page(plan, tmp_path / "file" / "plan.html")


def test_a_plan_is_called_after_the_file_its_shape_stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {
        "model_type": "llama",
        "hidden_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 512,
        "vocab_size": 1000,
    }
    for file in ("e/mix.json", "small/config.json", "a.b.json"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(json.dumps(config))
    monkeypatch.chdir(tmp_path / "small")
    named = {"../e/mix.json": "mix", "config.json": "small", ".": "small", "../small": "small", "../a.b.json": "a.b"}
    assert {text: find_model(text).name for text in named} == named
    shape = find_model("../e/mix.json")
    assert isinstance(shape, Shape)
    page = render(search(Job(shape, find_device("H100"), 8, 1e9, 256, 1024)))
    assert "<h1>mix on 8 x H100" in page


def test_no_layout_beats_the_frontier_in_both() -> None:
    draw = random.Random(0)
    points = [Point(draw.random(), draw.random(), 0, "") for _ in range(200)]
    best = frontier(points)
    for point in points:
        beaten = any(o.x <= point.x and o.y <= point.y and (o.x, o.y) != (point.x, point.y) for o in points)
        assert beaten != (point in best)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 87.3), (-3, 4), (1e6, 3e6), (0.001, 0.0042)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    marks = ticks(low, high)
    assert 3 <= len(marks) <= 8
    assert all(low <= mark <= high for mark in marks)


def test_parts_that_are_nothing_are_not_drawn() -> None:
    chart = stacked_bars([Bar("a", {"x": 1.0, "y": 0.0})], ("x", "y"), "s")
    assert chart.count("<rect") == 1
