"""transformers' `generate` behind benchmarks/peers/worker.py. Formats: fp32, bf16.

The prompt is computed once and its cache repeated for the whole batch.
"""

from __future__ import annotations

from typing import Any

import torch
import transformers
from transformers import DynamicCache, Qwen2ForCausalLM
from worker import Run, serve

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def load(command: dict[str, Any]) -> tuple[Run, str]:
    torch.set_num_threads(command["threads"])
    model = Qwen2ForCausalLM.from_pretrained(command["model"], dtype=DTYPES[command["format"]]).eval()
    model.generation_config.eos_token_id = None

    @torch.inference_mode()
    def run(batch: int, prompt: list[int], tokens: int) -> list[list[int]]:
        cache = DynamicCache(config=model.config)
        model(torch.tensor([prompt[:-1]]), past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache.batch_repeat_interleave(batch)
        ids = torch.tensor([prompt] * batch)
        output = model.generate(  # pyright: ignore[reportAttributeAccessIssue]  # its stubs disagree
            ids,
            attention_mask=torch.ones_like(ids),
            past_key_values=cache,
            max_new_tokens=tokens,
            do_sample=False,
        )
        return output[:, len(prompt) :].tolist()

    return run, transformers.__version__


if __name__ == "__main__":
    serve(load)
