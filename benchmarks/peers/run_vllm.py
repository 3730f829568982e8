"""vLLM on CPU behind benchmarks/peers/worker.py. Formats: fp32, bf16; compiled, with prefix caching."""

# pyright: reportMissingImports=false
# It runs in an environment of its own.

from __future__ import annotations

import os
from typing import Any

from worker import Run, serve


def load(command: dict[str, Any]) -> tuple[Run, str]:
    os.environ["VLLM_CPU_KVCACHE_SPACE"] = "1"
    os.environ["VLLM_CPU_OMP_THREADS_BIND"] = f"0-{command['threads'] - 1}"
    os.environ["VLLM_NO_USAGE_STATS"] = "1"
    os.environ["HF_HUB_OFFLINE"] = "1"
    import vllm

    llm = vllm.LLM(
        model=command["model"],
        dtype={"fp32": "float32", "bf16": "bfloat16"}[command["format"]],
        max_model_len=command["context"],
        max_num_seqs=command["rows"],
        block_size=32,
        enable_prefix_caching=True,
        disable_log_stats=True,
    )

    def run(batch: int, prompt: list[int], tokens: int) -> list[list[int]]:
        sampling = vllm.SamplingParams(
            temperature=0.0, max_tokens=tokens, min_tokens=tokens, ignore_eos=True, detokenize=False
        )
        outputs = llm.generate([{"prompt_token_ids": prompt}] * batch, sampling, use_tqdm=False)
        return [list(output.outputs[0].token_ids) for output in outputs]

    return run, vllm.__version__


if __name__ == "__main__":
    serve(load)
