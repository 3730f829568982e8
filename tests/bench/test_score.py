"""The arithmetic of scores, against published figures and brute force."""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs_on_paper import RULES, stretch, write_run
from typer.testing import CliRunner

from podium.bench.score import bootstrap_interval, median_window, olympic_mean, score_runs, window_scores
from podium.bench.score_folder import score_folder
from podium.commands.cli import app
from podium.errors import InputError

# Minutes of the five runs of Graphcore's IPU-POD16 on ResNet, v1.1; the first was aborted.
POD16 = [None, 28.33065, 28.332516666666667, 28.339233333333333, 28.33185]
KEYS = {
    "benchmark",
    "ruleset",
    "runs",
    "converged",
    "score_minutes",
    "median_minutes",
    "low_minutes",
    "high_minutes",
}


def test_the_published_score_of_pod16() -> None:
    found = score_runs(POD16, needed=5, drop=1, may_fail=1)
    assert found.score is not None
    assert f"{found.score:.3f}" == "28.335"
    assert (found.runs, found.converged, found.reasons) == (5, 4, ())


def test_the_command_line_scores_the_published_minutes(tmp_path: Path) -> None:
    """An entry whose runs took as long as those of Graphcore's, the first of them aborted."""
    folder = tmp_path / "results" / "ipu-pod16-TF1" / "resnet"
    for number, minutes in enumerate(POD16):
        path = folder / f"result_{number}.txt"
        write_run(path, division="closed", seed=number, succeeds=minutes is not None)
        stretch(path, minutes or 40.0)
    said = CliRunner().invoke(app, ["bench", "score", str(folder), "--json"])
    assert said.exit_code == 0
    found = json.loads(said.stdout)
    assert set(found) >= KEYS
    assert (found["benchmark"], found["ruleset"], found["runs"], found["converged"]) == ("resnet", "1.1.0", 5, 4)
    assert f"{found['score_minutes']:.3f}" == "28.335"
    assert found["low_minutes"] <= found["score_minutes"] <= found["high_minutes"]
    text = CliRunner().invoke(app, ["bench", "score", str(folder)]).stdout
    assert "28.335 min" in text
    assert "MLPerf-style, unverified" in text


MINUTES = st.lists(st.floats(0.01, 1e4) | st.just(math.inf), min_size=3, max_size=12)


@given(MINUTES, st.randoms())
def test_the_olympic_mean_is_the_mean_of_the_middle(minutes: list[float], order: object) -> None:
    middle = list(minutes)
    middle.remove(max(middle))
    middle.remove(min(middle))
    expected = statistics.fmean(middle) if all(map(math.isfinite, middle)) else math.inf
    shuffled = list(minutes)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    assert olympic_mean(shuffled, 1) == pytest.approx(expected)


@given(st.lists(st.floats(0.01, 1e3), min_size=5, max_size=12))
def test_windows_cover_every_run_in_order(minutes: list[float]) -> None:
    scores = window_scores(minutes, 5, 1)
    assert scores == [olympic_mean(minutes[i : i + 5], 1) for i in range(len(minutes) - 4)]
    chosen = scores[median_window(scores)]
    # At least half of the windows are no slower: never the lucky side.
    assert 2 * sum(score <= chosen for score in scores) > len(scores)
    assert 2 * sum(score >= chosen for score in scores) >= len(scores)


@pytest.mark.parametrize(
    ("minutes", "score", "reasons"),
    [
        ([5.0, 1.0, 3.0, 2.0, 4.0], 3.0, 0),
        ([5.0, None, 3.0, None, 4.0], None, 1),
        ([5.0, 1.0, 3.0], 3.0, 1),
        ([5.0], None, 1),
        ([None], None, 1),
        ([None] * 5, None, 1),
    ],
)
def test_entries_that_are_and_that_are_none(minutes: list[float | None], score: float | None, reasons: int) -> None:
    found = score_runs(minutes, needed=5, drop=1, may_fail=1)
    assert found.score == score
    assert len(found.reasons) >= reasons


def test_forty_runs_may_lose_four_on_each_side() -> None:
    minutes: list[float | None] = [float(value) for value in range(1, 41)]
    minutes[3] = minutes[10] = minutes[20] = minutes[30] = None
    left = sorted(value for value in minutes if value is not None)
    found = score_runs(minutes, needed=40, drop=4, may_fail=4)
    assert found.score == pytest.approx(statistics.fmean(left[4:]))
    minutes[0] = None
    assert score_runs(minutes, needed=40, drop=4, may_fail=4).score is None


def test_the_interval_covers_as_often_as_it_says() -> None:
    """Of 300 entries drawn from a known distribution, the 95 % interval of most holds the true trimmed mean.

    Bootstraps of ten values are known to fall short of their level; far short would be a mistake."""
    import numpy as np

    rng = np.random.default_rng(3)
    inside = 0
    for _ in range(300):
        found = bootstrap_interval(list(rng.normal(30, 3, size=10)), 1, resamples=400)
        assert found is not None
        inside += found.low <= 30 <= found.high
    assert 0.84 * 300 <= inside <= 0.99 * 300


def test_the_interval_keeps_failures_and_is_the_same_again() -> None:
    with_failure = [math.inf, 10.0, 11.0, 12.0, 13.0]
    found = bootstrap_interval(with_failure, 1)
    assert found is not None
    assert 10 <= found.low < olympic_mean(with_failure, 1) < found.high <= 13
    assert bootstrap_interval(with_failure, 1) == found
    assert bootstrap_interval([math.inf, math.inf, 10.0, 11.0, 12.0], 1) is None


def test_a_folder_with_too_few_runs_has_a_figure_but_no_entry(tmp_path: Path) -> None:
    for number in range(3):
        stretch(write_run(tmp_path / f"result_{number}.txt", seed=number, division="closed"), 10.0 + number)
    said = CliRunner().invoke(app, ["bench", "score", str(tmp_path), "--json"])
    found = json.loads(said.stdout)
    assert said.exit_code == 1
    assert found["valid"] is False
    assert found["reasons"] == ["3 of 5 runs"]
    assert found["score_minutes"] == pytest.approx(11.0)


def test_small_sizes_have_counts_of_their_own() -> None:
    assert RULES.counting("unet3d", "full").runs == 40
    assert RULES.counting("unet3d", "smoke").runs == 5


def test_logs_that_cannot_be_scored_are_told_as_such(tmp_path: Path) -> None:
    """Two benchmarks in one log, and a log without any."""
    folder = tmp_path / "results" / "box" / "ssd"
    for number in range(5):
        write_run(folder / f"result_{number}.txt", "ssd", division="closed", seed=number)
    other = write_run(tmp_path / "other.txt", "bert", division="closed")
    log = folder / "result_2.txt"
    alone = log.read_text()
    log.write_text(alone + other.read_text())
    with pytest.raises(InputError, match="several benchmarks: 'bert', 'ssd'"):
        score_folder(folder)
    log.write_text("no log at all")
    with pytest.raises(InputError, match=r"result_2\.txt: names no benchmark"):
        score_folder(folder)
    log.write_text(alone)
    assert score_folder(folder).score.converged == 5
