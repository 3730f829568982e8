"""The sandbox for code that is not asynchronous: the same sessions, on a loop in a thread of their own.

Knows nothing of sandboxes but their interface. Sessions may be used from several threads.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from podium.errors import InputError
from podium.sandbox.host import Sandbox
from podium.sandbox.limits import Limits, Result
from podium.sandbox.session import Session

T = TypeVar("T")


class SyncSandbox:
    """`with SyncSandbox(limits) as sandbox: session = sandbox.open(); result = session.run(code)`.

    Takes the arguments of Sandbox and raises what it raises.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._sandbox = Sandbox(*arguments, **options)
        self._loop = asyncio.new_event_loop()
        self._ending = threading.Lock()
        self._ended = False
        self._thread = threading.Thread(target=self._loop.run_forever, name="podium-sandbox", daemon=True)

    def _await(self, work: Coroutine[Any, Any, T]) -> T:
        with self._ending:
            if self._ended:
                work.close()
                raise InputError("the sandbox is closed", "use it inside `with`")
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            raise

    def __enter__(self) -> SyncSandbox:
        self._thread.start()
        try:
            self._await(self._sandbox.__aenter__())
        except BaseException:
            self._end_loop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._await(self._sandbox.__aexit__())
        self._end_loop()

    def _end_loop(self) -> None:
        with self._ending:
            self._ended = True
        # Other threads may wait for answers; with the sandbox closed they get them at once.
        asyncio.run_coroutine_threadsafe(_others_done(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    @property
    def tier(self) -> str:
        return self._sandbox.tier

    def open(self, seed: int = 0, limits: Limits | None = None) -> SyncSession:
        return SyncSession(self, self._await(self._sandbox.open(seed, limits)))


async def _others_done() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        await asyncio.wait(others)


class SyncSession:
    """A Session whose methods wait."""

    def __init__(self, sandbox: SyncSandbox, session: Session) -> None:
        self._sandbox = sandbox
        self._session = session

    def run(self, code: str) -> Result:
        return self._sandbox._await(self._session.run(code))

    def close(self) -> None:
        with suppress(InputError):  # it went with the sandbox
            self._sandbox._await(self._session.close())

    def __enter__(self) -> SyncSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
