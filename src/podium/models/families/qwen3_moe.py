"""Qwen3 with a mixture of experts in place of most layers' feed-forwards (Qwen3-30B-A3B, Qwen3-235B-A22B)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from podium.models.families.family import BlockPlan, Joined, Mixture, feed_forward, window_of
from podium.models.families.qwen3 import Qwen3

if TYPE_CHECKING:
    from podium.models.config import TransformerConfig
    from podium.models.config_json import Fields


class Qwen3Moe(Qwen3):
    """See the file's docstring."""

    def read(self, fields: Fields, layers: int) -> dict[str, Any]:
        return {"attention_bias": fields.flag("attention_bias"), "mixture": self.mixture(fields, layers)}

    def windows(self, fields: Fields, layers: int) -> dict[str, Any]:
        # Unlike Qwen3, all layers have the window or none, and no list says otherwise.
        found = window_of(fields, layers) if fields.flag("use_sliding_window") else {}
        types, meant = fields.layer_types(layers), "sliding_attention" if found else "full_attention"
        if types and set(types) != {meant}:
            raise fields.error("layer_types differs from use_sliding_window", "leave layer_types out")
        return found

    def mixture(self, fields: Fields, layers: int) -> Mixture | None:
        """The experts; None where every layer has one ordinary feed-forward."""
        # transformers 5 writes num_local_experts; num_experts is how the folders of Qwen spell it.
        name = "num_local_experts" if fields.values.get("num_local_experts") is not None else "num_experts"
        experts, step = fields.whole(name, 0), fields.whole("decoder_sparse_step", 1)
        if step < 1:
            raise fields.error(f"decoder_sparse_step is {step}", "it must be at least 1")
        # A layer is a mixture where its number, counted from 1, is a multiple of the step, and it is not listed.
        listed = fields.layers("mlp_only_layers")
        dense = tuple(layer for layer in range(layers) if (layer + 1) % step or layer in listed)
        if not experts or len(dense) == layers:
            return None
        active = fields.whole("num_experts_per_tok")
        if not 0 < active <= experts:
            raise fields.error(f"num_experts_per_tok is {active} of {experts} experts", f"it must be 1 to {experts}")
        return Mixture(
            experts, active, fields.whole("moe_intermediate_size"), fields.flag("norm_topk_prob"), dense_layers=dense
        )

    def write(self, config: TransformerConfig) -> dict[str, Any]:
        mixture = config.mixture
        return {
            "attention_bias": config.attention_bias,
            "use_sliding_window": config.sliding_window is not None,
            "sliding_window": config.sliding_window,
            "decoder_sparse_step": 1,
            "mlp_only_layers": list(mixture.dense_layers if mixture else range(config.num_hidden_layers)),
            "num_experts": mixture.experts if mixture else 0,
            "num_experts_per_tok": mixture.active if mixture else 1,
            "moe_intermediate_size": mixture.intermediate_size if mixture else config.intermediate_size,
            "norm_topk_prob": bool(mixture and mixture.normalised),
            "output_router_logits": False,
        }

    def block(self, config: TransformerConfig, layer: int) -> BlockPlan:
        mixture = config.mixture
        routed = mixture is not None and layer not in mixture.dense_layers
        return replace(super().block(config, layer), mixture=mixture if routed else None)

    def feed_forward_tensors(self, config: TransformerConfig, layer: int) -> list[Joined]:
        mixture = self.block(config, layer).mixture
        if mixture is None:
            return super().feed_forward_tensors(config, layer)
        experts = [
            feed_forward(f"feed_forward.experts.{n}", f"mlp.experts.{n}", config.hidden_size, mixture.intermediate_size)
            for n in range(mixture.experts)
        ]
        return [Joined("feed_forward.router", (("mlp.gate", mixture.experts),)), *(j for one in experts for j in one)]


FAMILY = Qwen3Moe(
    model_type="qwen3_moe",
    architecture="Qwen3MoeForCausalLM",
    defaults={
        "num_key_value_heads": 4,
        "max_position_embeddings": 32768,
        "num_experts": 128,
        "num_experts_per_tok": 8,
        "moe_intermediate_size": 768,
        "sliding_window": 4096,
    },
    sizes=(24, 2048, 32, 6144, 151936, 32768),
)
