"""Reference convergence: the examples of the rules, and the official arithmetic as oracle."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlperf_logging.rcp_checker import rcp_checker
from scipy import stats

from podium.bench.rcp import (
    interpolated_point,
    judge_convergence,
    reference_point,
    reference_points,
    student_quantile,
)
from podium.bench.rules import load_ruleset, ruleset_versions

AT_128 = reference_point(128, [16, 14, 16, 17, 16, 16, 15, 16, 15, 16], runs=5, drop=1)
AT_256 = reference_point(256, [20, 21, 21, 20, 22, 22, 21, 21, 20, 20], runs=5, drop=1)


def test_the_first_example_of_the_rules() -> None:
    assert (AT_128.mean, round(AT_128.deviation, 2), round(AT_128.floor, 2)) == (15.75, 0.43, 15.21)
    assert round(100 * AT_128.max_speedup, 2) == 3.53
    found = judge_convergence(128, [15, 15, 15, 16, 16], [AT_128], runs=5, drop=1)
    assert (found.outcome, round(found.mean, 2)) == ("pass", 15.33)


def test_the_second_example_of_the_rules() -> None:
    assert (AT_256.mean, round(AT_256.deviation, 2), round(AT_256.floor, 2)) == (20.75, 0.66, 19.93)
    assert round(100 * AT_256.max_speedup, 2) == 4.12
    found = judge_convergence(256, [19, 19, 19, 20, 21], [AT_128, AT_256], runs=5, drop=1)
    assert (found.outcome, round(found.mean, 2)) == ("fail", 19.33)


def test_the_interpolated_example_of_the_rules() -> None:
    point = interpolated_point(192, AT_128, AT_256, runs=5)
    assert (point.mean, round(point.deviation, 3), round(100 * point.max_speedup, 2)) == (18.25, 0.547, 3.68)
    found = judge_convergence(192, [17, 18, 18, 18, 20], [AT_128, AT_256], runs=5, drop=1)
    assert (found.outcome, found.mean, found.how) == ("pass", 18.0, "interpolated between batches 128 and 256")


def test_batches_outside_of_the_reference() -> None:
    points = [AT_256, AT_128]
    assert judge_convergence(512, [30] * 5, points, runs=5, drop=1).outcome == "missing"
    slower = judge_convergence(64, [16] * 5, points, runs=5, drop=1)
    assert (slower.outcome, slower.point) == ("pass", AT_128)
    assert judge_convergence(64, [15] * 5, points, runs=5, drop=1).outcome == "missing"
    assert judge_convergence(64, [15] * 5, [], runs=5, drop=1).outcome == "missing"


def test_a_run_that_did_not_converge_is_the_slowest() -> None:
    found = judge_convergence(128, [15, 15, 16, 16, math.inf], [AT_128], runs=5, drop=1)
    assert found.mean == pytest.approx(47 / 3)
    assert judge_convergence(128, [15, 15, 16, math.inf, math.inf], [AT_128], runs=5, drop=1).mean == math.inf


@pytest.mark.parametrize("freedom", [1, 2, 3, 9, 11, 50, 120])
def test_quantiles_are_scipys(freedom: int) -> None:
    for probability in (0.6, 0.9, 0.95, 0.999):
        assert student_quantile(probability, freedom) == pytest.approx(stats.t.ppf(probability, freedom), rel=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.floats(2, 1000), st.floats(0.01, 0.1), st.integers(4, 80))
def test_the_floor_is_the_official_one(mean: float, spread: float, samples: int) -> None:
    """Theirs is found by bisection to 1e-4."""
    checker = rcp_checker.RCP_Checker("training", "1.1.0", "resnet", False)
    theirs = checker._find_min_acceptable_mean(mean, spread * mean, samples)
    kept = samples // 2 * 2
    epochs = [mean - spread * mean, mean + spread * mean] * (kept // 2)
    ours = reference_point(1, [0.0, *epochs, 1e9], runs=5, drop=1)
    assert (ours.mean, ours.deviation) == (pytest.approx(mean), pytest.approx(spread * mean))
    if kept == samples:
        assert ours.floor == pytest.approx(theirs, abs=2e-4)


LATER = [
    (version, benchmark)
    for version in ruleset_versions()
    if version != "1.1.0"
    for benchmark, rule in load_ruleset(version).benchmarks.items()
    if rule.reference_convergence
]


@pytest.mark.parametrize(("version", "benchmark"), LATER)
def test_points_of_later_rounds_are_the_official_ones(version: str, benchmark: str) -> None:
    if benchmark in ("dlrm", "gnn", "minigo"):  # the official table of run counts has lost dlrm; minigo has no points
        runs = {"dlrm": 5, "gnn": 10, "minigo": 10}[benchmark]
        assert load_ruleset(version).benchmark(benchmark).runs == runs
        if benchmark not in rcp_checker.submission_runs["training"]:
            return  # without a run count the official checker reads no points of it
    theirs = rcp_checker.RCP_Checker("training", version, benchmark, False).pruned_rcp_data.values()
    ours = reference_points(load_ruleset(version), benchmark)
    assert [point.batch for point in ours] == [record["BS"] for record in theirs]
    for point, record in zip(ours, theirs, strict=True):
        assert point.mean == pytest.approx(record["RCP Mean"])
        assert point.deviation == pytest.approx(record["RCP Stdev"])
        assert point.floor == pytest.approx(record["Min Epochs"], abs=2e-4)


def test_every_shipped_point_has_a_floor_below_its_mean() -> None:
    for benchmark in ("resnet", "bert", "unet3d", "dlrm"):
        points = reference_points(load_ruleset("1.1.0"), benchmark)
        assert [point.batch for point in points] == sorted({point.batch for point in points})
        assert all(0.8 * point.mean < point.floor <= point.mean for point in points)
    assert reference_points(load_ruleset("1.1.0"), "minigo") == []
