"""The organiser: runs an entry over problems, one at a time, in a new order, and stops it when its time is up.

The entry is a process of its own and may do what it likes: crash, hang, print, answer nonsense. What would have ended
a real submission without a score (a crash, a limit passed) ends the run here with the reason, and what had been
answered by then is counted all the same, so that a rehearsal teaches something.
"""

from __future__ import annotations

import json
import os
import queue
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from podium.contest.rules import RULES, ContestRules, right_answer
from podium.errors import InputError
from podium.records import Problem
from podium.solve.stopwatch import Stopwatch
from podium.storage import storage_errors, write_text

SERVERS = [f"{rules.module}:{rules.server}" for rules in RULES.values()]
"""Of every contest: an entry written for one may be rehearsed under another's rules."""


class Answered(BaseModel):
    """One problem of a run. `answer` None: not answered, or not with an integer the rules allow (see `said`)."""

    model_config = ConfigDict(frozen=True)

    id: str
    said: str
    answer: int | None
    right: bool
    seconds: float


class Run(BaseModel):
    """One run of an entry over a set. `failure`: why a real one would have had no score; empty: it would have one."""

    model_config = ConfigDict(frozen=True)

    split: Literal["public", "private"]
    problems: int
    answers: tuple[Answered, ...]
    start_seconds: float
    seconds: float
    failure: str = ""

    @property
    def correct(self) -> int:
        return sum(answer.right for answer in self.answers)


class Rehearsal(BaseModel):
    """`rehearsal.json`: all runs of an entry and what they come to."""

    model_config = ConfigDict(frozen=True)

    contest: str
    entry: str
    seed: int
    budget_seconds: float
    runs: tuple[Run, ...]

    def score(self, split: Literal["public", "private"]) -> float | None:
        """Points: right answers, or with two runs 1 for both right and 1/2 for one. None: not run."""
        runs = [run for run in self.runs if run.split == split]
        if not runs:
            return None
        right: dict[str, int] = {}
        for run in runs:
            for answer in run.answers:
                right[answer.id] = right.get(answer.id, 0) + answer.right
        return sum(right.values()) / len(runs)

    @property
    def failed(self) -> bool:
        return any(run.failure for run in self.runs)


Told = Callable[[str, int, int, Answered], None]
"""Told of every answer: (split, how many so far, of how many, the answer)."""


def rehearse(
    entry: Path,
    public: Sequence[Problem],
    private: Sequence[Problem],
    rules: ContestRules,
    folder: Path,
    *,
    seed: int = 0,
    told: Told | None = None,
) -> Rehearsal:
    """Run an entry over the public set, and over the private one as often as the rules say; an empty set is not run.

    Writes rehearsal.json, one submission per run (csv) and what the entry printed (log) into the folder.

    Raises:
        InputError: no such entry.
        StorageError: the folder cannot be written to.
    """
    if not entry.is_file():
        raise InputError(f"{entry}: no such file", "give a Python script that defines predict(id_, question)")
    with storage_errors(folder, "making"):
        folder.mkdir(parents=True, exist_ok=True)
    planned: list[tuple[Literal["public", "private"], Sequence[Problem]]] = []
    if public:
        planned.append(("public", public))
    if private:
        planned.extend(("private", private) for _ in range(rules.runs))
    runs: list[Run] = []
    for number, (split, problems) in enumerate(planned):
        order = list(problems)
        again = split == "private" and not rules.private_shuffled
        random.Random(f"{seed}/private" if again else f"{seed}/{number}").shuffle(order)
        stem = f"{number + 1}-{split}"
        run = _Gateway(entry, rules, folder / f"{stem}.log", told).run(split, order)
        rows = "".join(f"{answer.id},{answer.answer if answer.answer is not None else ''}\n" for answer in run.answers)
        write_text(folder / f"{stem}.csv", "id,answer\n" + rows)
        runs.append(run)
    rehearsal = Rehearsal(
        contest=rules.name, entry=str(entry), seed=seed, budget_seconds=rules.seconds, runs=tuple(runs)
    )
    write_text(folder / "rehearsal.json", rehearsal.model_dump_json(indent=2) + "\n")
    return rehearsal


class _Failed(Exception):
    """The entry has ended its own run."""


