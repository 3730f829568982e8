"""`report.html`: one file that opens from the disk, without a network, with everything inside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from podium.board import page, shell
from podium.board.charts import curve_charts, time_chart, votes_chart
from podium.board.effects import find_effects
from podium.board.exam import Exam, label_of, read_exam
from podium.board.index import refresh_index, write_index
from podium.board.run_folder import StageFacts, read_curve, read_stages
from podium.board.selection import Selection, holds_selection, read_selection, read_selections
from podium.errors import InputError
from podium.folders import RECIPE, REPORT, RESULTS, ExamFolder
from podium.records import Attempt, Verdict
from podium.runlog import METRICS, SYSTEM
from podium.storage import read_json, write_text
from podium.toolcode import split


@dataclass(frozen=True, slots=True)
class ReportInput:
    """Everything a report is made of. `curves`: training stage -> rows of step, loss, lr …"""

    title: str
    stages: Sequence[StageFacts] = ()
    exams: Sequence[Exam] = ()
    selections: Sequence[Selection] = ()
    curves: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    system: dict[str, Any] = field(default_factory=dict)


def write_report(folder: Path | str, out_path: Path | str | None = None) -> Path:
    """Write the report of a run folder, or of the folder of one exam or of a selector's choices; returns where it lies.

    Where the folder lies in a folder of runs, the index of that is written again.

    Raises:
        InputError: the folder is none, or holds neither stages nor results.
    """
    folder = Path(folder)
    out = Path(out_path) if out_path is not None else folder / REPORT
    write_text(out, build_report(read_run(folder)))
    refresh_index(folder)
    return out


def report_or_index(folder: Path | str, out_path: Path | str | None = None) -> tuple[str, Path]:
    """The report of a run or an exam; of a folder that holds such, the index. Returns which of both, and where.

    Raises:
        InputError: the folder is none, or holds neither runs nor exams.
    """
    folder = Path(folder)
    if any((folder / name).is_file() for name in (RECIPE, RESULTS)) or holds_selection(folder):
        return "report", write_report(folder, out_path)
    return "index", write_index(folder, out_path)


def read_run(folder: Path | str) -> ReportInput:
    """What a run folder, or the folder of one exam or of a selector's choices, holds."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder", "name the folder of a run or of an exam")
    system = read_json(folder / SYSTEM) if (folder / SYSTEM).is_file() else {}
    stages = read_stages(folder)
    name = folder.resolve().name
    if not stages:
        if holds_selection(folder):
            # By default choices lie in the folder of the exam they were made from.
            exam = folder.resolve().parent.parent
            exams = [read_exam(exam, exam.name)] if ExamFolder(exam).is_there() else []
            return ReportInput(name, exams=exams, selections=[read_selection(folder, name)], system=system)
        if not ExamFolder(folder).is_there():
            raise InputError(f"{folder}: neither a run nor an exam", f"a run holds {RECIPE}, an exam holds {RESULTS}")
        return ReportInput(name, exams=[read_exam(folder, name)], selections=read_selections(folder), system=system)
    exams, selections, curves = [], [], {}
    for stage in stages:
        if not stage.finished:
            continue
        if ExamFolder(stage.folder).is_there():
            exams.append(read_exam(stage.folder, stage.name))
            continue
        if holds_selection(stage.folder):
            selections.append(read_selection(stage.folder, label_of(stage.name)))
            continue
        for file in sorted([*stage.folder.glob(METRICS), *stage.folder.glob(f"*/{METRICS}")]):
            curve = read_curve(file)
            if any("loss" in row for row in curve):
                curves[stage.name if file.parent == stage.folder else f"{stage.name} / {file.parent.name}"] = curve
    return ReportInput(name, stages, exams, selections, curves, system)


def build_report(given: ReportInput) -> str:
    """The page as text."""
    exams = [exam for exam in given.exams if exam.results]
    charts: dict[str, Any] = {}
    training = bool(given.curves)
    parts = [page.header(given.title, exams, given.selections, given.stages, given.system, training)]
    parts.append("<main>")
    if given.selections:
        parts.append(page.choice(given.selections))
    if exams:
        charts["votes"], charts["time"] = votes_chart(exams), time_chart(exams)
        timed = bool(charts["time"]["data"]["values"])
        if not timed:
            del charts["time"]
        parts += [
            page.result(exams, find_effects(exams), "Attempts" if given.selections else "Result"),
            page.votes(exams, timed),
            page.tasks(exams),
        ]
    if given.stages:
        parts.append(page.chain(given.stages))
    if given.curves:
        figures: dict[str, list[tuple[str, str]]] = {}
        for stage, curve in given.curves.items():
            for words, spec in curve_charts(curve).items():
                key = f"curve{len(charts)}"
                charts[key] = spec
                figures.setdefault(stage, []).append((words, key))
        parts.append(page.training(figures))
    if exams:
        parts += [page.example(exams), page.problems(exams)]
    if given.system:
        parts.append(page.machine(given.system, sorted({tier for exam in exams for tier in exam.tiers})))
    parts.append("</main>")
    data = {
        "exams": [
            {"label": exam.label, "problems": [[_attempt(a) for a in row.attempts] for row in exam.results]}
            for exam in exams
        ],
    }
    return shell.page(
        f"{given.title} · Podium",
        "".join(parts),
        footer="Made by Podium from the rows and logs of this run.",
        charts=charts,
        data=data,
        scripts=["report.js"],
        mathematics=bool(exams),
    )


def _attempt(attempt: Attempt) -> dict[str, Any]:
    tone, word = page.TONES[attempt.verdict or Verdict.UNDECIDED]
    return {
        "index": attempt.index,
        "tone": tone,
        "verdict": word,
        "answer": attempt.answer,
        "tokens": attempt.usage.completion_tokens,
        "calls": attempt.usage.code_calls,
        "timeouts": attempt.usage.code_timeouts,
        "seconds": attempt.usage.seconds,
        "stop": attempt.stop_reason,
        "segments": [[segment.kind, segment.inside] for segment in split(attempt.parts)],
    }
