"""`podium bench check` and `score`: folders in, verdicts and scores out."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from podium.bench.borrowing import check_borrowing
from podium.bench.check import CheckedFolder, check_file, check_folder
from podium.bench.ledger import ledger_of, read_ledger
from podium.bench.rules import load_ruleset
from podium.bench.runs import result_folders
from podium.bench.score import minutes_text
from podium.bench.score_folder import LABEL, FolderScore, score_folder
from podium.bench.verdict import Verdict
from podium.errors import InputError

COLOURS = {"pass": "green", "warn": "yellow", "fail": "red"}


def check_command(
    folder: Path,
    *,
    ruleset: str | None,
    borrowed_from: Path | None,
    original: Path | None,
    head: str | None,
    as_json: bool,
) -> bool:
    """Print the verdicts of every folder of logs at or below `folder`, or of one log; True when no rule is broken."""
    rules = load_ruleset(ruleset) if ruleset else None
    folders = [folder] if folder.is_file() else result_folders(folder)
    if (borrowed_from is None) != (original is None):
        raise InputError("borrowing needs two more folders", "give --borrowed-from and --original")
    passed = True
    for one in folders:
        checked = check_file(one, rules) if one.is_file() else check_folder(one, rules)
        if borrowed_from and original:
            checked.verdicts += check_borrowing(original, one, borrowed_from, rules or load_ruleset())
        if head:
            checked.verdicts.append(_head_verdict(one, head))
        passed = passed and checked.passed
        if as_json:
            typer.echo(json.dumps(checked.to_json()))
        else:
            _show(checked, brief=len(folders) > 1)
    return passed


def _head_verdict(folder: Path, head: str) -> Verdict:
    path = ledger_of(folder)
    entries, _ = read_ledger(path) if path else ([], [])
    for entry in entries:
        if len(head) >= 8 and entry.hash.startswith(head):
            return Verdict("known head", "pass", f"entry {entry.index} of the ledger")
    return Verdict("known head", "fail", f"the ledger never had {head[:16]}: it was rewritten", str(path or folder))


def _show(checked: CheckedFolder, *, brief: bool) -> None:
    for verdict in checked.verdicts:
        if not brief or verdict.outcome == "fail":
            outcome = typer.style(f"{verdict.outcome:<4}", fg=COLOURS[verdict.outcome])
            typer.echo(outcome + verdict.line()[4:])
    count = {kind: sum(verdict.outcome == kind for verdict in checked.verdicts) for kind in COLOURS}
    entry = " ".join(filter(None, (checked.benchmark or "unknown benchmark", checked.division)))
    said = typer.style("PASS" if checked.passed else "FAIL", fg="green" if checked.passed else "red", bold=True)
    numbers = f"{count['pass']} rules kept, {count['warn']} warnings, {count['fail']} broken"
    typer.echo(f"{said}  {entry}, rule set {checked.ruleset}: {numbers}  {checked.folder}")


def score_command(folder: Path, *, ruleset: str | None, as_json: bool) -> bool:
    """Print the score of every folder of logs at or below `folder`; True when all have one by the rules."""
    rules = load_ruleset(ruleset) if ruleset else None
    scored = [score_folder(one, rules) for one in result_folders(folder)]
    for number, one in enumerate(scored):
        if as_json:
            typer.echo(json.dumps(one.to_json()))
        else:
            typer.echo(("\n" if number else "") + score_text(one))
    return all(one.to_json()["valid"] for one in scored)


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
