"""What one family of decoders has to say: how its config.json is read, what a block is made of, how tensors are called.

Knows sizes and names; imports no torch, reads no files. podium.models.transformer builds what a `BlockPlan` says,
podium.models.checkpoint finds the tensors of a `Joined`, podium.generate packs both, podium.plan counts them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from podium.models.config import TransformerConfig
    from podium.models.config_json import Fields


@dataclass(frozen=True, slots=True)
class Mixture:
    """Sizes of a mixture of experts: each token visits `active` of `experts` feed-forwards.

    A router gives every expert a probability (a softmax over all of them); the likeliest `active` are visited and their
    outputs added, weighted by those probabilities, which are divided by their sum where `normalised`. The layers in
    `dense_layers` have one ordinary feed-forward instead.
    """

    experts: int
    active: int
    intermediate_size: int  # inner width of one expert
    normalised: bool = False
    dense_layers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class BlockPlan:
    """What one block of a decoder is made of."""

    qk_norm: bool = False  # queries and keys are normalised per head, before RoPE
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    window: int = 0  # positions that a token sees, its own among them; 0: all up to its own
    mixture: Mixture | None = None  # instead of one feed-forward


@dataclass(frozen=True, slots=True)
class Joined:
    """One matrix or norm of a block, and the Hugging Face tensors that lie in it one below the other.

    `part` is the module's path inside a block of podium.models.transformer; `tensors` are the names, behind
    `model.layers.N.` and without `.weight` or `.bias`, each with its rows. In those of `turned` the two halves of a
    head that RoPE turns against each other are interleaved inside and apart outside.
    """

    part: str
    tensors: tuple[tuple[str, int], ...]
    turned: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Family:
    """A family of decoders. Subclasses say where it differs from Llama.

    Attributes:
        model_type: as config.json spells it.
        architecture: the class of transformers that such a folder is loaded by.
        defaults: what a config.json means where it leaves a field out: transformers' own defaults. They hold for the
            planner too.
        sizes: the same for the sizes that every folder's own config.json has: layers, hidden size, heads, inner width,
            vocabulary, context. Only the planner uses them, for the inner dictionary of a model with several towers.
    """

    model_type: str
    architecture: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    sizes: tuple[int, int, int, int, int, int] | tuple[()] = ()

    def read(self, fields: Fields, layers: int) -> dict[str, Any]:
        """The other fields of TransformerConfig that only some families have, from a config.json of `layers` layers.

        Raises:
            InputError: a field of the wrong type, or a feature that the family does not have here.
        """
        return {"attention_bias": fields.flag("attention_bias"), "mlp_bias": fields.flag("mlp_bias")}

    def windows(self, fields: Fields, layers: int) -> dict[str, Any]:
        """`sliding_window` and `full_attention_layers` of TransformerConfig, where a config.json has windows. The
        planner asks for them, too.

        Raises:
            InputError: as `read` does.
        """
        types = fields.get("layer_types")
        listed = isinstance(types, list | tuple) and any(name != "full_attention" for name in types)
        if fields.flag("use_sliding_window") or listed:
            raise fields.error(
                f"sliding-window attention is not supported in {self.model_type}",
                "set use_sliding_window to false if the context stays below the window",
            )
        return {}

    def write(self, config: TransformerConfig) -> dict[str, Any]:
        """The fields of a config.json that `read` and `windows` read."""
        return {"attention_bias": config.attention_bias, "mlp_bias": config.mlp_bias}

    def block(self, config: TransformerConfig, layer: int) -> BlockPlan:
        """What layer `layer` is made of."""
        return BlockPlan(
            qkv_bias=config.attention_bias,
            output_bias=config.attention_bias,
            mlp_bias=config.mlp_bias,
            window=config.window(layer),
        )

    def tensors(self, config: TransformerConfig, layer: int) -> list[Joined]:
        """Where the Hugging Face tensors of layer `layer` lie, in the order in which files hold them."""
        size, hidden = config.head_dim, config.hidden_size
        queries, keys = config.num_attention_heads * size, config.num_key_value_heads * size
        norms = [
            Joined("attention_norm", (("input_layernorm", hidden),)),
            Joined("feed_forward_norm", (("post_attention_layernorm", hidden),)),
        ]
        if self.block(config, layer).qk_norm:
            for part, name in (("q_norm", "self_attn.q_norm"), ("k_norm", "self_attn.k_norm")):
                norms.append(Joined(f"attention.{part}", ((name, size),), frozenset({name})))
        q, k, v = "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"
        return [
            *norms,
            Joined("attention.qkv", ((q, queries), (k, keys), (v, keys)), frozenset({q, k})),
            Joined("attention.output", (("self_attn.o_proj", hidden),)),
            *self.feed_forward_tensors(config, layer),
        ]

    def feed_forward_tensors(self, config: TransformerConfig, layer: int) -> list[Joined]:
        """The part of `tensors` behind attention."""
        return feed_forward("feed_forward", "mlp", config.hidden_size, config.intermediate_size)


def feed_forward(part: str, name: str, hidden: int, inner: int) -> list[Joined]:
    """The tensors of one gated feed-forward at the module `part`, called `name` outside."""
    return [
        Joined(f"{part}.gate_up", ((f"{name}.gate_proj", inner), (f"{name}.up_proj", inner))),
        Joined(f"{part}.down", ((f"{name}.down_proj", hidden),)),
    ]


def optional_windows(fields: Fields, layers: int) -> dict[str, Any]:
    """`sliding_window` and `full_attention_layers` of the families that switch windows on by use_sliding_window and
    leave them out of the first max_window_layers layers, or say it in layer_types (Qwen2, Qwen3)."""
    if not fields.flag("use_sliding_window"):
        types = fields.layer_types(layers)
        if types and "sliding_attention" in types:
            raise fields.error(
                "layer_types has 'sliding_attention', but use_sliding_window is false", "make them say the same"
            )
        return {}
    types = fields.layer_types(layers)
    if types is None:
        first = fields.whole("max_window_layers", 0)
        full = tuple(range(min(max(first, 0), layers)))
    else:
        full = tuple(layer for layer, name in enumerate(types) if name == "full_attention")
    return window_of(fields, layers, full)


def window_of(fields: Fields, layers: int, full: tuple[int, ...] = ()) -> dict[str, Any]:
    """`sliding_window` and `full_attention_layers`, where all but the layers in `full` have the window that the field
    sliding_window says (none where it is null)."""
    if fields.get("sliding_window") is None or len(full) == layers:
        return {}
    window = fields.whole("sliding_window")
    if window < 1:
        raise fields.error(f"sliding_window is {window}", "it must be at least 1, or null for none")
    return {"sliding_window": window, "full_attention_layers": full}


def write_optional_windows(config: TransformerConfig) -> dict[str, Any]:
    """What `optional_windows` reads."""
    if config.sliding_window is None:
        return {"use_sliding_window": False}
    full = set(config.full_attention_layers)
    return {
        "use_sliding_window": True,
        "sliding_window": config.sliding_window,
        # The one number can only say it of the first layers; transformers reads the list where there is one.
        "max_window_layers": next((i for i in range(config.num_hidden_layers) if i not in full), 0),
        "layer_types": [
            "full_attention" if layer in full else "sliding_attention" for layer in range(config.num_hidden_layers)
        ],
    }
