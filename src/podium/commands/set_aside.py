"""Folders of commands that write results: how they are named, and how an earlier one is moved out of the way."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from podium.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console


def set_aside(folder: Path, marks: Sequence[Path], what: str, console: Console) -> None:
    """Move what an earlier command left in `folder` to `FOLDER.old-N` beside it; a folder with nothing in it stays.

    Args:
        marks: files of which one must be there, so that nothing else is ever moved.

    Raises:
        InputError: the folder holds something else.
        StorageError: it cannot be moved.
    """
    from podium.recipe.chain import keep_aside

    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not folder.is_dir() or not any(mark.exists() for mark in marks):
        raise InputError(
            f"--fresh: {folder} holds no {what}, but something else", "choose an empty folder with --out FOLDER"
        )
    folder = folder.resolve()
    number = 1
    while (folder.parent / f"{folder.name}.old-{number}").exists():
        number += 1
    place = keep_aside(folder, folder.parent, f"{folder.name}.old-{number}")
    console.print(f"moved the earlier {what} to {place}", markup=False, soft_wrap=True)


def folder_name(text: str) -> str:
    """A part of a folder name made from a path, URL or problem source."""
    parts = [part for part in re.split(r"[^A-Za-z0-9_.]+", text) if part not in ("", "runs", "model", "http", "https")]
    return "-".join(parts)[-60:]
