"""Running blocks as a notebook does, inside a session.

Knows Python and nothing of isolation: variables live on between blocks, the value of a last expression is shown, an
error shows a short traceback of the block's own frames, an interrupt ends the block and keeps the variables.
"""

from __future__ import annotations

import faulthandler
import linecache
import random
import sys
import traceback
import types
from inspect import CO_COROUTINE
from signal import (
    ITIMER_PROF,
    ITIMER_REAL,
    ITIMER_VIRTUAL,
    SIG_BLOCK,
    SIG_DFL,
    SIG_IGN,
    SIG_SETMASK,
    SIGALRM,
    SIGINT,
    SIGPROF,
    SIGVTALRM,
    getsignal,
    pthread_sigmask,
    setitimer,
    signal,
    sigpending,
)
from typing import Any

from podium.sandbox import protocol
from podium.sandbox.awaiting import SessionLoop
from podium.sandbox.blocks import BlockReader
from podium.sandbox.shown import Shown
from podium.sandbox.transcript import Transcript

_FRAMES_SHOWN = 6
# Interval timers and what they send. POSIX timers and timer descriptors cannot be had in a session.
_ALARMS = ((ITIMER_REAL, SIGALRM), (ITIMER_VIRTUAL, SIGVTALRM), (ITIMER_PROF, SIGPROF))
_GUARDED = (SIGINT, SIGALRM, SIGVTALRM, SIGPROF)
_QUIET_ATTEMPTS = 8
_DIGITS = 1_000_000  # of an integer as text; CPython's own limit of 4300 is met by ordinary answers

_HINTS = {
    "subprocess.py": "no other program can be run here",
    "popen_fork.py": "no process can be started here; use a loop or threads",
    "multiprocessing": "no process can be started here; use a loop or threads",
    "socket.py": "there is no network here",
}


class Notebook:
    """One session's variables and the loop body that runs a block over them."""

    def __init__(self, transcript: Transcript) -> None:
        self.transcript = transcript
        self.module = types.ModuleType("__main__")
        self._reader = BlockReader()
        self._loop = SessionLoop()
        self._shown = Shown(self.module.__dict__, transcript.write)
        self._count = 0
        self._interruptible = False

    def open(self, seed: int) -> None:
        """Make this the program's main module and seed the generators that have a global state."""
        sys.modules["__main__"] = self.module
        self._shown.offer()
        sys.set_int_max_str_digits(_DIGITS)
        random.seed(seed)
        numpy = sys.modules.get("numpy")
        if numpy is not None:
            numpy.random.seed(seed % 2**32)

    def run(self, source: str, room: int) -> tuple[int, int, str]:
        """Run one block of which `room` characters of output go out at once.

        Returns (reply code, characters dropped, text not yet sent).
        """
        self._count += 1
        self.transcript.begin(room)
        sys.stdout = sys.stderr = self.transcript
        code = protocol.INTERRUPTED
        try:
            try:
                signal(SIGINT, self._on_interrupt)
                self._interruptible = True
                code = self._execute(source, f"<block {self._count}>")
            finally:
                self._interruptible = False
        except BaseException:
            # An interrupt, or what a signal handler of the block raised, between the block and the line above; the
            # host's clock has the last word either way.
            self._interruptible = False
        try:
            # Blocks them first and then runs the handlers that are due: no more of them comes.
            pthread_sigmask(SIG_BLOCK, _GUARDED)
        except BaseException:
            pass
        handlers: dict[int, Any] = {}
        for _ in range(_QUIET_ATTEMPTS):
            try:
                self._quiet(handlers)
                break
            except BaseException:  # raised by one that was due
                continue
        text, dropped = self.transcript.finish()
        return code, dropped, text

    def _on_interrupt(self, number: int, frame: types.FrameType | None) -> None:
        if self._interruptible:
            raise KeyboardInterrupt

    def _quiet(self, handlers: dict[int, Any]) -> None:
        """Take back what a block left armed, or it would hit a later block: alarms, blocked signals, its own handler
        of the interrupt. Handlers of alarms stay for the next block, as variables do.

        Raises whatever a handler of the block's raises that was due; is called again then, with the same `handlers`.
        """
        for timer, number in _ALARMS:
            setitimer(timer, 0)
            handlers.setdefault(number, getsignal(number) or SIG_DFL)
        faulthandler.cancel_dump_traceback_later()
        if sigpending() or any(handler != SIG_DFL for handler in handlers.values()):
            for timer, number in _ALARMS:
                signal(number, _nothing)
                setitimer(timer, 0)  # a handler may have armed it again
                signal(number, SIG_IGN)  # forgets one that waits behind a mask
            for number, handler in handlers.items():
                signal(number, handler)
        if getsignal(SIGINT) != self._on_interrupt:
            signal(SIGINT, self._on_interrupt)
        pthread_sigmask(SIG_SETMASK, ())

    def _execute(self, source: str, name: str) -> int:
        # Tracebacks find the source text of the block here.
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        self._shown.inputs.append(source)
        try:
            statements, last = self._reader.read(source, name)
            with self._loop.lent(source):
                self._evaluate(statements)
                if last is not None:
                    value = self._evaluate(last)
                    if value is not None:
                        self._shown.value(value, self._count)
        except KeyboardInterrupt as error:
            self._interruptible = False  # a second one is for blocks that the first did not reach
            self._report(error)
            return protocol.INTERRUPTED
        except MemoryError as error:
            self._report(error)
            return protocol.MEMORY
        except BaseException as error:  # SystemExit and whatever a block derives from BaseException end the block only
            self._report(error)
            return protocol.ERROR
        return protocol.OK

    def _evaluate(self, code: types.CodeType) -> Any:
        result = eval(code, self.module.__dict__)
        return self._loop.complete(result) if code.co_flags & CO_COROUTINE else result

    def _report(self, error: BaseException) -> None:
        """Write the traceback. Formatting runs the block's own __str__ and may fail in any way."""
        try:
            text = _format(error)
        except BaseException as failure:
            text = f"{type(error).__name__} (its text cannot be shown: {type(failure).__name__})\n"
        self.transcript.write(text)


def _nothing(number: int, frame: types.FrameType | None) -> None:
    """A handler that does nothing. Python complains of a signal that comes while its handler is set to none."""


def _format(error: BaseException) -> str:
    report = traceback.TracebackException(type(error), error, error.__traceback__, compact=True)
    files = {frame.filename for frame in report.stack}
    _own_frames(report)
    text = "".join(report.format())
    if isinstance(error, OSError):
        for part, hint in _HINTS.items():
            if any(part in file for file in files):
                return f"{text.rstrip()}\n({hint})\n"
    return text


def _own_frames(report: traceback.TracebackException | None) -> None:
    """Keep the last few frames that lie in blocks, here and in the errors that led to this one."""
    for _ in range(_FRAMES_SHOWN):
        if report is None:
            return
        own = [frame for frame in report.stack if frame.filename.startswith("<block ")]
        report.stack = traceback.StackSummary.from_list(own[-_FRAMES_SHOWN:])
        if report.__cause__ is None and report.__suppress_context__:
            report.__context__ = None
        report = report.__cause__ or report.__context__
    if report is not None:
        report.__cause__ = report.__context__ = None
