"""Llama 1, 2 and 3, and whatever else calls itself so (Yi, DeepSeek-LLM, SmolLM, ...)."""

from __future__ import annotations

from podium.models.families.family import Family

FAMILY = Family(
    model_type="llama",
    architecture="LlamaForCausalLM",
    defaults={"max_position_embeddings": 2048},
    sizes=(32, 4096, 32, 11008, 32000, 2048),
)
