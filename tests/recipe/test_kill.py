"""Kill it whenever you like: the outputs are those of an undisturbed run, and nothing finished is made twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from io import StringIO
from pathlib import Path

from rich.console import Console

from podium.lock import locked
from podium.recipe.document import read_recipe
from podium.recipe.execute import execute
from podium.recipe.view import View
from tests.recipe.conftest import podium

CHAIN = """\
name: run
seed: 5
stages:
  sums: {kind: numbers, rows: 60, pause: 0.004}
  other: {kind: numbers, rows: 40, pause: 0.004, difficulty: {terms: 4}}
  train: {kind: fold, inputs: {data: sums}, steps: 60, every: 5, pause: 0.004}
  tune: {kind: fold, inputs: {data: other, more: train}, steps: 40, every: 4, pause: 0.004}
  all: {kind: collect, inputs: {a: train, b: tune, c: other/numbers.jsonl}}
"""
FOLD_EVERY = 5


def outputs(folder: Path) -> dict[str, bytes]:
    """Every file the stages made. The marks and logs hold times, so they may differ."""
    times = {"run.log", "metrics.jsonl", "done.json", "stage.json", "system.json"}
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name not in times
    }


def finished(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {str(mark): (mark.stat().st_mtime_ns, mark.read_bytes()) for mark in folder.glob("*/done.json")}


def check_order(folder: Path) -> None:
    """A done mark never says more than the disk holds."""
    for mark in folder.glob("*/done.json"):
        for name, output in json.loads(mark.read_text())["outputs"].items():
            assert (mark.parent / name).stat().st_size == output["bytes"]


def start(recipe: Path, runs: Path, trace: Path) -> int:
    """Run the chain in a forked process (no interpreter to start, so kills can be many); returns its pid."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        os.environ["PODIUM_TEST_TRACE"] = str(trace)
        execute(read_recipe(recipe), runs, view=View(Console(file=StringIO())))
        status = 0
    finally:
        os._exit(status)


def test_killed_at_random_moments_the_chain_ends_as_if_undisturbed(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(CHAIN)
    calm = start(recipe, tmp_path / "calm", tmp_path / "calm-trace")
    assert os.waitpid(calm, 0)[1] == 0
    draw = random.Random(int(os.environ.get("PODIUM_TEST_SEED", "3")))
    trace = tmp_path / "trace"
    folder = tmp_path / "storm" / "run"
    kills, status = 0, -1
    before: dict[str, tuple[int, bytes]] = {}
    while status != 0:
        pid = start(recipe, tmp_path / "storm", trace)
        # Ever longer on average, so that a slow machine gets to the end too.
        time.sleep(draw.expovariate(1 / (0.05 * 1.15**kills)))
        os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        assert status in (0, signal.SIGKILL)
        kills += status != 0
        for name, mark in before.items():
            assert finished(folder)[name] == mark, f"{name} was made again"
        before = finished(folder)
        check_order(folder)
    assert kills >= 5
    assert outputs(folder) == outputs(tmp_path / "calm" / "run")
    # Journalled rows: each computed once, but for one in flight per kill. Steps: at most `every` again per kill.
    again = Counter(trace.read_text().splitlines())
    assert set(again) == set((tmp_path / "calm-trace").read_text().splitlines())
    assert sum(count - 1 for key, count in again.items() if " row " in key) <= kills
    assert sum(count - 1 for key, count in again.items() if " step " in key) <= kills * FOLD_EVERY
    done = json.loads((folder / "train" / "done.json").read_text())
    assert done["wall_seconds"] >= 60 * 0.004


def test_ctrl_c_says_how_to_go_on_and_going_on_finishes(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("name: run\nstages: {sums: {kind: numbers, rows: 60, pause: 0.02}}")
    process = podium("run", recipe, "--runs", tmp_path / "runs")
    assert process.stdout is not None
    while "starts" not in process.stdout.readline():
        pass
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "stopped" in said
    assert "the same command continues" in said
    assert "Traceback" not in said
    kept = (tmp_path / "runs/run/sums/numbers.jsonl").read_text()
    assert kept.endswith("\n")
    assert '"aborted"' in (tmp_path / "runs/run/run.log").read_text()
    again = podium("run", recipe, "--runs", tmp_path / "runs")
    said, _ = again.communicate(timeout=60)
    assert again.returncode == 0
    assert "goes on" in said
    final = (tmp_path / "runs/run/sums/numbers.jsonl").read_text()
    assert final.startswith(kept)
    assert len(final.splitlines()) == 60


def test_two_at_once_is_one_too_many(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("name: run\nstages: {sums: {kind: numbers, rows: 1000, pause: 0.02}}")
    first = podium("run", recipe, "--runs", tmp_path / "runs")
    assert first.stdout is not None
    while "starts" not in first.stdout.readline():
        pass
    second = podium("run", recipe, "--runs", tmp_path / "runs", "--fresh")
    said, _ = second.communicate(timeout=30)
    assert second.returncode == 2
    assert f"process {first.pid} is working here" in said
    assert not (tmp_path / "runs/run.old-1").exists()
    # Killed without a word, the first holds nothing any more.
    first.kill()
    first.communicate()
    third = podium("run", recipe, "--runs", tmp_path / "runs", "--set", "sums.rows=1")
    said, _ = third.communicate(timeout=30)
    assert third.returncode == 0, said


def test_a_killed_run_is_unlocked_though_its_children_live(tmp_path: Path) -> None:
    """A child forked by a stage must not keep the run locked after its parent is gone."""
    code = (
        "import os, sys, time\nfrom pathlib import Path\nfrom podium.lock import locked\n"
        "with locked(Path(sys.argv[1])):\n"
        "    if os.fork() == 0:\n        print(os.getpid(), flush=True)\n        time.sleep(60)\n"
        "    time.sleep(60)\n"
    )
    lock = tmp_path / ".run.lock"
    holder = subprocess.Popen([sys.executable, "-c", code, str(lock)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    child = int(holder.stdout.readline())
    holder.kill()
    holder.wait()
    try:
        with locked(lock):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
