"""Qwen3: queries and keys are normalised per head; biases of attention, if any, are on its output too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from podium.models.families.family import BlockPlan, Family, optional_windows, write_optional_windows

if TYPE_CHECKING:
    from podium.models.config import TransformerConfig
    from podium.models.config_json import Fields


class Qwen3(Family):
    """See the file's docstring."""

    def read(self, fields: Fields, layers: int) -> dict[str, Any]:
        return {"attention_bias": fields.flag("attention_bias")}

    def windows(self, fields: Fields, layers: int) -> dict[str, Any]:
        return optional_windows(fields, layers)

    def write(self, config: TransformerConfig) -> dict[str, Any]:
        return {"attention_bias": config.attention_bias, **write_optional_windows(config)}

    def block(self, config: TransformerConfig, layer: int) -> BlockPlan:
        bias = config.attention_bias
        return BlockPlan(qk_norm=True, qkv_bias=bias, output_bias=bias, window=config.window(layer))


FAMILY = Qwen3(
    model_type="qwen3",
    architecture="Qwen3ForCausalLM",
    defaults={
        "num_key_value_heads": 32,
        "head_dim": 128,
        "max_position_embeddings": 32768,
        "sliding_window": 4096,
        "max_window_layers": 28,
    },
    sizes=(32, 4096, 32, 22016, 151936, 32768),
)
