"""A shape from a Hugging Face config.json, read as models are (podium.models.config_json), for more families than run.

Imports neither torch nor transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from podium.errors import InputError, nearest
from podium.models.config_json import Fields, read_config_json, text_model
from podium.models.families.registry import FAMILIES
from podium.plan.convnet import ConvNet
from podium.plan.shapes import Experts, Latent, Patches, Shape

# What a family means where its config.json leaves a field out: the defaults of transformers' own configuration classes.
# A folder's own config.json always has its sizes; the text_config of a model with several towers is saved without those
# that are at their default, so that the sizes are here too (_SIZES; only used there).
_FAMILIES: dict[str, Mapping[str, Any]] = {
    **{name: family.defaults for name, family in FAMILIES.items()},
    "mixtral": {"num_key_value_heads": 8, "num_local_experts": 8, "num_experts_per_tok": 2},
    "qwen2_moe": {
        "num_key_value_heads": 16, "num_experts": 60, "num_experts_per_tok": 4, "moe_intermediate_size": 1408,
        "shared_expert_intermediate_size": 5632,
    },
    "deepseek_v2": {
        "n_routed_experts": 64, "moe_intermediate_size": 1407, "n_shared_experts": 2, "kv_lora_rank": 512,
        "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
    },
    "deepseek_v3": {
        "n_routed_experts": 256, "num_experts_per_tok": 8, "moe_intermediate_size": 2048, "n_shared_experts": 1,
        "first_k_dense_replace": 3, "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
        "v_head_dim": 128,
    },
    "gemma": {"num_key_value_heads": 16, "head_dim": 256},
    "gemma2": {"num_key_value_heads": 4, "head_dim": 256, "sliding_window": 4096},
    "gemma3_text": {"num_key_value_heads": 4, "head_dim": 256, "sliding_window": 4096},
    "phi3": {},
    "gpt_oss": {
        "num_key_value_heads": 8, "head_dim": 64, "num_local_experts": 128, "num_experts_per_tok": 4,
        "sliding_window": 128,
    },
    "gpt2": {"n_positions": 1024},
    "gpt_neox": {"intermediate_size": 24576},
    "opt": {"ffn_dim": 3072},
}  # fmt: skip
# Layers, hidden size, heads, feed-forward, vocabulary, context.
_SIZES: dict[str, tuple[int, ...]] = {
    **{name: family.sizes for name, family in FAMILIES.items()},
    "mixtral": (32, 4096, 32, 14336, 32000, 131072),
    "qwen2_moe": (24, 2048, 16, 5632, 151936, 32768),
    "gemma": (28, 3072, 16, 24576, 256000, 8192),
    "gemma2": (26, 2304, 8, 9216, 256000, 8192),
    "gemma3_text": (26, 2304, 8, 9216, 262208, 131072),
    "phi3": (32, 3072, 32, 8192, 32064, 4096),
}
_SIZE_NAMES = (
    "num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size", "vocab_size",
    "max_position_embeddings",
)  # fmt: skip
# What a model with several towers calls its text where the inner dictionary does not say it.
_TOWERS = {"gemma3": "gemma3_text", "llava": "llama", "llava_next": "llama", "mistral3": "mistral"}


def read_config(path: Path) -> Shape | ConvNet:
    """The shape in a config.json file.

    Raises:
        InputError: unreadable, not JSON, an unknown model_type, a missing or ill-typed field.
    """
    if path.suffix == ".gguf":
        raise InputError(
            f"{path}: is a GGUF file, and sizes are read from a config.json", "give that of the model it was made from"
        )
    values = read_config_json(path)
    # A config.json is called after the folder it lies in, any other file after itself.
    name = path.resolve().parent.name if path.name == "config.json" else path.stem
    return shape_from_hf(values, str(path), name=name or "config.json")


def shape_from_hf(values: Mapping[str, Any], where: str = "config.json", name: str = "") -> Shape | ConvNet:
    """The shape in the dictionary of a config.json; of several towers the text one.

    Raises:
        InputError: an unknown model_type, a missing or ill-typed field.
    """
    inner, sizes = text_model(values, _TOWERS), {}
    if inner is not None:
        values = inner
        sizes = dict(zip(_SIZE_NAMES, _SIZES.get(str(values["model_type"]), ()), strict=False))
    kind = values.get("model_type")
    if kind not in _READERS:
        raise InputError(f"{where}: unknown model_type {kind!r}", nearest(str(kind), _READERS))
    family = {**sizes, **_FAMILIES.get(str(kind), {})}
    return _READERS[kind](Fields(values, family, where), name or str(kind), str(kind))


def _decoder(c: Fields, name: str, kind: str) -> Shape:
    hidden, heads = c.whole("hidden_size"), c.whole("num_attention_heads")
    layers = c.whole("num_hidden_layers")
    qwen2 = kind in ("qwen2", "qwen2_moe")
    bias = c.flag("attention_bias", kind == "gpt_oss")
    (windowed, window), experts = _windows(c, kind, layers), _experts(c, kind, layers)
    return Shape(
        name=name,
        layers=layers,
        hidden=hidden,
        heads=heads,
        # Latent attention has a key and a value for every head, whatever the field says.
        kv_heads=heads if kind.startswith("deepseek") else c.whole("num_key_value_heads", heads),
        head_dim=c.whole("head_dim", hidden // max(1, heads)),
        ffn=c.whole("intermediate_size"),
        vocab=c.whole("vocab_size"),
        # Contexts of 128k and more are what a model can be asked, not what it was mostly trained on.
        sequence=min(8192, c.whole("max_position_embeddings", 4096)),
        tied=c.flag("tie_word_embeddings", kind in ("gemma", "gemma2", "gemma3_text")),
        qk_norm=kind in ("qwen3", "qwen3_moe", "gemma3_text"),
        norms=4 if kind in ("gemma2", "gemma3_text") else 2,
        qkv_bias=c.flag("qkv_bias", True) if qwen2 else bias,
        output_bias=bias and not qwen2,
        mlp_bias=c.flag("mlp_bias", False),
        experts=experts,
        latent=_latent(c) if kind in ("deepseek_v2", "deepseek_v3") else None,
        window=window,
        windowed=windowed,
        extra=_extra(c, kind, layers, heads, hidden, experts),
    )


def _windows(c: Fields, kind: str, layers: int) -> tuple[int, int]:
    """How many layers see a sliding window only, and its tokens; where no list says it, as the family has it."""
    types = c.layer_types(layers)
    if types is not None:
        windowed = types.count("sliding_attention")
        return windowed, c.whole("sliding_window", 0) if windowed else 0
    if kind in FAMILIES:
        found = FAMILIES[kind].windows(c, layers)
        return layers - len(found.get("full_attention_layers", ())) if found else 0, found.get("sliding_window", 0)
    if kind == "gemma3_text":
        every = c.whole(c.first("sliding_window_pattern", "_sliding_window_pattern"), 6)
        windowed = layers - layers // max(1, every)
    else:  # every other layer, the first one among them
        windowed = -(-layers // 2) if kind in ("gemma2", "gpt_oss") else 0
    return windowed, c.whole("sliding_window", 0) if windowed else 0


def _experts(c: Fields, kind: str, layers: int) -> Experts | None:
    routed = c.whole(c.first("num_local_experts", "n_routed_experts", "num_experts"), 0)
    if not routed:
        return None
    if kind.startswith("qwen"):
        # A layer is a mixture where its number, counted from 1, is a multiple of the step, and it is not listed.
        step, listed = max(1, c.whole("decoder_sparse_step", 1)), set(c.layers("mlp_only_layers"))
        dense = [layer for layer in range(layers) if (layer + 1) % step or layer in listed]
        if len(dense) == layers:
            return None
    else:
        dense = list(range(min(layers, c.whole("first_k_dense_replace", 0))))
    ffn = c.whole("moe_intermediate_size", 0) or c.whole("intermediate_size")
    return Experts(
        routed=routed,
        active=c.whole("num_experts_per_tok"),
        ffn=ffn,
        shared=c.whole("n_shared_experts", 0),
        shared_ffn=c.whole("shared_expert_intermediate_size", 0) if kind == "qwen2_moe" else 0,
        dense_layers=len(dense),
        scattered=dense != list(range(len(dense))),
    )


def _latent(c: Fields) -> Latent:
    return Latent(
        q_rank=c.whole("q_lora_rank", 0),
        kv_rank=c.whole("kv_lora_rank"),
        nope=c.whole("qk_nope_head_dim"),
        rope=c.whole("qk_rope_head_dim"),
        value=c.whole("v_head_dim"),
    )


def _extra(c: Fields, kind: str, layers: int, heads: int, hidden: int, experts: Experts | None) -> int:
    if kind == "gpt_oss":  # attention sinks; biases of routers and experts
        routed, inner = c.whole("num_local_experts"), c.whole("intermediate_size")
        return layers * (heads + routed + routed * (2 * inner + hidden))
    if kind == "qwen2_moe" and experts:  # the gate of the shared expert
        return (layers - experts.dense_layers) * hidden
    return 0


def _gpt(c: Fields, name: str, kind: str) -> Shape:
    hidden = c.whole(c.first("n_embed", "n_embd", "hidden_size"))
    heads = c.whole(c.first("n_head", "num_attention_heads"))
    learned = kind in ("gpt2", "opt")
    sequence = c.whole(c.first("n_positions", "max_position_embeddings", "seq_length"), 2048)
    return Shape(
        name=name,
        layers=c.whole(c.first("n_layer", "num_hidden_layers")),
        hidden=hidden,
        heads=heads,
        kv_heads=heads,
        head_dim=hidden // max(1, heads),
        ffn=c.whole(c.first("n_inner", "ffn_dim", "intermediate_size"), 4 * hidden),
        vocab=c.whole("vocab_size"),
        sequence=sequence,
        positions=sequence + (2 if kind == "opt" else 0) if learned else 0,
        gated=False,
        tied=c.flag("tie_word_embeddings", kind != "gpt_neox"),
        norm_bias=True,
        qkv_bias=True,
        output_bias=True,
        mlp_bias=True,
        extra=2 * hidden if kind == "bloom" else 0,  # the norm after the embedding
        embedded=c.whole("word_embed_proj_dim", hidden) if kind == "opt" else 0,
        final_norm=kind != "opt"
        or (c.flag("do_layer_norm_before", True) and not c.flag("_remove_final_layer_norm", False)),
    )


def _bert(c: Fields, name: str, kind: str) -> Shape:
    hidden, heads = c.whole("hidden_size"), c.whole("num_attention_heads")
    return Shape(
        name=name,
        kind="encoder",
        layers=c.whole("num_hidden_layers"),
        hidden=hidden,
        heads=heads,
        kv_heads=heads,
        head_dim=hidden // max(1, heads),
        ffn=c.whole("intermediate_size"),
        vocab=c.whole("vocab_size"),
        sequence=min(512, c.whole("max_position_embeddings", 512)),
        positions=c.whole("max_position_embeddings", 512),
        gated=False,
        tied=True,
        norm_bias=True,
        qkv_bias=True,
        output_bias=True,
        mlp_bias=True,
        extra=(c.whole("type_vocab_size", 2) + hidden + 1) * hidden,
    )


def _vit(c: Fields, name: str, kind: str) -> Shape:
    hidden, heads = c.whole("hidden_size"), c.whole("num_attention_heads")
    patches = Patches(
        image=c.whole("image_size", 224),
        patch=c.whole("patch_size", 16),
        channels=c.whole("num_channels", 3),
        classes=len(c.values.get("id2label") or ()) or c.whole("num_labels", 1000),
    )
    return Shape(
        name=name,
        kind="vision",
        layers=c.whole("num_hidden_layers"),
        hidden=hidden,
        heads=heads,
        kv_heads=heads,
        head_dim=hidden // max(1, heads),
        ffn=c.whole("intermediate_size"),
        vocab=0,
        sequence=patches.tokens,
        positions=patches.tokens,
        gated=False,
        norm_bias=True,
        qkv_bias=c.flag("qkv_bias", True),
        output_bias=True,
        mlp_bias=True,
        patches=patches,
        extra=hidden,
    )


def _resnet(c: Fields, name: str, kind: str) -> ConvNet:
    depths = c.values.get("depths", [3, 4, 6, 3])
    if not (isinstance(depths, list) and len(depths) == 4 and all(isinstance(d, int) and d > 0 for d in depths)):
        raise InputError(f"{c.where}: depths is {depths!r}", "it must be four whole numbers, e.g. [3, 4, 6, 3]")
    return ConvNet(
        name=name,
        blocks=(depths[0], depths[1], depths[2], depths[3]),
        bottleneck=c.values.get("layer_type", "bottleneck") == "bottleneck",
        classes=len(c.values.get("id2label") or ()) or c.whole("num_labels", 1000),
    )


_READERS: dict[str, Callable[[Fields, str, str], Shape | ConvNet]] = {
    **dict.fromkeys(
        (
            "llama", "mistral", "mixtral", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "deepseek_v2", "deepseek_v3",
            "gemma", "gemma2", "gemma3_text", "phi3", "gpt_oss",
        ),
        _decoder,
    ),
    **dict.fromkeys(("gpt2", "gpt_neox", "opt", "bloom"), _gpt),
    **dict.fromkeys(("bert", "roberta", "xlm-roberta"), _bert),
    "vit": _vit,
    "resnet": _resnet,
}  # fmt: skip
