"""The commands as a person runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from podium.commands.cli import app
from podium.commands.plan import COMMANDS
from podium.plan.runs import PUBLISHED


def run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["plan", *arguments])
    return done.exit_code, done.stdout, done.stderr


def test_the_commands_of_the_room_are_there() -> None:
    code, out, _ = run("--help")
    assert code == 0
    assert all(name in out for name in COMMANDS)


def test_importing_needs_neither_torch_nor_pydantic() -> None:
    code = (
        "import sys, podium.plan.search, podium.plan.validate\n"
        "print([m for m in ('torch', 'pydantic', 'transformers', 'typer') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_a_layout_that_does_not_work_is_a_verdict_with_a_way_out() -> None:
    job = ("train", "--model", "yuan-1.0", "--tokens", "180B", "--gpus", "2128xA100", "--batch", "3360")
    code, out, _ = run(*job, "--layout", "T8P2D133", "--json")
    judged = json.loads(out)["judged"]
    assert code == 1
    assert not judged["feasible"]
    assert judged["why"]
    code, out, _ = run(*job, "--layout", judged["instead"].replace(" ", ""), "--json")
    assert code == 0
    assert json.loads(out)["judged"]["feasible"]


def test_train() -> None:
    code, out, _ = run(
        "train", "--model", "yuan-1.0", "--tokens", "180B", "--gpus", "2128xA100", "--batch", "3360",
        "--layout", "T8P38D7", "--days", "16", "--json",
    )  # fmt: skip
    assert code == 0
    values = json.loads(out)
    assert values["judged"]["feasible"]
    assert values["pflops_days"] == pytest.approx(3071, rel=0.03)
    assert values["layouts"][0]["days"][1] < 16
    assert values["deadline"]["enough"]
    assert {"reason", "count", "nearest"} == set(values["failures"][0])


def test_train_as_tables() -> None:
    code, out, _ = run("train", "--model", "qwen2.5-14b", "--tokens", "2.2M*9k", "--gpus", "512xH100", "--sft")
    assert code == 0
    assert "packed from documents of 9,000" in " ".join(out.split())
    assert "MFU" in out
    assert "why the other" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--model", "lama-7b"], "did you mean 'llama-7b'?"),
        (["--gpus", "0xH100"], "nothing can be computed on 0 devices"),
        (["--gpus", "8"], "write for example 8xH100"),
        (["--gpus", "8xH1000"], "did you mean"),
        (["--memory", "80"], "no unit"),
        (["--memory", "1MB"], "no device has"),
        (["--memory", "1GB"], "no layout of 8 x H100-80GB works"),
        (["--tokens", "300"], "300B"),
        (["--tokens", "300Q"], "unknown suffix"),
        (["--tokens", "1e30"], "is a suffix wrong?"),
        (["--seq", "1T"], "no one trains"),
        (["--layout", "X3"], "T8P38D7"),
        (["--layout", "T8P8D8"], "512 devices"),
        (["--precision", "fp7"], "precision"),
        (["--gpus", "8xA100", "--precision", "fp8"], "its formats"),
        (["--mtbf", "5s"], "50000h"),
        (["--gpus", "16384xH100"], "--batch 2048"),
        (["--optimizer", "adam"], "adamw"),
        (["--attention", "some"], "full or causal"),
        (["--schedule", "2f2b"], "schedule"),
        (["--model", "resnet-50"], "podium plan count"),
        (["--model", "/nowhere/config.json"], "cannot be read"),
    ],
)
def test_bad_input_gets_two_lines_and_code_2(arguments: list[str], says: str) -> None:
    given = {"--model": "llama-7b", "--tokens": "1T", "--gpus": "8xH100"}
    given.update(zip(arguments[::2], arguments[1::2], strict=True))
    code, _, error = run("train", *[word for pair in given.items() for word in pair])
    assert code == 2, error
    assert says in error
    assert "cure:" in error


def test_a_file_of_weights_has_no_sizes_to_read(tmp_path: Path) -> None:
    (tmp_path / "model.Q4.gguf").write_bytes(b"GGUF\x03\0\0\0")
    arguments = ("--model", str(tmp_path / "model.Q4.gguf"), "--tokens", "1T", "--gpus", "8xH100")
    code, _, error = run("train", *arguments)
    assert (code, "is a GGUF file" in error, "config.json" in error) == (2, True, True)


def test_a_topology_of_ones_own() -> None:
    def best(*more: str) -> dict:
        arguments = ("--model", "llama-3.1-70b", "--tokens", "1T", "--gpus", "512xH100", "--json", *more)
        return json.loads(run("train", *arguments)[1])["layouts"][0]

    usual, slow, wide = best(), best("--network", "10Gb"), best("--domain", "64")
    assert slow["step_seconds"] > 1.05 * usual["step_seconds"]
    assert wide["step_seconds"] <= usual["step_seconds"]


def test_a_way_out_is_named() -> None:
    code, out, error = run("train", "--model", "llama-2-70b", "--tokens", "1T", "--gpus", "8xH100")
    assert code == 2
    assert "no layout fits" in out
    assert "16 devices" in error
    assert "--offload" in error
    code, _, _ = run("train", "--model", "llama-2-70b", "--tokens", "1T", "--gpus", "16xH100")
    assert code == 0
    code, _, _ = run("train", "--model", "llama-2-70b", "--tokens", "1T", "--gpus", "8xH100", "--offload")
    assert code == 0


def test_count_scale_fit_devices() -> None:
    code, out, _ = run("count", "--model", "qwen3-30b-a3b", "--json")
    assert (code, json.loads(out)[0]["parameters"]["active"]) == (0, 3_353_032_704)
    assert run("count", "--model", "resnet-50")[0] == 0
    assert run("count")[0] == 0
    code, out, _ = run("scale", "--flops", "3640pfd", "--serve", "1T", "--json")
    assert (code, json.loads(out)["flop"]) == (0, pytest.approx(3.14e23, rel=0.01))
    assert "tokens per parameter" in run("scale", "--model", "yuan-1.0", "--tokens", "180B")[1]
    code, out, _ = run("fit", "--model", "qwen2.5-14b", "--gpus", "4xL4", "--weights", "int8", "--json")
    assert json.loads(out)[0]["sequences"] > 50
    assert "more devices" in run("fit", "--model", "qwen2.5-72b", "--gpus", "1xL4")[2]
    code, out, _ = run("memory", "--model", "layers=4,hidden=256,heads=4,ffn=704,vocab=2048", "--json")
    assert json.loads(out)["peak"] > json.loads(out)["weights"]
    assert "peak" in run("memory", "--model", "llama-3.2-1b")[1]
    assert "no such model" in run("memory", "--model", "resnet-50")[2]
    code, out, _ = run("devices", "--json")
    assert all(row["source"] for row in json.loads(out))


def test_validate(tmp_path) -> None:
    few = tmp_path / "runs.csv"
    few.write_text("\n".join(PUBLISHED.read_text().splitlines()[:9]) + "\n")
    code, out, _ = run("validate", "--runs", str(few), "--json", "--fit")
    values = json.loads(out)
    assert code == 0
    assert {"median_error", "p90_error", "coverage", "rows"} <= set(values)
    assert all({"predicted_s", "published_s", "error"} <= set(row) for row in values["rows"])
    assert "product" in values["fit"]
    assert "median error" in run("validate", "--runs", str(few))[1]
