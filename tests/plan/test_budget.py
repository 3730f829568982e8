"""Budgets and centres against published arithmetic."""

from __future__ import annotations

import pytest

from podium.errors import InputError
from podium.plan.budget import RUMOUR, known_runs, purchases, spend
from podium.plan.centre import Centre, examples, serve_work, sized, usual_work, year
from podium.plan.hardware import find_device
from podium.plan.units import PFLOPS_DAY


def test_what_is_bought_costs_the_budget() -> None:
    for one in purchases(1e24):
        assert 6 * one.parameters * one.tokens == pytest.approx(1e24)
        assert one.tokens / one.parameters == pytest.approx(one.tokens_per_parameter)
    losses = [one.loss for one in purchases(1e24)]
    assert losses == sorted(losses)  # Chinchilla's ratio comes first and is the best


@pytest.mark.parametrize(
    ("model", "pflops_days"),
    [
        ("gpt3-175b", 3_640),
        ("palm-540b", 29_270),
        ("yuan-245b", 3_071),
        ("mt-nlg-530b", 9_938),
        ("llama-65b", 6_339),
        ("llama-2-70b", 9_722),
        ("chinchilla-70b", 6_806),
        ("llama-3.1-405b", 438_750),
    ],
)
def test_known_runs_cost_what_was_published(model: str, pflops_days: float) -> None:
    run = next(run for run in known_runs() if run.model == model)
    assert run.flop / PFLOPS_DAY == pytest.approx(pflops_days, rel=0.016)


def test_the_rumoured_budget_is_68_gpt3s() -> None:
    gpt3 = next(run for run in known_runs() if run.model == "gpt3-175b")
    assert abs(RUMOUR * PFLOPS_DAY / 2.15e25 - 1) < 1e-5
    assert RUMOUR * PFLOPS_DAY / gpt3.flop == pytest.approx(68.3, rel=0.01)
    assert purchases(RUMOUR * PFLOPS_DAY)[0].parameters == pytest.approx(423e9, rel=0.01)


def test_spending_adds_up() -> None:
    device = find_device("H100")
    few, many = spend(1e24, device, 1024, 0.4), spend(1e24, device, 65_536, 0.4)
    assert 1024 * 989.4e12 * 0.4 * few.goodput * few.days * 86_400 == pytest.approx(1e24)
    assert many.goodput < few.goodput < 1
    assert many.device_hours > few.device_hours  # more interruptions
    assert few.usd == pytest.approx(few.device_hours * device.usd_per_hour)
    for devices, share in ((0, 0.4), (8, 0.0), (8, 40.0), (10**9, 0.4)):
        with pytest.raises(InputError):
            spend(1e24, device, devices, share)


def test_centres_of_the_literature_have_what_was_published() -> None:
    peaks = {one.name.split(":")[0]: one.training_peak / 1e15 for one in examples()}
    assert peaks["100P"] == pytest.approx(100, rel=0.01)
    assert peaks["300P"] == pytest.approx(300, rel=0.01)
    cloud = next(one for one in examples() if "Cloud Brain II" in one.name)
    # 1 EOPS FP16, 2 EOPS INT8
    assert cloud.peak()["fp16"] == pytest.approx(1e18, rel=0.05)
    assert cloud.peak()["int8"] == pytest.approx(2e18, rel=0.05)


def test_a_year_by_hand() -> None:
    device = find_device("A100")
    one = Centre("x", ((device, 100),), load=0.5, utilisation=0.4, draw=1.0, servers=0.0, pue=1.0, usd_per_kwh=0.1)
    made = year(one)
    assert made.flop == pytest.approx(100 * 312e12 * 0.5 * 0.4 * 8760 * 3600)
    # half the hours at 400 W, half at 30 % of it
    assert made.gigawatt_hours == pytest.approx(100 * 400 * 0.65 * 8760 / 1e9)
    assert made.usd_energy == pytest.approx(made.gigawatt_hours * 1e6 * 0.1)
    assert made.usd_per_device_hour * 100 * 8760 * 0.5 == pytest.approx(made.usd_year)


def test_jobs_a_year_follow_from_days_and_room() -> None:
    for one in examples():
        for work in usual_work():
            served = serve_work(one, work)
            side_by_side = one.devices / min(one.devices, work.devices)
            assert served.a_year == pytest.approx(365 * one.load * side_by_side / served.days)
    small = Centre("desk", ((find_device("L4"), 8),))
    gpt3 = next(work for work in usual_work() if "GPT-3" in work.name)
    assert not serve_work(small, gpt3).possible


def test_sizing() -> None:
    ascend = find_device("Ascend-910")
    assert sized(100e15, ascend) == 392
    with pytest.raises(InputError, match="100P"):
        sized(100, ascend)


@pytest.mark.parametrize(
    "values", [{"load": 70.0}, {"utilisation": 0.0}, {"pue": 0.5}, {"years": 0.0}, {"usd_per_kwh": -1.0}]
)
def test_absurd_centres_are_refused(values: dict[str, float]) -> None:
    group = ((find_device("H100"), 8),)
    with pytest.raises(InputError):
        Centre("x", group, **values)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError):
        Centre("x", ())
