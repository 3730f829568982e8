"""`podium plan simulate | serve | budget | centre` as a person runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from podium.commands.cli import app


def run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["plan", *arguments])
    return done.exit_code, done.stdout, done.stderr


def test_simulate_failures() -> None:
    code, out, _ = run("simulate", "--gpus", "16384xH100", "--model", "llama-3.1-405b", "--runs", "5", "--json")
    assert code == 0
    played = json.loads(out)["failures"]
    assert played["simulated_range"][0] > 0.9
    assert abs(played["closed_over_simulated"]) < 0.03


def test_simulate_a_pipeline() -> None:
    code, out, _ = run("simulate", "--forward", "1,1,1,1.3", "--micro-batches", "16", "--hand-over", "0.05", "--json")
    assert code == 0
    steps = json.loads(out)["pipeline"]
    assert [step["schedule"] for step in steps] == ["gpipe", "1f1b", "interleaved", "zero-bubble"]
    assert all(abs(step["closed_over_simulated"]) < 0.03 for step in steps)


def test_simulate_draws_what_devices_do() -> None:
    code, out, _ = run("simulate", "--stages", "4", "--micro-batches", "8", "--schedule", "gpipe")
    assert code == 0
    lines = [line for line in out.splitlines() if line and set(line) <= set("#o.")]
    assert len(lines) == 4
    # 8 of 11 slots: every device works 8 (1 + 2) of 33 seconds
    for line in lines:
        assert len(line) == len(lines[0]) >= 60
        assert line.count(".") / len(line) == pytest.approx(9 / 33, abs=0.03)
    assert "." not in lines[-1].strip(".")  # the last one never waits in between


def test_serve() -> None:
    code, out, _ = run(
        "serve",
        "--model",
        "qwen2.5-14b",
        "--weights",
        "fp8",
        "--speedup",
        "1.79",
        "--gpus",
        "4xL4",
        "--check",
        "--json",
    )
    assert code == 0
    values = json.loads(out)
    row = next(each for each in values["devices"] if each["copies"] == 1)
    assert row["in_time"] == "base"
    assert row["most_attempts"] >= 12
    assert len(values["check"]) == 6


def test_serve_compares_devices() -> None:
    code, out, _ = run("serve", "--model", "qwen2.5-32b")
    assert code == 0
    assert "8xH100" in out
    assert "2xT4: " in out  # and says why not


def test_budget() -> None:
    code, out, _ = run("budget", "--pflops-days", "248842")
    assert code == 0
    assert "423 B" in out
    assert "rumour" in out
    code, out, _ = run("budget", "--flops", "3.14e23", "--gpus", "1024xA100", "--json")
    assert json.loads(out)["pflops_days"] == pytest.approx(3634, rel=1e-3)


def test_centre() -> None:
    code, out, _ = run("centre", "--json")
    assert code == 0
    assert len(json.loads(out)) == 4
    code, out, _ = run("centre", "--installed", "300P", "--model", "llama-65b", "--tokens", "1.4T")
    assert code == 0
    assert "1,176" in out


def test_train_writes_a_page(tmp_path: Path) -> None:
    page = tmp_path / "plan.html"
    code, _, _ = run(
        "train", "--model", "llama-3.1-8b", "--tokens", "1T", "--gpus", "64xH100", "--html", str(page)
    )  # fmt: skip
    assert code == 0
    assert page.read_text().count("<svg") == 8  # four charts, each for a wide window and for a narrow one


@pytest.mark.parametrize(
    ("arguments", "cure"),
    [
        (("simulate",), "--gpus 16384xH100"),
        (("simulate", "--gpus", "0xH100"), "at least 1"),
        (("simulate", "--gpus", "512"), "512xH100"),
        (("simulate", "--gpus", "512xH100", "--mtbf", "50000"), "50000h"),
        (("simulate", "--gpus", "512xH100", "--mtbf", "1s"), "50000h"),
        (("simulate", "--gpus", "16kxH100", "--mtbf", "1min"), "unit of --mtbf"),
        (("simulate", "--stages", "0"), "at least 1"),
        (("simulate", "--stages", "8", "--micro-batches", "0"), "at least 1"),
        (("simulate", "--forward", "1,x"), "seconds by stage"),
        (("serve", "--model", "qwen"), "Or give a config.json"),
        (("serve", "--model", "bert-base"), "qwen2.5-14b"),
        (("serve", "--model", "qwen2.5-72b", "--gpus", "1xT4"), "--gpus"),
        (("serve", "--model", "qwen2.5-14b", "--memory", "24"), "24GB"),
        (("serve", "--model", "qwen2.5-14b", "--memory", "24PB"), "24GB"),
        (("serve", "--model", "qwen2.5-14b", "--clock", "5"), "5h"),
        (("serve", "--model", "qwen2.5-14b", "--clock", "5s"), "--clock"),
        (("serve", "--model", "qwen2.5-14b", "--problems", "0"), "at least 1"),
        (("serve", "--model", "qwen2.5-14b", "--weights", "fp9"), "'fp8'"),
        (("budget",), "--pflops-days 3640"),
        (("budget", "--pflops-days", "0"), "more than 0"),
        (("budget", "--flops", "5"), "3.14e23"),
        (("budget", "--pflops-days", "10", "--gpus", "0xH100"), "at least 1"),
        (("centre", "--gpus", "0xH100"), "at least 1"),
        (("centre", "--installed", "300"), "100P"),
        (("centre", "--load", "70"), "0.7"),
        (("centre", "--model", "llama-65b"), "--tokens 1.4T"),
    ],
)
def test_mistakes_leave_with_2_and_a_cure(arguments: tuple[str, ...], cure: str) -> None:
    code, out, err = run(*arguments)
    assert code == 2
    assert cure in " ".join(err.split())
    assert "Traceback" not in out + err
