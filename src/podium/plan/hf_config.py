"""A shape from a Hugging Face config.json. Reads dictionaries; imports neither torch nor transformers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from podium.errors import InputError, nearest
from podium.plan.convnet import ConvNet
from podium.plan.shapes import Experts, Latent, Patches, Shape


class _Values:
    """config.json with every wrong field named."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self.values, self.where = values, where

    def number(self, *names: str, default: int | None = None) -> int:
        for name in names:
            value = self.values.get(name)
            if value is None:
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise InputError(f"{self.where}: {name} is {value!r}", "it must be a whole number")
            return value
        if default is None:
            raise InputError(f"{self.where}: {names[0]} is missing", "give the config.json the model was saved with")
        return default

    def flag(self, name: str, default: bool) -> bool:
        return bool(self.values.get(name, default))


def read_config(path: Path) -> Shape | ConvNet:
    """The shape in a config.json file.

    Raises:
        InputError: unreadable, not JSON, an unknown model_type, a missing or ill-typed field.
    """
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error})", "give a model folder or its config.json") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: not a dictionary", "give a model folder or its config.json")
    # A config.json is called after the folder it lies in, any other file after itself.
    name = path.resolve().parent.name if path.name == "config.json" else path.stem
    return shape_from_hf(values, str(path), name=name or "config.json")


def shape_from_hf(values: Mapping[str, Any], where: str = "config.json", name: str = "") -> Shape | ConvNet:
    """The shape in the dictionary of a config.json; of several towers the text one.

    Raises:
        InputError: an unknown model_type, a missing or ill-typed field.
    """
    inner = values.get("text_config")
    if isinstance(inner, dict):
        values = {**inner, "model_type": inner.get("model_type", values.get("model_type"))}
    kind = values.get("model_type")
    if kind not in _READERS:
        raise InputError(f"{where}: unknown model_type {kind!r}", nearest(str(kind), _READERS))
    return _READERS[kind](_Values(values, where), name or str(kind), str(kind))


