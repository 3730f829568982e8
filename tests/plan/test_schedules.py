"""Closed forms against the textbook and against the same schedule played out."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from podium.errors import InputError
from podium.plan.pipeline_run import PipelineRun, run_pipeline
from podium.plan.schedules import SCHEDULES, Pipeline, bubble_fraction, even_pipeline, step_seconds


def uneven(draw: random.Random, schedule: str) -> tuple[Pipeline, int]:
    """Stages that differ by a quarter either way, hand-over up to a tenth of a chunk's forward pass, m >= 2 P."""
    stages = draw.randint(1, 12)
    chunks = draw.choice([2, 3, 4]) if schedule == "interleaved" else 1
    micro_batches = stages * draw.randint(2, 6)
    if schedule != "interleaved":
        micro_batches += draw.randint(0, stages)
    forward = tuple(draw.uniform(0.75, 1.25) for _ in range(stages))
    backward = tuple(2 * seconds for seconds in forward)
    weight = tuple(seconds * draw.uniform(0.4, 0.6) for seconds in backward)
    return Pipeline(forward, backward, weight, draw.uniform(0, 0.1) / chunks, chunks), micro_batches


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_closed_form_is_within_three_percent_of_the_simulation(schedule: str) -> None:
    draw = random.Random(schedule)
    for _ in range(60):
        pipeline, micro_batches = uneven(draw, schedule)
        played = run_pipeline(schedule, pipeline, micro_batches).seconds
        assert step_seconds(schedule, pipeline, micro_batches) == pytest.approx(played, rel=0.03)


@pytest.mark.parametrize("schedule", ["gpipe", "1f1b"])
@pytest.mark.parametrize(("stages", "micro_batches"), [(1, 1), (2, 2), (4, 7), (8, 32), (38, 480)])
def test_even_stages_have_the_textbook_bubble(schedule: str, stages: int, micro_batches: int) -> None:
    textbook = (stages - 1) / (micro_batches + stages - 1)
    pipeline = even_pipeline(stages)
    assert bubble_fraction(schedule, pipeline, micro_batches) == pytest.approx(textbook, abs=1e-12)
    assert run_pipeline(schedule, pipeline, micro_batches).bubble_fraction == pytest.approx(textbook, abs=1e-9)


def test_yuan_layout_loses_what_its_paper_layout_implies() -> None:
    assert bubble_fraction("1f1b", even_pipeline(38), 480) == pytest.approx(0.072, abs=5e-4)


@pytest.mark.parametrize("chunks", [2, 3])
def test_interleaving_divides_the_bubble(chunks: int) -> None:
    stages, micro_batches = 8, 32
    # arXiv 2104.04473 section 2.2.2: bubble time over ideal time is (P - 1) / (v m)
    ideal = micro_batches * 3.0
    expected = ideal * (1 + (stages - 1) / (chunks * micro_batches))
    pipeline = even_pipeline(stages, chunks=chunks)
    assert step_seconds("interleaved", pipeline, micro_batches) == pytest.approx(expected)
    assert run_pipeline("interleaved", pipeline, micro_batches).seconds == pytest.approx(expected)


def test_zero_bubble_loses_a_third_of_1f1b_and_keeps_no_more() -> None:
    # arXiv 2401.10241 table 2: (p - 1)(F + B - W), peak memory as 1F1B
    pipeline = even_pipeline(8)
    run = run_pipeline("zero-bubble", pipeline, 32)
    assert run.seconds == pytest.approx(32 * 3 + 7)
    assert max(run.peak) == max(run_pipeline("1f1b", pipeline, 32).peak) == 8
    assert max(run_pipeline("gpipe", pipeline, 32).peak) == 32


def dependencies_hold(run: PipelineRun, pipeline: Pipeline) -> None:
    ends = {(span.device, span.task): span.end for span in run.spans}
    for span in run.spans:
        kind, micro_batch, chunk = span.task
        if kind == "F" and span.device > 0:
            assert span.start >= ends[span.device - 1, span.task] + pipeline.hand_over - 1e-9
        elif kind == "F" and chunk > 0:
            before = type(span.task)("F", micro_batch, chunk - 1)
            assert span.start >= ends[run.stages - 1, before] - 1e-9
        elif kind == "B" and span.device < run.stages - 1:
            assert span.start >= ends[span.device + 1, span.task] + pipeline.hand_over - 1e-9
        elif kind == "W":
            assert span.start >= ends[span.device, type(span.task)("B", micro_batch, chunk)] - 1e-9
    for device in range(run.stages):
        spans = sorted((s for s in run.spans if s.device == device), key=lambda s: s.start)
        assert all(a.end <= b.start + 1e-9 for a, b in pairwise(spans))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_simulated_step_runs_every_pass_once_in_an_order_that_is_possible(schedule: str) -> None:
    draw = random.Random(7)
    for _ in range(10):
        pipeline, micro_batches = uneven(draw, schedule)
        run = run_pipeline(schedule, pipeline, micro_batches)
        kinds = 3 if schedule == "zero-bubble" else 2
        assert len(run.spans) == kinds * micro_batches * pipeline.stages * pipeline.chunks
        assert len({(span.device, span.task) for span in run.spans}) == len(run.spans)
        dependencies_hold(run, pipeline)


def test_a_slow_stage_sets_the_pace() -> None:
    slow = Pipeline((1.0, 1.0, 1.5, 1.0), (2.0, 2.0, 3.0, 2.0))
    many = step_seconds("1f1b", slow, 400) / step_seconds("1f1b", even_pipeline(4), 400)
    assert many == pytest.approx(1.5, rel=0.01)


@pytest.mark.parametrize(
    ("schedule", "pipeline", "micro_batches", "said"),
    [
        ("dualpipe", even_pipeline(4), 8, "did you mean 'gpipe'"),
        ("1f1b", even_pipeline(8), 4, "at least 8 micro-batches"),
        ("gpipe", even_pipeline(8), 0, "at least 1"),
        ("interleaved", even_pipeline(4, chunks=2), 6, "use 8 micro-batches"),
        ("1f1b", even_pipeline(4, chunks=2), 8, "use interleaved"),
    ],
)
def test_what_cannot_run_is_refused(schedule: str, pipeline: Pipeline, micro_batches: int, said: str) -> None:
    with pytest.raises(InputError, match=said):
        step_seconds(schedule, pipeline, micro_batches)


def test_impossible_stages_are_refused() -> None:
    for values in (((), ()), ((1.0,), (1.0, 2.0)), ((-1.0,), (2.0,)), ((0.0,), (0.0,))):
        with pytest.raises(InputError):
            Pipeline(*values)
    with pytest.raises(InputError):
        Pipeline((1.0,), (2.0,), (3.0,))
