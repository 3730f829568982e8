"""Mistral: Llama without biases, where a token sees a window of positions (arXiv:2310.06825, section 2).

Mistral-7B-v0.1 has a window of 4,096 positions in every layer; from v0.2 on sliding_window is null.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from podium.models.families.family import BlockPlan, Family, window_of

if TYPE_CHECKING:
    from podium.models.config import TransformerConfig
    from podium.models.config_json import Fields


class Mistral(Family):
    """See the file's docstring."""

    def read(self, fields: Fields, layers: int) -> dict[str, Any]:
        return {}

    def windows(self, fields: Fields, layers: int) -> dict[str, Any]:
        found = window_of(fields, layers)
        # transformers ignores the list in this family and vLLM follows it: only one that changes nothing has a meaning.
        types = fields.layer_types(layers)
        meant = "sliding_attention" if found else "full_attention"
        if types and set(types) != {meant}:
            raise fields.error(
                f"layer_types differs from sliding_window {fields.get('sliding_window')}",
                "every layer of mistral has the same window: leave layer_types out",
            )
        return found

    def write(self, config: TransformerConfig) -> dict[str, Any]:
        return {"sliding_window": config.sliding_window}

    def block(self, config: TransformerConfig, layer: int) -> BlockPlan:
        return BlockPlan(window=config.window(layer))


FAMILY = Mistral(
    model_type="mistral",
    architecture="MistralForCausalLM",
    defaults={"num_key_value_heads": 8, "max_position_embeddings": 131072, "sliding_window": 4096},
    sizes=(32, 4096, 32, 14336, 32000, 131072),
)
