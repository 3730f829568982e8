"""Qwen2 and Qwen2.5: biases on queries, keys and values and on nothing else; windows in the upper layers, if any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from podium.models.families.family import BlockPlan, Family, optional_windows, write_optional_windows

if TYPE_CHECKING:
    from podium.models.config import TransformerConfig
    from podium.models.config_json import Fields


class Qwen2(Family):
    """See the file's docstring."""

    def read(self, fields: Fields, layers: int) -> dict[str, Any]:
        return {}

    def windows(self, fields: Fields, layers: int) -> dict[str, Any]:
        return optional_windows(fields, layers)

    def write(self, config: TransformerConfig) -> dict[str, Any]:
        return write_optional_windows(config)

    def block(self, config: TransformerConfig, layer: int) -> BlockPlan:
        return BlockPlan(qkv_bias=True, window=config.window(layer))


FAMILY = Qwen2(
    model_type="qwen2",
    architecture="Qwen2ForCausalLM",
    defaults={
        "num_key_value_heads": 32,
        "max_position_embeddings": 32768,
        "sliding_window": 4096,
        "max_window_layers": 28,
    },
    sizes=(32, 4096, 32, 22016, 151936, 32768),
)
