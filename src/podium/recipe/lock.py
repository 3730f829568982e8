"""One process per run folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from podium.errors import StorageError
from podium.records import storage_errors


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold `path` for this process until the block ends or the process does, however it dies.

    A record lock belongs to the process alone: a child that outlives a killed run does not keep the run locked.

    Raises:
        StorageError: another process holds it; names its pid.
    """
    with storage_errors(path, "locking"):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            raise StorageError(
                f"{path.parent / path.name.removeprefix('.').removesuffix('.lock')}: process {holder} is working here",
                "wait for it or stop it; or use another name: --set name=OTHER",
            ) from error
        with storage_errors(path, "locking"):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
