"""Layouts: what can exist is found by brute force too, what is published is found feasible."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podium.errors import InputError
from podium.plan.hardware import find_device
from podium.plan.layouts import Choices, Layout, divisors, enumerate_layouts, parse_layout
from podium.plan.named import find_model
from podium.plan.recipe import Recipe
from podium.plan.search import Job, default_batch, devices_for, search
from podium.plan.shapes import Shape


def job(name: str, devices: int, device: str = "A100", batch: int = 512, sequence: int = 2048, **more: object) -> Job:
    shape = find_model(name)
    assert isinstance(shape, Shape)
    return Job(shape, find_device(device), devices, 300e9, batch, sequence, **more)  # type: ignore[arg-type]


@settings(max_examples=25, deadline=None)
@given(devices=st.sampled_from([1, 6, 8, 24, 56, 64]), batch=st.sampled_from([1, 12, 48, 64, 100]))
def test_all_layouts_and_no_others(devices: int, batch: int) -> None:
    shape = find_model("gpt2")
    assert isinstance(shape, Shape)
    choices = Choices(micro_batch=(1, 2, 4), interleave=(1,), zero=(0,), recompute=("none",))
    layouts, _ = enumerate_layouts(shape, devices, 8, batch, 1024, choices)
    found = {(x.tp, x.pp, x.dp, x.micro_batch) for x in map(layouts.at, range(len(layouts)))}
    expected = set()
    for tp, pp, dp, micro in itertools.product(range(1, 9), range(1, 13), range(1, devices + 1), (1, 2, 4)):
        whole = batch % (dp * micro) == 0
        stage = -(-12 // pp)
        if (
            tp * pp * dp == devices
            and 12 % tp == 0
            and stage * (pp - 1) < 12
            and whole
            and (pp == 1 or batch // (dp * micro) >= pp)
        ):
            expected.add((tp, pp, dp, micro))
    assert found == expected


def test_yuans_layout_is_found() -> None:
    plan = search(job("yuan-1.0", 2128, batch=3360))
    found = {str(candidate.layout): candidate for candidate in plan.candidates}
    assert "T8 P38 D7" in found
    assert found["T8 P38 D7"].memory_total < find_device("A100").memory
    assert plan.feasible <= plan.considered == plan.feasible + sum(failure.count for failure in plan.failures)


def test_megatrons_own_layout_of_a_trillion_is_near_the_best() -> None:
    """arXiv 2104.04473 table 1: T8 P64 D6 on 3,072 devices."""
    plan = search(job("megatron-1t", 3072, batch=3072))
    best = plan.best_of_each()
    published = next(c for c in best if (c.layout.tp, c.layout.pp, c.layout.dp) == (8, 64, 6))
    assert published.step_seconds < 1.15 * best[0].step_seconds


def test_candidates_are_ranked_and_fit() -> None:
    plan = search(job("llama-2-70b", 64, "H100", sequence=4096))
    times = [candidate.step_seconds for candidate in plan.candidates]
    assert all(b >= a * 0.999 for a, b in itertools.pairwise(times))
    for candidate in plan.candidates:
        assert candidate.layout.devices == 64
        assert candidate.memory_total <= find_device("H100").memory
        assert 0 < candidate.mfu <= candidate.hfu < 1
        low, likely, high = candidate.days
        assert low < likely < high


def test_mfu_is_what_the_step_time_says() -> None:
    plan = search(job("llama-2-7b", 8, batch=64))
    best = plan.candidates[0]
    by_hand = plan.job.model_flop / plan.job.steps / best.step_seconds / 8 / 312e12
    assert best.mfu == pytest.approx(by_hand, rel=1e-6)


def test_recomputation_is_hardware_not_model_work() -> None:
    choices = Choices(recompute=("full",))
    full = search(job("llama-2-7b", 8, batch=64), choices).candidates[0]
    assert full.hfu / full.mfu == pytest.approx(4 / 3, rel=0.03)


def test_more_devices_take_less_time_but_not_less_money() -> None:
    plans = [search(job("llama-2-13b", n, "H100", batch=1024, sequence=4096)).candidates[0] for n in (64, 256, 1024)]
    assert plans[0].days[1] > plans[1].days[1] > plans[2].days[1]
    assert plans[0].device_hours <= plans[2].device_hours


def test_nothing_fits_and_it_is_said_why() -> None:
    plan = search(job("llama-2-70b", 8, sequence=4096))
    assert plan.candidates == []
    first = plan.failures[0]
    assert "GB per device" in first.reason
    assert "leanest" in first.nearest
    assert first.leanest > find_device("A100").memory
    assert search(job("llama-2-70b", 8, sequence=4096, memory=first.leanest * 1.001)).feasible >= 1


def test_a_tensor_parallel_group_stays_within_the_fast_links() -> None:
    plan = search(job("qwen2.5-7b", 16, "L4", batch=64), Choices(tp=(1, 2, 4)))
    assert all(candidate.layout.tp == 1 for candidate in plan.candidates)
    assert any("fast links" in failure.reason for failure in plan.failures)


def test_a_format_the_device_lacks() -> None:
    with pytest.raises(InputError, match="its formats"):
        search(job("llama-2-7b", 8, "TPU-v4", recipe=Recipe(precision="fp32")))


def test_layouts_in_words() -> None:
    assert parse_layout("T8P38D7") == {"tp": 8, "pp": 38, "dp": 7}
    assert parse_layout("t8 p16 d64 c2 v4 z1 b2") == {
        "tp": 8,
        "pp": 16,
        "dp": 64,
        "cp": 2,
        "interleave": 4,
        "zero": 1,
        "micro_batch": 2,
    }
    assert str(Layout(8, 38, 7)) == "T8 P38 D7"
    for wrong in ("", "8x8", "T8T8", "T0", "Q3", "Z4"):
        with pytest.raises(InputError):
            parse_layout(wrong)


def test_default_batches() -> None:
    assert default_batch(1e9, 2048, 8) == 512
    assert default_batch(245e9, 2048, 2128) % 133 == 0
    assert 4e6 < default_batch(70e9, 8192, 1024) * 8192 < 16e6
    assert divisors(2128) == [d for d in range(1, 2129) if 2128 % d == 0]


def test_devices_for_a_deadline() -> None:
    plan = search(job("llama-2-7b", 64, "H100", sequence=4096))
    rate = plan.candidates[0].model_flops_per_second
    days = plan.candidates[0].days[1]
    assert devices_for(plan.job, rate, days) == pytest.approx(64, abs=8)
    assert devices_for(plan.job, rate, days / 2) == pytest.approx(128, abs=8)