class _Gateway:
    def __init__(self, entry: Path, rules: ContestRules, log: Path, told: Told | None) -> None:
        self.entry = entry
        self.rules = rules
        self.log = log
        self.told = told
        self.lines: queue.Queue[str | None] = queue.Queue()

    def run(self, split: Literal["public", "private"], problems: Sequence[Problem]) -> Run:
        watch = Stopwatch()
        answers: list[Answered] = []
        failure, started = "", 0.0
        with storage_errors(self.log, "writing"), open(self.log, "wb") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", "podium.contest.entry", str(self.entry), *SERVERS],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # so that servers it started end with it
            )
        reader = threading.Thread(target=self._read, args=(child,), daemon=True)
        reader.start()
        try:
            self._wait(watch, self.rules.start_seconds, "serving", child)
            started = watch.elapsed()
            for number, problem in enumerate(problems):
                answers.append(self._ask(child, watch, problem, first=number == 0))
                if self.told is not None:
                    self.told(split, number + 1, len(problems), answers[-1])
        except _Failed as reason:
            failure = str(reason)
        finally:
            _end(child)
            reader.join(timeout=5)
        return Run(
            split=split,
            problems=len(problems),
            answers=tuple(answers),
            start_seconds=started,
            seconds=watch.elapsed(),
            failure=failure,
        )

    def _ask(self, child: subprocess.Popen[bytes], watch: Stopwatch, problem: Problem, *, first: bool) -> Answered:
        begun = watch.elapsed()
        assert child.stdin is not None
        try:
            child.stdin.write(json.dumps({"id": problem.id, "question": problem.text}).encode() + b"\n")
            child.stdin.flush()
        except OSError:
            raise _Failed(f"the entry ended before problem {problem.id}; see {self.log}") from None
        limit = self.rules.seconds if first or self.rules.problem_seconds is None else self.rules.problem_seconds
        said = self._wait(watch, begun + limit, f"problem {problem.id}", child).get("answer")
        answer = _integer(said, self.rules.largest)
        return Answered(
            id=problem.id,
            said=str(said),
            answer=answer,
            right=answer is not None and answer == right_answer(problem, self.rules),
            seconds=watch.elapsed() - begun,
        )

    def _wait(self, watch: Stopwatch, until: float, what: str, child: subprocess.Popen[bytes]) -> dict[str, Any]:
        """The entry's next message.

        Raises:
            _Failed: it ended, failed, or took longer than it may.
        """
        while True:
            now = watch.elapsed()
            if now >= self.rules.seconds:
                raise _Failed(f"out of time at {what}: {self.rules.seconds:g} s for the whole submission")
            if now >= until:
                raise _Failed(f"too slow: {what} took more than it may ({now:.1f} s after the start)")
            try:
                line = self.lines.get(timeout=min(watch.step, until - now, self.rules.seconds - now))
            except queue.Empty:
                continue
            if line is None:
                raise _Failed(f"the entry ended ({_ending(child)}) at {what}{self._last_words()}; see {self.log}")
            message = json.loads(line)
            if "error" in message:
                last = message["error"].strip().splitlines()[-1]
                raise _Failed(f"the entry failed at {what}: {last}; see {self.log}")
            return message

    def _last_words(self) -> str:
        with storage_errors(self.log, "reading"):
            lines = self.log.read_text(errors="replace").strip().splitlines()
        return f": {lines[-1][:200]}" if lines else ""

    def _read(self, child: subprocess.Popen[bytes]) -> None:
        assert child.stdout is not None
        for line in child.stdout:
            self.lines.put(line.decode(errors="replace"))
        self.lines.put(None)


def _ending(child: subprocess.Popen[bytes]) -> str:
    try:
        return f"exit code {child.wait(timeout=5)}"
    except subprocess.TimeoutExpired:
        return "its pipe was closed"


def _integer(said: object, largest: int) -> int | None:
    try:
        number = int(str(said).strip()) if not isinstance(said, float) else int(said)
    except (ValueError, OverflowError):
        return None
    return number if 0 <= number <= largest else None


def _end(child: subprocess.Popen[bytes]) -> None:
    """Let the entry end by itself for a moment, then end it and whatever it has started."""
    assert child.stdin is not None
    try:
        child.stdin.close()
    except OSError:
        pass  # it was gone already
    deadline = time.monotonic() + 1.0
    while child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait()
