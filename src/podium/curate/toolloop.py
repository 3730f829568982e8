"""One solution by a teacher: it writes, its code is run, the output goes back to it. No clock, no voting, no events.

Knows the form of tool-integrated solutions (docs/architecture.md); refuses to know who the teacher is.
"""

from __future__ import annotations

from dataclasses import dataclass

from podium.answering.protocol import Completer, CompletionUsage, Finish, Prompt, Sampling
from podium.curate.sessions import CodeSandbox, CodeSession
from podium.records import Part

OPEN_TAG, CLOSE_TAG = "<tool_call>", "</tool_call>"
SHOWN_CHARACTERS = 1_000  # of a block's output


@dataclass(frozen=True, slots=True)
class Written:
    """What came of it: the parts, why it ended, and how each block of code went."""

    parts: tuple[Part, ...]
    finish: Finish
    statuses: tuple[str, ...]  # of the blocks, as the sandbox names them
    code_seconds: float
    usage: CompletionUsage


async def write_solution(
    completer: Completer,
    prompt: Prompt,
    sampling: Sampling,
    sandbox: CodeSandbox | None,
    *,
    max_calls: int = 8,
    seed: int = 0,
) -> Written:
    """Let the teacher write until it ends, or asks for more than `max_calls` runs. Without a sandbox nothing is run."""
    completion = await completer.start(prompt, sampling)
    session: CodeSession | None = None
    parts: list[Part] = []
    statuses: list[str] = []
    text, seconds, finish = "", 0.0, "eos"
    try:
        while True:
            async for piece in completion:
                text += piece.text
                finish = piece.finish or finish
            opened, code = text.removesuffix(CLOSE_TAG).rpartition(OPEN_TAG)[1:]
            if text:
                parts.append(Part(role="model", text=text))
            if finish != "stop" or not opened or sandbox is None or len(statuses) == max_calls:
                break
            if session is None:
                session = await sandbox.open(seed=seed)
            result = await session.run(code.strip("\n"))
            statuses.append(result.status)
            seconds += result.wall_seconds
            shown = f"\n```output\n{result.output.rstrip(chr(10))[:SHOWN_CHARACTERS]}\n```\n"
            parts.append(Part(role="tool", text=shown))
            await completion.extend(shown)
            text = ""
    finally:
        if session is not None:
            await session.close()
        usage = await completion.cancel()
    return Written(tuple(parts), finish, tuple(statuses), seconds, usage)
