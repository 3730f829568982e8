"""`podium bench board`: the published rounds beside one's own runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import typer
from rich.console import Console

from podium.bench.board import board_json, build_board
from podium.bench.published import CLASSES, load_round, own_entries, round_names
from podium.bench.scoreboard import Definition, tasks_of
from podium.errors import InputError, nearest
from podium.storage import write_text


def board_command(
    own: Sequence[Path],
    *,
    round_: str,
    against: str | None,
    task: str | None,
    division: str | None,
    max_nodes: int,
    max_accelerators: int,
    availability: str,
    top: int,
    html: Path | None,
    as_json: bool,
) -> None:
    """Show, write or print the scoreboard."""
    if division not in (None, "closed", "open"):
        raise InputError(f"division {division!r} is unknown", "closed or open")
    classes = tuple(word.strip() for word in availability.split(",") if word.strip())
    for word in classes:
        if word not in CLASSES:
            raise InputError(f"availability class {word!r} is unknown", nearest(word, CLASSES))
    new = load_round(round_)
    earlier = against or _round_before(round_)
    old = load_round(earlier) if earlier else ()
    mine = [entry for folder in own for entry in own_entries(folder)]
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
    elif as_json:
        typer.echo(json.dumps(board_json(board, top)))
    else:
        from podium.bench.board_text import print_board

        console = Console()
        print_board(board, console if console.is_terminal else Console(width=130), top)


def _round_before(name: str) -> str | None:
    names = round_names()
    load_round(name)  # an unknown round is told as such
    position = names.index(name)
    return names[position - 1] if position else None
