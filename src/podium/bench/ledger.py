"""Every run that was ever launched, in one append-only file whose lines are chained by their hashes.

A run is entered when it is launched, before anything can be known of its result, and again when it ends; a run that was
killed has the first line only. Each line holds the hash of the line before it, so that a line that is taken out, put
in or changed breaks the chain behind it. What the chain cannot show is lines cut off at the end: that takes a copy of the
last hash elsewhere, and `podium bench run` prints it for that.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from podium.errors import InputError
from podium.records import storage_errors

START = "0" * 64


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: its number from 0, when (Unix seconds), what happened to which run, and further facts."""

    number: int
    time: float
    event: str  # declared, launched, ended
    facts: dict[str, Any]
    previous: str
    hash: str


class Ledger:
    """The ledger at `path`; made with its first entry. Several processes may append at once."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def append(self, event: str, **facts: Any) -> Entry:
        """Add a line, durably.

        Raises:
            InputError: the chain is broken already; nothing is added to it.
            StorageError: the file cannot be written.
        """
        with storage_errors(self.path, "appending to the ledger"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "a+b") as file, _locked(file):
                file.seek(0)
                entries = _parse(file.read(), self.path)
                entry = _chained(len(entries), time.time(), event, facts, entries[-1].hash if entries else START)
                file.write(_line(entry))
                file.flush()
                os.fsync(file.fileno())
        return entry

    def entries(self) -> list[Entry]:
        """All lines, the chain verified.

        Raises:
            InputError: naming the first line that does not follow from the one before it.
        """
        if not self.path.exists():
            return []
        with storage_errors(self.path, "reading the ledger"):
            return _parse(self.path.read_bytes(), self.path)

    def seeds(self) -> set[int]:
        """Seeds that were given out so far."""
        return {entry.facts["seed"] for entry in self.entries() if entry.event == "launched"}


def _chained(number: int, when: float, event: str, facts: dict[str, Any], previous: str) -> Entry:
    facts = json.loads(json.dumps(facts))  # what a reader will find
    body = json.dumps([number, when, event, facts, previous], sort_keys=True)
    return Entry(number, when, event, facts, previous, hashlib.sha256(body.encode()).hexdigest())


def _line(entry: Entry) -> bytes:
    fields = {name: getattr(entry, name) for name in Entry.__slots__}
    return json.dumps(fields).encode() + b"\n"


def _parse(content: bytes, path: Path) -> list[Entry]:
    entries: list[Entry] = []
    previous = START
    for number, line in enumerate(content.splitlines()):
        cure = "a line was changed, removed or added; restore the file from a copy, or begin a new ledger elsewhere"
        try:
            found = json.loads(line)
            entry = _chained(found["number"], found["time"], found["event"], dict(found["facts"]), found["previous"])
            stored = found["hash"]
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{path}:{number + 1}: no entry of a ledger", cure) from None
        if entry.number != number or entry.previous != previous or entry.hash != stored:
            raise InputError(f"{path}:{number + 1}: does not follow from the line before it", cure)
        entries.append(entry)
        previous = entry.hash
    return entries


@contextmanager
def _locked(file: BinaryIO) -> Iterator[None]:
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)
