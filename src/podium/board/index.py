"""`index.html` of a folder of runs: every run and exam in it with its date, its model and its score.

Reads what a run or an exam has written of itself (`summary.json`, `done.json`), not its rows: it is written again at
the end of every run, and rows of large exams take seconds to read.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from podium.board.run_folder import read_stages
from podium.board.shell import counted, header, page, table, text
from podium.errors import InputError, PodiumError
from podium.folders import DONE, RECIPE, REPORT, RESULTS, ChoicesFolder, ExamFolder
from podium.solve.scores import Scores
from podium.solve.wording import say_share
from podium.storage import read_json, storage_errors, write_text

INDEX = "index.html"
RUNS = "runs"  # the folder that `podium run` and `podium exam` write to
GENERATOR = "podium index"
DEPTH = 3  # runs/exams/NAME is 2


@dataclass(frozen=True, slots=True)
class Line:
    """A run or an exam as the index tells it. `share`, `low`, `high`: problems answered, of 1, with 95 % interval."""

    folder: Path
    what: str  # the exam's stage; empty for an exam of its own
    time: float  # seconds since 1970: when it was last worked at
    model: str = ""
    share: float | None = None
    low: float = 0.0
    high: float = 1.0
    measure: str = "score"
    note: str = ""


def write_index(folder: Path | str, out: Path | str | None = None) -> Path:
    """Write the index of a folder of runs; returns where it lies.

    Raises:
        InputError: no such folder, neither runs nor exams in it, or an index.html that something else wrote.
        StorageError: it cannot be written.
    """
    folder = Path(folder)
    path = Path(out) if out is not None else folder / INDEX
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder", "name a folder of runs, e.g. runs")
    if path.exists() and not is_index(path):
        raise InputError(f"{path}: was not written by podium", "name another file with --out")
    if next(_places(folder), None) is None:
        raise InputError(
            f"{folder}: neither a run nor an exam, nor a folder of these",
            f"a run holds {RECIPE}, an exam holds {RESULTS}",
        )
    # Of two runs that end together each lists the folder after its own files are there; one after the other, so that
    # the index that is written last is of the later look.
    with _alone(folder):
        write_text(path, index_page(folder, find_runs(folder), path.parent))
    return path


def refresh_index(folder: Path) -> Path | None:
    """After a run or an exam in `folder`: write the index of the folder of runs that it lies in, if it lies in one.

    That is a folder named `runs`, or one that has an index. A folder that cannot be written to has no index, which is
    no reason to lose the end of a run.
    """
    parents = list(folder.resolve().parents)[:DEPTH]
    for parent in parents:
        path = parent / INDEX
        if is_index(path) or (parent.name == RUNS and not path.exists()):
            with contextlib.suppress(PodiumError):
                return write_index(parent)
    return None


def is_index(path: Path) -> bool:
    """Whether this is a page that `write_index` wrote."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return f'<meta name="generator" content="{GENERATOR}">' in file.read(1000)
    except OSError:
        return False


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    path = folder / ".index.lock"
    with storage_errors(path, "locking"):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        with contextlib.suppress(OSError):  # a network disk may have no locks; then the last one to write wins
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def find_runs(folder: Path) -> list[Line]:
    """The runs and exams in a folder, the latest first."""
    lines: list[Line] = []
    for place in _places(folder):
        lines += _run(place) if (place / RECIPE).is_file() else [_exam(place, place, "")]
    return sorted(lines, key=lambda line: -line.time)


def _places(folder: Path, depth: int = DEPTH) -> Iterator[Path]:
    """The folders of runs and of exams in a folder."""
    for child in sorted(_folders(folder)):
        if any((child / name).is_file() for name in (RECIPE, RESULTS)):
            yield child
        elif depth > 1:
            yield from _places(child, depth - 1)


def _folders(folder: Path) -> list[Path]:
    try:
        return [child for child in folder.iterdir() if child.is_dir() and not child.name.startswith(".")]
    except OSError:
        return []