def _decoder(c: _Values, name: str, kind: str) -> Shape:
    hidden, heads = c.number("hidden_size"), c.number("num_attention_heads")
    layers = c.number("num_hidden_layers")
    qwen2 = kind in ("qwen2", "qwen2_moe")
    bias = c.flag("attention_bias", kind == "gpt_oss")
    windows = [layer for layer in c.values.get("layer_types") or () if layer == "sliding_attention"]
    return Shape(
        name=name,
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=c.number("num_key_value_heads", default=heads),
        head_dim=c.number("head_dim", default=hidden // max(1, heads)),
        ffn=c.number("intermediate_size"),
        vocab=c.number("vocab_size"),
        # Contexts of 128k and more are what a model can be asked, not what it was mostly trained on.
        sequence=min(8192, c.number("max_position_embeddings", default=4096)),
        tied=c.flag("tie_word_embeddings", kind in ("gemma", "gemma2", "gemma3_text")),
        qk_norm=kind in ("qwen3", "qwen3_moe", "gemma3_text"),
        norms=4 if kind in ("gemma2", "gemma3_text") else 2,
        qkv_bias=c.flag("qkv_bias", True) if qwen2 else bias,
        output_bias=bias and not qwen2,
        mlp_bias=c.flag("mlp_bias", False),
        experts=_experts(c, kind, layers),
        latent=_latent(c) if kind in ("deepseek_v2", "deepseek_v3") else None,
        window=c.number("sliding_window", default=0) if windows else 0,
        windowed=len(windows),
        extra=_extra(c, kind, layers, heads, hidden),
    )


def _experts(c: _Values, kind: str, layers: int) -> Experts | None:
    routed = c.number("num_local_experts", "n_routed_experts", "num_experts", default=0)
    if not routed:
        return None
    sparse_only = c.values.get("mlp_only_layers") or ()
    ffn = c.number("moe_intermediate_size", default=0) or c.number("intermediate_size")
    return Experts(
        routed=routed,
        active=c.number("num_experts_per_tok"),
        ffn=ffn,
        shared=c.number("n_shared_experts", default=0),
        shared_ffn=c.number("shared_expert_intermediate_size", default=0) if kind == "qwen2_moe" else 0,
        dense_layers=min(layers, c.number("first_k_dense_replace", default=len(sparse_only))),
    )


def _latent(c: _Values) -> Latent:
    return Latent(
        q_rank=c.number("q_lora_rank", default=0),
        kv_rank=c.number("kv_lora_rank"),
        nope=c.number("qk_nope_head_dim"),
        rope=c.number("qk_rope_head_dim"),
        value=c.number("v_head_dim"),
    )


def _extra(c: _Values, kind: str, layers: int, heads: int, hidden: int) -> int:
    if kind == "gpt_oss":  # attention sinks; biases of routers and experts
        routed, inner = c.number("num_local_experts"), c.number("intermediate_size")
        return layers * (heads + routed + routed * (2 * inner + hidden))
    if kind == "qwen2_moe":  # the gate of the shared expert
        return layers * hidden
    return 0


def _gpt(c: _Values, name: str, kind: str) -> Shape:
    hidden = c.number("n_embd", "hidden_size")
    heads = c.number("n_head", "num_attention_heads")
    learned = kind in ("gpt2", "opt")
    sequence = c.number("n_positions", "max_position_embeddings", "seq_length", default=2048)
    return Shape(
        name=name,
        layers=c.number("n_layer", "num_hidden_layers"),
        hidden=hidden,
        heads=heads,
        kv_heads=heads,
        head_dim=hidden // max(1, heads),
        ffn=c.number("n_inner", "ffn_dim", "intermediate_size", default=4 * hidden),
        vocab=c.number("vocab_size"),
        sequence=sequence,
        positions=sequence + (2 if kind == "opt" else 0) if learned else 0,
        gated=False,
        tied=c.flag("tie_word_embeddings", kind != "gpt_neox"),
        norm_bias=True,
        qkv_bias=True,
        output_bias=True,
        mlp_bias=True,
        extra=2 * hidden if kind == "bloom" else 0,  # the norm after the embedding
    )


def _bert(c: _Values, name: str, kind: str) -> Shape:
    hidden, heads = c.number("hidden_size"), c.number("num_attention_heads")
    return Shape(
        name=name,
        kind="encoder",
        layers=c.number("num_hidden_layers"),
        hidden=hidden,
        heads=heads,
        kv_heads=heads,
        head_dim=hidden // max(1, heads),
        ffn=c.number("intermediate_size"),
        vocab=c.number("vocab_size"),
        sequence=min(512, c.number("max_position_embeddings", default=512)),
        positions=c.number("max_position_embeddings", default=512),
        gated=False,
        tied=True,
        norm_bias=True,
        qkv_bias=True,
        output_bias=True,
        mlp_bias=True,
        extra=(c.number("type_vocab_size", default=2) + hidden + 1) * hidden,
    )


def _vit(c: _Values, name: str, kind: str) -> Shape:
    hidden, heads = c.number("hidden_size"), c.number("num_attention_heads")
    patches = Patches(
        image=c.number("image_size", default=224),
        patch=c.number("patch_size", default=16),
        channels=c.number("num_channels", default=3),
        classes=len(c.values.get("id2label") or ()) or c.number("num_labels", default=1000),
    )
    return Shape(
        name=name,
        kind="vision",
        layers=c.number("num_hidden_layers"),
        hidden=hidden,
        heads=heads,
        kv_heads=heads,
        head_dim=hidden // max(1, heads),
        ffn=c.number("intermediate_size"),
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


def _resnet(c: _Values, name: str, kind: str) -> ConvNet:
    depths = c.values.get("depths", [3, 4, 6, 3])
    if not (isinstance(depths, list) and len(depths) == 4 and all(isinstance(d, int) and d > 0 for d in depths)):
        raise InputError(f"{c.where}: depths is {depths!r}", "it must be four whole numbers, e.g. [3, 4, 6, 3]")
    return ConvNet(
        name=name,
        blocks=(depths[0], depths[1], depths[2], depths[3]),
        bottleneck=c.values.get("layer_type", "bottleneck") == "bottleneck",
        classes=len(c.values.get("id2label") or ()) or c.number("num_labels", default=1000),
    )


_READERS: dict[str, Callable[[_Values, str, str], Shape | ConvNet]] = {
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
