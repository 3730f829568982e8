"""`report.html`: one file that opens from the disk, without a network, with everything inside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from podium.board import page
from podium.board.charts import curve_charts, time_chart, votes_chart
from podium.board.effects import find_effects
from podium.board.exam import Exam, read_exam
from podium.board.run_folder import RESULTS, StageFacts, read_curve, read_stages
from podium.errors import InputError
from podium.records import Attempt, Verdict, read_json, write_text

CURVE = "metrics.jsonl"
# The page needs nothing from anywhere; should a text ever get past the escaping, the browser still fetches nothing.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline' 'unsafe-eval'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)


@dataclass(frozen=True, slots=True)
class ReportInput:
    """Everything a report is made of. `curves`: training stage -> rows of step, loss, lr …"""

    title: str
    stages: Sequence[StageFacts] = ()
    exams: Sequence[Exam] = ()
    curves: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    system: dict[str, Any] = field(default_factory=dict)


def write_report(folder: Path | str, out_path: Path | str | None = None) -> Path:
    """Write the report of a run folder, or of the folder of one exam; returns where it lies.

    Raises:
        InputError: the folder is none, or holds neither stages nor results.
    """
    folder = Path(folder)
    out = Path(out_path) if out_path is not None else folder / "report.html"
    write_text(out, build_report(read_run(folder)))
    return out


def read_run(folder: Path | str) -> ReportInput:
    """What a run folder, or the folder of one exam, holds."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder", "name the folder of a run or of an exam")
    system = read_json(folder / "system.json") if (folder / "system.json").is_file() else {}
    stages = read_stages(folder)
    if not stages:
        if not (folder / RESULTS).is_file():
            raise InputError(
                f"{folder}: neither a run nor an exam", f"a run holds recipe.yaml, an exam holds {RESULTS}"
            )
        return ReportInput(folder.resolve().name, exams=[read_exam(folder, folder.resolve().name)], system=system)
    exams, curves = [], {}
    for stage in stages:
        if not stage.finished:
            continue
        if (stage.folder / RESULTS).is_file():
            exams.append(read_exam(stage.folder, stage.name))
            continue
        for file in sorted([*stage.folder.glob(CURVE), *stage.folder.glob(f"*/{CURVE}")]):
            curve = read_curve(file)
            if any("loss" in row for row in curve):
                curves[stage.name if file.parent == stage.folder else f"{stage.name} / {file.parent.name}"] = curve
    return ReportInput(folder.resolve().name, stages, exams, curves, system)


def build_report(given: ReportInput) -> str:
    """The page as text."""
    exams = [exam for exam in given.exams if exam.results]
    charts: dict[str, Any] = {}
    parts = [page.header(given.title, exams, given.stages, given.system, training=bool(given.curves))]
    parts.append("<main>")
    if exams:
        charts["votes"], charts["time"] = votes_chart(exams), time_chart(exams)
        timed = bool(charts["time"]["data"]["values"])
        if not timed:
            del charts["time"]
        parts += [
            page.missing(exams),
            page.result(exams, find_effects(exams)),
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
        parts.append(page.problems(exams))
    if given.system:
        parts.append(page.machine(given.system, sorted({tier for exam in exams for tier in exam.tiers})))
    parts.append("</main>")
    data = {
        "charts": charts,
        "exams": [
            {"label": exam.label, "problems": [[_attempt(a) for a in row.attempts] for row in exam.results]}
            for exam in exams
        ],
    }
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{page.text(given.title)} · Podium</title>
<style>{_asset("assets", "report.css")}</style></head><body>
{"".join(parts)}
<footer>Made by Podium from the rows and logs of this run. Charts: Vega and Vega-Lite (BSD-3-Clause), inside this file.
</footer>
<script type="application/json" id="data">{page.script_json(data)}</script>
<script>{_asset("vendor", "vega.min.js")}</script>
<script>{_asset("vendor", "vega-lite.min.js")}</script>
<script>{_asset("assets", "report.js")}</script>
</body></html>
"""


def _asset(*path: str) -> str:
    return files("podium.board").joinpath(*path).read_text(encoding="utf-8")


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
        "parts": [[part.role, part.text] for part in attempt.parts],
    }
