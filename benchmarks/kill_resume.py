"""Claim: kill a recipe's run with SIGKILL whenever you like, and the same command ends as if nothing had happened.

    python benchmarks/kill_resume.py recipes/demo.yaml --kills 10

The moments are drawn uniformly over the stage seconds of the calm run. Everything the stages made must be
bit-identical; of exams, the answers and the text of every attempt wherever neither the clock nor the time limit of a
block of code cut something off: those depend on how busy the machine was. What was finished must never be made again,
and no process may outlive a kill. Ends with 1 if anything differs.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from podium.records import ExamResult
from podium.storage import read_rows

# They say when something happened. exam.json and summary.json are told apart by what they hold of an exam.
TIMES = {"run.log", "metrics.jsonl", "done.json", "stage.json", "system.json", "recipe.yaml", "report.html"}
OF_EXAM = {"results.jsonl", "attempts.jsonl", "summary.json"}
PR_SET_CHILD_SUBREAPER = 36
LINGER_SECONDS = 20.0  # a worker that is still importing sees that its parent is gone when it has done so


def podium_run(recipe: Path, runs: Path, settings: Sequence[str]) -> subprocess.Popen[bytes]:
    """The command, in a process group of its own."""
    command = [sys.executable, "-m", "podium", "run", str(recipe), "--runs", str(runs)]
    for setting in settings:
        command += ["--set", setting]
    with open(runs.parent / f"{runs.name}.out", "ab") as said:
        return subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True)


def run_folder(runs: Path) -> Path | None:
    found = [folder for folder in runs.glob("*") if (folder / "recipe.yaml").is_file()]
    return found[0] if found else None


def marks(runs: Path) -> dict[str, bytes]:
    """Stage -> its done.json, for the finished ones."""
    folder = run_folder(runs)
    return {mark.parent.name: mark.read_bytes() for mark in folder.glob("*/done.json")} if folder else {}


def stage_seconds(runs: Path) -> dict[str, float]:
    """Finished stage -> seconds, in the order they were run."""
    done = {stage: json.loads(mark) for stage, mark in marks(runs).items()}
    folder = run_folder(runs)
    assert folder is not None
    order = [json.loads(line.partition(" ")[2]) for line in (folder / "run.log").read_text().splitlines()]
    names = [line["value"] for line in order if line["key"] == "stage_start"]
    return {name: done[name]["wall_seconds"] for name in dict.fromkeys(names)}


def spent(folder: Path | None, stage: str) -> float:
    """Seconds a stage that is under way has taken so far, over all its sessions."""
    try:
        begun = json.loads(((folder or Path()) / stage / "stage.json").read_bytes())
    except FileNotFoundError:
        return 0.0
    return begun["seconds"] + time.time() - begun["session_start"]


def orphans() -> list[str]:
    """Processes that outlived their killed parents: they became children of this one."""
    deadline = time.monotonic() + LINGER_SECONDS
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return []
        if pid == 0:
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()[:120] for pid in children]


@dataclass(slots=True)
class Storm:
    """What the kills hit, and what went wrong meanwhile."""

    hits: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0


def storm(recipe: Path, runs: Path, settings: Sequence[str], moments: Sequence[tuple[str, float]]) -> Storm:
    """Run the chain to its end, killing it at each moment (stage, seconds into it), in order."""
    result = Storm()
    began = time.monotonic()
    waiting = list(moments)
    finished: dict[str, bytes] = {}
    while True:
        process = podium_run(recipe, runs, settings)
        target, seconds = waiting[0] if waiting else ("", 0.0)
        while process.poll() is None and target:
            # A stage that was faster than the calm one is hit at its very end.
            if target in marks(runs) or spent(run_folder(runs), target) >= seconds:
                break
            time.sleep(0.005)
        if waiting and process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            waiting.pop(0)
        status = process.wait()
        result.faults += [f"alive after the kill: {command}" for command in orphans()]
        now = marks(runs)
        result.faults += [f"{stage} was made again" for stage in finished if now.get(stage) != finished[stage]]
        finished = now
        if status == -signal.SIGKILL:
            result.hits.append(f"{target} after {seconds:.2f} s" + (" (finished)" if target in now else ""))
            print(f"  kill {len(result.hits):2}: {result.hits[-1]}", flush=True)
        elif status == 0:
            result.seconds = time.monotonic() - began
            return result
        else:
            raise SystemExit(f"podium run ended with {status}; see {runs}.out")


def compare(calm: Path, disturbed: Path) -> tuple[list[str], list[str]]:
    """(differences, remarks) of two finished run folders."""
    differences, remarks = [], []
    names = [
        {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file() and file.name not in TIMES}
        for folder in (calm, disturbed)
    ]
    differences += [f"{name}: only in one of the runs" for name in sorted(names[0] ^ names[1])]
    plain = {name for name in names[0] & names[1] if Path(name).name not in OF_EXAM}
    same = {name for name in plain if (calm / name).read_bytes() == (disturbed / name).read_bytes()}
    differences += [f"{name}: differs" for name in sorted(plain - same)]
    remarks.append(
        f"{len(same)} of {len(plain)} files bit-identical, {sum(n.endswith('tensors') for n in same)} models"
    )
    for name in sorted(names[0] & names[1]):
        if Path(name).name == "results.jsonl":
            found, remark = compare_exams(calm / name, disturbed / name)
            differences += [f"{name}: {difference}" for difference in found]
            remarks.append(f"{name}: {remark}")
    return differences, remarks


def compare_exams(calm: Path, disturbed: Path) -> tuple[list[str], str]:
    """(differences, remark) of the results of an exam."""
    first, second = ({r.problem.id: r for r in read_rows(path, ExamResult)} for path in (calm, disturbed))
    differences = [] if list(first) == list(second) else ["other problems, or in another order"]
    compared = clock = limited = calls = 0
    for key in first.keys() & second.keys():
        pair = (first[key], second[key])
        if any(result.clock_hit for result in pair):
            clock += 1
            continue
        cut = {a.index for result in pair for a in result.attempts if a.usage.code_timeouts}
        limited += len(cut)
        texts = [{a.index: (a.text, a.stop_reason) for a in r.attempts if a.index not in cut} for r in pair]
        compared += len(texts[0])
        calls += sum(attempt.usage.code_calls for attempt in pair[0].attempts)
        differences += [
            f"{key}#{index}: another text or end"
            for index in sorted(texts[0].keys() | texts[1].keys())
            if texts[0].get(index) != texts[1].get(index)
        ]
        if not cut and (pair[0].answer, pair[0].verdict) != (pair[1].answer, pair[1].verdict):
            differences.append(f"{key}: answer {pair[0].answer!r} became {pair[1].answer!r}")
    remark = (
        f"{compared} attempts of {len(first)} problems compared ({calls} code calls); "
        f"left out: {clock} problems at the clock, {limited} attempts with code at its time limit"
    )
    return differences, remark


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path, nargs="?", default=Path("recipes/demo.yaml"))
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--set", action="append", default=[], metavar="S.K=V", help="passed on to podium run")
    parser.add_argument("--folder", type=Path, help="where the runs go (default: a temporary folder, removed)")
    options = parser.parse_args()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with tempfile.TemporaryDirectory(prefix="podium-kills-") as temporary:
        return measure(options, options.folder or Path(temporary))


def measure(options: Any, folder: Path) -> int:
    """Both runs and the comparison, printed; the exit code."""
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    process = podium_run(options.recipe, folder / "calm", options.set)
    if process.wait() != 0:
        raise SystemExit(f"podium run ended with {process.returncode}; see {folder / 'calm'}.out")
    seconds = stage_seconds(folder / "calm")
    print(f"undisturbed: {time.monotonic() - began:.1f} s, of which stages {sum(seconds.values()):.1f} s", flush=True)
    draw = random.Random(options.seed)
    moments = []
    for moment in sorted(draw.uniform(0, sum(seconds.values())) for _ in range(options.kills)):
        for stage, length in seconds.items():
            if moment < length:
                moments.append((stage, moment))
                break
            moment -= length
    result = storm(options.recipe, folder / "storm", options.set, moments)
    calm, disturbed = run_folder(folder / "calm"), run_folder(folder / "storm")
    assert calm is not None
    assert disturbed is not None
    differences, remarks = compare(calm, disturbed)
    print(f"{len(result.hits)} kills: {result.seconds:.1f} s")
    for line in remarks:
        print(f"  {line}")
    for line in (*result.faults, *differences):
        print(f"  WRONG {line}")
    print("the same" if not differences and not result.faults else "NOT the same")
    return 1 if differences or result.faults else 0


if __name__ == "__main__":
    sys.exit(main())
