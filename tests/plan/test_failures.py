"""Goodput against a simulation, against Daly's own equation by brute force, and at Llama 3's settings."""

from __future__ import annotations

from dataclasses import astuple, replace

import numpy as np
import pytest

from podium.errors import InputError
from podium.plan.failure_run import run_failures
from podium.plan.failures import (
    CAUSES,
    PLANNED_PER_DAY,
    Reliability,
    checkpoint_stall,
    daly_interval,
    expected_causes,
    goodput,
    spare_nodes,
    straggler_factor,
    young_interval,
)
from podium.plan.units import DAY

LLAMA3 = Reliability(16_384, checkpoint=checkpoint_stall(405.9e9, 16_384), restart=600, planned_per_day=PLANNED_PER_DAY)
SETTINGS = (
    LLAMA3,
    replace(LLAMA3, checkpoint=60.0, interval=3600.0),
    Reliability(512, checkpoint=120.0),
    Reliability(100_000, checkpoint=10.0, restart=900.0),
    Reliability(2_000, mtbf=4_000 * 3600.0, checkpoint=30.0, restart=1200.0),
)


def test_llama3_settings_give_more_than_ninety_percent() -> None:
    assert LLAMA3.between_failures == pytest.approx(54 * DAY / 419)
    histories = [run_failures(LLAMA3, 54 * DAY, seed) for seed in range(10)]
    assert all(history.shares.training > 0.9 for history in histories)
    assert goodput(LLAMA3).training > 0.9
    assert np.mean([history.failed for history in histories]) == pytest.approx(419, rel=0.05)
    assert histories[0].planned == pytest.approx(47, abs=2)


@pytest.mark.parametrize("run", SETTINGS)
def test_closed_form_is_within_three_percent_of_the_simulation(run: Reliability) -> None:
    histories = [run_failures(run, 54 * DAY, seed) for seed in range(10)]
    closed = goodput(run)
    assert closed.training == pytest.approx(np.mean([h.shares.training for h in histories]), rel=0.03)
    for part in ("saving", "lost", "restarting", "planned"):
        simulated = np.mean([getattr(h.shares, part) for h in histories])
        assert getattr(closed, part) == pytest.approx(simulated, rel=0.1, abs=3e-3)


@pytest.mark.parametrize("run", SETTINGS)
def test_shares_add_up_to_the_whole(run: Reliability) -> None:
    assert sum(astuple(goodput(run))) == pytest.approx(1)
    assert sum(astuple(run_failures(run, 10 * DAY, 3).shares)) == pytest.approx(1)


@pytest.mark.parametrize("run", [replace(run, interval=None) for run in SETTINGS])
def test_no_other_interval_is_better_than_dalys(run: Reliability) -> None:
    best = goodput(run).training
    tried = [goodput(replace(run, interval=run.saves_every * factor)).training for factor in np.geomspace(0.2, 5, 60)]
    assert best >= max(tried) - 1e-4
    assert best - min(tried) > 1e-3


def test_young_and_daly_agree_where_saving_is_quick() -> None:
    assert daly_interval(1.0, 1e6) == pytest.approx(young_interval(1.0, 1e6), rel=1e-3)
    assert daly_interval(100.0, 40.0) == 40.0  # saving takes longer than two failures: Daly's second case


def test_a_run_that_never_gets_to_save_trains_nothing() -> None:
    doomed = Reliability(1_000_000, mtbf=1e6, checkpoint=1000.0)
    assert goodput(doomed).training == 0
    assert run_failures(doomed, 2000.0, 0).shares.training < 0.01


def test_causes_are_llama3s() -> None:
    assert sum(CAUSES.values()) == 419
    assert sum(expected_causes(100).values()) == pytest.approx(100)
    assert expected_causes(419)["faulty GPU"] == pytest.approx(148)


@pytest.mark.parametrize("devices", [1, 10, 1_000, 20_000])
def test_the_slowest_of_many_is_waited_for(devices: int) -> None:
    draw = np.random.default_rng(0)
    slowest = 1 + 0.02 * draw.standard_normal((300, devices)).max(axis=1).mean()
    assert straggler_factor(devices, 0.02) == pytest.approx(slowest if devices > 1 else 1, abs=2e-3)


def test_spares_are_enough_in_a_simulation_of_repairs() -> None:
    run = Reliability(16_384)
    spares = spare_nodes(run, repair=2 * DAY, sure=0.99)
    draw = np.random.default_rng(0)
    horizon, hardware = 4000 * DAY, 1 - (54 + 32 + 7 + 2) / 419
    broken = np.sort(draw.uniform(0, horizon, draw.poisson(horizon / run.between_failures * hardware)))
    at = draw.uniform(3 * DAY, horizon, 4000)
    waiting = np.searchsorted(broken, at) - np.searchsorted(broken, at - 2 * DAY)
    assert np.mean(waiting <= spares) >= 0.985
    assert np.mean(waiting <= spares - 3) < 0.985


@pytest.mark.parametrize(
    "values",
    [
        {"devices": 0},
        {"devices": 8, "mtbf": 1.0},
        {"devices": 8, "checkpoint": 0.0},
        {"devices": 8, "interval": -1.0},
        {"devices": 8, "planned_per_day": 500.0},
    ],
)
def test_absurd_settings_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(InputError):
        Reliability(**values)  # pyright: ignore[reportArgumentType]
