"""The process an engine runs in: commands as JSON lines on standard input, one answer each on standard output.

{"do": "load", "model": FOLDER, "format": NAME, "threads": N, "rows": MOST, "context": TOKENS}
    -> {"load_seconds": S, "peak_rss": BYTES, "version": TEXT}
{"do": "run", "batch": B, "prompt": [ids], "tokens": N}
    -> {"seconds": S, "tokens": B * N, "beginning": [ids of the first answer], "peak_rss": BYTES}
A failure is answered by {"error": TEXT}. What libraries print goes to standard error. Imports nothing beyond the
standard library: it runs in the environment of every engine.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

BEGINNING = 16
"""Ids of the first answer that are told, to be compared between engines."""

Run = Callable[[int, list[int], int], list[list[int]]]
"""batch, prompt, tokens -> the ids of each answer: written greedily, whatever they are, as many for every answer"""


def peak_rss() -> int:
    """Bytes: the sum of the resident peaks of this process and all that descend from it."""
    parents: dict[int, int] = {}
    peaks: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            status = dict(line.split(":", 1) for line in (entry / "status").read_text().splitlines() if ":" in line)
        except OSError:  # gone meanwhile
            continue
        parents[int(entry.name)] = int(status["PPid"])
        peaks[int(entry.name)] = int(status.get("VmHWM", "0 kB").split()[0]) * 1024
    family = {os.getpid()}
    while more := {process for process, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(peaks[process] for process in family)


def apart(work: Callable[..., object], *arguments: object) -> None:
    """Call a function in a process of its own: a conversion must not count as memory of the engine.

    Raises RuntimeError when it fails."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"{getattr(work, '__name__', work)} failed")


def serve(load: Callable[[dict[str, Any]], tuple[Run, str]]) -> None:
    """Answer commands until standard input ends. `load` takes the command and gives the engine's run and version."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    run: Run | None = None
    for line in sys.stdin:
        command = json.loads(line)
        begun = time.perf_counter()
        answer: dict[str, Any]
        try:
            if command["do"] == "load":
                run, version = load(command)
                answer = {"load_seconds": time.perf_counter() - begun, "version": version}
            else:
                assert run is not None, "load comes first"
                written = run(command["batch"], command["prompt"], command["tokens"])
                answer = {"seconds": time.perf_counter() - begun}
                answer |= {"tokens": sum(map(len, written)), "beginning": written[0][:BEGINNING]}
            answer["peak_rss"] = peak_rss()
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:300]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
