"""`podium bench check`: folders of logs in, verdicts out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from podium.bench.borrowing import check_borrowing
from podium.bench.check import CheckedFolder, check_file, check_folder
from podium.bench.ledger import ledger_of, read_ledger
from podium.bench.rules import load_ruleset
from podium.bench.runs import result_folders
from podium.bench.verdict import Verdict
from podium.commands.bench_options import JsonOption, RulesetOption
from podium.errors import InputError

COLOURS = {"pass": "green", "warn": "yellow", "fail": "red"}


def check(
    folder: Annotated[
        Path, typer.Argument(help="Folder of result_<i>.txt, any folder above such folders, or one log.")
    ],
    ruleset: RulesetOption = None,
    borrowed_from: Annotated[
        Path | None, typer.Option(help="Folder of the logs whose hyper-parameters this entry borrowed.")
    ] = None,
    original: Annotated[Path | None, typer.Option(help="Folder of this entry's logs before it borrowed.")] = None,
    head: Annotated[str | None, typer.Option(help="Hash that the ledger is known to have had once.")] = None,
    json_: JsonOption = False,
) -> None:
    """Judge logs by the rules: one line per rule, with file and line. Exit code 1 when a rule is broken.

    Example: podium bench check results/ipu-pod16-TF1/resnet
    """
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
        if json_:
            typer.echo(json.dumps(checked.to_json()))
        else:
            _show(checked, brief=len(folders) > 1)
    raise typer.Exit(0 if passed else 1)


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
