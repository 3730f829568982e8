"""The parent's side: a pool of workers with a deadline for every request. Thread-safe, free of signals.

A request's seconds begin when it is put: waiting for a free worker counts. A worker that is late is killed and its
request undecided. Where more is asked than there are workers, the seconds are shared: a worker that has had its part
gives way to whoever waits, so that requests which would never end do not keep the others from being computed.
Works in any thread and under asyncio (`await asyncio.to_thread(...)`); a forked child starts a pool of its own.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from dataclasses import dataclass
from typing import Any, Literal

_START_SECONDS = 120.0  # imports, on a machine that is busy
_FORK_SECONDS = 30.0
_MOST_BYTES = 600 << 20  # a worker that has grown beyond is replaced
WORKERS = max(4, min(16, 2 * (os.cpu_count() or 2)))
_LEAST_PART = 0.1  # seconds that a worker has before it gives way, whoever waits


@dataclass(frozen=True, slots=True)
class Reply:
    """`value` as the worker gave it; None when it failed (`failed`) or was killed at the deadline (`late`)."""

    value: Any
    status: Literal["done", "failed", "late"]


@dataclass(slots=True)
class _Hand:
    """One worker: its process id, for the nursery, and the socket to it."""

    pid: int
    line: socket.socket


@dataclass(slots=True, eq=False)
class _Turn:
    """A request that has a place, since when, and the worker that computes it."""

    since: float
    hand: _Hand | None = None
    gave_way: bool = False


class Pool:
    """Workers of one kind ("math" or "gym"), started when first needed and kept.

    >>> pool = Pool("math")
    >>> pool.ask({"gold": "x+1", "answer": "1+x"}, seconds=30.0).value
    True
    >>> pool.close()
    """

    def __init__(self, kind: str, size: int = WORKERS) -> None:
        self.kind = kind
        self._size = size
        self._room = threading.Condition()
        self._turns: list[_Turn] = []  # with a place, the longest first
        self._queue: deque[object] = deque()  # waiting for one, the longest first
        self._lock = threading.Lock()  # of the nursery and the idle workers
        self._idle: list[_Hand] = []
        self._nursery: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        _pools.add(self)

    def ask(self, request: dict[str, Any], seconds: float) -> Reply:
        """Put a request to a worker; the answer is there within `seconds`, or it is late.

        Raises:
            RuntimeError: the workers' libraries could not be imported.
        """
        self.warm()  # importing the libraries is not on the request's clock
        deadline = time.monotonic() + seconds
        turn = self._enter(deadline, seconds)
        if turn is None:
            return Reply(None, "late")
        try:
            hand = self._take()
            turn.hand = hand
            left = deadline - time.monotonic()
            reply = _exchange(hand.line, json.dumps({"seconds": max(0.0, left), **request}).encode() + b"\n", left)
        finally:
            with self._room:
                self._turns.remove(turn)
                turn.hand = None  # nobody makes it give way any more
                self._room.notify_all()
        if turn.gave_way or reply is None or isinstance(reply, str):
            self._kill(hand)
            return Reply(None, "late" if turn.gave_way or reply is None else "failed")
        if reply["bytes"] > _MOST_BYTES:
            self._kill(hand)
        else:
            with self._lock:
                self._idle.append(hand)
        return Reply(reply["value"], "failed" if reply["value"] is None else "done")

    def _enter(self, deadline: float, seconds: float) -> _Turn | None:
        """A place, in order of arrival; None when there was none before the deadline.

        While others wait, the longest turn ends when it has had its part: half of `seconds` times places over requests.
        """
        ticket = object()
        with self._room:
            self._queue.append(ticket)
            try:
                while len(self._turns) >= self._size or self._queue[0] is not ticket:
                    now = time.monotonic()
                    if now >= deadline:
                        return None
                    until = deadline
                    if sum(turn.gave_way for turn in self._turns) < len(self._queue):
                        # Half of what there is: those at the end of the queue need time of their own.
                        part = 0.5 * seconds * self._size / (len(self._turns) + len(self._queue))
                        longest = next((turn for turn in self._turns if turn.hand and not turn.gave_way), None)
                        if longest is not None and longest.hand is not None:
                            until = longest.since + max(_LEAST_PART, part)
                            if now >= until:
                                longest.gave_way = True
                                self._end(longest.hand)
                                continue
                    self._room.wait(min(deadline, until) - now)
                turn = _Turn(time.monotonic())
                self._turns.append(turn)
                return turn
            finally:
                self._queue.remove(ticket)
                self._room.notify_all()

    def warm(self) -> None:
        """Start the workers' libraries now, so that the first request does not wait for them."""
        with self._lock:
            self._start()

    def close(self) -> None:
        """End all workers."""
        with self._lock:
            self._drop()

    def _take(self) -> _Hand:
        with self._lock:
            if self._idle:
                return self._idle.pop()
            for _ in range(2):
                self._start()
                assert self._control is not None
                ours, theirs = socket.socketpair()
                try:
                    socket.send_fds(self._control, [b"f"], [theirs.fileno()])
                    pid = _receive(self._control, 8, _FORK_SECONDS)
                except OSError:
                    pid = b""
                theirs.close()
                if len(pid) == 8:
                    return _Hand(struct.unpack("q", pid)[0], ours)
                ours.close()
                self._drop()  # the nursery was killed: from outside, or for want of memory
        raise RuntimeError(f"the grading workers {self.kind!r} cannot be started")

    def _start(self) -> None:
        if self._nursery is not None and self._nursery.poll() is None:
            return
        self._drop()
        ours, theirs = socket.socketpair()
        self._nursery = subprocess.Popen(
            [sys.executable, "-m", "podium.grading.worker", self.kind, str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,  # Ctrl-C is the parent's business
        )
        theirs.close()
        self._control = ours
        if _receive(ours, 1, _START_SECONDS) != b"r":
            self._drop()
            raise RuntimeError(f"the grading workers {self.kind!r} did not start")

    def _kill(self, hand: _Hand) -> None:
        hand.line.close()
        self._end(hand)

    def _end(self, hand: _Hand) -> None:
        """Have the worker killed; whoever reads from it finds its line closed."""
        with self._lock:
            if self._control is not None:
                try:
                    self._control.sendall(b"k" + struct.pack("q", hand.pid))
                except OSError:
                    pass  # the nursery is gone, and with it the worker

    def _drop(self) -> None:
        for hand in self._idle:
            hand.line.close()
        self._idle.clear()
        if self._control is not None:
            self._control.close()
        if self._nursery is not None:
            self._nursery.kill()
            self._nursery.wait()
        self._nursery = self._control = None

    def forget(self) -> None:
        """In a forked child: let go of the parent's workers without ending them, and start anew when asked."""
        for hand in self._idle:
            hand.line.close()
        if self._control is not None:
            self._control.close()
        # The parent's process is not this child's to wait for: without a return code Popen complains when collected.
        if self._nursery is not None:
            self._nursery.returncode = 0
        self._nursery = self._control = None
        self._idle = []
        self._lock = threading.Lock()
        self._room = threading.Condition()
        self._turns, self._queue = [], deque()


def _receive(line: socket.socket, size: int, seconds: float) -> bytes:
    """`size` bytes, or fewer when the other end closed or the time was up."""
    deadline = time.monotonic() + seconds
    received = b""
    while len(received) < size:
        if not _readable(line, deadline):
            break
        piece = line.recv(size - len(received))
        if not piece:
            break
        received += piece
    return received


def _readable(line: socket.socket, deadline: float) -> bool:
    poll = select.poll()  # select() itself knows no descriptors beyond 1,023
    poll.register(line, select.POLLIN)
    return bool(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))


def _exchange(line: socket.socket, request: bytes, seconds: float) -> dict[str, Any] | str | None:
    """The worker's reply, "died", or None when it is late."""
    deadline = time.monotonic() + seconds
    received = b""
    try:
        line.sendall(request)
        while not received.endswith(b"\n"):
            if not _readable(line, deadline):
                return None
            piece = line.recv(65_536)
            if not piece:
                return "died"
            received += piece
    except OSError:
        return "died"
    return json.loads(received)


_pools: weakref.WeakSet[Pool] = weakref.WeakSet()
_shared: dict[str, Pool] = {}
_shared_lock = threading.Lock()


def pool(kind: str) -> Pool:
    """The shared pool of a kind; ended with the program."""
    with _shared_lock:
        if kind not in _shared:
            _shared[kind] = Pool(kind)
            atexit.register(_shared[kind].close)
        return _shared[kind]


def _after_fork() -> None:
    global _shared_lock
    _shared_lock = threading.Lock()
    for each in list(_pools):
        each.forget()


os.register_at_fork(after_in_child=_after_fork)
