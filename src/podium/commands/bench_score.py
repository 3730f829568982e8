"""`podium bench score`: folders of logs in, scores out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from podium.bench.rules import load_ruleset
from podium.bench.runs import result_folders
from podium.bench.score import minutes_text
from podium.bench.score_folder import LABEL, FolderScore, score_folder
from podium.commands.bench_options import JsonOption, RulesetOption


def score(
    folder: Annotated[Path, typer.Argument(help="Folder of result_<i>.txt, or any folder above such folders.")],
    ruleset: RulesetOption = None,
    json_: JsonOption = False,
) -> None:
    """Score runs: olympic mean, median, bootstrap interval. Exit code 1 when the rules give no score.

    Example: podium bench score results/ipu-pod16-TF1/resnet --json
    """
    rules = load_ruleset(ruleset) if ruleset else None
    scored = [score_folder(one, rules) for one in result_folders(folder)]
    for number, one in enumerate(scored):
        if json_:
            typer.echo(json.dumps(one.to_json()))
        else:
            typer.echo(("\n" if number else "") + score_text(one))
    raise typer.Exit(0 if all(one.to_json()["valid"] for one in scored) else 1)


def score_text(one: FolderScore) -> str:
    """The score as a person reads it."""
    found = one.score
    tier = "" if one.size == "full" else f", size {one.size}"
    lines = [f"{one.benchmark} ({one.division}{tier}) on {one.system}, rule set {one.ruleset} — {LABEL}"]
    if found.score is not None:
        shown = f"{minutes_text(found.score)} min"
        how = f"olympic mean of {min(found.runs, found.needed)} runs, {found.drop} + {found.drop} dropped"
        lines.append(f"  score     {shown}   {how}")
    if found.median is not None:
        lines.append(f"  median    {minutes_text(found.median)}   of the runs that converged")
    if found.interval:
        lines.append(f"  interval  {_range(found.interval.low, found.interval.high)}   95 % bootstrap of the score")
    if found.fastest is not None and found.slowest is not None:
        spread = f"   {found.spread:.2%} of the score" if found.spread is not None else ""
        lines.append(f"  spread    {_range(found.fastest, found.slowest)}{spread}")
    if found.windows:
        scores = ", ".join("∞" if value == float("inf") else minutes_text(value) for value in found.windows)
        number = (found.window or 0) + 1
        lines.append(f"  windows   {scores}   of {found.needed} runs each; the median one, number {number}, counts")
    lines.append(f"  runs      {found.runs}, {found.converged} converged")
    lines += [f"  no entry  {reason}" for reason in found.reasons]
    return "\n".join(lines)


def _range(low: float, high: float) -> str:
    return f"{minutes_text(low)} to {minutes_text(high)}"
