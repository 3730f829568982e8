"""A session: a notebook whose process may die and be replaced, and what is said of it when it does.

Knows results, not tiers or processes' insides. The sandbox hands out processes; the session turns answers into
Results.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from podium.errors import InputError
from podium.sandbox import protocol
from podium.sandbox.display import clean
from podium.sandbox.limits import Limits, Result, Status
from podium.sandbox.process import Answer, Ending, Process
from podium.toolcode import cut_output

if TYPE_CHECKING:
    from podium.sandbox.host import Sandbox

_STATUS: dict[int, Status] = {
    protocol.OK: "ok",
    protocol.ERROR: "error",
    protocol.MEMORY: "memory",
    protocol.INTERRUPTED: "error",  # by itself; the host's clock is asked first
}
_ATTEMPTS = 3
_RESTARTED = "The session was restarted: all variables are lost."


class Session:
    """Variables that live from block to block. One block runs at a time; others wait."""

    def __init__(self, sandbox: Sandbox, process: Process, limits: Limits, seed: int) -> None:
        self._sandbox = sandbox
        self._process: Process | None = process
        self._told = True  # whether the caller knows that the last process is lost
        self._turn = asyncio.Lock()
        self._closed = False
        self.limits = limits
        self.seed = seed

    async def run(self, code: str) -> Result:
        """Run one block.

        A block that fails, in whatever way, is a Result. When a process was killed, the next block starts in a fresh
        one; when it was lost between blocks, the next call says `state-lost` and runs nothing.

        Raises:
            InputError: `code` is not a str, or the session is closed, or was while the block ran.
            SandboxUnavailable: a lost process cannot be replaced.
        """
        if not isinstance(code, str):
            raise InputError(f"code is {type(code).__name__}, not text", "pass a str")
        async with self._turn:
            if self._closed:
                raise _closed()
            return await self._run(code)

    async def _run(self, code: str) -> Result:
        try:
            source = code.encode()
        except UnicodeEncodeError:
            return self._refused("The code is not valid text: it holds half of a surrogate pair.")
        if len(source) > self.limits.code_bytes:
            return self._refused(f"The code is too long: {len(source)} bytes, {self.limits.code_bytes} are allowed.")
        if self._process is not None and self._process.ending is not None:
            detail = self._process.ending.detail
            self._process = None
            if not self._told:
                return self._lost(detail)
        queued = asyncio.get_running_loop().time()
        async with self._sandbox.running:
            waited = asyncio.get_running_loop().time() - queued
            for _ in range(_ATTEMPTS):
                at_stake = not self._told
                process = self._process or await self._sandbox.acquire(self.limits, self.seed)
                if self._closed:
                    self._sandbox.release(process)
                    raise _closed()
                self._process = process
                self._told = False
                answer = await process.run(source, self.limits)
                if not isinstance(answer.outcome, Ending) or answer.outcome.status != "state-lost":
                    return self._result(answer, waited)
                if self._closed:
                    raise _closed()
                # The process was dead before the block. If it held no variables, another is as good.
                self._process = None
                self._told = True
                if at_stake:
                    return self._lost(answer.outcome.detail)
            return self._lost("every process died before it got the block")

    def _result(self, answer: Answer, queued: float) -> Result:
        outcome = answer.outcome
        detail = ""
        written = clean(answer.written.decode("utf-8", "replace"))
        if isinstance(outcome, Ending):
            status, detail, dropped, rest = outcome.status, outcome.detail, 0, ""
            if answer.interrupted and status == "crashed":
                status = "timeout"
            if self._sandbox.zygote_lost_with(outcome):
                status = "state-lost"
            self._told = True
            self._process = None
        else:
            status = "timeout" if answer.interrupted else _STATUS.get(outcome.code, "error")
            dropped, rest = outcome.dropped, clean(outcome.text)
        text, missing = cut_output(written, dropped, rest, self.limits.output_chars)
        lost = isinstance(outcome, Ending)
        notes = (
            _NOTES.get(status, "").format(seconds=self.limits.wall_seconds, detail=detail)
            if lost or status == "timeout"
            else ""
        )
        if lost:
            notes = f"{notes} {_RESTARTED}".strip()
        return Result(
            status=status,
            output=_with_note(text, notes),
            tier=self._sandbox.tier,
            wall_seconds=answer.wall_seconds,
            cpu_seconds=answer.cpu_seconds,
            queued_seconds=queued,
            dropped_chars=missing,
            state_lost=lost,
            detail=detail,
        )

    def _refused(self, why: str) -> Result:
        return Result("error", why, self._sandbox.tier)

    def _lost(self, detail: str) -> Result:
        self._told = True
        note = f"{_RESTARTED} This block did not run."
        return Result("state-lost", note, self._sandbox.tier, state_lost=True, detail=detail)

    async def close(self) -> None:
        """End the session's process. May be called again."""
        self._closed = True
        if self._process is not None:
            self._sandbox.release(self._process)
            self._process = None

    async def __aenter__(self) -> Session:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _closed() -> InputError:
    return InputError("the session is closed", "open another one")


_NOTES = {
    "timeout": "Stopped after {seconds:g} seconds.",
    "output-limit": "Stopped: too much output.",
    "crashed": "The process died ({detail}).",
    "state-lost": "",
}


def _with_note(text: str, note: str) -> str:
    if not note:
        return text
    return f"{text.rstrip()}\n{note}\n".lstrip("\n")


def open_request(limits: Limits, seed: int) -> bytes:
    return json.dumps({"seed": seed, "limits": asdict(limits)}).encode()
