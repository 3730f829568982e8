"""The sandbox: one tier, one zygote, a pool of ready sessions, and admission of running blocks.

Knows how to keep these alive. All of it lives on the asyncio loop it was entered on.
"""

from __future__ import annotations

import asyncio
import os
import warnings
from collections import deque
from collections.abc import Sequence

from podium.errors import InputError, PodiumError, SandboxUnavailable
from podium.sandbox import tiers
from podium.sandbox.fresh import FreshLauncher
from podium.sandbox.launch import Launcher, LaunchFailed, ZygoteLauncher, visible
from podium.sandbox.limits import Limits
from podium.sandbox.process import Ending, Process
from podium.sandbox.session import Session, open_request

_CLOSED = Ending("state-lost", "closed")
_REFILL_SECONDS = 0.03
_GONE_SECONDS = 5.0  # for killed processes; more than a busy machine takes
_RESTARTS = 5  # of the zygote, in a row without one session in between


class Sandbox:
    """Isolated Python sessions.

    Args:
        limits: of every session; `open` may narrow them.
        warm: modules imported once, before any session.
        tier: `A`, `B`, `C` or `D`; the strongest that works here when not given.
        allow_unsafe: permit tier D, no isolation, when nothing else works. Said by a warning and in every result.
        ready: sessions kept waiting for `open`.
        running: blocks that run at the same time, the number of cores when not given; more wait, and their wait counts
            against no limit.

    Entering raises SandboxUnavailable when no tier works here and InputError for a missing warm module.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        warm: Sequence[str] = ("numpy", "sympy"),
        *,
        tier: str | None = None,
        allow_unsafe: bool = False,
        ready: int = 4,
        running: int | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.tier = ""
        self._warm = tuple(warm)
        self._candidates = tiers.candidates(tier, allow_unsafe)
        self._target = ready
        self.running = asyncio.Semaphore(running or len(os.sched_getaffinity(0)))
        self._launcher: Launcher | None = None
        self._pool: deque[Process] = deque()
        self._processes: set[Process] = set()
        self._starting = asyncio.Lock()
        self._refill: asyncio.Task[None] | None = None
        self._closed = True

    async def __aenter__(self) -> Sandbox:
        if not self._closed:
            raise InputError("the sandbox is open already", "enter it once")
        self._seen = visible(self._warm)
        failures: list[tuple[str, LaunchFailed]] = []
        for tier in self._candidates:
            try:
                await self._start(tier)
            except LaunchFailed as failure:
                failures.append((tier, failure))
                await self._stop()
                continue
            except BaseException:
                await self._stop()
                raise
            self._closed = False
            if tier == "D":
                warnings.warn("sandbox tier D: code runs without any isolation", stacklevel=2)
            self._top_up()
            return self
        raise tiers.unavailable(failures)

    async def _start(self, tier: str) -> None:
        """A zygote of this tier, proven by a canary."""
        self.tier = tier
        self._launcher = self._make_launcher(tier)
        await self._launcher.start(self.limits, self._warm, self._seen)
        process = await self._launcher.spawn()
        try:
            await tiers.canary(process, tier, self.limits)
        finally:
            self.release(process)

    def _make_launcher(self, tier: str) -> Launcher:
        if tier in ("A", "B"):
            return ZygoteLauncher(tier, self._processes, self._on_lost)
        return FreshLauncher(tier, self._processes)

    async def open(self, seed: int = 0, limits: Limits | None = None) -> Session:
        """A fresh session, from the pool when one is ready.

        `seed` sets `random` and, when warm, `numpy.random`. `limits` may only narrow the sandbox's.

        Raises SandboxUnavailable when the zygote is lost and cannot be started again.
        """
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise InputError(f"seed is {seed!r}", "seeds are whole numbers")
        narrowed = self.limits.narrowed(limits) if limits else self.limits
        process = await self.acquire(narrowed, seed)
        return Session(self, process, narrowed, seed)

    async def acquire(self, limits: Limits, seed: int) -> Process:
        """A process that will have these limits and this seed."""
        process = await self._take()
        process.prepare(open_request(limits, seed))
        return process

    async def _take(self) -> Process:
        try:
            while self._pool:
                process = self._pool.popleft()
                if process.ending is None:
                    return process
            return await self._spawn()
        finally:
            self._top_up()

    async def _spawn(self) -> Process:
        """Fork a session, starting the zygote again when it was lost."""
        failure = LaunchFailed("zygote", "it died")
        for _ in range(_RESTARTS):
            async with self._starting:
                try:
                    launcher = await self._living()
                except LaunchFailed as lost:
                    failure = lost
                    if failure.step == "zygote":
                        continue
                    raise tiers.unavailable([(self.tier, failure)]) from failure
            try:
                return await launcher.spawn()
            except LaunchFailed as lost:
                failure = lost
                # A session that died without a word may have been taken along by a zygote whose own end shows later.
                if launcher.check() and failure.step != "session":
                    break
        if failure.step == "zygote":
            raise SandboxUnavailable(
                f"the sandbox's zygote keeps dying: {failure.reason}",
                "look for an out-of-memory killer in the kernel's log",
            ) from failure
        raise SandboxUnavailable(
            f"a session of tier {self.tier} could not be started: {failure}", tiers.cure([("", failure)])
        ) from failure

    async def _living(self) -> Launcher:
        """The launcher, a new one if the last was lost; under the lock, so that one is started and not several."""
        self._refuse_when_closed()
        if self._launcher is not None and self._launcher.alive:
            return self._launcher
        if self._launcher is not None:
            await self._launcher.closed()
            # Whoever closed the sandbox meanwhile will not look for another launcher.
            self._refuse_when_closed()
        self._launcher = launcher = self._make_launcher(self.tier)
        try:
            await launcher.start(self.limits, self._warm, self._seen)
        except BaseException:
            await launcher.closed()
            raise
        return launcher

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise InputError("the sandbox is closed", "use it inside `async with`")

    def _on_lost(self) -> None:
        """The zygote died, and its sessions with it: each of them says so when it is used next."""
        # Those of the pool may not be dead yet, but they will be before a block ends.
        for process in self._pool:
            self.release(process)
        self._pool.clear()
        self._top_up()

    def _top_up(self) -> None:
        if not self._closed and (self._refill is None or self._refill.done()):
            self._refill = asyncio.get_running_loop().create_task(self._fill())

    async def _fill(self) -> None:
        # A fork takes a core for some milliseconds, which the block that is about to run may have first.
        await asyncio.sleep(_REFILL_SECONDS)
        self._pool = deque(process for process in self._pool if process.ending is None)
        while not self._closed and len(self._pool) < self._target:
            try:
                self._pool.append(await self._spawn())
            except PodiumError:
                return  # whoever needs a session next meets the same error and can act on it

    def release(self, process: Process) -> None:
        """Kill a process that nobody needs any more."""
        process.end(_CLOSED)

    @property
    def zygote_pid(self) -> int:
        """Process id of the zygote (tiers A and B), for tests and monitoring."""
        if not isinstance(self._launcher, ZygoteLauncher):
            raise InputError(f"tier {self.tier or '-'} has no zygote", "only an open sandbox of tier A or B has one")
        return self._launcher.popen.pid

    def zygote_lost_with(self, ending: Ending) -> bool:
        """Whether a process ended because the zygote did."""
        return ending.status == "crashed" and (self._launcher is None or not self._launcher.check())

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    async def _stop(self) -> None:
        """Nothing is left afterwards: no process, no descriptor. Whoever waits for a session is told."""
        self._closed = True
        try:
            if self._refill is not None:
                self._refill.cancel()
                await asyncio.wait([self._refill])
                self._refill = None
            if self._launcher is not None:
                await self._launcher.settled()
            async with self._starting:
                pass  # a zygote that was being started has been given up
            for process in list(self._processes):
                self.release(process)
            # While the zygote lives it reaps them.
            await self._all_gone()
        finally:
            self._pool.clear()
            launcher, self._launcher = self._launcher, None
            if launcher is not None:
                await launcher.closed()
            await self._all_gone()

    async def _all_gone(self) -> None:
        if self._processes:
            await asyncio.wait([process.gone for process in self._processes], timeout=_GONE_SECONDS)
