"""Predictions held against published runs, in two ways.

With the coefficients in use nothing is fitted: a table they have never seen is a true test, and the range is the one
that a plan prints. Fitted anew, rows alternate between two halves, and each half predicts the other, so that every
figure is out of sample; the harder check leaves out one source (paper) at a time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from podium.errors import InputError
from podium.plan.compute import sequence_flops
from podium.plan.counting import parameters
from podium.plan.fitted import FITTED
from podium.plan.fitting import Prepared, fit, prepare, spread_of
from podium.plan.layouts import Layout
from podium.plan.ranges import spread_for
from podium.plan.runs import Run, read_runs
from podium.plan.step_time import Coefficients


@dataclass(frozen=True, slots=True)
class Row:
    """One run beside its out-of-sample prediction. Seconds per step; `error` is predicted / published - 1."""

    run: Run
    layout: Layout
    published: float
    predicted: float
    low: float
    high: float
    fits: bool

    @property
    def error(self) -> float:
        return self.predicted / self.published - 1

    @property
    def covered(self) -> bool:
        return self.low <= self.published <= self.high

    def to_json(self) -> dict[str, Any]:
        run = self.run
        return {
            "line": run.line,
            "model": run.name,
            "devices": run.devices,
            "layout": str(self.layout),
            "micro_batch": self.layout.micro_batch,
            "interleave": self.layout.interleave,
            "zero": self.layout.zero,
            "recompute": self.layout.recompute,
            "observed": run.observed,
            "published_s": self.published,
            "predicted_s": self.predicted,
            "low_s": self.low,
            "high_s": self.high,
            "error": self.error,
            "covered": self.covered,
            "memory_fits": self.fits,
            "source": run.source,
        }


@dataclass(frozen=True, slots=True)
class Count:
    """Parameters of one row beside the published figure."""

    run: Run
    counted: int
    stated: float

    @property
    def error(self) -> float:
        return self.counted / self.stated - 1

    @property
    def agrees(self) -> bool:
        """Within 1.5 %, or the same once rounded to the digits that were printed."""
        text = self.run.columns.get("params_b", "")
        digits = len(text.partition(".")[2])
        return abs(self.error) <= 0.015 or f"{self.counted / 1e9:.{digits}f}" == f"{float(text or 0):.{digits}f}"


@dataclass(frozen=True, slots=True)
class Validation:
    """What `podium plan validate` shows."""

    rows: list[Row]
    skipped: list[tuple[Run, str]]
    counts: list[Count]
    halves: tuple[Coefficients, Coefficients] | None  # None: nothing was fitted
    by_source: dict[str, float]  # median absolute error of a source predicted from all others
    one_efficiency: list[float]  # absolute errors of the same rows with one HFU for all

    @property
    def errors(self) -> list[float]:
        return [abs(row.error) for row in self.rows]

    @property
    def median_error(self) -> float:
        return float(np.median(self.errors))

    @property
    def p90_error(self) -> float:
        return float(np.quantile(self.errors, 0.9))

    @property
    def coverage(self) -> float:
        return float(np.mean([row.covered for row in self.rows]))

    def to_json(self) -> dict[str, Any]:
        return {
            "coefficients": "each half fitted on the other" if self.halves else "in use",
            "median_error": self.median_error,
            "p90_error": self.p90_error,
            "coverage": self.coverage,
            "bias": float(np.mean([row.error for row in self.rows])),
            "one_efficiency_median_error": float(np.median(self.one_efficiency)) if self.one_efficiency else None,
            "one_efficiency_p90_error": float(np.quantile(self.one_efficiency, 0.9)) if self.one_efficiency else None,
            "by_source_median_error": float(np.median(list(self.by_source.values()))) if self.by_source else None,
            "parameters_agree": sum(count.agrees for count in self.counts),
            "parameters_rows": len(self.counts),
            "rows": [row.to_json() for row in self.rows],
            "skipped": [{"line": run.line, "model": run.name, "why": why} for run, why in self.skipped],
        }


def validate(path: Path, *, refit: bool = False) -> Validation:
    """Hold the model of time against all rows of a CSV that publish one, with the coefficients in use.

    `refit`: fit them on one half of the rows and predict the other.

    Raises:
        InputError: no such row, or fewer than six to fit on; or as `read_runs`.
    """
    runs = read_runs(path)
    prepared: list[Prepared] = []
    skipped: list[tuple[Run, str]] = []
    for run in runs:
        ready = prepare(run)
        if ready:
            prepared.append(ready)
        else:
            skipped.append((run, run.observed if run.seconds is None else "no such layout can be built"))
    counts = [Count(run, parameters(run.shape).total, run.stated_parameters) for run in runs if run.stated_parameters]
    if not prepared:
        raise InputError(f"{path}: no row says how fast it ran", f"the first: {skipped[0][0].name}, {skipped[0][1]}")
    if not refit:
        rows = [_row(ready, FITTED, _spread_of_run(ready.run)) for ready in prepared]
        return Validation(rows, skipped, counts, None, {}, _one_efficiency(prepared) if len(prepared) > 1 else [])
    if len(prepared) < 6:
        raise InputError(
            f"{path}: only {len(prepared)} rows say how fast they ran",
            "at least 6 are needed to fit on one half and predict the other",
        )
    first, second = prepared[::2], prepared[1::2]
    halves = fit(first), fit(second)
    spreads = spread_of(first, halves[0]), spread_of(second, halves[1])
    around = [range_of(spread) for spread in spreads]
    rows = [_row(ready, halves[1 - index % 2], around[1 - index % 2]) for index, ready in enumerate(prepared)]
    return Validation(rows, skipped, counts, halves, _leave_one_out(prepared), _one_efficiency(prepared))


def range_of(spread: float) -> tuple[float, float]:
    """Factors around a prediction, from `spread_of`."""
    return math.exp(-spread), math.exp(spread)


def _spread_of_run(run: Run) -> tuple[float, float]:
    assert run.device
    spread = spread_for(run.shape, run.device, run.software.recipe)
    return spread.low, spread.high


def _row(ready: Prepared, coefficients: Coefficients, around: tuple[float, float]) -> Row:
    seconds, best = ready.predict(coefficients)
    low, high = around
    assert ready.run.seconds
    return Row(ready.run, ready.layouts.at(best), ready.run.seconds, seconds, seconds * low, seconds * high, ready.fits)


def _leave_one_out(prepared: Sequence[Prepared]) -> dict[str, float]:
    groups: dict[str, list[Prepared]] = {}
    for ready in prepared:
        found = re.search(r"[0-9]{4}\.[0-9]{5}", ready.run.source)
        groups.setdefault(found[0] if found else ready.run.source or ready.run.name, []).append(ready)
    if len(groups) < 2:
        return {}
    result: dict[str, float] = {}
    everything = fit(prepared)
    for source, members in groups.items():
        others = [ready for ready in prepared if ready not in members]
        if len(others) >= 3:
            coefficients = fit(others, everything)
            result[source] = float(
                np.median([abs(m.predict(coefficients)[0] / (m.run.seconds or 1) - 1) for m in members])
            )
    return result


def _one_efficiency(prepared: Sequence[Prepared]) -> list[float]:
    """The yardstick: hardware FLOPs over the peak times the other half's median HFU."""
    ideal = []
    for ready in prepared:
        run = ready.run
        assert run.device
        assert run.batch
        software = run.software
        flop = sequence_flops(run.shape, run.sequence, software.attention, software.recompute[0]).total * run.batch
        ideal.append(flop / (ready.devices * run.device.best(*software.recipe.formats)))
    reached = [seconds / (ready.run.seconds or 1) for seconds, ready in zip(ideal, prepared, strict=True)]
    medians = [float(np.median(reached[1::2])), float(np.median(reached[::2]))]
    return [abs(share / medians[index % 2] - 1) for index, share in enumerate(reached)]
