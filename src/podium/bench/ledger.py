"""Every run that was ever launched, in a file that can only grow: leaving one out shows.

`ledger.jsonl` lies beside the `results/` folder it speaks of. One line per entry, of three kinds: `declared` (how many
runs M an entry will be made of, said before the first), `launched` (its seed, the log it writes) and `ended` (status,
minutes, sha256 of the log). Each entry holds the hash of the one before it and its own:

    hash = sha256(JSON of the entry without `hash`, keys sorted, no spaces)

An entry taken out, changed or put in between breaks the chain at that line. Entries cut off at the end leave a chain
that is whole but shorter than declared, and logs whose `ledger_entry` nobody knows. Whoever rewrites everything from
the start, logs included, is found only by a hash that somebody else kept: `head` is printed at every launch for that.
Knows runs, how their logs end, and hashes; not what is trained.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from podium.bench.mllog import Log, parse_log, run_end
from podium.errors import InputError, StorageError
from podium.storage import storage_errors

FILE = "ledger.jsonl"
GENESIS = "0" * 64
DRY_RUN = b'"key": "dry_run"'  # as podium.runlog writes the mark of podium.bench.rehearsal
Kind = Literal["declared", "launched", "ended"]
FIELDS = {"index", "time", "kind", "body", "previous", "hash"}
BODY: dict[str, dict[str, Any]] = {
    "declared": {"benchmark": str, "system": str, "division": str, "size": str, "ruleset": str, "runs": int},
    "launched": {"declaration": int, "run": int, "seed": int, "log": str},
    "ended": {"launch": int, "status": str, "minutes": float | int | None, "sha256": str | None},
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: `body` is the declaration, the launch or the end."""

    index: int
    time: str
    kind: Kind
    body: dict[str, Any]
    previous: str
    hash: str


@dataclass(frozen=True, slots=True)
class Launch:
    """What a run is told: its entry (log `hash` as ledger_entry), its seed and where its log goes."""

    entry: Entry
    seed: int
    log: Path
    number: int  # of the declared runs, from 1

    @property
    def hash(self) -> str:
        return self.entry.hash


@dataclass(frozen=True, slots=True)
class LedgerFault:
    line: int
    message: str


@dataclass(slots=True)
class LaunchedRun:
    """A launched run with its end. `minutes` is None unless it ended with success; a killed run has no status."""

    number: int
    seed: int
    log: str
    hash: str
    line: int
    status: str | None = None
    minutes: float | None = None
    sha256: str | None = None


@dataclass(slots=True)
class Declaration:
    """An entry to be: `runs` of them were announced before the first was launched."""

    index: int
    line: int
    benchmark: str
    system: str
    division: str
    size: str
    ruleset: str
    runs: int
    launched: list[LaunchedRun]


