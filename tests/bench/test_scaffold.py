"""A scaffold is a folder that the official checker accepts and nothing of the user's is lost in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlperf_logging.system_desc_checker import system_desc_checker
from typer.testing import CliRunner

from podium.bench.scaffold import scaffold
from podium.bench.system_desc import FIELDS, accelerators, empty_fields, missing_fields
from podium.commands.cli import app
from podium.errors import InputError


def test_the_layout_and_the_official_check_of_the_system(tmp_path: Path) -> None:
    made = scaffold(tmp_path, org="me", system="my box", tasks=["resnet", "bert"])
    names = {path.relative_to(tmp_path).as_posix() for path in made}
    assert "systems/my box.json" in names
    for task in ("resnet", "bert"):
        here = f"benchmarks/{task}/my box"
        files = ("my box_podium.json", "README.md", "setup.sh", "init_datasets.sh", "run_and_time.sh")
        assert {f"{here}/{file}" for file in files} <= names
        assert (tmp_path / "results" / "my box" / task).is_dir()
    assert (tmp_path / "benchmarks/resnet/my box/run_and_time.sh").stat().st_mode & 0o100
    assert system_desc_checker.check_system_desc(str(tmp_path / "systems" / "my box.json"), "training", "1.1.0")[0]


def test_what_is_there_is_kept(tmp_path: Path) -> None:
    scaffold(tmp_path, org="me", system="box", tasks=["ssd"])
    path = tmp_path / "systems" / "box.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "cooling": "water"}))
    assert scaffold(tmp_path, org="me", system="box", tasks=["ssd"]) == []
    assert json.loads(path.read_text())["cooling"] == "water"


def test_the_command_says_what_is_left_to_fill_in(tmp_path: Path) -> None:
    said = CliRunner().invoke(app, ["bench", "init", str(tmp_path), "--org", "me", "--system", "box", "--task", "rnnt"])
    assert said.exit_code == 0
    assert "fill in systems/box.json: " in said.stdout
    assert "host_storage_type" in said.stdout


def test_misuse(tmp_path: Path) -> None:
    for system in ("../up", "", "a/b", " "):
        with pytest.raises(InputError, match="cannot be a folder"):
            scaffold(tmp_path, org="me", system=system)
    with pytest.raises(InputError, match="division 'ajar'"):
        scaffold(tmp_path, org="me", system="box", division="ajar")
    with pytest.raises(InputError, match="not in rule set"):
        scaffold(tmp_path, org="me", system="box", tasks=["gpt"])
    assert list(tmp_path.iterdir()) == []


def test_fields() -> None:
    whole = dict.fromkeys(FIELDS, "yes") | {"number_of_nodes": "2", "accelerators_per_node": "8"}
    assert (missing_fields(whole), empty_fields(whole), accelerators(whole)) == ([], [], 16)
    assert missing_fields({}) == list(FIELDS)
    assert empty_fields(whole | {"framework": "TODO"}) == ["framework"]
    # A machine without accelerators has nothing to say about them.
    none = whole | {"accelerators_per_node": "0", "accelerator_model_name": "", "accelerator_memory_capacity": ""}
    assert empty_fields(none) == []
