"""The event loop that a notebook has running: one per session, made when a block first asks for it.

Knows asyncio and nothing of blocks' sources. Blocks are ordinary code that runs while this loop counts as the running
one, so that tasks can be made; it really runs while a block awaits. `asyncio.run` and loops of the block's own work in
either state, which a notebook refuses.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

_CANCEL_SECONDS = 0.2  # for what an interrupted await does on its way out; the host kills after half a second


class SessionLoop:
    """Lends an event loop to the blocks of one session. asyncio is imported (by a session, not by the zygote) when the
    first block does so or awaits."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    @contextmanager
    def lent(self, source: str) -> Iterator[None]:
        """While it lasts, the session's loop is the running one, if this block can know of asyncio at all."""
        if "asyncio" not in sys.modules and "asyncio" not in source:
            yield
            return
        from asyncio import _set_running_loop

        _set_running_loop(self._ready())
        try:
            yield
        finally:
            _set_running_loop(None)

    def complete(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a block's coroutine to its end and return its value, or raise what it raises.

        An interrupt cancels it, as far as it can be cancelled in a moment, and is raised.
        """
        import asyncio

        loop = self._ready()
        task = loop.create_task(coroutine)
        try:
            return loop.run_until_complete(task)
        except (KeyboardInterrupt, SystemExit):
            if not task.done():
                task.cancel()
                loop.run_until_complete(asyncio.wait([task], timeout=_CANCEL_SECONDS))
            raise
        finally:
            if task.done() and not task.cancelled():
                task.exception()  # was raised above; asyncio would complain that nobody looked at it

    def _ready(self) -> asyncio.AbstractEventLoop:
        import asyncio

        if self._loop is None:
            _allow_nested_loops()
        if self._loop is None or self._loop.is_closed():
            self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        return self._loop


def _allow_nested_loops() -> None:
    """Let another loop run while one runs: the outer one waits."""
    import asyncio
    from asyncio import base_events, runners

    run = _aside(runners.run)
    runners.run = asyncio.run = run
    runners.Runner.run = _aside(runners.Runner.run)
    loop = base_events.BaseEventLoop
    loop.run_forever = _aside(loop.run_forever)
    loop.run_until_complete = _aside(loop.run_until_complete)


def _aside(function: Callable[..., Any]) -> Any:
    """The same function, called while no loop counts as running."""
    from asyncio import _get_running_loop, _set_running_loop, tasks

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        outer = _get_running_loop()
        if outer is None:
            return function(*arguments, **options)
        task = tasks.current_task(outer)
        if task is not None:
            tasks._leave_task(outer, task)
        _set_running_loop(None)
        try:
            return function(*arguments, **options)
        finally:
            _set_running_loop(outer)
            if task is not None:
                tasks._enter_task(outer, task)

    return call
