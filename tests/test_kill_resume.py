"""Kill -9 over the whole chain of a small but real recipe: the end is that of an undisturbed run.

benchmarks/kill_resume.py does the work and says what differed; here it is given the demo, made small.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SMALL = (
    *("problems.train=2400", "problems.exam=6", "teach_tir.take=1200"),
    *("base.steps=120", "cot.steps=20", "tir.steps=40"),
    *(f"{stage}.checkpoint_every=5" for stage in ("base", "cot", "tir")),
    *(f"{exam}.attempts=6" for exam in ("exam_cot", "exam_tir", "exam_merged")),
)


def kill_and_resume(recipe: Path, kills: int, folder: Path, settings: tuple[str, ...] = ()) -> str:
    options = [f"--set={setting}" for setting in settings]
    command = [sys.executable, "benchmarks/kill_resume.py", recipe, f"--kills={kills}", f"--folder={folder}", *options]
    done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{kills} kills" in done.stdout
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_tiny_chain_killed_ten_times(tmp_path: Path) -> None:
    said = kill_and_resume(ROOT / "tests/data/tiny.yaml", 10, tmp_path)
    assert "3 of them models" in said


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_demo_made_small_killed_ten_times(tmp_path: Path) -> None:
    """Models that write code: what the sandbox gives back is the same as well."""
    said = kill_and_resume(ROOT / "recipes/demo.yaml", 10, tmp_path, SMALL)
    assert "4 of them models" in said
