"""Reads MLLOG lines out of any log: whatever else a run printed, however many ranks printed it, whole or cut off.

A line counts when it holds `:::MLLOG ` anywhere (what stands before it is a rank label or a shell's echo); the JSON
after the last such token is read. A log may be packed with gzip. Nothing in a log can make this raise: what cannot be
read becomes a fault with its line number. Knows the format of mlcommons/logging; no rules.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from podium.storage import storage_errors

TOKEN = ":::MLLOG "
GZIP = b"\x1f\x8b"
START, END, POINT = "INTERVAL_START", "INTERVAL_END", "POINT_IN_TIME"


@dataclass(frozen=True, slots=True)
class Event:
    """One line: `number` counts the lines of the file from 1, `time_ms` is milliseconds since the epoch.

    `writer` tells the processes apart that wrote one file: the label before the token ("0: ", "[rank3] "), a rank in
    the metadata, the namespace. It is empty where a line says nothing of it.
    """

    number: int
    time_ms: float
    kind: str
    key: str
    value: Any
    metadata: dict[str, Any]
    namespace: str = ""
    writer: str = ""


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
        data = path.read_bytes()
    if not data.startswith(GZIP):
        return parse_log(data, path)
    text, why = _unpack(data)
    log = parse_log(text, path)
    if why:
        log.cut_off = False  # the file is damaged, whoever wrote the log may have ended its line
        log.faults.insert(0, Fault(log.lines or 1, f"a damaged gzip file ({why})"))
    return log


def run_end(log: Log) -> tuple[str, float | None]:
    """The status that run_stop gives (empty without one), and the minutes from run_start to run_stop.

    The minutes are None where one of the two lines is missing, or where the clock ran backwards between them.
    """
    start, stop = log.first("run_start"), log.first("run_stop")
    status = str(stop.metadata.get("status", "")) if stop else ""
    if start is None or stop is None or stop.time_ms < start.time_ms:
        return status, None
    return status, (stop.time_ms - start.time_ms) / 60000


def _unpack(data: bytes) -> tuple[bytes, str]:
    """What a gzip file holds, as far as it can be read, and why no further."""
    text = b""
    while data.startswith(GZIP):
        reader = zlib.decompressobj(wbits=31)  # one gzip member; files that were appended to have several
        try:
            text += reader.decompress(data)
        except zlib.error as error:
            return text, str(error)
        if not reader.eof:
            return text, "it ends early"
        data = reader.unused_data
    return text, ""


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
    before, token, body = text.rpartition(TOKEN)
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
    stamp = _milliseconds(line["time_ms"])
    if isinstance(stamp, bool) or not isinstance(stamp, int | float) or not _finite(stamp):
        return Fault(number, f"time_ms is no number of milliseconds: {str(stamp)[:40]}")
    if not isinstance(line["key"], str) or not isinstance(line["metadata"] or {}, dict):
        return Fault(number, "key must be text and metadata an object")
    metadata, namespace = line["metadata"] or {}, str(line.get("namespace", ""))
    writer = " ".join(filter(None, (_label(before), _rank(metadata), namespace)))
    return Event(
        number, stamp, str(line.get("event_type", "")), line["key"], line["value"], metadata, namespace, writer
    )


# What a launcher puts before each line of a process: "0: ", "[3] ", "[rank3]:", "rank0: ", "node7.1 | ", "3| ",
# "[1,2]<stdout>:", "(Actor pid=231) ". A time of day ("12:34:56 ") is none.
_LABEL = re.compile(
    r"\s*(\[\d+,\d+\]<\w+>|\(\w+[ ,]+\w+=\d+[^)]*\)|\[?(?:[A-Za-z][\w.,-]*?)?[:._-]?\d+(?:\]|\s*[:|>](?!\d)))"
)
_RANKS = ("rank", "global_rank", "local_rank", "worker", "process_index")


def _label(before: str) -> str:
    found = _LABEL.match(before)
    return found[1] if found else ""


def _rank(metadata: dict[str, Any]) -> str:
    return next((f"{name} {metadata[name]}" for name in _RANKS if isinstance(metadata.get(name), int | str)), "")


def _milliseconds(stamp: Any) -> Any:
    """The number; text that spells one is taken for it, as mlcommons/logging does."""
    try:
        return float(stamp) if isinstance(stamp, str) else stamp
    except ValueError:
        return stamp


def _finite(stamp: float) -> bool:
    try:
        return math.isfinite(stamp)
    except OverflowError:
        return False
