"""A service manager's SIGTERM is Ctrl-C from another hand: every command ends on the same path for both.

Knows signals; no rooms. Whoever handles SIGINT in its own way (asyncio, the trainer) is asked for SIGTERM too.
"""

from __future__ import annotations

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


@contextmanager
def sigterm_like_ctrl_c() -> Iterator[None]:
    """Within, SIGTERM does what SIGINT would do at that moment. Elsewhere than on the main thread nothing changes."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) is signal.SIG_IGN:
        yield
        return
    _asked.clear()

    def interrupt(number: int, frame: FrameType | None) -> None:
        note(number)
        handler = signal.getsignal(signal.SIGINT)
        if callable(handler):
            handler(signal.SIGINT, frame)
        else:  # shells start background jobs with SIGINT ignored
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
