"""How fast Podium's engine decodes on a GPU, as shares of what the GPU's memory and arithmetic allow.

    python benchmarks/engine_cuda.py [--shape qwen2.5-7b] [--batches 1,12,64] [--formats bf16,fp8] [--device cuda]
        [--prompt 512] [--tokens 128] [--repeat 3] [--json FILE]
    python benchmarks/engine_cuda.py --shape tiny --device cpu --tokens 16    # that it runs, on any machine

Random weights in a published shape; B attempts at one prompt that is new in each repetition, greedy, end of text
ignored, no speculation. Both ceilings are measured in the same run: reading 1 GiB, and a product of two matrices in
the format's own arithmetic.

- decode: tokens per second of all attempts, (tokens of a run - tokens of a run of two per attempt) / the difference of
  their times; through the engine, with its scheduler and its readers. Medians over repetitions.
- step: milliseconds of one step and its draw alone, at the middle of the answer.
- of bandwidth, of FLOP: decode as a share of the rate at which reading weights and context once per step would take all
  the time, and of that at which the products would.

vLLM runs beside it where it is installed, in a process of its own, after Podium has left the GPU.
"""

from __future__ import annotations

import podium  # noqa: F401  # before torch: it says how waiting threads wait

# isort: split
import argparse
import asyncio
import gc
import importlib.util
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from engine_vs_peers import EngineFailed, EngineProcess, Spec
from torch import nn

from podium.answering import Sampling
from podium.errors import PodiumError
from podium.generate import Engine
from podium.generate.device.fp8 import Fp8Linear, check_fp8
from podium.generate.device.place import DTYPES, find_device, own_dtype
from podium.generate.device.runner import GraphRunner
from podium.generate.device.sampler import GraphSampler
from podium.generate.runner import Span
from podium.models import Transformer, TransformerConfig, save_model
from podium.text import train_tokenizer

SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {
        "vocab_size": 1024,
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "tie_word_embeddings": True,
    },
    # https://huggingface.co/Qwen/Qwen2.5-7B/blob/main/config.json
    "qwen2.5-7b": {
        "vocab_size": 152064,
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "head_dim": 128,
        "tie_word_embeddings": False,
    },
}


