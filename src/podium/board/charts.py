"""Vega-Lite specifications of the report's charts. Data and meaning only: colours and fonts are the page's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from podium.board.exam import Exam, score_by_time
from podium.board.shell import chart

Rows = list[dict[str, Any]]
CURVES = (
    ("loss", "loss", ".3~g"),
    ("lr", "learning rate", ".1~e"),
    ("grad_norm", "gradient norm", ".3~g"),
    ("tokens_per_second", "tokens per second", ".2~s"),
    ("mfu", "share of the device's peak (MFU)", ".0%"),
)
POINTS = 400


def _share(field: str, title: str | None = None) -> dict[str, Any]:
    return {
        "field": field,
        "type": "quantitative",
        "title": title,
        "scale": {"domain": [0, 1]},
        "axis": {"format": ".0%", "tickCount": 5},
    }


def _by_exam(exams: Sequence[Exam]) -> dict[str, Any]:
    return {
        "field": "exam",
        "type": "nominal",
        "legend": None,
        "scale": {"domain": [exam.label for exam in exams]},
        "title": "exam",
    }


def votes_chart(exams: Sequence[Exam]) -> dict[str, Any]:
    """maj@k (solid) and pass@k (dashed) against k."""
    rows: Rows = [
        {"exam": exam.label, "k": k, "score": round(estimate.value, 4), "of": words}
        for exam in exams
        for words, series in (("maj@k", exam.scores.majority_at), ("pass@k", exam.scores.pass_at))
        for k, estimate in series.items()
    ]
    ks = sorted({row["k"] for row in rows})
    return {
        **chart(rows, 230),
        "mark": {"type": "line", "point": {"size": 28}},
        "encoding": {
            "x": {
                "field": "k",
                "type": "quantitative",
                "title": "attempts k",
                "axis": {"values": ks, "format": "d"},
                "scale": {"nice": False},
            },
            "y": _share("score"),
            "color": _by_exam(exams),
            "strokeDash": {
                "field": "of",
                "type": "nominal",
                "legend": None,
                "scale": {"domain": ["maj@k", "pass@k"], "range": [[1, 0], [3, 4]]},
            },
            "tooltip": [
                {"field": "exam", "type": "nominal"},
                {"field": "of", "type": "nominal"},
                {"field": "k", "type": "quantitative"},
                {"field": "score", "type": "quantitative", "format": ".1%"},
            ],
        },
    }


def time_chart(exams: Sequence[Exam]) -> dict[str, Any]:
    """Share of problems that the answers known after t seconds get right."""
    rows: Rows = [
        {"exam": exam.label, "seconds": round(seconds, 3), "score": round(score, 4)}
        for exam in exams
        for seconds, score in score_by_time(exam)
    ]
    return {
        **chart(rows, 230),
        "mark": {"type": "line", "interpolate": "step-after"},
        "encoding": {
            "x": {"field": "seconds", "type": "quantitative", "title": "seconds after the problem was opened"},
            "y": _share("score"),
            "color": _by_exam(exams),
        },
    }


def curve_charts(curve: Sequence[dict[str, float]]) -> dict[str, dict[str, Any]]:
    """Field -> chart of one training stage: loss, learning rate, gradient norm, throughput and every eval figure."""
    fields = {key for row in curve for key in row} - {"step", "time"}
    evals = sorted(key for key in fields if key.startswith("eval"))
    wanted = [(key, words, form) for key, words, form in CURVES if key in fields]
    wanted += [(key, key.replace("_", " "), ".3~g") for key in evals]
    return {words: _curve(curve, key, form) for key, words, form in wanted}


def _curve(curve: Sequence[dict[str, float]], key: str, form: str) -> dict[str, Any]:
    rows = [{"step": row["step"], "y": row[key]} for row in curve if key in row]
    spec = chart(thin(rows), 104)
    return {
        **spec,
        "mark": {"type": "line", "strokeWidth": 1.5, "color": "--c0", "point": len(rows) < 12},
        "encoding": {
            "x": {"field": "step", "type": "quantitative", "title": None, "axis": {"tickCount": 4, "format": "~s"}},
            "y": {
                "field": "y",
                "type": "quantitative",
                "title": None,
                "scale": {"zero": key in ("mfu", "lr", "tokens_per_second")},
                "axis": {"tickCount": 4, "format": form},
            },
        },
    }


def thin(rows: Rows, points: int = POINTS) -> Rows:
    """At most `points` rows, evenly spaced, the last one kept."""
    if len(rows) <= points:
        return rows
    return [rows[round(i * (len(rows) - 1) / (points - 1))] for i in range(points)]
