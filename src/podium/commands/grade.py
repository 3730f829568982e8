"""`podium grade`: pairs in, verdicts and agreement out. Puts rooms together; does no work of its own."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from podium.errors import InputError
from podium.grading.pairs import Agreement, grade_pairs, read_pairs
from podium.grading.rules import Rules, make_rules
from podium.opening import open_judge


def grade_command(path: Path, *, rules: list[str], judge: str | None, as_json: bool) -> None:
    """Grade the pairs of a file and print verdicts and agreement.

    Raises:
        InputError: no such file or row, an unknown rule, a judge that is no model.
    """
    chosen = parse_rules(rules)
    pairs = read_pairs(path)

    async def grade() -> tuple[Agreement, str]:
        async with AsyncExitStack() as stack:
            asked = None if judge is None else await open_judge(judge, stack)
            return await grade_pairs(pairs, chosen, asked), "" if asked is None else asked.trouble

    agreement, trouble = asyncio.run(grade())
    if as_json:
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
