"""Sessions on another machine, over the HTTP API of SandboxFusion (POST /run_jupyter), behind the same interface.

Knows that API only. The server keeps nothing between requests: every block is sent with the blocks before it that
changed something, and what they print again is thrown away. A block with effects outside its own variables (time,
random numbers without a seed) may therefore see them differ.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from podium.errors import InputError, SandboxUnavailable
from podium.sandbox.display import clean
from podium.sandbox.limits import Limits, Result, Status
from podium.toolcode import cut_output

if TYPE_CHECKING:
    import httpx

REMOTE_TIER = "remote"
# Waiting for the server's queue and its kernel's start comes on top of the blocks' own time.
_PATIENCE_SECONDS = 60.0


class RemoteSandbox:
    """`async with RemoteSandbox(url, limits) as sandbox: session = await sandbox.open()`.

    Isolation is the server's affair: every result's tier is `remote`. Of the limits, seconds and characters hold here.
    """

    def __init__(self, url: str, limits: Limits | None = None, *, requests: int = 32) -> None:
        if not url.startswith(("http://", "https://")):
            raise InputError(f"sandbox address {url!r}", "it starts with http:// or https://")
        self.url = url.rstrip("/")
        self.limits = limits or Limits()
        self.tier = REMOTE_TIER
        self.running = asyncio.Semaphore(requests)
        self._client: httpx.AsyncClient | None = None

    async def __aenter__(self) -> RemoteSandbox:
        import httpx

        self._client = httpx.AsyncClient()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def open(self, seed: int = 0, limits: Limits | None = None) -> RemoteSession:
        return RemoteSession(self, self.limits.narrowed(limits) if limits else self.limits, seed)

    async def post(self, path: str, body: dict[str, Any], seconds: float) -> dict[str, Any]:
        """One request. Raises SandboxUnavailable when the server cannot be used."""
        import httpx

        if self._client is None:
            raise InputError("the sandbox is closed", "use it inside `async with`")
        try:
            response = await self._client.post(f"{self.url}{path}", json=body, timeout=seconds)
            response.raise_for_status()
            value = response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise SandboxUnavailable(
                f"{self.url}{path}: {type(error).__name__}: {error}", "is the SandboxFusion server running there?"
            ) from error
        if not isinstance(value, dict):
            raise SandboxUnavailable(f"{self.url}{path}: the answer is no object", "is it a SandboxFusion server?")
        return value


class RemoteSession:
    """Variables that live from block to block, by running the earlier blocks again."""

    def __init__(self, sandbox: RemoteSandbox, limits: Limits, seed: int) -> None:
        self._sandbox = sandbox
        self._history = [f"import random\nrandom.seed({seed!r})"]
        self._turn = asyncio.Lock()
        self.limits = limits

    async def run(self, code: str) -> Result:
        """Run one block after those before it. Raises InputError and SandboxUnavailable."""
        if not isinstance(code, str):
            raise InputError(f"code is {type(code).__name__}, not text", "pass a str")
        loop = asyncio.get_running_loop()
        async with self._turn:
            asked = loop.time()
            async with self._sandbox.running:
                started = loop.time()
                answer = await self._post([*self._history, code])
                seconds = loop.time() - started
            status, text = self._read(answer)
            if status in ("ok", "error"):
                # A block that failed half-way has changed variables too; it fails the same way again, silently.
                self._history.append(_silenced(code) if status == "error" else code)
        shown, missing = cut_output(clean(text), 0, "", self.limits.output_chars)
        return Result(status, shown, REMOTE_TIER, seconds, queued_seconds=started - asked, dropped_chars=missing)

    async def _post(self, cells: list[str]) -> dict[str, Any]:
        limit = self.limits.wall_seconds
        body = {"cells": cells, "kernel": "python3", "cell_timeout": limit, "total_timeout": limit * len(cells) + 30}
        return await self._sandbox.post("/run_jupyter", body, limit * len(cells) + _PATIENCE_SECONDS)

    def _read(self, answer: dict[str, Any]) -> tuple[Status, str]:
        if answer.get("status") == "SandboxError":
            raise SandboxUnavailable(
                f"the sandbox server failed: {str(answer.get('message'))[:300]}", "look at the server's log"
            )
        cells = answer.get("cells") or []
        if len(cells) != len(self._history) + 1:
            driver = answer.get("driver") or {}
            if driver.get("status") == "TimeLimitExceeded":
                return "timeout", f"Stopped after {self.limits.wall_seconds:g} seconds."
            return "crashed", "The process died."
        cell = cells[-1]
        text = cell.get("stdout", "") + cell.get("stderr", "")
        text += "".join(str(shown.get("text/plain", "")) + "\n" for shown in cell.get("display", []))
        errors = cell.get("error", [])
        for error in errors:
            text += f"{error.get('ename')}: {error.get('evalue')}\n"
        timed_out = any("imeout" in str(error.get("ename")) for error in errors)
        return ("timeout" if timed_out else "error" if errors else "ok"), text

    async def close(self) -> None:
        """Forget the session; the server holds nothing of it."""
        self._history.clear()

    async def __aenter__(self) -> RemoteSession:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _silenced(code: str) -> str:
    return f"try:\n    exec(compile({code!r}, '<block>', 'exec'), globals())\nexcept BaseException:\n    pass"
