"""Vega-Lite specifications of the scoreboard's charts. Data and meaning only: colours and fonts are the page's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from podium.bench.board import Board, DivisionBoard
from podium.bench.published import OWN, Entry
from podium.bench.score_folder import LABEL
from podium.bench.scoreboard import accelerator_kind, tasks_of
from podium.board.shell import chart

DECADES = [value * 10.0**power for power in range(-2, 4) for value in (1, 2, 5)]
Spec = dict[str, Any]


def colour_names(one: DivisionBoard, entries: Sequence[Entry], own: Sequence[Entry]) -> list[str]:
    """What the six colours of the page stand for: submitters with the most entries, the others together, own runs."""
    names = [entry.submitter for entry in entries if entry.division == one.division]
    mine = [LABEL] if any(entry.size == "full" for entry in own) else []
    leaders = sorted(set(names), key=lambda name: (-names.count(name), name))[: 5 - len(mine)]
    return [*leaders, "others", *mine]


def time_charts(one: DivisionBoard, entries: Sequence[Entry], own: Sequence[Entry]) -> dict[str, Spec]:
    """Task -> minutes against accelerators, both logarithmic; one point per entry of the division."""
    colours = colour_names(one, entries, own)
    charts = {}
    for task in tasks_of((*entries, *own)):
        rows = [
            {
                "accelerators": entry.accelerators,
                "minutes": entry.minutes,
                "submitter": entry.submitter,
                "colour": LABEL if entry.round == OWN else entry.submitter if entry.submitter in colours else "others",
                "system": entry.system,
                "accelerator": accelerator_kind(entry.accelerator),
            }
            for entry in (*entries, *own)
            if entry.task == task
            and entry.division == one.division
            and entry.minutes
            and entry.accelerators
            and not entry.note
            and entry.size == "full"
        ]
        if not rows:
            continue
        scale = {"type": "log", "nice": False, "padding": 10}
        charts[task] = {
            **chart(rows, 170),
            "mark": {"type": "point", "filled": True, "size": 36, "opacity": 0.8},
            "encoding": {
                "x": {
                    "field": "accelerators",
                    "type": "quantitative",
                    "title": "accelerators",
                    "scale": scale,
                    "axis": {"values": [2, 8, 32, 128, 512, 2048, 8192], "format": "d"},
                },
                "y": {
                    "field": "minutes",
                    "type": "quantitative",
                    "title": "minutes",
                    "scale": scale,
                    "axis": {"values": DECADES, "format": "~g", "grid": True},
                },
                "color": {
                    "field": "colour",
                    "type": "nominal",
                    "legend": None,
                    "scale": {"domain": colours},
                },
                "tooltip": [
                    {"field": name, "type": "nominal"}
                    for name in ("submitter", "system", "accelerator", "accelerators", "minutes")
                ],
            },
        }
    return charts


def improvement_chart(one: DivisionBoard) -> Spec:
    """Time cut of the best entry against the best of the round before, single machines and clusters."""
    rows = [
        {
            "task": task,
            "list": "single machines" if category == "single" else "clusters",
            "cut": round(found.time_cut, 4),
            "gain": round(found.rate_gain, 4),
            "was": f"{found.old.minutes:g} min, {found.old.submitter}",
            "is": f"{found.new.minutes:g} min, {found.new.submitter}",
        }
        for (task, category), found in one.against_best.items()
    ]
    return {
        **chart(rows, 230),
        "mark": {"type": "bar", "cornerRadiusEnd": 2},
        "encoding": {
            "x": {
                "field": "task",
                "type": "nominal",
                "sort": list(dict.fromkeys(task for task, _ in one.against_best)),
                "title": None,
                "axis": {"labelAngle": -35},
            },
            "xOffset": {"field": "list", "sort": ["single machines", "clusters"]},
            "y": {
                "field": "cut",
                "type": "quantitative",
                "title": "time cut",
                "axis": {"format": ".0%", "tickCount": 6},
            },
            "color": {
                "field": "list",
                "type": "nominal",
                "legend": None,
                "scale": {"domain": ["single machines", "clusters"]},
            },
            "tooltip": [
                {"field": "task", "type": "nominal"},
                {"field": "was", "type": "nominal"},
                {"field": "is", "type": "nominal"},
                {"field": "cut", "type": "quantitative", "format": ".1%", "title": "time cut"},
                {"field": "gain", "type": "quantitative", "format": ".1%", "title": "rate gain"},
            ],
        },
    }


def scaling_series(one: DivisionBoard) -> list[str]:
    """Names of the curves that are drawn: image classification and language, where most systems have sizes."""
    found = [
        (len(points), _series(submitter, task, accelerator))
        for submitter, task, accelerator, points in one.scaling
        if task in ("resnet", "bert")
    ]
    return [name for count, name in sorted(found, reverse=True) if count >= 3][:6]


def _series(submitter: str, task: str, accelerator: str) -> str:
    # The maker's name is the first word of most accelerators' and says nothing new.
    return f"{submitter} {task}, {accelerator.removeprefix('NVIDIA ').removeprefix(f'{submitter} ')}"


def scaling_chart(one: DivisionBoard) -> Spec:
    """Efficiency against accelerators: share of the speed that the smallest size, multiplied, would have."""
    names = scaling_series(one)
    rows = [
        {
            "system": _series(submitter, task, accelerator),
            "accelerators": point.entry.accelerators,
            "efficiency": round(point.efficiency, 4),
            "minutes": point.entry.minutes,
        }
        for submitter, task, accelerator, points in one.scaling
        for point in points
        if _series(submitter, task, accelerator) in names
    ]
    return {
        **chart(rows, 230),
        "mark": {"type": "line", "point": {"size": 34}},
        "encoding": {
            "x": {
                "field": "accelerators",
                "type": "quantitative",
                "title": "accelerators",
                "scale": {"type": "log", "nice": False, "padding": 10},
                "axis": {"values": [4, 16, 64, 256, 1024, 4096], "format": "d"},
            },
            "y": {
                "field": "efficiency",
                "type": "quantitative",
                "title": None,
                "scale": {"domain": [0, 1]},
                "axis": {"format": ".0%", "tickCount": 5},
            },
            "color": {"field": "system", "type": "nominal", "legend": None, "scale": {"domain": names}},
            "tooltip": [
                {"field": "system", "type": "nominal"},
                {"field": "accelerators", "type": "quantitative"},
                {"field": "minutes", "type": "quantitative"},
                {"field": "efficiency", "type": "quantitative", "format": ".1%"},
            ],
        },
    }


def board_charts(board: Board, entries: Sequence[Entry]) -> dict[str, Spec]:
    """Every chart of the page by its place: time-DIVISION-TASK, improvement-DIVISION, scaling-DIVISION."""
    charts: dict[str, Spec] = {}
    for one in board.divisions:
        own = [entry for entry in board.own if entry.division == one.division]
        for task, spec in time_charts(one, entries, own).items():
            charts[f"time-{one.division}-{task}"] = spec
        if one.against_best:
            charts[f"improvement-{one.division}"] = improvement_chart(one)
        if scaling_series(one):
            charts[f"scaling-{one.division}"] = scaling_chart(one)
    return charts
