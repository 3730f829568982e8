"""A process with a fixed hash seed in which generated problems are made, and the line to it.

Sets of text are walked in an order that depends on PYTHONHASHSEED, and some tasks of reasoning-gym choose from such
sets. Which ones do changes with its releases, so that all of them are made here. One process serves all draws; it ends
when its parent does, and after a minute in which nothing was asked.

Each request is one JSON line and has one JSON line as its answer.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from podium.errors import InputError, PodiumError
from podium.records import Problem

_HASH_SEED = "0"
_IDLE_SECONDS = 60.0
_BATCH, _BATCH_SECONDS = 50, 0.01  # problems sent at once, and how long they may take


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
    """`podium.problems.gym.draw_here` in the process with the fixed hash seed.

    Raises:
        InputError: as `draw`.
        PodiumError: the task itself failed, or its process was killed.
    """
    from podium.problems.gym import encode

    request = {"name": name, "size": size, "seed": seed, "options": encode(options)}
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


def _some(stream: Iterator[Problem]) -> Iterator[Problem]:
    """The next problem, and those behind it that take no time: asking for each alone would cost more than making it."""
    until = time.monotonic() + _BATCH_SECONDS
    for count, problem in enumerate(stream, start=1):
        yield problem
        if count == _BATCH or time.monotonic() > until:
            return


def serve() -> None:
    """Answer requests until the other end is closed."""
    from podium.problems.gym import decode, draw_here

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a task prints is no answer
    requests = os.fdopen(os.dup(0), "rb", buffering=0)
    streams: dict[int, Iterator[Problem]] = {}
    opened = 0
    while True:
        if not streams and not select.select([requests], [], [], _IDLE_SECONDS)[0]:
            return
        written = requests.readline()
        if not written:
            return
        asked = json.loads(written)
        try:
            if "open" in asked:
                wanted = asked["open"]
                opened += 1
                streams[opened] = draw_here(wanted["name"], wanted["size"], wanted["seed"], decode(wanted["options"]))
                reply: dict[str, Any] = {"stream": opened}
            elif "next" in asked:
                reply = {"problems": [problem.model_dump(mode="json") for problem in _some(streams[asked["next"]])]}
            else:
                streams.pop(asked["close"], None)
                reply = {}
        except InputError as error:
            reply = {"input_error": [error.message, error.cure]}
        except Exception as error:  # a task's own failure belongs to the parent
            reply = {"failed": repr(error)}
        out.write(json.dumps(reply).encode() + b"\n")
        out.flush()


if __name__ == "__main__":
    serve()
