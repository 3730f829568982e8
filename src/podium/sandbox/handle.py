"""Holding on to one process so that a signal can never reach another: by pidfd, or as its parent.

Knows signals and exits, nothing of what the process does.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from typing import Protocol


class Handle(Protocol):
    """A process that can be signalled and waited for."""

    pid: int

    def watch(self, on_exit: Callable[[], None]) -> None:
        """Call `on_exit` once on the running loop when the process is gone; the handle is of no use afterwards."""
        ...

    def signal(self, number: int) -> None:
        """Send a signal; nothing happens when the process is gone already."""
        ...

    def release(self) -> None:
        """Let go without waiting; only before `watch`."""
        ...


class PidfdHandle:
    """A process of another parent (the zygote reaps it), by the pidfd that it is given."""

    def __init__(self, pidfd: int) -> None:
        self._pidfd = pidfd
        self._open = True
        self.pid = _pid_of(pidfd)

    def watch(self, on_exit: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()

        def exited() -> None:
            loop.remove_reader(self._pidfd)
            self.release()
            on_exit()

        loop.add_reader(self._pidfd, exited)

    def signal(self, number: int) -> None:
        if self._open:
            try:
                signal.pidfd_send_signal(self._pidfd, number)
            except ProcessLookupError:
                pass  # it went on its own; the pidfd says so in a moment

    def release(self) -> None:
        self._open = False
        os.close(self._pidfd)


class ChildHandle:
    """A child of this process, for systems without pidfds. A thread waits for it."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self._popen = popen
        self.pid = popen.pid

    def watch(self, on_exit: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()

        def wait() -> None:
            self._popen.wait()
            if not loop.is_closed():
                loop.call_soon_threadsafe(on_exit)

        threading.Thread(target=wait, name=f"wait-{self.pid}", daemon=True).start()

    def signal(self, number: int) -> None:
        self._popen.send_signal(number)

    def release(self) -> None:
        self._popen.kill()
        self._popen.wait()


def _pid_of(pidfd: int) -> int:
    """Process id as seen from here; the sender of the pidfd may live in another pid namespace."""
    with open(f"/proc/self/fdinfo/{pidfd}") as file:
        for line in file:
            if line.startswith("Pid:"):
                pid = int(line.split()[1])
                if pid > 0:
                    return pid
    raise ProcessLookupError("the process is gone or invisible from here")
