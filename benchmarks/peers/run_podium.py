"""Podium's engine behind benchmarks/peers/worker.py. Formats: fp32, fp16, int8, with speculation off."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

from worker import Run, serve

from podium.generate import Engine, Sampling
from podium.models import load_model


def load(command: dict[str, Any]) -> tuple[Run, str]:
    model, tokenizer = load_model(command["model"])
    assert tokenizer is not None
    offered = inspect.signature(Engine).parameters
    options: dict[str, Any] = {}
    if "format" in offered:
        options["format"] = command["format"]
    elif command["format"] != "fp32":
        raise ValueError(f"this engine has no format {command['format']}")
    shape = model.config
    position = 2 * shape.num_hidden_layers * shape.num_key_value_heads * shape.head_dim * 4
    engine = Engine(
        model,
        tokenizer,
        threads=command["threads"],
        max_rows=command["rows"],
        memory_bytes=2 * command["rows"] * command["context"] * position,
        **options,
    )
    del model
    loop = asyncio.new_event_loop()

    def run(batch: int, prompt: list[int], tokens: int) -> list[list[int]]:
        async def attempt() -> list[int]:
            completion = await engine.start(prompt, Sampling(max_tokens=tokens, ignore_eos=True))
            return [token async for piece in completion for token in piece.tokens]

        async def attempts() -> list[list[int]]:
            return await asyncio.gather(*[attempt() for _ in range(batch)])

        return loop.run_until_complete(attempts())

    return run, str(getattr(engine, "description", "torch"))


if __name__ == "__main__":
    serve(load)
