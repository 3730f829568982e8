"""The soak test in small: hundreds of sessions, one in ten hostile, the zygote killed half-way, nothing left."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).parents[2] / "benchmarks" / "sandbox_soak.py"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def soak(folder: Path, *options: str, seconds: float) -> dict:
    path = folder / "soak.json"
    command = [sys.executable, str(SOAK), "--json", str(path), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    assert path.exists(), done.stderr[-4000:]
    found = json.loads(path.read_text())
    assert found["problems"] == [], done.stdout[-6000:]
    assert done.returncode == 0
    return found


@pytest.mark.timeout(200)
def test_short(tmp_path):
    found = soak(tmp_path, "--sessions", "300", "--live", "30", "--rounds", "4", seconds=180)
    assert found["sessions"] == 300
    assert found["most_live"] == 30
    assert found["honest_wrong"] == 0
    assert found["gone_seconds"] <= 1.0


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_long(tmp_path):
    found = soak(tmp_path, "--sessions", "20000", "--live", "100", "--rounds", "10", seconds=3500)
    assert (found["sessions"], found["most_live"], found["honest_wrong"]) == (20_000, 100, 0)
