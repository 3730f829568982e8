"""Sandbox sessions that serve several solutions one after another.

Knows the sandbox's interface only. A fresh session takes several times as long as a block, and the programmatic
teacher's programs are ours and define everything they use: what an earlier one left behind cannot change them. For
code that a language model wrote this does not hold; it gets a fresh session per solution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from podium.answering.code_session import CodeSandbox, CodeSession

if TYPE_CHECKING:
    from podium.sandbox import Limits, Result


class ReusedSessions:
    """A pool of sessions: each serves up to `times` solutions, one after another, if all its blocks end well.

    Leaving the context closes them. A session has the seed of its first solution, and serves only solutions with the
    same limits.
    """

    def __init__(self, sandbox: CodeSandbox, times: int) -> None:
        self._sandbox = sandbox
        self._times = times
        self._free: dict[Limits | None, list[_Lease]] = {}

    @property
    def limits(self) -> Limits:
        return self._sandbox.limits

    async def __aenter__(self) -> ReusedSessions:
        return self

    async def __aexit__(self, *_: object) -> None:
        while self._free:
            leases = self._free.popitem()[1]
            while leases:
                await leases.pop().session.close()

    async def open(self, *, seed: int = 0, limits: Limits | None = None) -> CodeSession:
        free = self._free.get(limits)
        lease = free.pop() if free else _Lease(self, await self._sandbox.open(seed=seed, limits=limits), limits)
        lease.uses += 1
        return lease

    async def give_back(self, lease: _Lease) -> None:
        if lease.clean and lease.uses < self._times:
            self._free.setdefault(lease.limits, []).append(lease)
        else:
            await lease.session.close()


class _Lease:
    """One session of the pool; it stays clean as long as every block ends well."""

    def __init__(self, owner: ReusedSessions, session: CodeSession, limits: Limits | None) -> None:
        self.session = session
        self.limits = limits
        self.uses = 0
        self.clean = True
        self._owner = owner

    async def run(self, code: str, /) -> Result:
        self.clean, before = False, self.clean  # a block that is cancelled leaves the session in an unknown state
        result = await self.session.run(code)
        self.clean = before and result.status == "ok"
        return result

    async def close(self) -> None:
        await self._owner.give_back(self)
