"""Tiers C and D: a fresh interpreter per session, because there is nothing safe to fork it from.

Tier C wraps it in macOS sandbox-exec; tier D in nothing. Slow to start (the warm imports are paid every time), the
same in use. Tier C bounds neither memory nor threads dependably.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict

from podium.sandbox import protocol
from podium.sandbox.handle import ChildHandle
from podium.sandbox.launch import Launcher, LaunchFailed, Visible, environment, interpreter, start_failure
from podium.sandbox.limits import Limits
from podium.sandbox.process import Ending, Process

_SANDBOX_EXEC = "/usr/bin/sandbox-exec"
_PROFILE = """(version 1)
(deny default)
(import "system.sb")
(allow process-exec (literal "{python}"))
(allow file-read* (literal "{python}") {trees} (subpath "/usr/lib") (subpath "/System/Library"))
(allow file-write* (literal "/dev/null"))
(allow sysctl-read)
(allow signal (target self))
(deny network*)
(deny process-fork)
"""


class FreshLauncher(Launcher):
    """Starts each session's interpreter when it is asked for."""

    def __init__(self, tier: str, processes: set[Process]) -> None:
        self.tier = tier
        self._processes = processes
        self.alive = True

    async def start(self, limits: Limits, warm: Sequence[str], seen: Visible) -> None:
        if self.tier == "C" and not (sys.platform == "darwin" and os.access(_SANDBOX_EXEC, os.X_OK)):
            raise LaunchFailed("sandbox-exec", f"no {_SANDBOX_EXEC} on {sys.platform}")
        self._seen = seen
        settings = {
            "limits": asdict(limits),
            "warm": list(warm),
            "paths": list(seen.paths),
            "isolated": self.tier != "D",
        }
        self._settings = json.dumps(settings).encode()

    def _wrapper(self) -> list[str]:
        if self.tier == "D":
            return []
        trees = " ".join(f'(subpath "{os.path.realpath(tree)}")' for tree in self._seen.trees)
        return [_SANDBOX_EXEC, "-p", _PROFILE.format(python=os.path.realpath(sys.executable), trees=trees)]

    async def spawn(self) -> Process:
        ours, theirs = socket.socketpair()
        output_read, output_write = os.pipe()
        try:
            popen = subprocess.Popen(
                [*self._wrapper(), *interpreter("alone", theirs.fileno())],
                env=environment(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output_write,
                stderr=output_write,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            os.close(output_read)
            raise LaunchFailed("interpreter", str(error)) from error
        finally:
            theirs.close()
            os.close(output_write)
        with suppress(OSError):  # it died already, which shows in a moment
            ours.sendall(protocol.pack_request(protocol.OPEN, 0, self._settings))
        process = Process(ours, output_read, ChildHandle(popen), self._processes, count_threads=True)
        try:
            outcome = await process.ready()
        except asyncio.CancelledError:
            process.end(Ending("crashed", "not wanted any more"))
            raise
        if isinstance(outcome, Ending):
            raise LaunchFailed("interpreter", process.last_words() or outcome.detail)
        if outcome.code != protocol.READY:
            process.end(Ending("crashed", outcome.text))
            raise start_failure(*outcome.text.split(": ", 1))
        return process

    def check(self) -> bool:
        return self.alive

    async def settled(self) -> None:
        self.alive = False  # a process is known from its first moment

    async def closed(self) -> None:
        self.alive = False
