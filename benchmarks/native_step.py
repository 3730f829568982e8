"""Milliseconds and tokens per second of a step of the native runner, by weight format, threads and batch.

    python benchmarks/native_step.py --models tiny50m q05b --formats fp16 int8 --threads 1 2

Random weights. Decode: every row has its own context, 128 to 192 positions long over the run; the fastest half of the
steps is averaged, since other processes only ever make a step slower. Linear layers, attention and the rest are wall
time on the calling thread, waiting for the others included. Prefill: 512 new tokens of one prompt, logits of the last.
"""

from __future__ import annotations

import podium  # noqa: F401  # before torch: it says how waiting threads wait

# isort: split
import argparse
import time

import numpy as np
import torch

from podium.generate.formats import WEIGHT_FORMATS
from podium.generate.layered import layered
from podium.generate.native.runner import NativeRunner
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


def fastest_half(times: list[tuple[float, ...]]) -> np.ndarray:
    """Mean of the half of the measurements whose first number is smallest."""
    return np.mean(sorted(times)[: max(1, len(times) // 2)], axis=0)


def timed(runner: NativeRunner, spans: list[Span]) -> tuple[torch.Tensor, tuple[float, ...]]:
    """Logits of a step, and the seconds it took: all, linear layers, attention, the rest inside."""
    before, begin = runner.seconds(), time.perf_counter()
    logits, _ = runner.step(spans)
    seconds = time.perf_counter() - begin
    return logits, (seconds, *(after - before[part] for part, after in runner.seconds().items()))


def prefill(runner: NativeRunner) -> np.ndarray:
    tokens = torch.randint(0, runner.vocab_size, (PREFILL,)).tolist()
    blocks = list(range(PREFILL // runner.block_size))
    return fastest_half([timed(runner, [Span(tokens, 0, blocks)])[1] for _ in range(6)])


def decode(runner: NativeRunner, rows: int) -> np.ndarray:
    per_row = (PROMPT + STEPS) // runner.block_size
    tables = [list(range(row * per_row, (row + 1) * per_row)) for row in range(rows)]
    prompt = torch.randint(0, runner.vocab_size, (PROMPT,)).tolist()
    for table in tables:
        runner.step([Span(prompt, 0, table)])
    tokens, times = [1] * rows, []
    for position in range(PROMPT, PROMPT + STEPS):
        spans = [Span([token], position, table) for token, table in zip(tokens, tables, strict=True)]
        logits, seconds = timed(runner, spans)
        times.append(seconds)
        tokens = logits.argmax(-1).tolist()
    return fastest_half(times)


def main(models: list[str], formats: list[str], threads: list[int], batches: list[int], kv: str) -> None:
    print(f"{'model':8} {'format':6} {'thr':>3} {'batch':>7} {'ms/step':>8} {'tok/s':>7}  linear attention rest (ms)")
    for name in models:
        model = Transformer(MODELS[name]).initialise(0)
        for format in formats:
            for count in threads:
                runner = NativeRunner(layered(model), format=format, threads=count, kv=kv)  # pyright: ignore[reportArgumentType]
                runner.allocate(max(PREFILL, max(batches) * (PROMPT + STEPS)) // runner.block_size)
                measured = [("prefill", PREFILL, prefill(runner))]
                measured += [(str(rows), rows, decode(runner, rows)) for rows in batches]
                for label, tokens, seconds in measured:
                    total, *parts = 1e3 * seconds
                    shares = " ".join(f"{part:8.2f}" for part in parts)
                    print(
                        f"{name:8} {format:6} {count:3} {label:>7} {total:8.2f} {1e3 * tokens / total:7.0f}  {shares}"
                    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # pyright: ignore[reportOptionalMemberAccess]
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--formats", nargs="+", choices=WEIGHT_FORMATS, default=list(WEIGHT_FORMATS))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 12, 32])
    parser.add_argument("--kv", choices=["fp16", "fp32"], default="fp16")
    given = parser.parse_args()
    main(given.models, given.formats, given.threads, given.batches, given.kv)
