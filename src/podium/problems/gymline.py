"""The line to the process with a fixed hash seed in which generated problems are made (gymworker.py).

Knows pipes; no tasks. One process serves all draws of this one, and is started anew where it has ended.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

from podium.errors import InputError, PodiumError
from podium.records import Problem

_HASH_SEED = "0"


class _Line:
    """The process and its two pipes."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "podium.problems.gymworker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONHASHSEED": _HASH_SEED},
        )

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request.

        Raises:
            ConnectionError: the process has ended.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise ConnectionResetError
        return json.loads(line)

    def close(self) -> None:
        """End the process, whatever it does."""
        if self.owner == os.getpid():
            self.process.kill()
            self.process.wait()
            for pipe in (self.process.stdin, self.process.stdout):
                if pipe is not None:
                    try:
                        pipe.close()
                    except BrokenPipeError:
                        pass


_lock = threading.Lock()
_line: _Line | None = None


def draw_elsewhere(name: str, size: int, seed: int, options: dict[str, Any]) -> Iterator[Problem]:
    """`podium.problems.gym.draw_here` in the process with the fixed hash seed; `options` as gym.encode writes them.

    Raises:
        InputError: as `draw`.
        PodiumError: the task itself failed, or its process was killed.
    """
    request = {"name": name, "size": size, "seed": seed, "options": options}
    line, stream = _open(request)
    try:
        while made := _ask(line, {"next": stream})["problems"]:
            yield from map(Problem.model_validate, made)
    finally:
        with _lock:
            if line.process.poll() is None and line.owner == os.getpid():
                try:
                    line.ask({"close": stream})
                except ConnectionError:
                    pass


def _open(request: dict[str, Any]) -> tuple[_Line, int]:
    """Begin a draw, in a new process if there is none or it has ended meanwhile."""
    global _line
    for _ in range(2):
        with _lock:
            if _line is None or _line.owner != os.getpid() or _line.process.poll() is not None:
                _line = _Line()
                atexit.register(_line.close)
            line = _line
        try:
            return line, int(_ask(line, {"open": request})["stream"])
        except _Ended:
            with _lock:
                if _line is line:
                    _line = None
    raise PodiumError(
        "the process that makes gym problems ends at once", "start it by hand: python -m podium.problems.gymworker"
    )


class _Ended(PodiumError):
    """The process is gone."""


def _ask(line: _Line, request: dict[str, Any]) -> dict[str, Any]:
    with _lock:
        try:
            reply = line.ask(request)
        except ConnectionError as error:
            raise _Ended("the process that makes gym problems has ended", "was it killed, or out of memory?") from error
    if "input_error" in reply:
        raise InputError(*reply["input_error"])
    if "failed" in reply:
        raise PodiumError(f"a task of reasoning-gym failed: {reply['failed']}", "try other options or another seed")
    return reply
