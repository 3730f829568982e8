"""Claim: every task at smoke size reaches its target within two minutes on two cores; a broken twin of it does not.

Each run is a process of its own with a seed of its own. Minutes are the log's, from run_start to run_stop; CPU seconds
are those of the whole process after the data were prepared, which a busy machine does not stretch. The twin gets twice
the steps that the slowest honest run took.

    python benchmarks/time_to_quality.py                                 # all tasks, 5 seeds, one twin each
    python benchmarks/time_to_quality.py resnet dlrm --seeds 3 --twins all --threads 1
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from podium.bench.tasks import KEYS, find_task
from podium.bench.twins import TWINS

TWIN_OF = {
    "resnet": "shuffled labels",
    "unet3d": "frozen weights",
    "ssd": "shuffled labels",
    "maskrcnn": "wrong loss sign",
    "rnnt": "shuffled labels",
    "bert": "shuffled labels",
    "dlrm": "shuffled labels",
    "minigo": "frozen weights",
}


def one_run(key: str, seed: int, twin: str | None, steps: int | None, threads: int) -> dict[str, Any]:
    """What a run in a fresh process reports."""
    command = [sys.executable, __file__, "--one", json.dumps([key, seed, twin, steps, threads])]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{key}, seed {seed}, {twin}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(key: str, seed: int, twin: Any, steps: int | None, threads: int) -> dict[str, Any]:
    import time

    import torch

    from podium.bench.run import prepared, run_once

    torch.set_num_threads(threads)
    task = find_task(key)
    data = prepared(task, "smoke")
    if steps:
        preset = task.presets["smoke"]
        limit = min(preset.train.steps, steps)
        shorter = replace(preset, train=preset.train.model_copy(update={"steps": limit}))
        task.presets = {**task.presets, "smoke": shorter}
    with tempfile.TemporaryDirectory() as folder:
        cpu = time.process_time()
        log = Path(folder) / "result_0.txt"
        outcome = run_once(task, "smoke", log, seed=seed, data=data, twin=twin, progress=False)
        return {
            "status": outcome.status,
            "minutes": outcome.minutes,
            "cpu_seconds": time.process_time() - cpu,
            "steps": outcome.steps,
            "quality": outcome.quality,
            "curve": outcome.curve,
            "why": outcome.why,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", default=list(KEYS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--twins", choices=["one", "all", "none"], default="one")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="append one line per run")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(*json.loads(options.one))))
        return
    console = Console()
    honest = Table("task", "target", "reached", "minutes: median", "from", "to", "CPU s: median", "from", "to", "steps")
    twins = Table("task", "twin", "reached", "last quality", "steps")
    for key in options.tasks:
        target = find_task(key).presets["smoke"].target
        runs = []
        for seed in range(1, options.seeds + 1):
            runs.append(one_run(key, seed, None, None, options.threads))
            record(options.json, key, seed, None, runs[-1])
        good = [run for run in runs if run["status"] == "success"]
        minutes, seconds = (sorted(run[name] for run in good) or [float("nan")] for name in ("minutes", "cpu_seconds"))
        honest.add_row(
            key,
            str(target),
            f"{len(good)} of {len(runs)}",
            *(f"{value:.2f}" for value in (statistics.median(minutes), minutes[0], minutes[-1])),
            *(f"{value:.0f}" for value in (statistics.median(seconds), seconds[0], seconds[-1])),
            ", ".join(str(run["steps"]) for run in runs),
        )
        limit = 2 * max((run["steps"] for run in good), default=0) or None
        chosen = {"one": [TWIN_OF[key]], "all": list(TWINS), "none": []}[options.twins]
        for twin in chosen:
            run = one_run(key, 1, twin, limit, options.threads)
            record(options.json, key, 1, twin, run)
            quality = "  ".join(f"{name} {value:.3f}" for name, value in run["quality"].items()) or run["why"]
            twins.add_row(key, twin, "YES" if run["status"] == "success" else "no", quality, str(run["steps"]))
    console.print(honest)
    if twins.rows:
        console.print(twins)


def record(path: Path | None, key: str, seed: int, twin: str | None, run: dict[str, Any]) -> None:
    if path:
        with open(path, "a") as file:
            file.write(json.dumps({"task": key, "seed": seed, "twin": twin, **run}) + "\n")


if __name__ == "__main__":
    main()