def _run(folder: Path) -> list[Line]:
    begun = _time(folder / RECIPE)
    try:
        stages = read_stages(folder)
        finished = [stage for stage in stages if stage.finished]
        lines = [
            _exam(folder, stage.folder, stage.name, finished=True)
            if ExamFolder(stage.folder).is_there()
            else _choice(folder, stage)
            for stage in finished
            if ExamFolder(stage.folder).is_there() or stage.kind == "select"
        ]
        note = f"{len(finished)} of {counted(len(stages), 'stage')} finished"
    except (PodiumError, ValueError) as error:
        return [Line(folder, "", begun, note=f"cannot be read: {error}")]
    if len(finished) < len(stages):
        lines = [replace(line, note=", ".join(filter(None, (line.note, note)))) for line in lines]
    ended = max([begun, *(_time(stage.folder / DONE) for stage in finished)])
    return lines or [Line(folder, "", ended, note=note)]


def _choice(folder: Path, stage: Any) -> Line:
    figures = {key: value for key, value in stage.metrics.items() if re.fullmatch(r"select@\d+", key)}
    last = max(figures, key=lambda key: int(key.partition("@")[2]), default=None)
    line = Line(folder, stage.name, _time(stage.folder / DONE), measure=f"chosen among {(last or '@n')[7:]}")
    try:
        score = read_json(ChoicesFolder(stage.folder).scores)[-1]["select"]
        return replace(line, share=score["value"], low=score["low"], high=score["high"])
    except (PodiumError, LookupError, TypeError):
        return replace(line, note="its scores cannot be read")


def _exam(folder: Path, place: Path, what: str, finished: bool = False) -> Line:
    """From the summary, which a finished exam has; of an unfinished one the problems so far are told."""
    sat = ExamFolder(place)
    line = Line(folder, what, _time(sat.results))
    try:
        if sat.is_finished():
            summary = read_json(sat.summary)
            model, attempts, scores = summary["model"], summary["config"]["attempts"], Scores(**summary["scores"])
        elif finished:
            from podium.board.exam import read_exam

            exam = read_exam(place, what)
            model, attempts, scores = exam.attempts[0].maker.model, exam.n, exam.scores
        else:
            with storage_errors(sat.results, "reading"), open(sat.results, "rb") as file:
                return replace(line, note=f"not finished: {counted(sum(1 for _ in file), 'problem')} so far")
        note = f"{counted(scores.problems, 'problem')}, {counted(int(attempts), 'attempt')}"
        if scores.no_answer * 2 > scores.attempts:
            note += f", {scores.no_answer / scores.attempts:.0%} of the attempts without an answer"
        score = scores.score
        return replace(line, model=str(model), share=score.value, low=score.low, high=score.high, note=note)
    except (PodiumError, LookupError, TypeError, ValueError) as error:
        return replace(line, note=f"cannot be read: {str(error).splitlines()[0]}")


def _time(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def index_page(folder: Path, lines: list[Line], base: Path) -> str:
    """The page; its links lead from `base`."""
    columns = [("run", ""), ("score", "main num"), ("95%", "num"), ("date", ""), ("model", ""), ("", "")]
    rows = [
        (
            _named(folder, line, base),
            f'<span class="big">{100 * line.share:.1f}%</span>' if line.share is not None else "–",
            say_share(line.share, line.low, line.high, 1, " to ")[1] if line.share is not None else "",
            f'<span class="between">{datetime.fromtimestamp(line.time):%Y-%m-%d %H:%M}</span>',
            text(line.model),
            f'<div class="between trouble">{text(_said(line))}</div>',
        )
        for line in lines
    ]
    runs = len({line.folder for line in lines})
    body = header(
        folder.resolve().name,
        kicker="Podium · index of runs",
        notes=[f"{counted(runs, 'run or exam', 'runs and exams')}, the latest first."],
        links={},
    )
    body += f"<main><section>{table(columns, rows)}</section></main>"
    return page(
        f"{folder.resolve().name} · Podium",
        body,
        footer="Made by Podium; written again at the end of every run, or by <code>podium report FOLDER</code>.",
        generator=GENERATOR,
    )


def _said(line: Line) -> str:
    return ", ".join(filter(None, (line.measure if line.measure != "score" else "", line.note)))


def _named(folder: Path, line: Line, base: Path) -> str:
    shown = f"<b>{text(line.folder.relative_to(folder))}</b>"
    report = line.folder / REPORT
    if report.is_file():
        # A path in quotes of percent: no name can become another address, or a script.
        shown = f'<a href="./{text(quote(os.path.relpath(report, base)))}">{shown}</a>'
    return shown + (f'<div class="between">{text(line.what)}</div>' if line.what else "")
