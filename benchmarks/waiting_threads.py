"""Claim: threads that spin briefly and then sleep are faster beside other work, and keep up where there is none.

OpenMP's own setting (libgomp's, which PyTorch brings) lets a waiting thread spin for milliseconds. Where other work
wants the core, the thread that it waits for cannot run meanwhile. Podium sets a short spin before torch is imported
(podium.waiting), a shorter one where others were at work in the last minute. A process for each setting trains the
same model. They take turns of a second, and the others wait for their turn asleep, so that what disturbs the machine
disturbs all of them alike. Printed are medians, and the medians of the ratios within each round: on the machine as it
is, beside a busy process for every core, and beside a second training that waits in the same way.

    python benchmarks/waiting_threads.py                              # about five minutes on two cores
    python benchmarks/waiting_threads.py --spins 1000 10000 passive   # other counts
    python benchmarks/waiting_threads.py --situations quiet --rounds 40
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from rich.console import Console
from rich.table import Table

from podium.waiting import SPIN_NAME, SPINS_ALONE, SPINS_BESIDE_OTHERS

# For each line that it reads, it trains on all threads for that many seconds, then prints tokens a second and the
# seconds that a checkpoint took to load.
WORK = """
import sys, tempfile, time
from pathlib import Path
import podium
import torch
from podium.models import Transformer, TransformerConfig, load_model, save_model
config = TransformerConfig(vocab_size=512, hidden_size=256, intermediate_size=683, num_hidden_layers=4,
                           num_attention_heads=4, num_key_value_heads=4)
model = Transformer(config).initialise(0)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
tokens = torch.randint(512, (4, 256))
folder = tempfile.TemporaryDirectory()
save_model(Path(folder.name, "model"), model)
def step():
    logits = model(tokens)
    torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()).backward()
    optimizer.step()
    optimizer.zero_grad()
for line in sys.stdin:
    step()
    steps, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < float(line):
        step(); steps += 1
    rate = steps * tokens.numel() / (time.perf_counter() - begun)
    begun = time.perf_counter()
    for _ in range(3):
        load_model(Path(folder.name, "model"))
    print(rate, (time.perf_counter() - begun) / 3, flush=True)
"""
SITUATIONS = ("quiet", "busy", "beside a training")


def environment(setting: str) -> dict[str, str]:
    """That of a process with GOMP_SPINCOUNT so, `openmp` for the runtime's own, `passive` for none."""
    found = {k: v for k, v in os.environ.items() if k not in (SPIN_NAME, "OMP_NUM_THREADS", "OMP_WAIT_POLICY")}
    if setting == "passive":
        return found | {"OMP_WAIT_POLICY": "passive"}
    # 300,000 is what libgomp takes where nothing is said (its manual: GOMP_SPINCOUNT).
    return found | {SPIN_NAME: "300000" if setting == "openmp" else setting}


@contextmanager
def running(*arguments: str, setting: str) -> Iterator[subprocess.Popen[str]]:
    """A process of Python, killed at the end."""
    command, pipe = [sys.executable, *arguments], subprocess.PIPE
    with subprocess.Popen(command, env=environment(setting), stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def situation_of(name: str, setting: str) -> Iterator[None]:
    """The other work on the machine while a process with this setting has its turn."""
    with ExitStack() as stack:
        for _ in range((os.cpu_count() or 1) if name == "busy" else 0):
            stack.enter_context(running("-c", "while True: pass", setting=setting))
        yield


def ask(process: subprocess.Popen[str], seconds: float) -> None:
    """Let a process train for so long."""
    assert process.stdin is not None
    process.stdin.write(f"{seconds}\n")
    process.stdin.flush()


def answer(process: subprocess.Popen[str]) -> tuple[float, float]:
    """(tokens a second, seconds to load) of its turn."""
    assert process.stdout is not None
    rate, load = process.stdout.readline().split()
    return float(rate), float(load)


def turn(pair: list[subprocess.Popen[str]], situation: str, setting: str, seconds: float) -> tuple[float, float]:
    """One turn of the first of two processes, beside the other work of the situation, which may be the second one."""
    process, twin = pair
    with situation_of(situation, setting):
        beside = situation == SITUATIONS[2]
        if beside:
            ask(twin, 1.5 * seconds)
        ask(process, seconds)
        found = answer(process)
        if beside:
            answer(twin)
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spins", nargs="+", default=[SPINS_ALONE, SPINS_BESIDE_OTHERS], help="counts, or passive")
    parser.add_argument("--situations", nargs="+", default=SITUATIONS, choices=SITUATIONS)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--seconds", type=float, default=1.0, help="of training in each turn")
    options = parser.parse_args()
    settings = ["openmp", *map(str, options.spins)]
    with ExitStack() as stack:
        processes = {
            setting: [stack.enter_context(running("-c", WORK, setting=setting)) for _ in range(2)]
            for setting in settings
        }
        for pair in processes.values():  # imported, and the first pages touched
            for process in pair:
                ask(process, 0.5)
                answer(process)
        for situation in options.situations:
            measure(processes, situation, options.rounds, options.seconds)


def measure(processes: dict[str, list[subprocess.Popen[str]]], situation: str, rounds: int, seconds: float) -> None:
    """Print the table of one situation."""
    found: dict[str, list[tuple[float, float]]] = {setting: [] for setting in processes}
    load = os.getloadavg()[0]
    for number in range(rounds):
        order = list(processes)
        for setting in order[number % len(order) :] + order[: number % len(order)]:
            found[setting].append(turn(processes[setting], situation, setting, seconds))
        print(f"{situation}: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    table = Table("spins", "tokens/s", "middle half", "load, s", "training", "loading", title=situation)
    for setting, runs in found.items():
        rates, loads = zip(*runs, strict=True)
        low, middle, high = statistics.quantiles(rates, n=4)
        faster = statistics.median(run[0] / peer[0] for run, peer in zip(runs, found["openmp"], strict=True))
        sooner = statistics.median(peer[1] / run[1] for run, peer in zip(runs, found["openmp"], strict=True))
        table.add_row(
            setting,
            f"{middle:,.0f}",
            f"{low:,.0f} to {high:,.0f}",
            f"{statistics.median(loads):.3f}",
            f"{faster:.2f}x",
            f"{sooner:.2f}x",
        )
    Console().print(table, f"load average at the beginning: {load:.1f}, {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
