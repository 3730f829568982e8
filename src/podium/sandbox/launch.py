"""Starting interpreters: the zygote, what it may see, and sessions out of it.

Knows paths, the environment and the zygote's messages. The environment is written down here word by word: nothing of
the host's reaches the zygote, whose memory every session can read.
"""

from __future__ import annotations

import asyncio
import errno
import importlib.util
import json
import os
import socket
import struct
import subprocess
import sys
import sysconfig
import tempfile
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import podium
from podium.errors import InputError, PodiumError
from podium.sandbox import protocol
from podium.sandbox.handle import PidfdHandle
from podium.sandbox.limits import Limits
from podium.sandbox.process import Ending, Process

ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/",
    "LANG": "C.UTF-8",
    # The same order of sets and dictionaries in every run.
    "PYTHONHASHSEED": "0",
    # One arena of address space for all threads, or a memory limit would allow only a few of them.
    "MALLOC_ARENA_MAX": "1",
    # A zygote with threads could not be forked.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MPLBACKEND": "Agg",
}

# -P and -s: no folder but the ones named below; -S: no .pth file runs; -B: nothing is written.
INTERPRETER_OPTIONS = ("-P", "-s", "-S", "-B")
_BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from podium.sandbox.{} import main; main(int(sys.argv[2]))"
_SYSTEM_TREES = (
    "/lib",
    "/lib32",
    "/lib64",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/share/zoneinfo",
    "/etc/ld.so.cache",
)


_END_SECONDS = 2.0
_ASKED_AT_ONCE = 16
_UNWANTED = Ending("crashed", "not wanted any more")


def interpreter(module: str, control: int) -> list[str]:
    """Command line that runs `main(control)` of a module of this package in a fresh interpreter."""
    source = str(Path(podium.__file__).resolve().parent.parent)
    return [sys.executable, *INTERPRETER_OPTIONS, "-c", _BOOT.format(module), source, str(control)]


def environment() -> dict[str, str]:
    """All that a started interpreter finds in its environment."""
    # Some interpreters do not start without their library path.
    needed = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return {**ENVIRONMENT, **needed}


class LaunchFailed(Exception):
    """A tier does not work here: the step that failed and what the system said."""

    def __init__(self, step: str, reason: str) -> None:
        super().__init__(f"{step}: {reason}")
        self.step = step
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Visible:
    """What sessions may read (`trees`) and import from (`paths`)."""

    trees: tuple[str, ...]
    paths: tuple[str, ...]


