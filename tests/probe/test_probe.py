"""What is measured is sane on any machine, and plans read it: no speed is asserted."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from podium.ceilings import best_seconds, matmul_rate
from podium.commands.cli import app
from podium.errors import InputError
from podium.plan.hardware import find_device
from podium.probe.disk import disk_speed
from podium.probe.record import read_record


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def record(cache: Path) -> dict[str, Any]:
    """What a person gets who asks for JSON; measured once for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        done = CliRunner().invoke(app, ["probe", "--json", "--folder", str(cache)])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture(autouse=True)
def own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))


def numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [one for part in value.values() for one in numbers(part)]
    if isinstance(value, list):
        return [one for part in value for one in numbers(part)]
    return [value] if isinstance(value, int | float) else []


def test_every_figure_is_positive_and_finite(record: dict[str, Any]) -> None:
    assert {"machine", "date", "threads", "matmul", "memory", "disk", "accelerators", "device"} <= set(record)
    assert "fp32" in record["matmul"]
    assert record["memory"][0]["threads"] == 1
    for part in ("matmul", "memory", "disk", "device"):
        assert all(0 < value < math.inf for value in numbers(record[part])), part


def test_a_plan_reads_the_record(record: dict[str, Any]) -> None:
    this = find_device("this")
    assert this == find_device("LOCAL")
    assert this.peak == record["device"]["peak"]
    assert (this.memory, this.bandwidth) == (record["device"]["memory"], record["device"]["bandwidth"])
    assert record["date"] in this.source
    assert record["machine"]["host"] in this.source
    asked = ["plan", "train", "--model", "gpt2", "--tokens", "1B", "--gpus", "1xthis", "--memory", "999GB", "--json"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["device"] == this.name


@pytest.mark.parametrize(("key", "value"), [("host", "elsewhere"), ("cpu", "another"), ("cores", 4097)])
def test_a_record_of_another_machine_is_refused(
    record: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, value: Any
) -> None:
    path = tmp_path / "podium" / "probe.json"
    path.parent.mkdir()
    path.write_text(json.dumps({**record, "machine": {**record["machine"], key: value}}))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(InputError, match=rf"another machine .*{key} {value!r} there"):
        find_device("this")
    assert find_device(str(path)).peak == record["device"]["peak"]  # by its own name it may be planned for


def test_no_record_and_broken_records_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="podium probe"):
        read_record(tmp_path / "none.json")
    for text in ("", "[]", "{}", '{"machine": {}, "date": "", "device": 1}'):
        (tmp_path / "broken.json").write_text(text)
        with pytest.raises(InputError, match="not a record"):
            read_record(tmp_path / "broken.json")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        disk_speed(tmp_path / "none")


def test_the_disk_is_left_as_it_was(tmp_path: Path) -> None:
    disk_speed(tmp_path, 1 << 23)
    assert not list(tmp_path.iterdir())


def test_the_fastest_try_counts() -> None:
    ticks = iter([0.0, 5.0, 10.0, 12.0, 20.0, 29.0])
    assert best_seconds(lambda: None, 3, clock=lambda: next(ticks)) == 2.0


def test_the_operations_of_a_product_are_counted() -> None:
    ticks = iter([0.0, 1.0])
    assert matmul_rate("cpu", torch.float32, size=8, tries=1, clock=lambda: next(ticks)) == 2 * 8**3


def test_plans_for_other_machines_load_no_torch() -> None:
    code = (
        "import sys; from podium.plan.hardware import find_device; find_device('H100'); print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
