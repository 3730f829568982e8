"""`podium grade`: pairs in, verdicts and agreement out."""

from __future__ import annotations

import json
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from podium.commands.cli_options import EngineOptions, JudgeOption, with_groups
from podium.errors import InputError

if TYPE_CHECKING:
    from podium.grading.pairs import Agreement
    from podium.grading.rules import Rules


@with_groups
def grade(
    pairs: Annotated[Path, typer.Argument(help="Rows with gold, answer (or solution) and perhaps equivalent.")],
    *,
    rule: Annotated[
        list[str] | None,
        typer.Option("--rule", help="What is forgiven: units, percent, degrees, case, rounding, …", metavar="R=V"),
    ] = None,
    judge: JudgeOption = None,
    engine: EngineOptions,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Grade pairs of answers: equal, different or undecided, and how far that agrees with a person.

    Example: podium grade pairs.jsonl --rule units=strict
    """
    import asyncio

    (spec,) = engine.helpers(judge)
    from podium.grading.pairs import grade_pairs, read_pairs
    from podium.opening import open_judge

    chosen = parse_rules(rule or [])
    rows = read_pairs(pairs)

    async def grade_all() -> tuple[Agreement, str]:
        async with AsyncExitStack() as stack:
            asked = None if spec is None else await open_judge(spec, stack)
            return await grade_pairs(rows, chosen, asked), "" if asked is None else asked.trouble

    agreement, trouble = asyncio.run(grade_all())
    if json_:
        print(json.dumps(agreement.summary()))
    else:
        _show(agreement)
    if trouble:
        print(trouble, file=sys.stderr)


def parse_rules(given: list[str]) -> Rules:
    """Rules from words such as `units=strict`, `rounding=3`, `find=box,final`.

    Raises:
        InputError: not of this form, or no such rule or value.
    """
    from podium.grading.rules import make_rules

    values: dict[str, Any] = {}
    for word in given:
        name, equals, value = word.partition("=")
        if not equals:
            raise InputError(f"{word!r}: not a rule", "write NAME=VALUE, e.g. units=strict")
        values[name.strip()] = tuple(value.split(",")) if name.strip() == "find" else value.strip()
    return make_rules(values)


def _show(agreement: Agreement) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False)
    for title, least in (("verdict", 9), ("by", 7), ("seconds", 7), ("gold", 8), ("answer", 8), ("person", 9)):
        table.add_column(title, overflow="ellipsis", no_wrap=True, min_width=least, max_width=36)
    person = {True: "equal", False: "different", None: ""}
    for row in agreement.rows:
        style = "red" if row.agrees is False else ""
        cells = (
            row.found.sameness.value,
            row.found.by,
            f"{row.found.seconds:.3f}",
            _printable(row.pair.gold),
            "no answer" if row.answer is None else _printable(row.answer),
            person[row.pair.equivalent],
        )
        table.add_row(*(Text(cell, style=style) for cell in cells))
    console.print(table)
    said = "" if agreement.agree is None else f"agree {agreement.agree} of {agreement.labelled}, "
    console.print(
        f"{len(agreement.rows)} pairs: {said}undecided {agreement.undecided}, slowest {agreement.slowest:.3f} s",
        soft_wrap=True,
    )


def _printable(text: str) -> str:
    """One line of what a terminal can show."""
    return "".join(c if c.isprintable() else "�" for c in text[:80])
