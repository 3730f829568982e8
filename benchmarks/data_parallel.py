"""What several engines with one thread each give over one engine with all threads, on the load of an exam.

    python benchmarks/data_parallel.py --threads 2

8 problems with 12 attempts each, all in flight; ragged lengths; whenever a stop string appears the attempt gets 40
tokens of output and goes on. A model of the demo's size with random weights. The three arrangements take turns within
each round; the table gives the best round, the median, and tokens per second of CPU time over all processes: on a busy
machine only the latter means something. `one replica` is the same engine in another process: what it loses against
`one engine` is the price of the messages. The last line counts the answers that are equal to those of the first
arrangement.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from pathlib import Path

from podium.answering import Completer, Sampling
from podium.generate import EngineSpec, ParallelCompleter
from podium.generate.parallel import Backend
from podium.models import Transformer, TransformerConfig, save_model
from podium.text import train_tokenizer

TEXT = "What is 12 + 31? The sum is 43.\n<tool_call>\nprint(12 + 31)\n</tool_call>\n"
PROBLEMS = 8
ATTEMPTS = 12
ROWS = 48


def make_model(folder: Path) -> None:
    tokenizer = train_tokenizer([TEXT] * 5, 400)
    config = TransformerConfig(
        kind="qwen3",
        vocab_size=tokenizer.vocab_size,
        hidden_size=160,
        intermediate_size=432,
        num_hidden_layers=4,
        num_attention_heads=5,
        num_key_value_heads=1,
        head_dim=32,
        max_position_embeddings=1024,
    )
    save_model(folder, Transformer(config).initialise(0), tokenizer)


async def attempt(completer: Completer, problem: int, index: int) -> tuple[str, int, int]:
    """(text, tokens written, pauses) of one attempt."""
    length = random.Random(problem * ATTEMPTS + index).randint(100, 400)
    sampling = Sampling(
        max_tokens=length, temperature=1.0, top_p=0.95, seed=problem * ATTEMPTS + index, stop=("sum", "print")
    )
    completion = await completer.start(f"{problem}. {TEXT}" * 3, sampling)
    text, pauses = "", 0
    while True:
        finish = None
        async for piece in completion:
            text += piece.text
            finish = piece.finish
        if finish != "stop":
            break
        pauses += 1
        await completion.extend("\n```output\n" + "43 " * 12 + "\n```\n")
    return text, (await completion.cancel()).completion_tokens, pauses


async def sit(completer: Completer) -> tuple[list[str], int, int, float]:
    """(texts, tokens, pauses, seconds) of the whole load."""
    begun = time.perf_counter()
    done = await asyncio.gather(
        *(attempt(completer, problem, index) for problem in range(PROBLEMS) for index in range(ATTEMPTS))
    )
    seconds = time.perf_counter() - begun
    return [text for text, _, _ in done], sum(n for _, n, _ in done), sum(n for _, _, n in done), seconds


async def cpu_seconds(completer: Completer) -> float:
    """Of this process and the completer's own."""
    elsewhere = await completer.counts()
    return time.process_time() + sum(figures.get("cpu_seconds", 0.0) for figures in elsewhere)


async def main(threads: int, rounds: int, backend: Backend) -> None:
    if backend == "ray":
        import ray  # pyright: ignore[reportMissingImports]

        ray.init(num_cpus=2 * threads, include_dashboard=False, log_to_driver=False)  # two arrangements are open
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_model(folder)

        def spec(rows: int) -> EngineSpec:
            return EngineSpec(folder, "demo", {"max_rows": rows})

        arrangements: dict[str, Completer] = {
            f"one engine, {threads} threads": spec(ROWS).load(threads),
            f"one replica, {threads} threads": ParallelCompleter(spec(ROWS), 1, threads, backend),
            f"{threads} replicas, 1 thread": ParallelCompleter(spec(ROWS // threads), threads, 1, backend),
        }
        rates: dict[str, list[float]] = {name: [] for name in arrangements}
        cpu: dict[str, list[float]] = {name: [] for name in arrangements}
        texts: dict[str, list[str]] = {}
        tokens = pauses = 0
        for number in range(rounds + 1):
            for name, completer in arrangements.items():
                before = await cpu_seconds(completer)
                texts[name], tokens, pauses, seconds = await sit(completer)
                spent = await cpu_seconds(completer) - before
                if number:  # the first round warms
                    rates[name].append(tokens / seconds)
                    cpu[name].append(tokens / spent)
        for completer in arrangements.values():
            await completer.close()
    print(f"{PROBLEMS} x {ATTEMPTS} attempts, {tokens} tokens, {pauses} pauses, {rounds} rounds, {backend}")
    print(f"{'':28} {'best tokens/s':>13} {'median':>8} {'ratio':>6} {'per CPU s':>9} {'ratio':>6}")
    first = next(iter(rates))
    for name, values in rates.items():
        ratio = statistics.median(mine / theirs for mine, theirs in zip(values, rates[first], strict=True))
        each = statistics.median(cpu[name])
        print(
            f"{name:28} {max(values):13.0f} {statistics.median(values):8.0f} {ratio:6.2f} "
            f"{each:9.0f} {each / statistics.median(cpu[first]):6.2f}"
        )
    same = {name: sum(a == b for a, b in zip(each, texts[first], strict=True)) for name, each in texts.items()}
    print("equal answers: " + ", ".join(f"{name} {count}/{len(texts[first])}" for name, count in same.items()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backend", choices=("process", "ray"), default="process")
    given = parser.parse_args()
    asyncio.run(main(given.threads, given.rounds, given.backend))
