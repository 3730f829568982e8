"""A token limit for attempts that the clock makes: nobody can write more in the longest time a problem may take.

Without one an attempt that never ends keeps its place and its memory until the clock rings. Measured is one attempt
alone, which is as fast as an attempt ever gets: the limit cuts nothing off that the clock would have let finish.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from pydantic import BaseModel, ConfigDict

from podium.answering.protocol import Completer, Sampling
from podium.records import Message

TRIED_TOKENS = 48
FEWEST_TOKENS = 8  # fewer say nothing of the speed
TRIED_SECONDS = 15.0
SPARE = 1.25  # a machine may get faster after the first tokens
STEP = 64
LEAST = 256


class TokenLimit(BaseModel):
    """A limit and what it was made from; kept in the exam's folder, so that an exam gone on with keeps it."""

    model_config = ConfigDict(frozen=True)

    tokens: int  # per attempt
    tokens_per_second: float  # of one attempt alone
    seconds: float  # that a problem may take at most

    def told(self) -> str:
        return (
            f"token limit {self.tokens:,} per attempt: one alone writes {self.tokens_per_second:.3g} tokens/s here, "
            f"and a problem takes {self.seconds:.3g} s at most (--max-tokens sets another)"
        )


def limit_from(speed: float, seconds: float, most: int) -> TokenLimit | None:
    """The limit for `speed` tokens per second and `seconds` per problem; None where `most` is no higher anyway."""
    tokens = max(LEAST, STEP * math.ceil(speed * seconds * SPARE / STEP))
    return None if tokens >= most else TokenLimit(tokens=tokens, tokens_per_second=speed, seconds=seconds)


async def measure_speed(
    completer: Completer, messages: Sequence[Message], sampling: Sampling, read: Callable[[], float]
) -> float | None:
    """Tokens per second of one completion alone, its first token not counted; None where too few came in 15 s.

    Raises:
        CompleterError: the completer cannot answer.
    """
    completion = await completer.start(messages, replace(sampling, max_tokens=TRIED_TOKENS, stop=()))
    tokens, first, began, last = 0, 0, 0.0, 0.0
    try:
        async with asyncio.timeout(TRIED_SECONDS):
            async for piece in completion:
                count = len(piece.tokens) or bool(piece.text)
                last = read() if count else last
                if not tokens:
                    first, began = count, last
                tokens += count
    except TimeoutError:
        pass
    finally:
        await completion.cancel()
    written = tokens - first
    return written / (last - began) if written >= FEWEST_TOKENS and last > began else None