class Ledger:
    """Appends to `path`, one writer at a time; what is there is verified before each append.

    Raises:
        InputError: the chain is broken: nothing honest can be added to it.
        StorageError: the file cannot be written.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def declare(
        self, *, benchmark: str, system: str, division: str, size: str, ruleset: str, runs: int, **more: Any
    ) -> Entry:
        """Announce an entry of `runs` runs, before the first of them."""
        if runs < 1:
            raise InputError(f"{runs} runs cannot be declared", "declare at least one")
        body = {
            "benchmark": benchmark,
            "system": system,
            "division": division,
            "size": size,
            "ruleset": ruleset,
            "runs": runs,
            **more,
        }
        with self._locked() as (file, entries):
            return self._append(file, entries, "declared", body)

    def launch(self, declaration: Entry, folder: Path, *, seed: int | None = None, **more: Any) -> Launch:
        """Put the next run of `declaration` on record, before it starts.

        The log is the next free `result_<i>.txt` of `folder`; the seed is drawn from the operating system's
        randomness unless given, and no two runs of the ledger share one.

        Raises:
            InputError: all declared runs were launched; `seed` was used before.
        """
        with self._locked() as (file, entries):
            declared = next((d for d in declarations(entries) if d.index == declaration.index), None)
            if declared is None:
                raise InputError(f"{self.path}: no declaration {declaration.index}", "declare the runs first")
            if len(declared.launched) >= declared.runs:
                raise InputError(
                    f"{self.path}: all {declared.runs} declared runs were launched",
                    "declare a new entry; the earlier one stays on record",
                )
            used = {entry.body["seed"] for entry in entries if entry.kind == "launched"}
            if seed is None:
                seed = next(number for number in iter(lambda: secrets.randbelow(2**31), None) if number not in used)
            elif seed in used:
                raise InputError(f"seed {seed} was used by an earlier run", "take another, or let one be drawn")
            named = {entry.body["log"] for entry in entries if entry.kind == "launched"}
            log = next(
                path
                for path in (folder / f"result_{i}.txt" for i in range(len(named) + 10**6))
                if not path.exists() and self._relative(path) not in named
            )
            number = len(declared.launched) + 1
            body = {
                "declaration": declaration.index,
                "run": number,
                "seed": seed,
                "log": self._relative(log),
                **more,
            }
            entry = self._append(file, entries, "launched", body)
        return Launch(entry, seed, log, number)

    def end(self, launch: Launch) -> Entry:
        """Put the end of a run on record as its log tells it: success with its minutes, or aborted.

        Nothing but the log is asked, so that the two cannot disagree. A log without run_stop is that of a run that was
        aborted before its clock started, or whose last line could not be written.

        Raises:
            InputError: the run has ended before, or its log is that of a dry run.
        """
        with storage_errors(launch.log, "reading"):
            content = launch.log.read_bytes() if launch.log.exists() else None
        if content is not None and DRY_RUN in content:
            raise InputError(f"{launch.log}: a dry run is no run", "nothing of it goes on record; run it for real")
        digest = hashlib.sha256(content).hexdigest() if content is not None else None
        status, minutes = run_end(parse_log(content or b"", launch.log))
        converged = status == "success" and minutes is not None
        body = {
            "launch": launch.entry.index,
            "status": "success" if converged else "aborted",
            "minutes": minutes if converged else None,
            "sha256": digest,
        }
        with self._locked() as (file, entries):
            if any(entry.kind == "ended" and entry.body["launch"] == launch.entry.index for entry in entries):
                raise InputError(f"{self.path}: run {launch.number} has ended before", "a run ends once")
            return self._append(file, entries, "ended", body)

    def head(self) -> str:
        """Hash of the last entry: whoever keeps it can later prove what the ledger held."""
        entries, _ = read_ledger(self.path)
        return entries[-1].hash if entries else GENESIS

    def _relative(self, path: Path) -> str:
        root = self.path.resolve().parent
        path = path.resolve()
        return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()

    @contextmanager
    def _locked(self) -> Iterator[tuple[BinaryIO, list[Entry]]]:
        with storage_errors(self.path, "appending"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "a+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                file.seek(0)
                data = file.read()
                # A killed writer's half line was never an entry: cut, so that the next one stands alone.
                whole = data[: data.rfind(b"\n") + 1]
                file.truncate(len(whole))
                entries, faults = parse_ledger(whole)
                if faults:
                    raise InputError(
                        f"{self.path}:{faults[0].line}: {faults[0].message}",
                        "restore the file from a copy, or move it aside and start a new one",
                    )
                yield file, entries

    def _append(self, file: BinaryIO, entries: list[Entry], kind: Kind, body: dict[str, Any]) -> Entry:
        entry = {
            "index": len(entries),
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "kind": kind,
            "body": body,
            "previous": entries[-1].hash if entries else GENESIS,
        }
        try:
            digest = entry_hash(entry)
        except (TypeError, ValueError) as error:
            raise StorageError(f"{self.path}: an entry cannot be written as JSON ({error})") from error
        line = json.dumps({**entry, "hash": digest}, sort_keys=True, separators=(",", ":")) + "\n"
        file.seek(0, os.SEEK_END)
        file.write(line.encode())
        file.flush()
        os.fsync(file.fileno())
        return Entry(**entry, hash=digest)


def entry_hash(entry: dict[str, Any]) -> str:
    """sha256 of the entry without its own hash, as canonical JSON."""
    content = {name: value for name, value in entry.items() if name != "hash"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def parse_ledger(data: bytes) -> tuple[list[Entry], list[LedgerFault]]:
    """The entries, and every line where the chain does not hold. Total: any bytes may be given."""
    entries: list[Entry] = []
    faults: list[LedgerFault] = []
    previous = GENESIS
    lines = data.split(b"\n")
    if lines[-1]:
        faults.append(LedgerFault(len(lines), "the last line is cut off: its writer was stopped"))
    for number, line in enumerate(lines[:-1], start=1):
        try:
            raw = json.loads(line)
            body = raw["body"]
            if set(raw) != FIELDS or not all(isinstance(body[name], kind) for name, kind in BODY[raw["kind"]].items()):
                raise ValueError("not an entry")
            digest = entry_hash(raw)
        except (ValueError, TypeError, KeyError, RecursionError):
            faults.append(LedgerFault(number, "not an entry of a ledger"))
            continue
        if digest != raw["hash"]:
            faults.append(LedgerFault(number, "the entry was changed: its hash does not fit its content"))
        elif raw["previous"] != previous:
            faults.append(LedgerFault(number, "the chain is broken here: an entry before this one is missing or new"))
        elif raw["index"] != len(entries):
            faults.append(LedgerFault(number, "the entry is out of place"))
        previous = raw["hash"]
        entries.append(Entry(**raw))
    return entries, faults


def read_ledger(path: Path | str) -> tuple[list[Entry], list[LedgerFault]]:
    """Entries and faults of a file; nothing of both when it does not exist."""
    path = Path(path)
    if not path.exists():
        return [], []
    with storage_errors(path, "reading"):
        return parse_ledger(path.read_bytes())


def declarations(entries: list[Entry]) -> list[Declaration]:
    """The declared entries with their runs in launch order, of a ledger whose chain holds."""
    found: dict[int, Declaration] = {}
    by_launch: dict[int, LaunchedRun] = {}
    for line, entry in enumerate(entries, start=1):
        body = entry.body
        if entry.kind == "declared":
            found[entry.index] = Declaration(
                entry.index,
                line,
                **{name: body[name] for name in ("benchmark", "system", "division", "size", "ruleset", "runs")},
                launched=[],
            )
        elif entry.kind == "launched" and body["declaration"] in found:
            run = LaunchedRun(body["run"], body["seed"], body["log"], entry.hash, line)
            by_launch[entry.index] = run
            found[body["declaration"]].launched.append(run)
        elif entry.kind == "ended" and body["launch"] in by_launch:
            run = by_launch[body["launch"]]
            run.status, run.minutes, run.sha256 = body["status"], body["minutes"], body["sha256"]
    return list(found.values())


def without_success(folder: Path) -> set[Path]:
    """The logs of `folder` whose runs were launched and have no success on record: they count as failed.

    Whatever such a log says: its run was killed, or stopped before its end could be written down. A broken ledger is a
    fault of its own and tells nothing about runs.
    """
    path = ledger_of(folder)
    entries, faults = read_ledger(path) if path else ([], [])
    if path is None or faults:
        return set()
    root = path.parent
    launched = [one for declared in declarations(entries) for one in declared.launched]
    logs = {(root / one.log).resolve() for one in launched if one.status != "success"}
    return {log for log in logs if log.parent == folder.resolve()}


def disagreement(launched: LaunchedRun, log: Log) -> str:
    """Where the end on record is not the one that the log tells of, in a few words; empty where the two agree.

    A run whose end is not on record claims nothing.
    """
    status, minutes = run_end(log)
    said = "success" if status == "success" and minutes is not None else "aborted"
    if launched.status is None:
        return ""
    if launched.status != said:
        return f"the ledger says {launched.status}, the log {said}"
    # Ledgers of earlier versions measured the minutes by another clock than the log.
    if said == "success" and abs((launched.minutes or 0.0) - (minutes or 0.0)) > 1 / 60:
        return f"the ledger says {launched.minutes:.3f} minutes, the log {minutes:.3f}"
    return ""


def ledger_of(results: Path) -> Path | None:
    """The ledger that speaks of a folder of logs: the nearest one upwards, as far as the folder above `results/`."""
    folder = results.resolve()
    for candidate in (folder, *list(folder.parents)[:3]):
        if (candidate / FILE).is_file():
            return candidate / FILE
    return None
