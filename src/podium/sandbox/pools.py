"""Pools, locks and queues of multiprocessing for a place where no process can be started.

`multiprocessing` makes its locks, queues and thread pools (`multiprocessing.pool.ThreadPool`) of the system's named
semaphores and of files, both in /dev/shm. A session has no such folder and can start no process, so that only its own
threads could ever share one: a semaphore of threads and memory without a name do the same.
"""

from __future__ import annotations

import mmap
import os
import threading
import time
from types import TracebackType

_WIDEST = 16
_RECURSIVE = 0  # multiprocessing.synchronize.RECURSIVE_MUTEX; the other kind is a semaphore


class ThreadSemLock:
    """What `_multiprocessing.SemLock` is to the classes of multiprocessing.synchronize."""

    SEM_VALUE_MAX = 2**31 - 1

    def __init__(self, kind: int, value: int, maxvalue: int, name: str, unlink: bool) -> None:
        self.kind = kind
        self.maxvalue = maxvalue
        self.name = None  # none that a tracker would have to remove
        self.handle = id(self)
        self._value = value
        self._changed = threading.Condition(threading.Lock())
        self._owner = 0
        self._depth = 0  # acquired, less released

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Take one. `timeout` in seconds; a negative one does not wait."""
        if self.kind == _RECURSIVE and self._is_mine():
            self._depth += 1
            return True
        ends = None if timeout is None else time.monotonic() + max(timeout, 0.0)
        with self._changed:
            while self._value == 0:
                left = None if ends is None else ends - time.monotonic()
                if not block or (left is not None and left <= 0):
                    return False
                self._changed.wait(left)
            self._value -= 1
            self._depth += 1
            self._owner = threading.get_ident()
        return True

    def release(self) -> None:
        """Give one back. Raises ValueError when all are back, AssertionError for a lock of another thread."""
        if self.kind == _RECURSIVE:
            if not self._is_mine():
                raise AssertionError("attempt to release recursive lock not owned by thread")
            if self._depth > 1:
                self._depth -= 1
                return
        with self._changed:
            if self._value >= self.maxvalue:
                raise ValueError("semaphore or lock released too many times")
            self._value += 1
            self._depth -= 1
            self._changed.notify()

    def _is_mine(self) -> bool:
        return self._depth > 0 and self._owner == threading.get_ident()

    def _count(self) -> int:
        return self._depth

    def _get_value(self) -> int:
        return self._value

    def _is_zero(self) -> bool:
        return self._value == 0

    def _after_fork(self) -> None:
        self._depth = 0

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class NamelessArena:
    """What `multiprocessing.heap.Arena` is to shared values and barriers: memory of `size` bytes, without a file."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.buffer = mmap.mmap(-1, size)


def install() -> None:
    """Give multiprocessing these, and pools that are as wide as the machine a width that a session may have."""
    import _multiprocessing  # pyright: ignore[reportMissingImports]

    _multiprocessing.SemLock = ThreadSemLock

    from multiprocessing import heap

    heap.Arena = NamelessArena  # type: ignore[misc,assignment]
    for name in ("cpu_count", "process_cpu_count"):  # pools ask for the second from Python 3.13 on
        if hasattr(os, name):
            cores = min(getattr(os, name)() or 1, _WIDEST)
            setattr(os, name, lambda cores=cores: cores)
