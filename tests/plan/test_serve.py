"""Attempts within the clock: against published speeds, bounds from the data sheet, and brute force."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from podium.commands.cli import app
from podium.errors import InputError
from podium.plan.hardware import find_device
from podium.plan.named import find_model
from podium.plan.serve import CONTEST, Server, exam_clock, fleets, measured
from podium.plan.shapes import Shape


def server(gpus: int = 4, device: str = "L4", model: str = "qwen2.5-14b", **more: object) -> Server:
    shape = find_model(model)
    assert isinstance(shape, Shape)
    return Server(shape, find_device(device), gpus, **more)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("row", [row for row in CONTEST if row.gpus == "4xL4"])
def test_one_set_of_numbers_explains_the_contests_formats(row: object) -> None:
    assert abs(measured(row).error) < 0.05  # pyright: ignore[reportArgumentType]


def test_a_step_is_never_faster_than_the_data_sheet_allows() -> None:
    for gpus, device in ((4, "L4"), (1, "H100"), (8, "B200")):
        one = server(gpus, device)
        # 48 layers, 8 KV heads of 128, two bytes: 196,608 bytes a token; 14.77 B parameters less the embedding
        for rows, context in ((1, 100), (12, 8000), (64, 16000)):
            read = (14.77e9 - 152064 * 5120) * 2 + rows * context * 196_608
            assert one.step_seconds(rows, context) > read / gpus / one.device.bandwidth


def test_narrower_weights_and_more_devices_are_faster() -> None:
    each = [server(weights=form).tokens_per_second(12, 4000) for form in ("bf16", "int8", "int4")]
    assert each == sorted(each)
    group = [server(n, "H100").tokens_per_second(12, 4000) for n in (1, 2, 4, 8)]
    assert group == sorted(group)
    assert group[-1] < 8 * group[0]


def test_a_mixture_reads_the_experts_it_visits() -> None:
    mixture = server(1, "H100", "mixtral-8x7b")
    # One row visits 2 of 8 experts: about 13 B of 47 B parameters; many rows visit them all.
    few, many = (mixture.step_seconds(rows, 1) - mixture.engine.step for rows in (1, 64))
    assert few / many == pytest.approx(12.9 / 46.7, rel=0.05)


def test_attempts_that_do_not_fit_at_once_wait_for_the_others() -> None:
    one = server(weights="int8")
    rows = one.fits(256 + 12_000)
    assert rows > 1
    waves = [one.attempt_seconds(rows * k, 12_000) - one.prefill_seconds(256) for k in (1, 2, 3)]
    assert waves[1] == pytest.approx(2 * waves[0])
    assert waves[2] == pytest.approx(3 * waves[0])


@pytest.mark.parametrize("seconds", [20.0, 350.0])
def test_the_most_is_the_most(seconds: float) -> None:
    one = server(1, "H100")
    for length in (2_000, 4_000):
        most = one.most_attempts(length, seconds)
        tried = [n for n in range(1, most + 50) if one.attempt_seconds(n, length) <= seconds]
        assert most == max(tried, default=0)
    longest = one.longest(12, seconds)
    assert one.attempt_seconds(12, longest) <= seconds < one.attempt_seconds(12, longest + 1)


def test_what_does_not_fit_takes_for_ever() -> None:
    one = server(1, "T4", "qwen2.5-72b")
    assert one.fits(100) == 0
    assert one.attempt_seconds(1, 100) == math.inf
    assert one.most_attempts(100, 1e9) == one.longest(1, 1e9) == 0


def test_speculation_divides_the_time() -> None:
    plain, quick = server(weights="fp8"), server(weights="fp8", speedup=1.79)
    assert quick.tokens_per_second(12, 4000) == pytest.approx(1.79 * plain.tokens_per_second(12, 4000))


def test_the_contests_entry_fits_its_clock() -> None:
    # arXiv 2504.16891 section 6.3: FP8 with ReDrafter, 12 attempts, 350 s a problem and up to 560 s
    entry = server(weights="fp8", speedup=1.79)
    clock = exam_clock(50 * 350.0, 50)
    assert (clock.base, clock.cap) == (350.0, 560.0)
    assert entry.fits(16_000) >= 12
    assert 10_000 < entry.longest(12, clock.base) < entry.longest(12, clock.cap) < 32_000
    without = replace(entry, speedup=1.0, weights="bf16")
    assert without.longest(12, clock.base) < 7_000


def test_absurd_settings_are_refused() -> None:
    for make in (
        lambda: server(3).fits(1),
        lambda: server(speedup=0.5),
        lambda: server(2, "A100", weights="fp8"),
        lambda: exam_clock(100, 0),
        lambda: exam_clock(1e-6, 50),
        lambda: server().attempt_seconds(0, 100),
        lambda: server().attempt_seconds(1, 0),
    ):
        with pytest.raises(InputError):
            make()


def test_copies_share_the_attempts_and_the_slowest_sets_the_time() -> None:
    whole = server(4, "H100")
    ways = fleets(whole)
    assert [(fleet.copies, fleet.server.ranks) for fleet in ways] == [(1, 4), (2, 2), (4, 1)]
    for fleet in ways:
        assert fleet.devices == 4
        assert fleet.name == "4xH100-80GB"
        alone = fleet.server
        for attempts in (1, 5, 12, 13):
            dealt = [len(range(copy, attempts, fleet.copies)) for copy in range(fleet.copies)]
            slowest = max(alone.attempt_seconds(count, 4000) for count in dealt if count)
            assert fleet.attempt_seconds(attempts, 4000) == slowest
            rate = sum(alone.tokens_per_second(count, 4000) for count in dealt if count)
            assert fleet.tokens_per_second(attempts, 4000) == pytest.approx(rate)
        assert fleet.fits(4000) == fleet.copies * alone.fits(4000)
        for seconds in (30.0, 120.0):
            most = fleet.most_attempts(2000, seconds)
            assert most == 0 or fleet.attempt_seconds(most, 2000) <= seconds
            assert fleet.attempt_seconds(most + 1, 2000) > seconds
        longest = fleet.longest(13, 60.0)
        assert fleet.attempt_seconds(13, longest) <= 60.0 < fleet.attempt_seconds(13, longest + 1)


def test_a_group_that_cannot_cut_the_model_serves_copies_of_it() -> None:
    # 40 heads over 3 devices do not come out even; three copies do.
    assert [fleet.copies for fleet in fleets(server(3))] == [3]


def test_copies_win_for_a_small_model_and_shared_weights_for_a_large_one() -> None:
    for model, copies in (("qwen2.5-0.5b", 8), ("qwen2.5-14b", 1)):
        ways = fleets(server(8, "H100", model))
        assert min(ways, key=lambda fleet: fleet.attempt_seconds(16, 2000)).copies == copies


def test_the_command_shows_a_copy_on_each_device_too() -> None:
    said = CliRunner().invoke(app, ["plan", "serve", "--model", "qwen2.5-14b", "--gpus", "8xH100", "--json"])
    assert said.exit_code == 0
    shared, apart = json.loads(said.stdout)["devices"]
    assert (shared["copies"], shared["devices_per_copy"], shared["gpus"]) == (1, 8, "8xH100-80GB")
    assert (apart["copies"], apart["devices_per_copy"], apart["gpus"]) == (8, 1, "8xH100-80GB")
    assert shared["seconds"] < apart["seconds"]
    assert shared["exam_usd"] == apart["exam_usd"]
