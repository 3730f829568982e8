"""A service manager's SIGTERM is Ctrl-C from another hand: every command ends on the same path for both.

Knows signals; no rooms. Whoever handles SIGINT in its own way (asyncio, the trainer) is asked for SIGTERM too.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_asked: list[signal.Signals] = []  # the signals that have asked this process to stop


def note(number: int) -> None:
    """Remember that this signal has asked the process to stop; for whoever handles it itself."""
    _asked.append(signal.Signals(number))


def exit_code() -> int:
    """Of a process that was stopped: 143 where SIGTERM was the first to ask, else 130, as shells number them."""
    return 128 + (_asked[0] if _asked else signal.SIGINT)


def _raise_interrupt() -> None:
    raise KeyboardInterrupt


def _stop_without_sigint() -> None:
    """Stop a process that was started with SIGINT ignored, as shells do it to background jobs; asyncio leaves it so.

    The first signal ends a running event loop between two steps of its tasks, and asyncio.run then cancels them.
    Without a loop, or the second time, it is raised at once.

    Raises:
        KeyboardInterrupt: when raised at once.
    """
    import asyncio

    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        loop = None
    if loop is None or len(_asked) > 1:
        _raise_interrupt()
    else:
        loop.call_soon_threadsafe(_raise_interrupt)


def _is_no_interrupt(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], KeyboardInterrupt))


@contextmanager
def sigterm_like_ctrl_c() -> Iterator[None]:
    """Within, SIGTERM does what SIGINT would do at that moment. Elsewhere than on the main thread nothing changes."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) is signal.SIG_IGN:
        yield
        return
    _asked.clear()
    # A second signal is raised within a task, through which it reaches the command. asyncio also logs it, as an
    # exception of the task that nobody asked for. It does so as late as at the process's end, so the filter stays.
    logging.getLogger("asyncio").addFilter(_is_no_interrupt)

    def interrupt(number: int, frame: FrameType | None) -> None:
        note(number)
        handler = signal.getsignal(signal.SIGINT)
        if callable(handler):
            handler(signal.SIGINT, frame)
        else:
            _stop_without_sigint()

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
