"""Where code is run, as far as whoever runs it needs to know: a sandbox opens sessions, a session runs blocks.

Podium's own sandboxes have more; tests and borrowed sandboxes (`podium.curate.sessions`) need no more than this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from podium.sandbox import Limits, Result


class CodeSession(Protocol):
    """A session keeps the variables of its blocks until it is closed."""

    async def run(self, code: str, /) -> Result:
        """Run one block. The output of the result is cut at the session's limit (`podium.toolcode.cut_output`)."""
        ...

    async def close(self) -> None: ...


class CodeSandbox(Protocol):
    """A sandbox opens sessions within its limits."""

    @property
    def limits(self) -> Limits: ...

    async def open(self, *, seed: int = 0, limits: Limits | None = None) -> CodeSession:
        """Open a session. `limits` may only narrow those of the sandbox."""
        ...
