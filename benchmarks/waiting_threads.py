"""Claim: threads that wait spin briefly and then sleep: >= 4x on a busy machine, >= 0.99x on a quiet one.

OpenMP's own setting (libgomp's, which PyTorch brings) lets a waiting thread spin for milliseconds. Where other work
wants the core, the thread that it waits for cannot run meanwhile. Podium sets a short spin before torch is imported
(podium.waiting). Both settings train the same model, each in processes of its own, in turn, several times over;
medians and their ratio are printed, for the machine as it is and beside one busy process per core.

    python benchmarks/waiting_threads.py                              # about three minutes on two cores
    python benchmarks/waiting_threads.py --spins 1000 10000 100000    # other counts beside it
    python benchmarks/waiting_threads.py --situations quiet --repetitions 9
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table

from podium.waiting import SPIN_NAME, SPINS

# Trains for a while on two threads or more and prints tokens a second and the seconds that a checkpoint took to load.
WORK = """
import sys, tempfile, time
from pathlib import Path
import podium
import torch
from podium.models import Transformer, TransformerConfig, load_model, save_model
seconds = float(sys.argv[1])
config = TransformerConfig(vocab_size=512, hidden_size=256, intermediate_size=683, num_hidden_layers=4,
                           num_attention_heads=4, num_key_value_heads=4)
model = Transformer(config).initialise(0)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
tokens = torch.randint(512, (4, 256))
def step():
    logits = model(tokens)
    torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()).backward()
    optimizer.step()
    optimizer.zero_grad()
step(); step()
steps, begun = 0, time.perf_counter()
while time.perf_counter() - begun < seconds:
    step(); steps += 1
rate = steps * tokens.numel() / (time.perf_counter() - begun)
with tempfile.TemporaryDirectory() as folder:
    save_model(Path(folder, "model"), model)
    begun = time.perf_counter()
    for _ in range(3):
        load_model(Path(folder, "model"))
print(rate, (time.perf_counter() - begun) / 3)
"""


@contextmanager
def busy(situation: str) -> Iterator[None]:
    """One process per core that never waits, in the situation of that name."""
    count = (os.cpu_count() or 1) if situation == "busy" else 0
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


def measure(setting: str, seconds: float) -> tuple[float, float]:
    """(tokens a second, seconds to load) with GOMP_SPINCOUNT so, `openmp` for the runtime's own, `passive` for none."""
    environment = {k: v for k, v in os.environ.items() if k not in (SPIN_NAME, "OMP_NUM_THREADS", "OMP_WAIT_POLICY")}
    if setting == "passive":
        environment["OMP_WAIT_POLICY"] = "passive"
    elif setting == "openmp":
        environment[SPIN_NAME] = "300000"  # what libgomp takes where nothing is said (its manual: OMP_WAIT_POLICY)
    else:
        environment[SPIN_NAME] = setting
    done = subprocess.run(
        [sys.executable, "-c", WORK, str(seconds)], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    rate, load = done.stdout.split()
    return float(rate), float(load)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spins", nargs="+", default=[SPINS], help="counts, or passive, beside the runtime's own")
    parser.add_argument("--situations", nargs="+", default=["quiet", "busy"], choices=["quiet", "busy"])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of training in each process")
    options = parser.parse_args()
    settings = ["openmp", *map(str, options.spins)]
    for situation in options.situations:
        table = Table("spins", "tokens/s", "all", "load, s", "training", "loading", title=f"{situation} machine")
        found: dict[str, list[tuple[float, float]]] = {setting: [] for setting in settings}
        load = os.getloadavg()[0]
        with busy(situation):
            time.sleep(0.5)
            for repetition in range(options.repetitions):
                for setting in settings if repetition % 2 == 0 else reversed(settings):
                    found[setting].append(measure(setting, options.seconds))
                    print(f"{situation} {setting}: {found[setting][-1][0]:.0f} tokens/s", file=sys.stderr, flush=True)
        peer = [statistics.median(each) for each in zip(*found["openmp"], strict=True)]
        for setting, runs in found.items():
            rate, loading = (statistics.median(each) for each in zip(*runs, strict=True))
            every = " ".join(f"{run[0]:.0f}" for run in runs)
            ratios = f"{rate / peer[0]:.2f}x", f"{peer[1] / loading:.2f}x"
            table.add_row(setting, f"{rate:,.0f}", every, f"{loading:.3f}", *ratios)
        Console().print(table, f"load average at the beginning: {load:.1f}, {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
