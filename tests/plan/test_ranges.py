"""The range of a step time holds what was measured, and says why it is wide."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from podium.commands.cli import app
from podium.plan.fitted import SPREAD
from podium.plan.hardware import find_device
from podium.plan.hf_config import read_config
from podium.plan.layouts import Choices
from podium.plan.named import find_model
from podium.plan.ranges import COMPARED, MEASURED, conditions, spread_for
from podium.plan.recipe import Recipe
from podium.plan.runs import PUBLISHED, read_runs
from podium.plan.search import Job, search
from podium.plan.shapes import Shape, parse_shape, with_sequence

TABLES = Path(__file__).parent / "data"
DENSE = parse_shape("layers=32,hidden=8192,heads=64,kv=8,ffn=28672,vocab=128k,seq=4096")


def names(shape: Shape, device: str, precision: str = "bf16") -> list[str]:
    found = conditions(shape, find_device(device), Recipe(precision=precision))  # type: ignore[arg-type]
    return [condition.name for condition in found[1:]]


def test_each_kind_of_run_has_its_conditions() -> None:
    small, mixture = find_model("llama-3.1-8b"), find_model("mixtral-8x7b")
    assert isinstance(small, Shape)
    assert isinstance(mixture, Shape)
    assert names(DENSE, "A100") == names(DENSE, "H100") == []
    assert names(DENSE, "B200") == names(DENSE, "L4") == names(DENSE, "MI300X") == ["unprobed device"]
    assert names(DENSE, "H100", "fp8") == ["FP8"]
    assert names(small, "H100") == ["small hidden size"]
    assert names(mixture, "A100") == ["mixture of experts"]
    assert names(replace(mixture, hidden=2048, head_dim=64), "B200", "fp8") == [
        "unprobed device",
        "FP8",
        "mixture of experts",
        "small experts",
    ]


def test_the_plain_range_is_that_of_the_fit() -> None:
    plain = spread_for(DENSE, find_device("A100"), Recipe())
    assert (plain.low, plain.high, plain.because) == (math.exp(-SPREAD), math.exp(SPREAD), ())


def test_a_measured_device_is_trusted_more_than_a_data_sheet(tmp_path: Path) -> None:
    file = tmp_path / "box.json"
    file.write_text(json.dumps({"peak": {"bf16": 1e15}, "memory": 180e9, "bandwidth": 8e12}))
    probed, unprobed = (
        spread_for(DENSE, find_device(str(file)), Recipe()),
        spread_for(DENSE, find_device("B200"), Recipe()),
    )
    assert probed.high < unprobed.high
    assert "measured" in probed.because[0]


def test_conditions_span_and_never_narrow() -> None:
    mixture = find_model("mixtral-8x7b")
    assert isinstance(mixture, Shape)
    wide = spread_for(mixture, find_device("B200"), Recipe(precision="fp8"))
    for condition in MEASURED:
        if condition.name in names(mixture, "B200", "fp8"):
            assert wide.low <= condition.low
            assert wide.high >= condition.high
            assert condition.because in wide.because


def test_devices_of_the_fit_are_those_of_the_table() -> None:
    assert {run.device.name for run in read_runs(PUBLISHED) if run.device} <= set(COMPARED)


def test_the_range_is_in_json_and_in_the_text() -> None:
    command = ["plan", "train", "--model", "mixtral-8x7b", "--tokens", "100B", "--gpus", "64xB200", "--top", "2"]
    said = CliRunner().invoke(app, [*command, "--json"])
    values = json.loads(said.stdout)
    best = values["layouts"][0]
    low, high = best["step_range"]
    assert low == pytest.approx(best["step_seconds"] * values["range"]["low"])
    assert high == pytest.approx(best["step_seconds"] * values["range"]["high"])
    assert values["range"]["high"] >= 2.7
    assert any("mixture of experts" in why for why in values["range"]["because"])
    assert best["days"][2] / best["days"][1] > values["range"]["high"]  # goodput widens it further
    assert best["usd_range"][0] < best["usd"] < best["usd_range"][1]
    text = " ".join(CliRunner().invoke(app, command).stdout.split())
    assert "wide because of: mixture of experts" in text


def measured() -> Iterator[tuple[Job, Choices, float]]:
    for row in csv.DictReader((TABLES / "measured_b200" / "rows.csv").open()):
        shape = read_config(TABLES / "measured_b200" / row["config"])
        assert isinstance(shape, Shape)
        sequence = int(row["seq"])
        job = Job(
            with_sequence(shape, sequence),
            find_device("B200"),
            int(row["gpus"]),
            1e12,
            int(row["global_bs_seq"]),
            sequence,
        )
        degrees = {
            "tp": "tp",
            "pp": "pp",
            "cp": "cp",
            "ep": "ep",
            "micro_batch": "micro_bs",
            "interleave": "interleave",
        }
        choices = Choices(recompute=("none",), zero=(1, 0))
        yield (
            job,
            choices.fixed({name: int(row[column] or 1) for name, column in degrees.items()}),
            float(row["step_s"]),
        )
    for row in csv.DictReader((TABLES / "published_nvidia_rows.csv").open()):
        shape = (
            read_config(TABLES / "measured_b200" / "configs" / row["name"] / "config.json")
            if row["name"] == "gpt-oss-120b"
            else find_model(row["name"])
        )
        assert isinstance(shape, Shape)
        sequence, recipe = int(row["seq"]), Recipe(precision=row["prec"])  # type: ignore[arg-type]
        device, devices = find_device(row["system"]), int(row["gpus"])
        # What ran did fit, whatever the model of memory says of it.
        job = Job(with_sequence(shape, sequence), device, devices, 1e12, int(row["gbs"]), sequence, recipe, memory=1e13)
        choices = Choices(recompute=("none",), zero=(3,) if int(row["fsdp"]) > 1 else (1, 0))
        degrees = {"tp": "tp", "pp": "pp", "cp": "cp", "ep": "ep", "micro_batch": "mbs", "interleave": "vp"}
        yield job, choices.fixed({name: int(row[column]) for name, column in degrees.items()}), float(row["step_s"])


def test_the_range_holds_runs_that_were_measured() -> None:
    held, plain, outside = [], [], []
    for job, choices, seconds in measured():
        (best,) = search(job, choices, keep=1).candidates
        held.append(best.step_range[0] <= seconds <= best.step_range[1])
        if not held[-1]:
            outside.append(f"{job.shape.name} on {job.device.name} x{seconds / best.step_seconds:.2f}")
        plain.append(abs(math.log(seconds / best.step_seconds)) <= SPREAD)
    print(f"of {len(held)} measured rows {sum(held)} lie within their range, {sum(plain)} within the plain one")
    print("outside:", *outside)
    assert len(held) >= 40
    assert sum(held) >= 0.85 * len(held)
