"""OpenVINO GenAI's continuous batching behind benchmarks/peers/worker.py, with prefix caching.

Formats: WEIGHTS or WEIGHTS-PRECISION, where WEIGHTS is fp32 or int8 and PRECISION is what it computes in: f32, or left
out for OpenVINO's own choice on this processor.
"""

# pyright: reportMissingImports=false
# It runs in an environment of its own.

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import openvino_genai
from worker import Run, serve


def load(command: dict[str, Any]) -> tuple[Run, str]:
    weights, _, precision = command["format"].partition("-")
    folder = Path(command["model"]) / f"openvino-{weights}"
    if not (folder / "openvino_model.xml").exists():
        export = [sys.executable, "-m", "optimum.commands.optimum_cli", "export", "openvino", "--model"]
        export += [command["model"], "--task", "text-generation-with-past", "--weight-format", weights, str(folder)]
        subprocess.run(export, check=True, stdout=sys.stderr)
    scheduling = openvino_genai.SchedulerConfig()
    scheduling.enable_prefix_caching = True
    scheduling.cache_size = 1  # GB
    scheduling.max_num_seqs = command["rows"]
    scheduling.dynamic_split_fuse = True
    properties: dict[str, Any] = {"INFERENCE_NUM_THREADS": command["threads"]}
    if precision:
        properties["INFERENCE_PRECISION_HINT"] = precision
    pipeline = openvino_genai.ContinuousBatchingPipeline(str(folder), scheduling, "CPU", properties)

    def run(batch: int, prompt: list[int], tokens: int) -> list[list[int]]:
        config = openvino_genai.GenerationConfig()
        config.max_new_tokens = tokens
        config.min_new_tokens = tokens
        config.ignore_eos = True
        config.do_sample = False
        ids = [openvino.Tensor(np.array([prompt], dtype=np.int64)) for _ in range(batch)]
        results = pipeline.generate(ids, [config] * batch)
        return [list(result.m_generation_ids[0]) for result in results]

    return run, openvino_genai.__version__


if __name__ == "__main__":
    serve(load)
