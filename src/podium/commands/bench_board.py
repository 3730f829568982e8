"""`podium bench board`: the published rounds beside one's own runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from podium.bench.board import board_json, build_board
from podium.bench.published import CLASSES, load_round, own_entries, round_names
from podium.bench.scoreboard import Definition, tasks_of
from podium.commands.bench_options import JsonOption
from podium.errors import InputError, nearest
from podium.storage import write_text


def board(
    own: Annotated[list[Path] | None, typer.Argument(help="Folders of your own runs, shown beside the round.")] = None,
    round_: Annotated[str, typer.Option("--round", help="Which published round.")] = "v1.1",
    against: Annotated[str | None, typer.Option(help="Round to compare with (default: the one before).")] = None,
    task: Annotated[str | None, typer.Option(help="One task only.")] = None,
    division: Annotated[str | None, typer.Option(help="closed or open (default: both, never in one list).")] = None,
    max_nodes: Annotated[int, typer.Option(min=1, help="A single machine has at most so many nodes.")] = 1,
    max_accelerators: Annotated[int, typer.Option(min=0, help="... and at most so many accelerators.")] = 16,
    availability: Annotated[
        str, typer.Option(help="Classes that are ranked, by commas.")
    ] = "available,cloud,preview,research",
    top: Annotated[int, typer.Option(min=1, help="Entries shown per list.")] = 3,
    html: Annotated[Path | None, typer.Option(help="Write a self-contained page here.")] = None,
    json_: JsonOption = False,
) -> None:
    """Show the scoreboard of a published round, what changed since the one before, and your own runs beside it.

    Example: podium bench board runs/bench --html scoreboard.html
    """
    if division not in (None, "closed", "open"):
        raise InputError(f"division {division!r} is unknown", "closed or open")
    classes = tuple(word.strip() for word in availability.split(",") if word.strip())
    for word in classes:
        if word not in CLASSES:
            raise InputError(f"availability class {word!r} is unknown", nearest(word, CLASSES))
    new = load_round(round_)
    earlier = against or _round_before(round_)
    old = load_round(earlier) if earlier else ()
    mine = [entry for folder in own or [] for entry in own_entries(folder)]
    tasks = tasks_of(mine)
    if task is not None and task not in tasks:
        raise InputError(f"task {task!r} is unknown", nearest(task, tasks))
    board = build_board(
        new,
        old,
        own=mine,
        definition=Definition(max_nodes, max_accelerators, classes),
        tasks=(task,) if task else tasks,
        divisions=(division,) if division else ("closed", "open"),
    )
    if html is not None:
        from podium.bench.board_page import board_page

        write_text(html, board_page(board, [entry for entry in new if task in (None, entry.task)], top))
        typer.echo(f"scoreboard: {html}")
    elif json_:
        typer.echo(json.dumps(board_json(board, top)))
    else:
        from podium.commands.bench_board_text import print_board

        console = Console()
        print_board(board, console if console.is_terminal else Console(width=130), top)


def _round_before(name: str) -> str | None:
    names = round_names()
    load_round(name)  # an unknown round is told as such
    position = names.index(name)
    return names[position - 1] if position else None
