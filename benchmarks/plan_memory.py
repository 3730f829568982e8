"""Claim: the planner foretells the peak memory of our own trainer on a CPU within 7 %.

Six shapes times three settings. Each run is a process of its own that imports, warms up on a tiny model, notes its
resident memory, then trains the model for two steps (the first makes the optimiser's states); the peak above that note
is what is compared with podium.plan.trainer_memory.

The processes run with MALLOC_MMAP_THRESHOLD_=65536: freed tensors go back to the system, so that resident memory is
what is alive. With glibc's defaults the heap keeps freed pieces it cannot join; --heap measures that too, it is no
claim.

    python benchmarks/plan_memory.py
    python benchmarks/plan_memory.py --only llama-wide --json
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

SHAPES: dict[str, dict[str, Any]] = {
    "llama-small": {"hidden_size": 256, "num_hidden_layers": 6, "intermediate_size": 683, "num_attention_heads": 4},
    "llama-deep": {"hidden_size": 256, "num_hidden_layers": 16, "intermediate_size": 704, "num_attention_heads": 4},
    "llama-wide": {"hidden_size": 768, "num_hidden_layers": 4, "intermediate_size": 2048, "num_attention_heads": 12},
    "qwen2-gqa": {
        "kind": "qwen2",
        "hidden_size": 512,
        "num_hidden_layers": 6,
        "intermediate_size": 1536,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "tie_word_embeddings": True,
        "vocab_size": 8192,
    },
    "llama-vocab": {
        "hidden_size": 384,
        "num_hidden_layers": 4,
        "intermediate_size": 1024,
        "num_attention_heads": 6,
        "vocab_size": 16384,
    },
    "qwen3-gqa": {
        "kind": "qwen3",
        "hidden_size": 512,
        "num_hidden_layers": 6,
        "intermediate_size": 1536,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "vocab_size": 4096,
    },
}
SETTINGS: dict[str, dict[str, Any]] = {
    "adamw": {"optimizer": "adamw", "accumulation": 1, "rows": 8, "row_length": 256},
    "accumulated": {"optimizer": "adamw", "accumulation": 2, "rows": 4, "row_length": 512},
    "muon": {"optimizer": "muon", "accumulation": 1, "rows": 4, "row_length": 256},
}
STEPS = 2


def configuration(shape: dict[str, Any]) -> Any:
    from podium.models.config import TransformerConfig

    values = {"kind": "llama", "vocab_size": 2048, **shape}
    values.setdefault("num_key_value_heads", values["num_attention_heads"])
    values["head_dim"] = values["hidden_size"] // values["num_attention_heads"]
    return TransformerConfig(**values)


def resident(field: str) -> int:
    """VmRSS or VmHWM of this process, bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{field} is not in /proc/self/status")


def run_once(shape: dict[str, Any], setting: dict[str, Any], steps: int) -> None:
    from podium.models import Transformer
    from podium.runlog import RunLog
    from podium.train import NextToken, OptimizerConfig, PackedSource, TrainConfig, train

    model = Transformer(configuration(shape)).initialise(0)
    draw = random.Random(0)
    vocabulary = model.config.vocab_size
    needed = (steps + 1) * setting["rows"] * setting["accumulation"]
    length = setting["row_length"]
    # Documents as long as a row: every position but a row's last one is trained.
    documents = (([draw.randrange(vocabulary) for _ in range(length)], [True] * length) for _ in range(needed))
    source = PackedSource(documents, row_length=length, rows_per_batch=setting["rows"])
    config = TrainConfig(
        steps=steps,
        optimizer=OptimizerConfig(name=setting["optimizer"]),
        accumulation=setting["accumulation"],
        threads=1,
        gemm_peak=1e11,
    )
    with tempfile.TemporaryDirectory() as folder, RunLog(folder) as log:
        train(model, NextToken(), source, config, folder, runlog=log, progress=False)


def child(shape: dict[str, Any], setting: dict[str, Any]) -> None:
    from podium.models.kernels import kernels

    tiny = {"hidden_size": 64, "num_hidden_layers": 1, "intermediate_size": 128, "num_attention_heads": 1}
    run_once(tiny, {**setting, "rows": 1, "row_length": 16}, 1)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = resident("VmRSS")
    run_once(shape, setting, STEPS)
    print(json.dumps({"measured": resident("VmHWM") - before, "kernels": kernels() is not None}))


def measure(shape: dict[str, Any], setting: dict[str, Any], *, heap: bool = False) -> dict[str, Any]:
    """Peak bytes above the baseline, from a process of its own; `heap`: with the allocator's defaults."""
    arguments = [sys.executable, __file__, "--child", json.dumps([shape, setting])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if not heap:
        environment["MALLOC_MMAP_THRESHOLD_"] = "65536"
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def predict(shape: dict[str, Any], setting: dict[str, Any], kernels: bool) -> Any:
    from podium.plan.hf_config import shape_from_hf
    from podium.plan.shapes import Shape
    from podium.plan.trainer_memory import trainer_memory

    known = shape_from_hf(configuration(shape).to_hf())
    assert isinstance(known, Shape)
    length = setting["row_length"]
    return trainer_memory(
        known,
        setting["rows"],
        length,
        optimizer=setting["optimizer"],
        accumulation=setting["accumulation"],
        trained=(length - 1) / length,
        kernels=kernels,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=SHAPES)
    parser.add_argument("--heap", action="store_true", help="also measure with glibc's own settings")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(*json.loads(arguments.child))
        return
    rows: list[dict[str, Any]] = []
    for name, shape in SHAPES.items():
        if arguments.only in (None, name):
            for setting_name, setting in SETTINGS.items():
                found = measure(shape, setting)
                predicted = predict(shape, setting, found["kernels"])
                error = predicted.peak / found["measured"] - 1
                rows.append(
                    {"shape": name, "setting": setting_name, **found, "predicted": predicted.peak, "error": error}
                )
                if not arguments.json:
                    print(
                        f"{name:12} {setting_name:12} measured {found['measured'] / 1e6:7.1f} MB  predicted "
                        f"{predicted.peak / 1e6:7.1f} MB  {error:+6.1%}  ({predicted.moment})"
                        + (f"  heap {found['heap'] / 1e6:.0f} MB" if arguments.heap else ""),
                        flush=True,
                    )
    errors = [abs(row["error"]) for row in rows]
    summary = {"median": statistics.median(errors), "largest": max(errors), "rows": rows}
    if arguments.json:
        print(json.dumps(summary, indent=2))
    else:
        print(f"{len(rows)} runs: median error {summary['median']:.1%}, largest {summary['largest']:.1%}")


if __name__ == "__main__":
    main()
