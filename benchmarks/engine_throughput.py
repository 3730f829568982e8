"""How many tokens a second the engine serves with a model of the demo's size.

    python benchmarks/engine_throughput.py --threads 2

Random weights: an answer's length is set by max_tokens and what little chance ends early. Rates are given per second of
wall time and per second of CPU time (all threads of the process); on a busy machine only the latter means something.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from dataclasses import replace

from podium.generate import CompletionUsage, Engine, Sampling
from podium.models import Transformer, TransformerConfig
from podium.text import train_tokenizer

TEXT = "What is 12 + 31? The sum is 43.\n<tool_call>\nprint(12 + 31)\n</tool_call>\n"
STYLES = {
    "greedy": Sampling(max_tokens=256),
    "T 0.7, top-p 0.95, stop": Sampling(max_tokens=256, temperature=0.7, top_p=0.95, stop=("</tool_call>",)),
}


async def measure(engine: Engine, rows: int, sampling: Sampling) -> tuple[int, float, float]:
    async def attempt(seed: int) -> CompletionUsage:
        completion = await engine.start(TEXT, replace(sampling, seed=seed))
        async for _ in completion:
            pass
        return await completion.cancel()

    wall, cpu = time.perf_counter(), time.process_time()
    usages = await asyncio.gather(*[attempt(seed) for seed in range(rows)])
    return sum(u.completion_tokens for u in usages), time.perf_counter() - wall, time.process_time() - cpu


async def main(threads: int) -> None:
    tokenizer = train_tokenizer([TEXT] * 5, 400)
    print(f"{'key heads':>9} {'rows':>4}  {'sampling':24} {'tokens/s':>9} {'per CPU s':>9}")
    for kv_heads in (4, 1):
        config = TransformerConfig(
            kind="qwen3",
            vocab_size=1024,
            hidden_size=160,
            intermediate_size=432,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=kv_heads,
            head_dim=32,
        )
        engine = Engine(Transformer(config).initialise(0), tokenizer, threads=threads)
        for rows in (12, 24, 48):
            for name, sampling in STYLES.items():
                await measure(engine, rows, sampling)  # warm: the prompt is computed
                tokens, wall, cpu = await measure(engine, rows, sampling)
                print(f"{kv_heads:9} {rows:4}  {name:24} {tokens / wall:9.0f} {tokens / cpu:9.0f}")
        await engine.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    asyncio.run(main(parser.parse_args().threads))
