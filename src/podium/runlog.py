"""The log of a run: MLLOG lines, metrics, and a description of the machine.

Does not know what is being run. `run.log` holds one `:::MLLOG {json}` line per event, in the format of
mlcommons/logging (namespace, time_ms, event_type, key, value, metadata) so that the official parser reads it;
`metrics.jsonl` holds the curves.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from podium.storage import drop_torn_line, storage_errors

EVENTS = "run.log"
METRICS = "metrics.jsonl"
SYSTEM = "system.json"
"""Where `system_description` is kept, beside the log."""

PREFIX = ":::MLLOG"
SPELT = ":::\\u004dLLOG"  # the same JSON string


class EventFile:
    """Appends `:::MLLOG` lines to one file, whole lines only, so that a killed writer leaves nothing torn behind."""

    def __init__(self, path: Path | str, namespace: str = "") -> None:
        self.path = Path(path)
        self.namespace = namespace
        with storage_errors(self.path, "opening the run log"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            drop_torn_line(self.path)
            # Line-buffered: a killed run leaves whole lines.
            self._file = open(self.path, "a", buffering=1)  # noqa: SIM115

    def event(self, kind: str, key: str, value: Any, metadata: dict[str, Any], *, depth: int = 1) -> int:
        """Write one line and return its time_ms, milliseconds since the epoch.

        `depth` counts the frames between the code that the event is about and this call.

        Raises:
            StorageError: the line cannot be written.
        """
        now = int(time.time() * 1000)
        line = {
            "namespace": self.namespace,
            "time_ms": now,
            "event_type": kind,
            "key": key,
            "value": value,
            "metadata": {**_caller(depth + 1), **metadata},
        }
        with storage_errors(self.path, "appending"):
            # Readers cut a line at the last prefix they find, so a text that holds it is spelt differently.
            self._file.write(f"{PREFIX} {json.dumps(line).replace(PREFIX, SPELT)}\n")
        return now

    def close(self) -> None:
        with storage_errors(self.path, "closing the run log"):
            self._file.close()


def _caller(depth: int) -> dict[str, Any]:
    frame = inspect.currentframe()
    for _ in range(depth):
        frame = frame.f_back if frame else None
    return {"file": Path(frame.f_code.co_filename).name, "lineno": frame.f_lineno} if frame else {}


class RunLog:
    """Writes `folder/run.log` and `folder/metrics.jsonl`; both are appended to, so that a resumed run keeps one log."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self._events = EventFile(self.folder / EVENTS)
        with storage_errors(self.folder, "opening the run log"):
            drop_torn_line(self.folder / METRICS)
            self._metrics = open(self.folder / METRICS, "a", buffering=1)  # noqa: SIM115

    def point(self, key: str, value: Any = None, **metadata: Any) -> None:
        self._events.event("POINT_IN_TIME", key, value, metadata, depth=2)

    def start(self, key: str, value: Any = None, **metadata: Any) -> None:
        self._events.event("INTERVAL_START", key, value, metadata, depth=2)

    def end(self, key: str, value: Any = None, **metadata: Any) -> None:
        self._events.event("INTERVAL_END", key, value, metadata, depth=2)

    def metrics(self, step: int, **values: float) -> None:
        """One line of the curves: step and any named numbers."""
        with storage_errors(self.folder / METRICS, "appending"):
            self._metrics.write(json.dumps({"time": round(time.time(), 3), "step": step, **values}) + "\n")

    def close(self) -> None:
        self._events.close()
        with storage_errors(self.folder, "closing the run log"):
            self._metrics.close()

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def machine() -> dict[str, Any]:
    """Which machine this is: host, cpu, cores this process may use, memory (bytes)."""
    return {
        "host": platform.node(),
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": _memory_bytes(),
    }


def system_description() -> dict[str, Any]:
    """The machine and the software: CPU, memory (bytes), accelerators, versions, git revision."""
    return {
        **machine(),
        "platform": platform.platform(),
        "accelerators": _accelerators(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in ("podium", "torch", "numpy", "tokenizers", "reasoning-gym")},
        "git_revision": git_revision(),
    }


def git_revision() -> str:
    """Revision of the checkout this package runs from, with `-dirty` when it has changes; empty when there is none."""
    folder = Path(__file__).resolve().parent
    try:
        # A package installed below somebody else's checkout is no part of it.
        tracked = subprocess.run(
            ["git", "-C", str(folder), "ls-files", "--error-unmatch", Path(__file__).name],
            capture_output=True,
            timeout=5,
        )
        if tracked.returncode != 0:
            return ""
        revision = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            timeout=5,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return revision.stdout.strip() if revision.returncode == 0 else ""


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            if line.lower().startswith(("model name", "cpu model")):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 0


def _accelerators() -> list[dict[str, Any]]:
    # Asking torch only where it is loaded anyway keeps light commands light.
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return []
    return [
        {"name": properties.name, "memory_bytes": properties.total_memory}
        for properties in map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
    ]


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
