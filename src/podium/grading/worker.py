"""The worker's side: a nursery that imports the libraries once and forks workers that can be killed one by one.

Big-integer operations do not return to the interpreter, so alarms and threads cannot stop them (Math-Verify issue
65): only a process can. Forking from a process that holds the imports makes a new worker a matter of milliseconds, so
that a killed one costs the next request nothing. Talks to `pool` over sockets: the control socket takes `f` with a
descriptor (fork a worker that serves it; the reply is its process id) and `k` with a process id (kill it); workers take
and give lines of JSON. Nothing outlives the parent: at the end of the control socket the nursery kills its workers,
and the kernel kills them when the nursery dies.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

MEMORY_BYTES = 2 << 30  # address space of one worker, the libraries' 0.4 GiB included
_CPU_GRACE = 5  # CPU seconds beyond the deadline after which the kernel ends a worker


def nurse(kind: str, control: socket.socket) -> None:
    """Import what a kind of worker needs, say so, and fork and kill as told until the parent is gone."""
    handle = _prepare(kind)
    # The collector would touch, and so copy, every page of the imports in every worker.
    gc.collect()
    gc.freeze()
    control.sendall(b"r")
    children: set[int] = set()
    while True:
        select.select([control], [], [], 1.0)
        for pid in [pid for pid in children if os.waitpid(pid, os.WNOHANG)[0]]:
            children.discard(pid)
        try:
            order, descriptors, _, _ = socket.recv_fds(control, 9, 1, socket.MSG_DONTWAIT)
        except BlockingIOError:
            continue
        if not order:
            break
        if order[:1] == b"f":
            pid = os.fork()
            if pid == 0:
                control.close()
                _die_with_parent()
                serve(handle, descriptors[0])
                os._exit(0)
            os.close(descriptors[0])
            children.add(pid)
            control.sendall(struct.pack("q", pid))
        else:
            (pid,) = struct.unpack("q", order[1:])
            if pid in children:
                children.discard(pid)
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
    for pid in children:
        os.kill(pid, signal.SIGKILL)


def _prepare(kind: str) -> Callable[[dict[str, Any]], Any]:
    if kind == "math":
        # sympy imported, and its tables built, before any deadline runs
        _math({"gold": r"\sum_{k=1}^{\infty} \frac{1}{k^2}", "answer": r"\frac{\pi^2}{6}"})
        _math({"gold": r"\int_0^1 x^2dx", "answer": r"\lim_{x\to 0}\frac{\sin x}{3x}"})
        return _math
    import reasoning_gym  # noqa: F401  # pyright: ignore[reportUnusedImport]

    return _gym


def _die_with_parent() -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def serve(handle: Callable[[dict[str, Any]], Any], descriptor: int) -> None:
    """Answer requests, one JSON line in and one out, until the other end is closed."""
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):  # what the libraries print goes nowhere
        os.dup2(null, standard)
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    with os.fdopen(os.dup(descriptor), "rb") as requests, os.fdopen(descriptor, "wb") as answers:
        for line in requests:
            request = json.loads(line)
            used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
            resource.setrlimit(resource.RLIMIT_CPU, (int(used + request["seconds"]) + _CPU_GRACE, hard))
            try:
                value = handle(request)
            except (Exception, RecursionError, MemoryError, SystemExit):
                value = None  # undecided; the libraries fail in countless ways on hostile input
            size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
            answers.write(json.dumps({"value": value, "bytes": size}).encode() + b"\n")
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
    nurse(sys.argv[1], socket.socket(fileno=int(sys.argv[2])))
