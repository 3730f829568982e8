"""The shape of a decoder of the Llama, Qwen2 or Qwen3 kind, from and to a Hugging Face config.json.

Pure arithmetic and dictionaries: imports no torch, reads no files. Both ways of writing RoPE are understood:
`rope_parameters` (transformers 5) and `rope_theta` with `rope_scaling` (before, and vLLM); both are written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from podium.errors import InputError, nearest
from podium.records import token_ids

Kind = Literal["llama", "qwen2", "qwen3"]
ARCHITECTURES: dict[Kind, str] = {
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}

# What each scaling kind needs and what it may have, beyond the base.
ROPE_KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "default": ((), ()),
    "linear": (("factor",), ()),
    "dynamic": (("factor",), ()),
    "llama3": (("factor", "low_freq_factor", "high_freq_factor"), ("original_max_position_embeddings",)),
    "yarn": (
        ("factor",),
        (
            "original_max_position_embeddings",
            "attention_factor",
            "beta_fast",
            "beta_slow",
            "mscale",
            "mscale_all_dim",
            "truncate",
        ),
    ),
}


STRETCHED = ("linear", "dynamic", "yarn")
"""Kinds whose context is longer than the one the model was trained on by a factor."""


@dataclass(frozen=True, slots=True)
class RopeConfig:
    """Rotary position embedding: the base `theta` and how the frequencies are stretched for longer contexts."""

    theta: float = 10_000.0
    kind: str = "default"
    factor: float | None = 1.0  # yarn; None: max_position_embeddings / original_max_position_embeddings
    original_max_position_embeddings: int | None = None  # llama3, yarn; None: max_position_embeddings
    low_freq_factor: float = 1.0  # llama3
    high_freq_factor: float = 4.0  # llama3
    attention_factor: float | None = None  # yarn; None: from factor, mscale and mscale_all_dim
    beta_fast: float = 32.0  # yarn
    beta_slow: float = 1.0  # yarn
    mscale: float | None = None  # yarn
    mscale_all_dim: float | None = None  # yarn
    truncate: bool = True  # yarn

    def to_hf(self) -> dict[str, Any]:
        """The dictionary transformers calls rope_parameters."""
        needed, optional = ROPE_KINDS[self.kind]
        values = {name: getattr(self, name) for name in (*needed, *optional)}
        return {
            "rope_type": self.kind,
            "rope_theta": self.theta,
            **{name: value for name, value in values.items() if value is not None or name in needed},
        }


@dataclass(frozen=True, slots=True)
class TransformerConfig:
    """Sizes and switches, under the names Hugging Face uses.

    `kind` decides what a config.json leaves unsaid: qwen2 has biases on q, k and v but not on the output projection;
    qwen3 normalises q and k per head. `head_dim` need not be hidden_size / num_attention_heads.
    """

    kind: Kind = "llama"
    vocab_size: int = 512
    hidden_size: int = 256
    intermediate_size: int = 704
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    num_key_value_heads: int = 4
    head_dim: int = 64
    max_position_embeddings: int = 2048
    rms_norm_eps: float = 1e-6
    tie_word_embeddings: bool = False
    attention_bias: bool = False  # llama and qwen3: on q, k, v and the output projection
    mlp_bias: bool = False  # llama
    rope: RopeConfig = RopeConfig()
    bos_token_id: int | None = None
    eos_token_id: tuple[int, ...] = ()
    pad_token_id: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in ARCHITECTURES:
            raise InputError(f"unknown kind of model {self.kind!r}", nearest(self.kind, ARCHITECTURES))
        for name in (
            "vocab_size",
            "hidden_size",
            "intermediate_size",
            "num_hidden_layers",
            "num_attention_heads",
            "num_key_value_heads",
            "head_dim",
            "max_position_embeddings",
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InputError(f"{name} is {value!r}", "it must be a whole number of at least 1")
        if self.num_attention_heads % self.num_key_value_heads:
            raise InputError(
                f"num_attention_heads {self.num_attention_heads} is not a multiple of "
                f"num_key_value_heads {self.num_key_value_heads}",
                "choose head counts that divide",
            )
        if self.head_dim % 2:
            raise InputError(f"head_dim {self.head_dim} is odd", "rotary embeddings need an even head_dim")
        if self.rope.kind not in ROPE_KINDS:
            raise InputError(f"unknown rope_type {self.rope.kind!r}", nearest(self.rope.kind, ROPE_KINDS))

    @property
    def trained_context(self) -> int:
        """Tokens of the longest text the model was trained on before its RoPE was stretched."""
        return self.rope.original_max_position_embeddings or self.max_position_embeddings

    @property
    def rope_factor(self) -> float:
        """How many times longer than `trained_context` a text may be, as the RoPE was stretched."""
        factor = self.rope.factor
        return self.max_position_embeddings / self.trained_context if factor is None else factor

    @property
    def context(self) -> int:
        """Tokens a text may have, with the stretch of RoPE counted in.

        `linear` and `dynamic` multiply max_position_embeddings, as vLLM does. `yarn` multiplies the original length:
        folders tell it with max_position_embeddings stretched (Qwen3, DeepSeek) or not yet (Qwen2.5's own advice), and
        both mean the same. `llama3` has it in max_position_embeddings already.
        """
        if self.rope.kind in ("linear", "dynamic"):
            return int(self.max_position_embeddings * self.rope_factor)
        if self.rope.kind == "yarn":
            return max(self.max_position_embeddings, int(self.trained_context * self.rope_factor))
        return self.max_position_embeddings

    @property
    def qkv_bias(self) -> bool:
        return self.kind == "qwen2" or self.attention_bias

    @property
    def output_bias(self) -> bool:
        return self.kind != "qwen2" and self.attention_bias

    @property
    def qk_norm(self) -> bool:
        return self.kind == "qwen3"

    @classmethod
    def from_hf(cls, values: Mapping[str, Any]) -> TransformerConfig:
        """From the dictionary in a config.json.

        Raises:
            InputError: unknown model_type or rope_type, a missing or ill-typed field, or a feature this family does
                not use here (sliding windows, other activations).
        """
        kind = values.get("model_type")
        if kind not in ARCHITECTURES:
            raise InputError(f"config.json: unknown model_type {kind!r}", nearest(str(kind), ARCHITECTURES))
        activation = values.get("hidden_act", "silu")
        if activation not in ("silu", "swish"):
            raise InputError(f"config.json: hidden_act {activation!r} is not supported", "known: silu")
        windows = [name for name in values.get("layer_types") or () if name != "full_attention"]
        if values.get("use_sliding_window") or windows:
            raise InputError(
                "config.json: sliding-window attention is not supported",
                "set use_sliding_window to false if the context stays below the window",
            )

        def whole(name: str, default: int | None = None) -> int:
            value = values.get(name)
            value = default if value is None else value
            if not isinstance(value, int) or isinstance(value, bool):
                raise InputError(
                    f"config.json: {name} is {'missing' if value is None else repr(value)}", "it must be a whole number"
                )
            return value

        hidden, heads = whole("hidden_size"), whole("num_attention_heads")
        positions = whole("max_position_embeddings", 2048 if kind == "llama" else 32768)
        return cls(
            kind=kind,
            vocab_size=whole("vocab_size"),
            hidden_size=hidden,
            intermediate_size=whole("intermediate_size"),
            num_hidden_layers=whole("num_hidden_layers"),
            num_attention_heads=heads,
            num_key_value_heads=whole("num_key_value_heads", heads),
            head_dim=whole("head_dim", 128 if kind == "qwen3" else hidden // max(heads, 1)),
            max_position_embeddings=positions,
            rms_norm_eps=_number(values.get("rms_norm_eps", 1e-6), "rms_norm_eps"),
            tie_word_embeddings=bool(values.get("tie_word_embeddings", False)),
            attention_bias=kind != "qwen2" and bool(values.get("attention_bias", False)),
            mlp_bias=kind == "llama" and bool(values.get("mlp_bias", False)),
            rope=_rope_from_hf(values),
            bos_token_id=values.get("bos_token_id"),
            eos_token_id=token_ids(values.get("eos_token_id")),
            pad_token_id=values.get("pad_token_id"),
        )

    def to_hf(self) -> dict[str, Any]:
        """The dictionary for config.json, readable by transformers 4 and 5 and by vLLM."""
        rope = self.rope.to_hf()
        values = {
            "architectures": [ARCHITECTURES[self.kind]],
            "model_type": self.kind,
            **{
                field.name: getattr(self, field.name)
                for field in fields(self)
                if field.name not in ("kind", "rope", "attention_bias", "mlp_bias", "eos_token_id")
            },
            "hidden_act": "silu",
            "attention_dropout": 0.0,
            "initializer_range": 0.02,
            "use_cache": True,
            "rope_parameters": rope,
            "rope_theta": self.rope.theta,
            "rope_scaling": None if self.rope.kind == "default" else rope,
            "eos_token_id": list(self.eos_token_id)
            if len(self.eos_token_id) > 1
            else next(iter(self.eos_token_id), None),
        }
        if self.kind != "qwen2":
            values["attention_bias"] = self.attention_bias
        if self.kind == "llama":
            values["mlp_bias"] = self.mlp_bias
        else:
            values["use_sliding_window"] = False
        return values

    def architecture(self) -> dict[str, Any]:
        """What two models must share for their weights to mean the same: all but the token ids."""
        return {key: value for key, value in asdict(self).items() if not key.endswith("_token_id")}


def _number(value: Any, name: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise InputError(f"config.json: {name} is {value!r}", "it must be a number")
    return float(value)


def _rope_from_hf(values: Mapping[str, Any]) -> RopeConfig:
    # The same precedence as transformers: a rope_scaling dictionary wins over rope_parameters, and the base inside
    # the dictionary over the one beside it.
    parameters = dict(_rope_dictionary(values.get("rope_scaling") or values.get("rope_parameters") or {}))
    kind = parameters.get("rope_type") or parameters.get("type") or "default"
    if kind not in ROPE_KINDS:
        raise InputError(f"config.json: unknown rope_type {kind!r}", nearest(str(kind), ROPE_KINDS))
    if float(parameters.get("partial_rotary_factor") or values.get("partial_rotary_factor") or 1.0) != 1.0:
        raise InputError("config.json: partial_rotary_factor is not supported", "this family rotates whole heads")
    theta = parameters.get("rope_theta")
    theta = values.get("rope_theta") if theta is None else theta
    needed, optional = ROPE_KINDS[kind]
    found: dict[str, Any] = {}
    for name in (*needed, *optional):
        value = parameters.get(name)
        if name == "original_max_position_embeddings" and values.get(name) is not None:
            value = values[name]
        if value is None:
            if kind == "yarn" and name == "factor" and "factor" in parameters:
                # DeepSeek's way: the ratio of the two lengths is the factor.
                found[name] = None
            elif name in needed:
                raise InputError(f"config.json: rope_type {kind!r} needs {name}", "add it to rope_parameters")
            continue
        if name == "truncate":
            found[name] = bool(value)
        elif name == "original_max_position_embeddings":
            found[name] = int(_number(value, name))
        else:
            found[name] = _number(value, name)
    if kind in STRETCHED and found["factor"] is not None and found["factor"] < 1:
        raise InputError(
            f"config.json: rope_type {kind!r} has the factor {found['factor']}", "a factor of 1 or more stretches RoPE"
        )
    return RopeConfig(theta=10_000.0 if theta is None else _number(theta, "rope_theta"), kind=kind, **found)


def _rope_dictionary(parameters: Any) -> Mapping[str, Any]:
    """The RoPE of full attention, where transformers 5 keeps one dictionary per type of layer."""
    if not isinstance(parameters, Mapping):
        raise InputError(f"config.json: rope_scaling is {parameters!r}", "it must be a JSON object or null")
    nested = parameters.get("full_attention")
    return nested if isinstance(nested, Mapping) else parameters
