"""Claim: every task at smoke size reaches its target within two minutes on two cores; a broken twin of it does not.

Each run is a process of its own with a seed of its own. Targets and hyper-parameters were chosen on seeds 1 to 5; the
seeds here are others. Minutes are the log's, from run_start to run_stop; CPU seconds are those of the whole process
after the data were prepared, which a busy machine does not stretch. Twins get twice the steps of the slowest honest
run, at most those of the task. Every run is one line of a JSONL file as soon as it ends: stop at any time, go on with
--resume. Exit code 1 when a run missed its target or took longer than two minutes, or a twin reached it.

    python benchmarks/time_to_quality.py                                  # all tasks, 5 seeds, one twin each
    python benchmarks/time_to_quality.py --resume                         # what is still missing of it
    python benchmarks/time_to_quality.py resnet dlrm --seeds 7 8 --twins all --threads 1 --record other.jsonl
    python benchmarks/time_to_quality.py --show                           # the table of what there is; nothing runs
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from podium.bench.registry import find_task
from podium.bench.rules import load_ruleset
from podium.bench.twins import TWINS

HELD_OUT = (101, 102, 103, 104, 105)
MOST_MINUTES = 2.0
Run = dict[str, Any]


class Record:
    """Runs that have ended, one JSON line each. A run counts as done only for the same definition of its task."""

    def __init__(self, path: Path, resume: bool, threads: int) -> None:
        self.path, self.threads = path, threads
        self.runs: list[Run] = []
        if path.exists() and not resume:
            raise SystemExit(f"{path} exists: --resume goes on with it, --record names another file")
        if resume and path.exists():
            lines = path.read_text().splitlines()
            self.runs = [json.loads(line) for line in lines if line.endswith("}")]  # a last line may be broken off

    def find(self, key: str, seed: int, twin: str | None, steps: int | None) -> Run | None:
        wanted = (key, seed, twin, definition(key), self.threads)
        for run in reversed(self.runs):
            if tuple(run[name] for name in ("task", "seed", "twin", "definition", "threads")) == wanted:
                # A twin that was given fewer steps than it has to get now is no answer.
                return run if steps is None or run["steps"] >= steps or run["status"] == "success" else None
        return None

    def add(self, key: str, seed: int, twin: str | None, run: Run) -> Run:
        run = {"task": key, "seed": seed, "twin": twin, "definition": definition(key), "threads": self.threads, **run}
        self.runs.append(run)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a") as file:
            file.write(json.dumps(run) + "\n")
        return run


def definition(key: str) -> str:
    """Changes with the model, the data, the optimiser or the target of a task at smoke size."""
    return hashlib.sha256(repr(find_task(key).presets["smoke"]).encode()).hexdigest()[:12]


def one_run(key: str, seed: int, twin: str | None, steps: int | None, threads: int) -> Run:
    """What a run in a fresh process reports; one that breaks off is a run that failed, and says why."""
    command = [sys.executable, __file__, "--one", json.dumps([key, seed, twin, steps, threads])]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode < 0:
        raise KeyboardInterrupt
    if done.returncode:
        why = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        nothing = float("nan")
        return {"status": "crashed", "minutes": nothing, "cpu_seconds": nothing, "steps": 0, "quality": {}, "why": why}
    return json.loads(done.stdout.splitlines()[-1])


def measure(key: str, seed: int, twin: Any, steps: int | None, threads: int) -> Run:
    import torch

    from podium.bench.run import prepared, run_once

    torch.set_num_threads(threads)
    task = find_task(key)
    data = prepared(task, "smoke")
    if steps:
        preset = task.presets["smoke"]
        shorter = replace(preset, train=preset.train.model_copy(update={"steps": steps}))
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


def limit_of(key: str) -> int:
    return find_task(key).presets["smoke"].train.steps


def twin_steps(key: str, record: Record, seeds: list[int]) -> int:
    honest = [run for seed in seeds if (run := record.find(key, seed, None, None)) and run["status"] == "success"]
    return min(limit_of(key), 2 * max((run["steps"] for run in honest), default=limit_of(key)))


def make_runs(options: argparse.Namespace, record: Record, console: Console) -> None:
    """Every run that is not on record yet, a line of progress for each."""
    twins: dict[str, list[str]] = {
        key: {"one": [find_task(key).control], "all": list(TWINS), "none": []}[options.twins] for key in options.tasks
    }
    total = sum(len(options.seeds) + len(twins[key]) for key in options.tasks)
    number, began = 0, time.monotonic()
    for key in options.tasks:
        wanted: list[tuple[int, str | None]] = [(seed, None) for seed in options.seeds]
        wanted += [(options.seeds[0], twin) for twin in twins[key]]
        for seed, twin in wanted:
            number += 1
            steps = twin_steps(key, record, options.seeds) if twin else None
            name = f"[{number}/{total}] {key}, seed {seed}" + (f", twin: {twin}" if twin else "")
            if record.find(key, seed, twin, steps):
                console.print(f"{name}: on record", highlight=False)
                continue
            run = record.add(key, seed, twin, one_run(key, seed, twin, steps, options.threads))
            end = "reached" if run["status"] == "success" else "not reached"
            console.print(
                f"{name}: {end}, {quality_text(run)}, {run['steps']} of {steps or limit_of(key)} steps, "
                f"{run['minutes']:.2f} min ({(time.monotonic() - began) / 60:.1f} min since the start)",
                highlight=False,
            )


def quality_text(run: Run) -> str:
    return "  ".join(f"{name} {value:.3f}" for name, value in run["quality"].items()) or str(run["why"])


def show(options: argparse.Namespace, record: Record, console: Console) -> bool:
    """The tables; True when the claim holds for what there is."""
    honest = Table(
        *("task", "target", "reached", "minutes", "from", "to", "spread", "CPU s", "steps", "most of limit"),
        title="smoke size: minutes to the target (median, fastest, slowest, (slowest - fastest) / median)",
    )
    twins = Table("task", "twin", "reached", "last quality", "steps", title="broken twins")
    good = True
    for key in options.tasks:
        runs = [run for seed in options.seeds if (run := record.find(key, seed, None, None))]
        reached = [run for run in runs if run["status"] == "success"]
        good &= len(reached) == len(options.seeds) and all(run["minutes"] <= MOST_MINUTES for run in reached)
        minutes = sorted(run["minutes"] for run in reached) or [float("nan")]
        middle = statistics.median(minutes)
        honest.add_row(
            key,
            str(find_task(key).presets["smoke"].target),
            f"{len(reached)} of {len(runs)}",
            *(f"{value:.2f}" for value in (middle, minutes[0], minutes[-1])),
            f"{(minutes[-1] - minutes[0]) / middle:.0%}",
            f"{statistics.median(run['cpu_seconds'] for run in reached) if reached else float('nan'):.0f}",
            ", ".join(str(run["steps"]) for run in runs),
            f"{max((run['steps'] for run in runs), default=0) / limit_of(key):.0%}",
        )
        for twin in TWINS:
            if run := record.find(key, options.seeds[0], twin, None):
                good &= run["status"] != "success"
                answer = "YES" if run["status"] == "success" else "no"
                twins.add_row(key, twin, answer, quality_text(run), str(run["steps"]))
    console.print(honest)
    if twins.rows:
        console.print(twins)
    for run in record.runs:
        if run["twin"] is None and run["status"] != "success" and run["definition"] == definition(run["task"]):
            console.print(f"not reached: {run['task']}, seed {run['seed']}: {run['why']}", highlight=False)
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", default=list(load_ruleset().benchmarks))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(HELD_OUT))
    parser.add_argument("--twins", choices=["one", "all", "none"], default="one")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--record", type=Path, default=Path("runs/time_to_quality.jsonl"), help="one line per run")
    parser.add_argument("--resume", action="store_true", help="go on with the runs that the record lacks")
    parser.add_argument("--show", action="store_true", help="print the table of the record and run nothing")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(*json.loads(options.one))))
        return
    for key in options.tasks:
        find_task(key)
    console = Console(width=None if sys.stdout.isatty() else 160)
    record = Record(options.record, options.resume or options.show, options.threads)
    try:
        if not options.show:
            make_runs(options, record, console)
    except KeyboardInterrupt:
        console.print(f"stopped; --resume goes on ({options.record})", highlight=False)
        show(options, record, console)
        sys.exit(130)
    sys.exit(0 if show(options, record, console) else 1)


if __name__ == "__main__":
    main()
