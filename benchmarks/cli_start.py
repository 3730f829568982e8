"""How long until `podium --help` answers? Median of 15 starts, beside a bare interpreter and `import torch`.

Run: python benchmarks/cli_start.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time


def seconds(*command: str, repeat: int = 15) -> float:
    taken = []
    for _ in range(repeat):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


if __name__ == "__main__":
    python = sys.executable
    rows = {
        "python -c pass": seconds(python, "-c", "pass"),
        "podium --help": seconds(python, "-m", "podium", "--help"),
        "python -c 'import torch'": seconds(python, "-c", "import torch", repeat=3),
    }
    for name, value in rows.items():
        print(f"{name:28s} {value * 1000:7.0f} ms")
