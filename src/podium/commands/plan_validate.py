"""`podium plan validate`: predictions beside published runs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from statistics import median, quantiles
from typing import Annotated

import typer

from podium.commands.plan_show import print_json, print_lines, print_table
from podium.plan.fitting import fit, prepare, spread_of
from podium.plan.runs import PUBLISHED, read_runs
from podium.plan.validate import Validation
from podium.plan.validate import validate as hold_against


def validate(
    runs: Annotated[Path, typer.Option(help="CSV of published runs (default: the one that comes along).")] = PUBLISHED,
    json_: Annotated[bool, typer.Option("--json", help="JSON instead of tables.")] = False,
    fit_: Annotated[
        bool, typer.Option("--fit", help="Fit on these rows: half of them predict the other half.")
    ] = False,
) -> None:
    """Hold predicted step times against published runs, with the coefficients in use or (--fit) with new ones.

    Example: podium plan validate --runs published_runs.csv --json
    """
    result = hold_against(runs, refit=fit_)
    values = result.to_json()
    if fit_:
        prepared = [ready for run in read_runs(runs) if (ready := prepare(run))]
        coefficients = fit(prepared)
        values["fit"] = {**asdict(coefficients), "spread": spread_of(prepared, coefficients)}
    if json_:
        print_json(values)
        return
    _tables(result, shipped=runs.resolve() == PUBLISHED.resolve())
    if fit_:
        print_lines("coefficients of all rows: " + "  ".join(f"{k} {v:.4g}" for k, v in values["fit"].items()))


def _tables(result: Validation, *, shipped: bool) -> None:
    how = "by the half a row is not in" if result.halves else "with the coefficients in use"
    ranges = [f"x{row.low / row.predicted:.2f} to x{row.high / row.predicted:.2f}" for row in result.rows]
    print_table(
        f"Seconds per step as published, and as predicted {how}",
        ("run", "devices", "layout", "batch", "seconds", "foretold", "error", "in range"),
        [
            (
                _short(row.run.name),
                str(row.run.devices or "?"),
                str(row.layout).replace(" ", ""),
                f"b{row.layout.micro_batch} v{row.layout.interleave}",
                f"{row.published:.2f}",
                f"{row.predicted:.2f}",
                f"{row.error:+.1%}",
                "yes" if row.covered else "no",
            )
            for row in result.rows
        ],
        note="batch: b micro-batch, v chunks per stage; ranges: " + ", ".join(dict.fromkeys(ranges)),
    )
    print_lines(
        "",
        f"{len(result.rows)} rows: median error {result.median_error:.1%}, 90th percentile {result.p90_error:.1%}, "
        f"range holds {result.coverage:.0%}",
    )
    if shipped and not result.halves:
        print_lines("these are the rows that the coefficients in use were fitted to: --fit says how far off they are")
    if len(result.one_efficiency) > 1:
        print_lines(
            f"one efficiency for all rows instead: median error {median(result.one_efficiency):.1%}, 90th percentile "
            f"{quantiles(result.one_efficiency, n=10, method='inclusive')[-1]:.1%}"
        )
    if result.by_source:
        print_lines(
            "each source left out in turn, median error: "
            + ", ".join(f"{source} {error:.1%}" for source, error in result.by_source.items())
        )
    if result.counts:
        print_lines(
            f"parameters: {sum(c.agrees for c in result.counts)} of {len(result.counts)} rows within 1.5 % or equal to "
            f"the printed digits; largest difference {max((abs(c.error) for c in result.counts), default=0):.1%}",
        )
    for run, why in result.skipped:
        print_lines(f"not compared: {run.name} ({why})")


def _short(name: str) -> str:
    """What tells runs of one family apart stands at the end of their names."""
    return name if len(name) <= 24 else f"{name[:14]}…{name[-9:]}"
