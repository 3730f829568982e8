"""Milliseconds and tokens per second of a step of the native runner, by weight format, threads and batch.

    python benchmarks/native_step.py --models tiny50m q05b --formats fp16 int8 --threads 1 2

Random weights. Decode: every row has its own context, 128 to 192 positions long over the run; the fastest half of the
steps is averaged, since other processes only ever make a step slower. The share of linear layers, attention and the
rest is of wall time on the calling thread. Prefill: 512 new tokens of one prompt, logits of the last.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from podium.generate.native.runner import FORMATS, NativeRunner
from podium.generate.runner import Span
from podium.models import Transformer, TransformerConfig

MODELS = {
    "tiny50m": TransformerConfig(
        kind="qwen2",
        vocab_size=32_000,
        hidden_size=512,
        intermediate_size=1536,
        num_hidden_layers=10,
        num_attention_heads=8,
        num_key_value_heads=2,
        head_dim=64,
        tie_word_embeddings=True,
    ),
    "q05b": TransformerConfig(
        kind="qwen2",
        vocab_size=32_000,
        hidden_size=896,
        intermediate_size=4864,
        num_hidden_layers=24,
        num_attention_heads=14,
        num_key_value_heads=2,
        head_dim=64,
        tie_word_embeddings=True,
    ),
}
PROMPT, STEPS, PREFILL = 128, 64, 512


def fastest_half(seconds: list[float]) -> float:
    return float(np.mean(sorted(seconds)[: max(1, len(seconds) // 2)]))


def prefill(runner: NativeRunner) -> float:
    """Seconds for 512 tokens."""
    tokens = torch.randint(0, runner.vocab_size, (PREFILL,)).tolist()
    blocks = list(range(PREFILL // runner.block_size))
    times = []
    for _ in range(4):
        begin = time.perf_counter()
        runner.step([Span(tokens, 0, blocks)])
        times.append(time.perf_counter() - begin)
    return fastest_half(times)


def decode(runner: NativeRunner, rows: int) -> tuple[float, dict[str, float]]:
    """Seconds per step of `rows` rows, and the share of each part."""
    per_row = (PROMPT + STEPS) // runner.block_size
    tables = [list(range(row * per_row, (row + 1) * per_row)) for row in range(rows)]
    prompt = torch.randint(0, runner.vocab_size, (PROMPT,)).tolist()
    for table in tables:
        runner.step([Span(prompt, 0, table)])
    tokens, times = [1] * rows, []
    before = runner.seconds()
    for position in range(PROMPT, PROMPT + STEPS):
        spans = [Span([token], position, table) for token, table in zip(tokens, tables, strict=True)]
        begin = time.perf_counter()
        logits, _ = runner.step(spans)
        times.append(time.perf_counter() - begin)
        tokens = logits.argmax(-1).tolist()
    parts = {name: seconds - before[name] for name, seconds in runner.seconds().items()}
    total = sum(parts.values())
    return fastest_half(times), {name: seconds / total for name, seconds in parts.items()}


def main(models: list[str], formats: list[str], threads: list[int], batches: list[int], kv: str) -> None:
    print(f"{'model':8} {'format':6} {'thr':>3} {'batch':>7} {'ms/step':>8} {'tok/s':>7}  linear attention rest")
    for name in models:
        model = Transformer(MODELS[name]).initialise(0)
        for format in formats:
            for count in threads:
                runner = NativeRunner(model, format=format, threads=count, kv=kv)  # pyright: ignore[reportArgumentType]
                runner.allocate(max(PREFILL, max(batches) * (PROMPT + STEPS)) // runner.block_size)
                label = f"{name:8} {format:6} {count:3}"
                seconds = prefill(runner)
                print(f"{label} {'prefill':>7} {1e3 * seconds:8.2f} {PREFILL / seconds:7.0f}", flush=True)
                for rows in batches:
                    seconds, parts = decode(runner, rows)
                    shares = "   ".join(f"{share:5.0%}" for share in parts.values())
                    print(f"{label} {rows:7} {1e3 * seconds:8.2f} {rows / seconds:7.0f}  {shares}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # pyright: ignore[reportOptionalMemberAccess]
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 12, 32])
    parser.add_argument("--kv", choices=["fp16", "fp32"], default="fp16")
    given = parser.parse_args()
    main(given.models, given.formats, given.threads, given.batches, given.kv)
