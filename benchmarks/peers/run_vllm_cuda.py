"""vLLM on a GPU behind benchmarks/peers/worker.py. Formats: bf16, fp8 (weights rounded as they are loaded)."""

# pyright: reportMissingImports=false
# It runs where vLLM is installed.

from __future__ import annotations

import os
from typing import Any

from worker import Run, serve


def load(command: dict[str, Any]) -> tuple[Run, str]:
    os.environ["VLLM_NO_USAGE_STATS"] = "1"
    os.environ["HF_HUB_OFFLINE"] = "1"
    import vllm

    llm = vllm.LLM(
        model=command["model"],
        dtype="bfloat16",
        quantization="fp8" if command["format"] == "fp8" else None,
        max_model_len=command["context"],
        max_num_seqs=command["rows"],
        enable_prefix_caching=True,
        skip_tokenizer_init=True,
        disable_log_stats=True,
    )

    def run(batch: int, prompt: list[int], tokens: int) -> list[list[int]]:
        sampling = vllm.SamplingParams(
            temperature=0.0, max_tokens=tokens, min_tokens=tokens, ignore_eos=True, detokenize=False
        )
        outputs = llm.generate([{"prompt_token_ids": prompt}] * batch, sampling, use_tqdm=False)
        return [list(output.outputs[0].token_ids) for output in outputs]

    return run, f"vLLM {vllm.__version__}"


if __name__ == "__main__":
    serve(load)
