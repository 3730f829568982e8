"""One session process as the host sees it: requests out, one answer in, frozen in between.

Knows the protocol, signals and the clock, not who wants what run. Nothing the process sends is trusted: an answer out
of turn, too much output or a closed socket is its end. All waiting is on one asyncio loop.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from dataclasses import dataclass

from podium.sandbox import protocol
from podium.sandbox.handle import Handle
from podium.sandbox.limits import Limits, Status

GRACE_SECONDS = 0.5  # between the interrupt and the kill
LOADED = 3.0  # a block may wait for a core until its wall time is this many times its limit
_FIRST_LOOK_SECONDS = 0.05
_COUNT_SECONDS = 0.004  # between two looks at the number of threads
_READ = 1 << 16
_START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a process is no more, as a block's status and a line for logs."""

    status: Status
    detail: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one request: a reply or an ending, and what was written to the pipe meanwhile."""

    outcome: protocol.Reply | Ending
    written: bytes
    interrupted: bool = False
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0


class Process:
    """Owns the control socket, the output pipe and the handle that it is given."""

    def __init__(
        self, control: socket.socket, output: int, handle: Handle, among: set[Process], *, count_threads: bool
    ) -> None:
        """Join `among`, and leave it when gone. `count_threads` where the kernel does not bound them per session."""
        self._loop = asyncio.get_running_loop()
        self._control = control
        self._output = output
        self._handle = handle
        self.counts_threads = count_threads
        self._request = 0
        self._reader = protocol.ReplyReader()
        self._answer: asyncio.Future[protocol.Reply | Ending] | None = self._loop.create_future()
        self._text_limit = 4096
        self._byte_limit = _READ
        self._written = bytearray()
        self._unsent = memoryview(b"")
        self._preface = b""
        self._frozen = False
        self._cpu_at_end = 0.0
        self.ending: Ending | None = None
        self.gone: asyncio.Future[None] = self._loop.create_future()
        among.add(self)
        self.gone.add_done_callback(lambda _: among.discard(self))
        control.setblocking(False)
        os.set_blocking(output, False)
        self._loop.add_reader(control, self._on_control)
        self._loop.add_reader(output, self._on_output)
        handle.watch(self._on_exit)

    async def ready(self) -> protocol.Reply | Ending:
        """Wait until the process has confined itself."""
        assert self._answer is not None
        timer = self._loop.call_later(_START_SECONDS, self.end, Ending("timeout", "did not start in time"))
        try:
            return await self._answer
        finally:
            timer.cancel()
            self._answer = None

    def cpu_seconds(self) -> float:
        """Processor time used so far, all threads; read from the kernel's clock of that process."""
        try:
            return time.clock_gettime((~self._handle.pid) << 3 | 2)
        except OSError:
            return 0.0

    def prepare(self, settings: bytes) -> None:
        """Have these settings (JSON) applied before the first block; they travel with it, which saves a round trip."""
        self._preface = protocol.pack_request(protocol.OPEN, 0, settings)

    async def run(self, source: bytes, limits: Limits) -> Answer:
        """Run one block and wait for what comes of it. When cancelled, the process is killed.

        An Ending with status `state-lost` says that the block never reached it.
        """
        self._request = self._request % 0xFFFFFFFF + 1
        self._text_limit = 8 * limits.output_chars + 64  # a lone surrogate takes six bytes
        self._byte_limit = limits.output_bytes
        answer: asyncio.Future[protocol.Reply | Ending] = self._loop.create_future()
        cpu_before = self.cpu_seconds()
        self._clear()
        if self.ending is not None:
            return Answer(Ending("state-lost", self.ending.detail), b"")
        self._answer = answer
        clock = _BlockClock(self, limits)
        try:
            self._thaw()
            self._send(self._preface + protocol.pack_request(protocol.RUN, self._request, source))
            self._preface = b""
            outcome = await answer
        except asyncio.CancelledError:
            self.end(Ending("state-lost", "the caller went away"))
            raise
        finally:
            clock.stop()
            self._answer = None
        wall = self._loop.time() - clock.started
        cpu = max(self._cpu_at_end - cpu_before, 0.0)
        return Answer(outcome, bytes(self._written), clock.interrupted, wall, cpu)

    def _clear(self) -> None:
        """Forget what a process that is asleep had left in its pipe; bytes on its socket are its end."""
        self._written.clear()
        if self.ending is None:
            self._on_control()
        if self.ending is None:
            self._drain()
        self._written.clear()

    def _send(self, data: bytes) -> None:
        self._unsent = memoryview(data)
        self._on_writable()

    def _on_writable(self) -> None:
        try:
            sent = self._control.send(self._unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            # It did not live to read the request.
            self.end(Ending("state-lost", "the process died"))
            return
        self._unsent = self._unsent[sent:]
        if self._unsent:
            self._loop.add_writer(self._control, self._on_writable)
        else:
            self._loop.remove_writer(self._control)

    def _on_control(self) -> None:
        try:
            # recv, never recvmsg: descriptors sent along are dropped by the kernel.
            data = self._control.recv(_READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.end(Ending("crashed", "the process exited or closed its control socket"))
            return
        if self._answer is None or self._answer.done():
            self.end(Ending("crashed", "protocol: bytes out of turn"))
            return
        try:
            reply = self._reader.feed(data, self._request, self._text_limit)
        except protocol.ProtocolViolation as violation:
            self.end(Ending("crashed", f"protocol: {violation}"))
            return
        if reply is not None:
            if reply.code not in (protocol.READY, protocol.FAILED):
                self._freeze()
            self._drain()
            if self.ending is None:
                self._settle(reply)

    def _on_output(self) -> None:
        self._read_output()

    def _read_output(self) -> bool:
        """Take what is in the pipe once; False when it was empty or is closed."""
        try:
            data = os.read(self._output, _READ)
        except BlockingIOError:
            return False
        if not data:
            self._loop.remove_reader(self._output)
            return False
        self._written += data
        if len(self._written) > self._byte_limit:
            self.end(Ending("output-limit", f"wrote more than {self._byte_limit} bytes"))
            return False
        return True

    def _drain(self) -> None:
        while self._read_output():
            pass

    def _on_exit(self) -> None:
        if self.ending is None:
            # The last words may still be in the socket.
            self._on_control()
        if self.ending is None:
            self.end(Ending("crashed", "the process died"))
        self.gone.set_result(None)

    def _settle(self, outcome: protocol.Reply | Ending) -> None:
        self._cpu_at_end = self.cpu_seconds()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(outcome)

    def end(self, ending: Ending) -> None:
        """Kill it, if nobody did before, and let go of everything but the handle, which tells when it is gone."""
        if self.ending is not None:
            return
        self.ending = ending
        self._handle.signal(signal.SIGKILL)
        self._drain_after_end()
        self._loop.remove_reader(self._control)
        self._loop.remove_writer(self._control)
        self._loop.remove_reader(self._output)
        self._control.close()
        os.close(self._output)
        self._settle(ending)

    def _drain_after_end(self) -> None:
        room = self._byte_limit - len(self._written)
        while room > 0:
            try:
                data = os.read(self._output, min(_READ, room))
            except BlockingIOError:
                return
            if not data:
                return
            self._written += data
            room -= len(data)

    def last_words(self) -> str:
        """The last line it wrote, for a process that never got ready."""
        lines = self._written.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def interrupt(self) -> None:
        self._handle.signal(signal.SIGINT)

    def _freeze(self) -> None:
        """Between blocks nothing of a session runs: no stolen time, no output into the next block."""
        self._handle.signal(signal.SIGSTOP)
        self._frozen = True

    def _thaw(self) -> None:
        if self._frozen:
            self._handle.signal(signal.SIGCONT)
            self._frozen = False

    def seconds_waited_for_core(self) -> float:
        """How long the main thread was ready to run but had no core, so far; 0 where the kernel does not tell."""
        try:
            with open(f"/proc/{self._handle.pid}/schedstat") as file:
                return int(file.read().split()[1]) / 1e9
        except (OSError, IndexError):
            return 0.0

    def thread_count(self) -> int:
        try:
            with open(f"/proc/{self._handle.pid}/stat") as file:
                return int(file.read().rpartition(")")[2].split()[17])
        except (OSError, IndexError):
            return 0


class _BlockClock:
    """Bounds one block while it runs. Time: interrupt, grace, kill; waiting for a core does not count, up to LOADED
    times. Threads, in the tier where the kernel does not count them per session."""

    def __init__(self, process: Process, limits: Limits) -> None:
        self._process = process
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self.started = self._loop.time()
        self.interrupted = False
        self._waited_before = 0.0
        # The first look comes after a moment, so that short blocks cost none.
        self._timer = self._loop.call_later(min(_FIRST_LOOK_SECONDS, limits.wall_seconds), self._first_look)
        self._counter = self._loop.call_later(_COUNT_SECONDS, self._count) if process.counts_threads else None

    def stop(self) -> None:
        self._timer.cancel()
        if self._counter is not None:
            self._counter.cancel()

    def _first_look(self) -> None:
        self._waited_before = self._process.seconds_waited_for_core()
        self._look()

    def _look(self) -> None:
        limit = self._limits.wall_seconds
        elapsed = self._loop.time() - self.started
        waited = self._process.seconds_waited_for_core() - self._waited_before
        left = min(limit - (elapsed - waited), LOADED * limit - elapsed)
        if left > 0:
            self._timer = self._loop.call_later(max(left, 0.001), self._look)
        else:
            self.interrupted = True
            self._process.interrupt()
            self._timer = self._loop.call_later(GRACE_SECONDS / 2, self._interrupt_again)

    def _interrupt_again(self) -> None:
        # On a busy machine the first may have come before the block had begun, where it must be ignored: it could as
        # well have been late for the block before.
        self._process.interrupt()
        self._timer = self._loop.call_later(GRACE_SECONDS / 2, self._kill)

    def _kill(self) -> None:
        self._process.end(Ending("timeout", "did not answer the interrupt"))

    def _count(self) -> None:
        if self._process.thread_count() > self._limits.threads:
            self._process.end(Ending("crashed", f"more than {self._limits.threads} threads"))
        else:
            self._counter = self._loop.call_later(_COUNT_SECONDS, self._count)