@dataclass(slots=True)
class Row:
    """A line of the table."""

    engine: str
    format: str
    batch: int
    decode: float  # tokens per second
    step: float | None  # seconds
    of_bandwidth: float
    of_flop: float


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of every engine."""

    shape: str
    prompt: int
    tokens: int
    repeat: int

    def prompts(self, batch: int) -> list[tuple[list[int], list[int]]]:
        """Two new prompts for each repetition; the first repetition is to warm up."""
        draw = random.Random(f"{self.shape} {batch}")
        vocabulary = SHAPES[self.shape]["vocab_size"]
        one = lambda: [draw.randrange(300, vocabulary) for _ in range(self.prompt)]  # noqa: E731
        return [(one(), one()) for _ in range(self.repeat + 1)]

    def decode_rate(self, batch: int, run: Callable[[int, list[int], int], float]) -> float:
        """`run` takes batch, prompt and tokens, and gives seconds."""
        gaps = [-run(batch, two, 2) + run(batch, whole, self.tokens) for two, whole in self.prompts(batch)]
        return batch * (self.tokens - 2) / statistics.median(gaps[1:])


def random_model(shape: str) -> Transformer:
    """In bf16 on the CPU; one million random numbers again and again, for the sake of time."""
    config = TransformerConfig(
        kind="qwen2", attention_bias=True, max_position_embeddings=4096, eos_token_id=(0,), **SHAPES[shape]
    )
    with torch.device("meta"):
        model = Transformer(config).bfloat16()
    model.to_empty(device="cpu").requires_grad_(False)
    some = (torch.randn(1 << 20, generator=torch.Generator().manual_seed(0)) * 0.02).bfloat16()
    for name, parameter in model.named_parameters():
        if name.endswith("norm.weight"):
            parameter.fill_(1.0)
            continue
        for part in parameter.view(-1).split(len(some)):
            part.copy_(some[: len(part)])
    return model


def best_seconds(work: Callable[[], object], device: torch.device, tries: int) -> float:
    seconds = []
    for _ in range(tries):
        synchronise(device)
        begun = time.perf_counter()
        work()
        synchronise(device)
        seconds.append(time.perf_counter() - begun)
    return min(seconds[1:])


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def ceilings(device: torch.device, formats: list[str]) -> dict[str, float]:
    """read: bytes per second; a format: floating-point operations per second of its products."""
    size = 1 << (30 if device.type == "cuda" else 26)
    array = torch.ones(size // 4, device=device)
    found = {"read": array.nbytes / best_seconds(array.sum, device, 10)}
    del array
    side = 8192 if device.type == "cuda" else 512
    linear = nn.Linear(side, side, bias=False).requires_grad_(False)
    for format in formats:
        dtype = own_dtype(device) if format == "fp8" else DTYPES[format]
        assert dtype is not None
        left = torch.randn(side, side, device=device).to(dtype)
        placed: nn.Module = Fp8Linear(linear, device, dtype) if format == "fp8" else linear.to(device, dtype)
        found[format] = 2 * side**3 / best_seconds(lambda placed=placed, left=left: placed(left), device, 8)
    return found


def bounds(
    model: Transformer, weight_bytes: int, batch: int, context: float, limits: dict[str, float], format: str
) -> tuple[float, float]:
    """Tokens per second at which reading, and at which multiplying, would take all the time."""
    config = model.config
    cache = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim
    # A step looks up a few rows of the input embedding; where it is the head too, it reads all of it there.
    looked_up = 0 if model.unembedding is None else model.embedding.weight.nbytes
    read = weight_bytes - looked_up + batch * context * cache * model.embedding.weight.element_size()
    operations = 2.0 * sum(m.weight.numel() for m in model.modules() if isinstance(m, nn.Linear | Fp8Linear))
    if model.unembedding is None:
        operations += 2.0 * model.embedding.weight.numel()
    operations += 4 * config.num_hidden_layers * config.num_attention_heads * config.head_dim * context
    return batch * limits["read"] / read, limits[format] / operations


def measure_podium(
    source: Transformer, format: str, device: torch.device, batches: list[int], load: Load, limits: dict[str, float]
) -> tuple[list[Row], Callable[[Row], Row]]:
    context = load.prompt + load.tokens / 2
    config = source.config
    position = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * 4
    tokenizer = train_tokenizer(["one two three four five six seven"] * 4, 300)
    engine = Engine(
        source,
        tokenizer,
        kernel="graphs",
        format=format,
        device=str(device),
        max_rows=max(batches),
        memory_bytes=(64 << 20) + 2 * max(batches) * (load.prompt + load.tokens) * position,
        step_tokens=2048,
    )
    stats = engine.stats()
    print(
        f"{engine.description}: weights {stats.weight_bytes / 1e9:.2f} GB, cache {stats.cache_bytes / 1e9:.2f} GB",
        flush=True,
    )
    runner = engine._core.runner
    assert isinstance(runner, GraphRunner)
    limit_of = {batch: bounds(runner.model, stats.weight_bytes, batch, context, limits, format) for batch in batches}
    loop = asyncio.new_event_loop()

    def run(batch: int, prompt: list[int], tokens: int) -> float:
        async def attempt() -> int:
            completion = await engine.start(prompt, Sampling(max_tokens=tokens, ignore_eos=True))
            return sum([len(piece.tokens) async for piece in completion])

        async def attempts() -> list[int]:
            return await asyncio.gather(*[attempt() for _ in range(batch)])

        begun = time.perf_counter()
        written = loop.run_until_complete(attempts())
        assert written == [tokens] * batch
        return time.perf_counter() - begun

    def share(row: Row) -> Row:
        by_reading, by_multiplying = limit_of[row.batch]
        row.of_bandwidth, row.of_flop = row.decode / by_reading, row.decode / by_multiplying
        return row

    rows = [share(Row("podium", format, batch, load.decode_rate(batch, run), None, 0, 0)) for batch in batches]
    loop.run_until_complete(engine.close())
    for row in rows:
        row.step = step_seconds(runner, row.batch, int(context), device)
    return rows, share


def step_seconds(runner: GraphRunner, batch: int, context: int, device: torch.device) -> float:
    """Of one step with its draw, each row in blocks of its own. Nobody else uses the runner by now."""
    width = -(-(context + 1) // runner.block_size)
    spans = [Span([7], context, range(row * width, (row + 1) * width), 1) for row in range(batch)]
    sampler, counts = GraphSampler(runner), [1] * batch
    sampler.set_rows([Sampling()] * batch)

    def once() -> None:
        logits, _ = runner.step(spans)
        sampler.sample(logits, counts, [0] * batch)

    once()
    return best_seconds(lambda: [once() for _ in range(10)], device, 4) / 10


def measure_vllm(
    folder: Path, formats: list[str], batches: list[int], load: Load, shares: dict[str, Callable[[Row], Row]]
) -> list[Row]:
    rows: list[Row] = []
    for format in formats:
        engine = EngineProcess(Spec("vllm", "run_vllm_cuda.py", format, 0), 8, folder.with_name(f"vllm-{format}.log"))
        try:
            asked = {"model": str(folder), "format": format, "threads": 8, "rows": max(batches)}
            print(engine.ask(do="load", context=load.prompt + load.tokens, **asked)["version"], flush=True)

            def run(batch: int, prompt: list[int], tokens: int, engine: EngineProcess = engine) -> float:
                return engine.ask(do="run", batch=batch, prompt=prompt, tokens=tokens)["seconds"]

            for batch in batches:
                rows.append(shares[format](Row("vllm", format, batch, load.decode_rate(batch, run), None, 0, 0)))
        except EngineFailed as failure:
            print(f"vllm {format}: skipped: {failure}", flush=True)
        finally:
            engine.close()
    return rows


def show(rows: list[Row]) -> None:
    print(
        f"\n{'engine':8}{'format':>8}{'batch':>7}{'decode tok/s':>14}{'step ms':>10}{'of bandwidth':>14}{'of FLOP':>9}"
    )
    for row in sorted(rows, key=lambda row: (row.format, row.batch, row.engine)):
        step = "" if row.step is None else f"{row.step * 1e3:.2f}"
        print(
            f"{row.engine:8}{row.format:>8}{row.batch:7}{row.decode:14.0f}{step:>10}"
            f"{row.of_bandwidth:14.0%}{row.of_flop:9.0%}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="qwen2.5-7b")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batches", default="1,12,64")
    parser.add_argument("--formats", default="bf16,fp8")
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--tokens", type=int, default=128, help="per attempt; more than 2")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the table there")
    options = parser.parse_args()
    formats, batches = options.formats.split(","), [int(batch) for batch in options.batches.split(",")]
    load = Load(options.shape, options.prompt, options.tokens, options.repeat)
    try:
        device = find_device(options.device)
        if "fp8" in formats:
            try:
                check_fp8(device)
            except PodiumError as error:
                print(f"fp8: skipped: {error.message}")
                formats.remove("fp8")
        limits = ceilings(device, formats)
    except PodiumError as error:
        raise SystemExit(str(error)) from None
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    products = ", ".join(f"products in {format} {limits[format] / 1e12:.2f} TFLOP/s" for format in formats)
    print(f"{name}, PyTorch {torch.__version__}: reads {limits['read'] / 1e9:.0f} GB/s, {products}", flush=True)
    source = random_model(options.shape)
    rows: list[Row] = []
    shares: dict[str, Callable[[Row], Row]] = {}
    for format in formats:
        found, shares[format] = measure_podium(source, format, device, batches, load, limits)
        rows += found
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
    if device.type != "cuda" or importlib.util.find_spec("vllm") is None:
        print("vllm: skipped: not installed, or no GPU")
    else:
        with tempfile.TemporaryDirectory() as folder:
            save_model(Path(folder) / "model", source)
            rows += measure_vllm(Path(folder) / "model", formats, batches, load, shares)
    show(rows)
    if options.json:
        options.json.write_text(json.dumps({"ceilings": limits, "rows": [asdict(row) for row in rows]}, indent=1))


if __name__ == "__main__":
    main()