def visible(warm: Sequence[str]) -> Visible:
    """The interpreter, its installed packages, the system's libraries, and warm modules that lie elsewhere.

    The working folder and other entries of sys.path are not among them. Raises InputError for a warm module that is
    not installed.
    """
    candidates = [
        sysconfig.get_path("stdlib"),
        str(Path(sys.base_prefix, "lib")),
        *(entry for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")),
        *_SYSTEM_TREES,
    ]
    trees = _outermost(path for path in candidates if os.path.exists(path))
    paths = [entry for entry in sys.path if _inside(entry, trees) or entry.endswith(".zip")]
    for name in warm:
        locations = _locate(name)
        for location in locations:
            if not _inside(location, trees):
                trees = _outermost((*trees, location))
                paths.append(os.path.dirname(location))
    return Visible(tuple(trees), tuple(dict.fromkeys(paths)))


def _locate(name: str) -> list[str]:
    top = name.partition(".")[0]
    try:
        spec = importlib.util.find_spec(top) if top.isidentifier() else None
    except ValueError:  # a module without a spec, such as __main__
        spec = None
    if spec is None:
        raise InputError(
            f"warm module {name!r} is not installed", f"install it, or leave it out of warm=: pip install {top}"
        )
    if spec.submodule_search_locations:
        return [os.path.abspath(location) for location in spec.submodule_search_locations]
    return [os.path.abspath(spec.origin)] if spec.has_location and spec.origin else []


def _inside(path: str, trees: Sequence[str]) -> bool:
    return any(path == tree or path.startswith(tree + "/") for tree in trees)


def _outermost(paths: Iterable[str]) -> list[str]:
    kept: list[str] = []
    for path in sorted({os.path.abspath(path) for path in paths}):
        if not _inside(path, kept):
            kept.append(path)
    return kept


def start_failure(step: str, reason: str) -> LaunchFailed | InputError:
    """A failed step as an exception: what a module does when imported is no matter of the tier."""
    if step == "warm":
        return InputError(
            f"a warm module cannot be imported: {reason}", "mend the installation, or leave it out of warm="
        )
    return LaunchFailed(step, reason)


def _out_of_descriptors() -> PodiumError:
    return PodiumError("out of file descriptors: a session takes three", "raise the limit with `ulimit -n 65536`")


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    found = array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return list(found)


class Launcher(Protocol):
    """Where a sandbox's processes come from."""

    alive: bool

    async def start(self, limits: Limits, warm: Sequence[str], seen: Visible) -> None:
        """Get ready. Raises LaunchFailed when the tier does not work here, InputError for a broken warm module."""
        ...

    async def spawn(self) -> Process:
        """One more process, confined and waiting for requests. When cancelled, it is killed. Raises LaunchFailed."""
        ...

    def check(self) -> bool:
        """Whether it can still spawn."""
        ...

    async def settled(self) -> None:
        """Spawn no more, and wait until whatever was being spawned is known to the sandbox or came to nothing."""
        ...

    async def closed(self) -> None:
        """Let go of everything it holds itself."""
        ...


class ZygoteLauncher:
    """A zygote of tier A or B and the sessions it forks."""

    def __init__(self, tier: str, processes: set[Process], on_lost: Callable[[], None]) -> None:
        """Start the interpreter. Raises LaunchFailed, or PodiumError when this process is out of descriptors."""
        self.tier = tier
        self._processes = processes
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._first: asyncio.Future[bytes] = self._loop.create_future()  # message; empty when it died before
        self._queued: deque[asyncio.Future[Process]] = deque()
        self._asked: deque[asyncio.Future[Process]] = deque()  # in the order in which the zygote answers
        self._idle = asyncio.Event()  # nothing is asked
        self._idle.set()
        with ExitStack() as opened:
            try:
                self._errors = opened.enter_context(tempfile.TemporaryFile())
                self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                opened.enter_context(self._control)
                with theirs:
                    # From this thread: the kernel ends the zygote when the thread that started it ends.
                    self.popen = subprocess.Popen(
                        interpreter("zygote", theirs.fileno()),
                        env=environment(),
                        cwd="/",
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        stderr=self._errors,
                        pass_fds=[theirs.fileno()],
                        start_new_session=True,
                    )
            except OSError as error:
                if error.errno == errno.EMFILE:
                    raise _out_of_descriptors() from error
                raise LaunchFailed("zygote", str(error)) from error
            opened.pop_all()
        self._control.setblocking(False)
        self._loop.add_reader(self._control, self._on_message)
        self.alive = True

    async def start(self, limits: Limits, warm: Sequence[str], seen: Visible) -> None:
        """Wait until the zygote is confined and warm.

        Raises LaunchFailed when this tier does not work here, InputError when a warm module cannot be imported.
        """
        settings = {
            "tier": self.tier,
            "host": os.getpid(),
            "limits": asdict(limits),
            "warm": list(warm),
            "trees": list(seen.trees),
            "paths": list(seen.paths),
        }
        with suppress(OSError):  # it died already, and its socket says so
            self._control.send(json.dumps(settings).encode())
        message = await asyncio.shield(self._first)
        if message != b"ready":
            failure = json.loads(message) if message else {"step": "zygote", "reason": self._last_words()}
            raise start_failure(failure["step"], failure["reason"])

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read()[-2000:].decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "the interpreter died while starting"

    async def spawn(self) -> Process:
        """Fork one session. When cancelled, it is killed.

        Raises LaunchFailed, with the step `session` when it died without a word, or PodiumError when this process is
        out of descriptors.
        """
        if not self.alive:
            raise LaunchFailed("zygote", "it died")
        waiter: asyncio.Future[Process] = self._loop.create_future()
        self._queued.append(waiter)
        self._ask()
        try:
            process = await waiter
            outcome = await process.ready()
        except asyncio.CancelledError:
            # The process may have come in the very turn in which the caller went.
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                waiter.result().end(_UNWANTED)
            raise
        if isinstance(outcome, Ending):
            raise LaunchFailed("session", outcome.detail)
        if outcome.code != protocol.READY:
            process.end(_UNWANTED)
            step, _, reason = outcome.text.partition(": ")
            if step == "parent":
                # The zygote is dead, although its socket may be held open a moment longer by another session that it
                # had just forked.
                self._lose()
                raise LaunchFailed("zygote", f"a session found it gone: {reason}")
            raise LaunchFailed(step, reason)
        return process

    def _ask(self) -> None:
        """Pass on what is queued, but no more at a time than the socket's buffers surely hold."""
        while self._queued and len(self._asked) < _ASKED_AT_ONCE:
            if self._queued[0].done():
                self._queued.popleft()
                continue
            try:
                self._control.send(b"spawn")
            except BlockingIOError:
                return  # goes on with the next answer
            except OSError:
                self._lose()
                return
            self._asked.append(self._queued.popleft())
            self._idle.clear()

    def _on_message(self) -> bool:
        """Take one message; False when there is none."""
        try:
            # Not socket.recv_fds, which ignores its flags (Python 3.11).
            data, ancillary, flags, _ = self._control.recvmsg(
                1 << 16, socket.CMSG_LEN(3 * struct.calcsize("i")), socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return False
        except OSError:
            data, ancillary, flags = b"", [], 0
        if not data:
            self._lose()
            return False
        if not self._first.done():
            self._first.set_result(data)
            return True
        waiter = self._asked.popleft()
        try:
            process = self._adopt(data, _descriptors(ancillary), flags)
        except (LaunchFailed, PodiumError) as failure:
            if not waiter.done():
                waiter.set_exception(failure)
        else:
            if waiter.done():
                process.end(_UNWANTED)
            else:
                waiter.set_result(process)
        self._ask()
        if not self._asked:
            self._idle.set()
        return True

    def _adopt(self, data: bytes, descriptors: list[int], flags: int) -> Process:
        """The process of an answer. From here on the sandbox knows it, whether anybody still wants it or not."""
        try:
            if data != b"session":
                raise LaunchFailed("session", data.decode(errors="replace"))
            if flags & socket.MSG_CTRUNC or len(descriptors) != 3:
                raise _out_of_descriptors()
            control, output, pidfd = descriptors
            try:
                handle = PidfdHandle(pidfd)
            except OSError as error:
                if error.errno == errno.EMFILE:
                    raise _out_of_descriptors() from error
                raise LaunchFailed("session", str(error)) from error
        except BaseException:
            for descriptor in descriptors:
                os.close(descriptor)
            raise
        return Process(socket.socket(fileno=control), output, handle, self._processes, count_threads=self.tier != "A")

    def check(self) -> bool:
        """Whether the zygote lives, asked of its socket now: the kernel closes that before it ends the sessions.

        A session that was forked a moment ago may hold the socket open for longer than the zygote lives.
        """
        while self.alive and self._on_message():
            pass
        return self.alive

    def _lose(self) -> None:
        served = self.alive and self._first.done()
        self.close()
        if served:
            self._on_lost()

    def close(self) -> None:
        """Let go of the zygote, which ends when it notices. Does not wait."""
        self.alive = False
        if self._control.fileno() < 0:
            return
        self._loop.remove_reader(self._control)
        self._control.close()
        self._refuse(self._queued)
        self._refuse(self._asked)
        self._queued.clear()
        self._asked.clear()
        self._idle.set()
        if not self._first.done():
            self._first.set_result(b"")

    def _refuse(self, waiters: Iterable[asyncio.Future[Process]]) -> None:
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(LaunchFailed("zygote", "it died"))

    async def settled(self) -> None:
        """Ask for no more sessions and wait for those that were asked for."""
        self.alive = False
        self._refuse(self._queued)
        self._refuse(self._asked)  # their answers still come
        if not self._first.done():
            self.close()
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._idle.wait(), _END_SECONDS)

    async def closed(self) -> None:
        """End the zygote and reap it; with it go whatever sessions it still has."""
        self.close()
        await asyncio.to_thread(self._reap)

    def _reap(self) -> None:
        # In tier A the process waited for is the outer one: it goes when the inner one is gone, but a kill would reach
        # it first.
        try:
            self.popen.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
        self._errors.close()
