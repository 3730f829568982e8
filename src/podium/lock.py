"""One process per folder that something is being written into.

A record lock belongs to the process alone: a child that outlives a killed run does not keep the run locked. The lock
file lies beside the folder, so that the folder itself can be moved aside while it is held.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from podium.errors import StorageError
from podium.storage import storage_errors

_File = tuple[int, int]  # device and number of a lock file

# The system knows no difference between two holders in one process, and closing any descriptor of the file gives the
# lock up: so each lock is opened once, and who holds it within this process is written down here.
_taken: set[_File] = set()
_taking = threading.Lock()
_mine: ContextVar[frozenset[_File]] = ContextVar("locks held by this task", default=frozenset())


@contextmanager
def locked_folder(folder: Path, cure: str) -> Iterator[None]:
    """Hold `folder`, which need not exist, for this process until the block ends or the process does.

    Args:
        cure: what whoever comes second may do.

    Raises:
        StorageError: somebody else is at work in it; names the process.
    """
    folder = Path(folder).resolve()  # two names of one folder have one lock
    with locked(folder.parent / f".{folder.name}.lock", cure):
        yield


@contextmanager
def locked(path: Path, cure: str = "wait for it or stop it; or use another name: --set name=OTHER") -> Iterator[None]:
    """Hold `path` for this process until the block ends or the process does, however it dies.

    Taking it again inside the block is allowed and does nothing; another task or thread of this process is refused as
    another process is.

    Raises:
        StorageError: somebody else holds it; names the process.
    """
    with storage_errors(path, "locking"):
        path.parent.mkdir(parents=True, exist_ok=True)
        taken = None if path.exists() and _number(os.stat(path)) in _mine.get() else _take(path, cure)
    if taken is None:
        yield
        return
    descriptor, file = taken
    token = _mine.set(_mine.get() | {file})
    try:
        yield
    finally:
        _mine.reset(token)
        with _taking:
            os.close(descriptor)
            _taken.discard(file)


def _take(path: Path, cure: str) -> tuple[int, _File]:
    with _taking:
        if path.exists() and _number(os.stat(path)) in _taken:
            raise _busy(path, str(os.getpid()), cure)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise _busy(path, holder, cure) from error
        except BaseException:
            os.close(descriptor)
            raise
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        file = _number(os.fstat(descriptor))
        _taken.add(file)
        return descriptor, file


def _busy(path: Path, holder: str, cure: str) -> StorageError:
    folder = path.parent / path.name.removeprefix(".").removesuffix(".lock")
    return StorageError(f"{folder}: process {holder} is working here", cure)


def _number(status: os.stat_result) -> _File:
    return status.st_dev, status.st_ino
