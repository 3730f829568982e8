"""A worker process that can be killed: the only way to end a computation that no longer listens.

Big-integer operations do not return to the interpreter, so alarms and threads cannot stop them (Math-Verify issue
65). The parent waits for the answer until a deadline, then kills the process; the next request starts a new one.
Requests and answers are lines of JSON over pipes.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import subprocess
import sys
import threading
import time
from typing import Any

_START_SECONDS = 120.0  # imports, on a machine that is busy
_MEMORY_BYTES = 4 << 30
_CPU_GRACE = 5  # CPU seconds beyond the deadline after which the kernel ends a worker whose parent is gone


class Worker:
    """One process that answers one kind of request ("math" or "gym"), started when first needed. Thread-safe."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def ask(self, request: dict[str, Any], seconds: float) -> Any:
        """The answer's value, or None when it failed or took longer than `seconds` (then the process is killed)."""
        with self._lock:
            if self._process is None or self._process.poll() is not None or self._owner != os.getpid():
                self._start()
            line = json.dumps({"seconds": seconds, **request}).encode() + b"\n"
            answer = self._exchange(line, seconds)
            if answer is None:
                self._kill()
                return None
            return answer.get("value")

    def close(self) -> None:
        with self._lock:
            self._kill()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "podium.grading.worker", self.kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is the parent's business
        )
        self._owner = os.getpid()
        if self._exchange(b"", _START_SECONDS) is None:
            self._kill()
            raise RuntimeError(f"the grading worker {self.kind!r} did not start")

    def _exchange(self, line: bytes, seconds: float) -> dict[str, Any] | None:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        deadline = time.monotonic() + seconds
        received = b""
        try:
            process.stdin.write(line)
            process.stdin.flush()
            while not received.endswith(b"\n"):
                ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
                if not ready:
                    return None
                piece = os.read(process.stdout.fileno(), 65_536)
                if not piece:
                    return None
                received += piece
        except BrokenPipeError:
            return None
        return json.loads(received)

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:  # what was still in the buffer has no reader any more
                    pass


_workers: dict[str, Worker] = {}
_workers_lock = threading.Lock()


def worker(kind: str) -> Worker:
    """The shared worker of a kind; ended with the program."""
    with _workers_lock:
        if kind not in _workers:
            _workers[kind] = Worker(kind)
            atexit.register(_workers[kind].close)
        return _workers[kind]


def serve(kind: str) -> None:
    """The worker's side: one JSON line in, one out, until the input ends."""
    import resource

    # What the libraries print must not mix with the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    handle = _math if kind == "math" else _gym
    if kind == "math":
        import math_verify  # noqa: F401 - imported before the first deadline runs
    else:
        import reasoning_gym  # noqa: F401
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    answers.write(b'{"value": "ready"}\n')
    answers.flush()
    for line in sys.stdin.buffer:
        request = json.loads(line)
        used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
        resource.setrlimit(resource.RLIMIT_CPU, (int(used + request["seconds"]) + _CPU_GRACE, hard))
        try:
            value = handle(request)
        except (Exception, RecursionError, MemoryError, SystemExit):
            value = None  # undecided; the libraries fail in countless ways on hostile input
        answers.write(json.dumps({"value": value}).encode() + b"\n")
        answers.flush()


def _math(request: dict[str, Any]) -> bool | None:
    from podium.grading.symbolic import equivalent

    return equivalent(request["gold"], request["answer"])


def _gym(request: dict[str, Any]) -> float:
    from podium.grading.gymscore import score

    try:
        return score(request)
    except Exception:
        return 0.0  # some scorers raise on an answer they cannot read


if __name__ == "__main__":
    serve(sys.argv[1])
