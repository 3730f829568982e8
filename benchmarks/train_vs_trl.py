"""Claim: the trainer is at least twice as fast as TRL's SFTTrainer and 1.15 times as fast as a bare loop.

Three contenders train the same model from the same weights on the same documents, each in a process of its own (so
that its peak memory is its own), in turn, several times over; medians are printed.

    trl     SFTTrainer(packing=True, max_length=256), batch 8, its own packer, transformers' Llama with sdpa
    bare    a plain loop over our rows with transformers' Llama: dense block mask (made before the clock starts),
            sdpa, clip 1.0, fused AdamW
    podium  load_model, PackedSource, train(): guards, run log and all

Tokens are real ones (no padding). MFU = tokens/s · (6 N + 12 · layers · width · 256) / GEMM peak, N the matmul weights
with the head and without the embedding, the peak measured in the same process (fp32, 1024^3, best of 30). The
attention term counts full rows for everybody; podium computes less than that, TRL's flattened batch more. TRL runs in
its own environment, with the torch and transformers of ours.

    benchmarks/peers/install.sh trl
    python benchmarks/train_vs_trl.py --sizes 3.4M 11M --threads 2 --repetitions 3
    python benchmarks/train_vs_trl.py --sizes 3.4M --threads 1 --clock cpu        # steadier on a shared machine
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from peers.environments import interpreter, missing
from rich.table import Table

ROW_LENGTH, ROWS, VOCABULARY = 256, 8, 512
SIZES: dict[str, dict[str, Any]] = {
    "3.4M": {"hidden_size": 256, "num_hidden_layers": 4, "intermediate_size": 683, "num_attention_heads": 4},
    "11M": {"hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1024, "num_attention_heads": 6},
}
LEARNING_RATE = 3e-4


def documents(number: int) -> list[list[int]]:
    """Random ids, lengths uniform in 30..96 (mean 63)."""
    draw = random.Random(0)
    return [[draw.randrange(3, VOCABULARY) for _ in range(draw.randint(30, 96))] for _ in range(number)]


class Stopwatch:
    """Notes both clocks at the start of every step; the timed stretch begins after the warm-up steps."""

    def __init__(self, warmup: int, timed: int) -> None:
        self.warmup, self.timed = warmup, timed
        self.wall: list[float] = []
        self.cpu: list[float] = []

    @property
    def steps(self) -> int:
        return self.warmup + self.timed + 1  # the start of the last one ends the timing

    def lap(self) -> None:
        self.wall.append(time.perf_counter())
        self.cpu.append(time.process_time())

    def seconds(self) -> dict[str, float]:
        first, last = self.warmup, self.warmup + self.timed
        return {"wall": self.wall[last] - self.wall[first], "cpu": self.cpu[last] - self.cpu[first]}


Outcome = tuple[list[int], float]  # tokens of each step, first loss


def run_podium(folder: Path, watch: Stopwatch, peak: float) -> Outcome:
    from podium.models import load_model
    from podium.runlog import RunLog
    from podium.train import NextToken, OptimizerConfig, PackedSource, ScheduleConfig, TrainConfig, train

    counts: list[int] = []

    class Timed(PackedSource):
        def next(self) -> Any:
            watch.lap()
            batch = super().next()
            counts.append(batch.count)
            return batch

    model, _ = load_model(folder)
    data = ((ids, [True] * len(ids)) for ids in documents(watch.steps * 34))
    source = Timed(data, row_length=ROW_LENGTH, rows_per_batch=ROWS, method="first-fit-decreasing")
    config = TrainConfig(
        steps=watch.steps,
        optimizer=OptimizerConfig(lr=LEARNING_RATE, weight_decay=0.0),
        schedule=ScheduleConfig(name="constant"),
        gemm_peak=peak,
    )
    with tempfile.TemporaryDirectory() as run, RunLog(run) as log:
        train(model, NextToken(), source, config, run, runlog=log, progress=False)
        first_loss = json.loads((Path(run) / "metrics.jsonl").read_text().splitlines()[0])["loss"]
    return counts, first_loss


def run_bare(folder: Path, watch: Stopwatch, _peak: float) -> Outcome:
    import torch
    import torch.nn.functional as F
    from transformers import LlamaForCausalLM

    from podium.train.attention import Dense
    from podium.train.packing import PackedSource

    model = LlamaForCausalLM.from_pretrained(folder, attn_implementation="sdpa", dtype=torch.float32)
    model.train()
    data = ((ids, [True] * len(ids)) for ids in documents(watch.steps * 34))
    source = PackedSource(data, row_length=ROW_LENGTH, rows_per_batch=ROWS, method="first-fit-decreasing")
    batches = []
    for _ in range(watch.steps):
        batch = source.next()
        labels = torch.full((ROWS * ROW_LENGTH,), -100)
        labels[batch.predicting] = batch.targets
        batches.append((batch.tokens, batch.positions, Dense(batch.layout, ROW_LENGTH).mask, labels, batch.count))
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0, fused=True)
    first_loss = float("nan")
    for step, (tokens, positions, mask, labels, _) in enumerate(batches):
        watch.lap()
        logits = model(input_ids=tokens, position_ids=positions, attention_mask=mask, use_cache=False).logits
        loss = F.cross_entropy(logits.view(-1, VOCABULARY), labels, ignore_index=-100)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step == 0:
            first_loss = loss.item()
    return [batch[-1] for batch in batches], first_loss


def run_trl(folder: Path, watch: Stopwatch, _peak: float) -> Outcome:
    import torch
    from datasets import Dataset  # pyright: ignore[reportMissingImports]
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast, TrainerCallback
    from trl.trainer.sft_config import SFTConfig  # pyright: ignore[reportMissingImports]
    from trl.trainer.sft_trainer import SFTTrainer  # pyright: ignore[reportMissingImports]

    words = Tokenizer(WordLevel({"<unk>": 0, "<eos>": 1, "<pad>": 2}, unk_token="<unk>"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<eos>", pad_token="<pad>")
    model = LlamaForCausalLM.from_pretrained(folder, attn_implementation="sdpa", dtype=torch.float32)

    class Lap(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            watch.lap()

    counts: list[int] = []
    with tempfile.TemporaryDirectory() as run:
        trainer = SFTTrainer(
            model=model,
            processing_class=tokenizer,
            train_dataset=Dataset.from_dict({"input_ids": documents(watch.steps * 34)}),
            callbacks=[Lap()],
            args=SFTConfig(
                output_dir=run,
                packing=True,
                max_length=ROW_LENGTH,
                per_device_train_batch_size=ROWS,
                max_steps=watch.steps,
                learning_rate=LEARNING_RATE,
                lr_scheduler_type="constant",
                optim="adamw_torch_fused",
                max_grad_norm=1.0,
                gradient_checkpointing=False,
                bf16=False,
                use_cpu=True,
                report_to=[],
                save_strategy="no",
                logging_steps=1,
                disable_tqdm=True,
            ),
        )
        collate: Callable[[Any], Any] = trainer.data_collator

        def counted(examples: Any) -> Any:
            batch = collate(examples)
            counts.append(batch["input_ids"].numel())
            return batch

        trainer.data_collator = counted
        trainer.train()
        first_loss = next(float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry)
    return counts, first_loss


CONTENDERS = {"trl": run_trl, "bare": run_bare, "podium": run_podium}


def make_model(size: str, folder: Path) -> float:
    """Write the model all contenders start from; returns FLOPs per token."""
    from podium.models import Transformer, TransformerConfig, save_model

    shape = SIZES[size]
    config = TransformerConfig(vocab_size=VOCABULARY, num_key_value_heads=shape["num_attention_heads"], **shape)
    model = Transformer(config).initialise(0)
    save_model(folder, model)
    return model.flops_per_token(ROW_LENGTH)


def contend(name: str, folder: Path, watch: Stopwatch, threads: int, clock: str) -> dict[str, float]:
    """Runs in a process of its own."""
    import torch

    from podium.train.throughput import measure_gemm_peak

    torch.set_num_threads(threads)
    peak = measure_gemm_peak(clock=time.process_time if clock == "cpu" else time.perf_counter)
    counts, first_loss = CONTENDERS[name](folder, watch, peak)
    seconds = watch.seconds()
    return {
        "tokens": sum(counts[watch.warmup : watch.warmup + watch.timed]),
        **seconds,
        "first_loss": first_loss,
        "gemm_peak": peak,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def comparison(title: str, runs: dict[str, list[dict[str, float]]], flops: float, clock: str) -> Table:
    """Medians over the repetitions, one row per contender."""

    def speed(run: dict[str, float]) -> float:
        return run["tokens"] / run[clock]

    table = Table(title=title)
    for column in ("", "tokens/s", "all", "podium is", "MFU", "GEMM GFLOP/s", "peak GB", "first loss"):
        table.add_column(column, justify="right")
    ours = statistics.median(map(speed, runs["podium"])) if "podium" in runs else float("nan")
    for name, outcomes in runs.items():
        table.add_row(
            name,
            f"{statistics.median(map(speed, outcomes)):,.0f}",
            " ".join(f"{speed(run):.0f}" for run in outcomes),
            f"{ours / statistics.median(map(speed, outcomes)):.2f} x",
            f"{statistics.median(speed(run) * flops / run['gemm_peak'] for run in outcomes):.1%}",
            f"{statistics.median(run['gemm_peak'] for run in outcomes) / 1e9:.0f}",
            f"{statistics.median(run['peak_bytes'] for run in outcomes) / 1e9:.2f}",
            f"{statistics.median(run['first_loss'] for run in outcomes):.5f}",
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: tokens per CPU second")
    parser.add_argument("--json", type=Path, help="write every measurement here")
    parser.add_argument("--contend", nargs=2, metavar=("NAME", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    watch = Stopwatch(given.warmup, given.steps)
    if given.contend:
        name, folder = given.contend
        outcome = contend(name, Path(folder), watch, given.threads, given.clock)
        print("OUTCOME", json.dumps(outcome))
        return

    from rich.console import Console

    console, everything = Console(), []
    if "trl" in given.contenders and (reason := missing("trl")):
        console.print(f"trl: skipped: {reason}")
        given.contenders.remove("trl")
    for size in given.sizes:
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in given.contenders}
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "model"
            flops = make_model(size, folder)
            for _ in range(given.repetitions):
                for name in given.contenders:
                    python = str(interpreter("trl")) if name == "trl" else sys.executable
                    command = [python, __file__, "--contend", name, str(folder)]
                    options = ("threads", "warmup", "steps", "clock")
                    command += [text for o in options for text in (f"--{o}", str(getattr(given, o)))]
                    environment = {**os.environ, "OMP_NUM_THREADS": str(given.threads), "HF_HUB_OFFLINE": "1"}
                    done = subprocess.run(command, env=environment, capture_output=True, text=True)
                    if done.returncode:
                        sys.exit(f"{name} failed:\n{done.stderr[-3000:]}")
                    outcome = json.loads(done.stdout.rpartition("OUTCOME")[2])
                    runs[name].append(outcome)
                    everything.append({"size": size, "contender": name, "threads": given.threads, **outcome})
        console.print(comparison(f"{size}, {given.threads} threads, {given.clock} clock", runs, flops, given.clock))
    if given.json:
        given.json.write_text(json.dumps(everything, indent=2) + "\n")


if __name__ == "__main__":
    main()
