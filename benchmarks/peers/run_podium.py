"""Podium's engine behind benchmarks/peers/worker.py. Formats: those of the native kernels, with speculation off."""

from __future__ import annotations

import asyncio
from typing import Any

from worker import Run, peak_rss, serve

from podium.answering import Sampling
from podium.generate import Engine
from podium.models import StoredModel


def load(command: dict[str, Any]) -> tuple[Run, str]:
    stored = StoredModel(command["model"])
    assert stored.tokenizer is not None
    started = peak_rss()
    config = stored.config
    position = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * 4
    engine = Engine(
        stored,
        stored.tokenizer,
        threads=command["threads"],
        max_rows=command["rows"],
        memory_bytes=2 * command["rows"] * command["context"] * position,
        format=command["format"],
    )
    loop = asyncio.new_event_loop()
    stats = engine.stats()
    held = f"weights {stats.weight_bytes / 1e6:.0f} MB, keys and values {stats.cache_bytes / 1e6:.0f} MB"

    def run(batch: int, prompt: list[int], tokens: int) -> list[list[int]]:
        async def attempt() -> list[int]:
            completion = await engine.start(prompt, Sampling(max_tokens=tokens, ignore_eos=True))
            return [token async for piece in completion for token in piece.tokens]

        async def attempts() -> list[list[int]]:
            return await asyncio.gather(*[attempt() for _ in range(batch)])

        return loop.run_until_complete(attempts())

    return run, f"{engine.description}: {held}; {started / 1e6:.0f} MB before weights were read"


if __name__ == "__main__":
    serve(load)
