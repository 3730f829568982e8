"""Reads MLLOG lines out of any log: whatever else a run printed, however many ranks printed it, whole or cut off.

A line counts when it holds `:::MLLOG ` anywhere (what stands before it is a rank label or a shell's echo); the JSON
after the last such token is read. Nothing in a log can make this raise: what cannot be read becomes a fault with its
line number. Knows the format of mlcommons/logging; no rules.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from podium.records import storage_errors

TOKEN = ":::MLLOG "
START, END, POINT = "INTERVAL_START", "INTERVAL_END", "POINT_IN_TIME"


@dataclass(frozen=True, slots=True)
class Event:
    """One line: `number` counts the lines of the file from 1, `time_ms` is milliseconds since the epoch."""

    number: int
    time_ms: float
    kind: str
    key: str
    value: Any
    metadata: dict[str, Any]
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """A line with the token that is no event."""

    number: int
    message: str


@dataclass(slots=True)
class Log:
    path: Path
    events: list[Event] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    lines: int = 0
    cut_off: bool = False  # the last line has no end: its writer was stopped
    _by_key: dict[str, list[Event]] = field(default_factory=dict)

    def add(self, event: Event) -> None:
        self.events.append(event)
        self._by_key.setdefault(event.key, []).append(event)

    def of(self, key: str) -> list[Event]:
        return self._by_key.get(key, [])

    def first(self, key: str) -> Event | None:
        return next(iter(self.of(key)), None)

    def value(self, key: str) -> Any:
        """Value of the first event of that key; None when there is none."""
        event = self.first(key)
        return event.value if event else None


def read_log(path: Path | str) -> Log:
    """Every event and fault of a file.

    Raises:
        InputError, StorageError: the file cannot be read at all.
    """
    path = Path(path)
    with storage_errors(path, "reading"):
        return parse_log(path.read_bytes(), path)


def parse_log(data: bytes, path: Path = Path("log")) -> Log:
    log = Log(path, cut_off=bool(data) and not data.endswith(b"\n"))
    for number, raw in enumerate(data.split(b"\n"), start=1):
        log.lines = number
        if TOKEN.encode() not in raw:
            continue
        # A progress bar rewrites its line: carriage returns part what is on it.
        for piece in raw.split(b"\r"):
            found = parse_line(_decode(piece), number)
            if isinstance(found, Event):
                log.add(found)
            elif found is not None:
                log.faults.append(found)
    return log


def _decode(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def parse_line(text: str, number: int = 1) -> Event | Fault | None:
    """The event of one line, why it is none, or None for a line without the token. Total."""
    _, token, body = text.rpartition(TOKEN)
    if not token:
        return None
    try:
        line = json.loads(body)
    except (ValueError, RecursionError) as error:
        return Fault(number, f"not JSON ({type(error).__name__}: {str(error)[:80]})")
    if not isinstance(line, dict):
        return Fault(number, "not a JSON object")
    missing = [name for name in ("time_ms", "key", "value", "metadata") if name not in line]
    if missing:
        return Fault(number, f"without {', '.join(missing)}")
    stamp = line["time_ms"]
    if isinstance(stamp, bool) or not isinstance(stamp, int | float) or not _finite(stamp):
        return Fault(number, f"time_ms is no number of milliseconds: {str(stamp)[:40]}")
    if not isinstance(line["key"], str) or not isinstance(line["metadata"] or {}, dict):
        return Fault(number, "key must be text and metadata an object")
    return Event(
        number,
        stamp,
        str(line.get("event_type", "")),
        line["key"],
        line["value"],
        line["metadata"] or {},
        str(line.get("namespace", "")),
    )


def _finite(stamp: float) -> bool:
    try:
        return math.isfinite(stamp)
    except OverflowError:
        return False
