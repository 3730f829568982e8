"""The shape of a decoder of any family in podium.models.families, from and to a Hugging Face config.json.

What the families share is read here, what sets one apart in its own file. Pure arithmetic and dictionaries: imports no
torch, reads no files. Both ways of writing RoPE are understood: `rope_parameters` (transformers 5) and `rope_theta`
with `rope_scaling` (before, and vLLM); both are written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from podium.errors import InputError, nearest
from podium.models.config_json import Fields
from podium.models.families.family import BlockPlan, Family, Mixture
from podium.models.families.registry import FAMILIES, find_family
from podium.records import token_ids

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

    `kind` is the family's model_type; it decides what a config.json leaves unsaid (see `block`). `head_dim` need not be
    hidden_size / num_attention_heads.
    """

    kind: str = "llama"
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
    attention_bias: bool = False  # on q, k, v and the output projection, in the families where that is a choice
    mlp_bias: bool = False  # llama
    sliding_window: int | None = None  # positions that a token sees, its own among them; None: all up to its own
    full_attention_layers: tuple[int, ...] = ()  # those without the window
    mixture: Mixture | None = None  # experts in place of one feed-forward per layer
    rope: RopeConfig = RopeConfig()
    bos_token_id: int | None = None
    eos_token_id: tuple[int, ...] = ()
    pad_token_id: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in FAMILIES:
            raise InputError(f"unknown kind of model {self.kind!r}", nearest(self.kind, FAMILIES))
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
            _check_size(name, getattr(self, name))
        if self.sliding_window is not None:
            _check_size("sliding_window", self.sliding_window)
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
        if self.mixture is not None:
            for name in ("experts", "active", "intermediate_size"):
                _check_size(f"mixture.{name}", getattr(self.mixture, name))
            if self.mixture.active > self.mixture.experts:
                raise InputError(
                    f"{self.mixture.active} of {self.mixture.experts} experts cannot be active",
                    "a token visits at most as many experts as there are",
                )

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
    def family(self) -> Family:
        """The family that `kind` names."""
        return FAMILIES[self.kind]

    def block(self, layer: int) -> BlockPlan:
        """What layer `layer` is made of."""
        return self.family.block(self, layer)

    def window(self, layer: int) -> int:
        """Positions that a token sees in layer `layer`, its own among them; 0: all up to its own."""
        return 0 if self.sliding_window is None or layer in self.full_attention_layers else self.sliding_window

    @classmethod
    def from_hf(cls, values: Mapping[str, Any]) -> TransformerConfig:
        """From the dictionary in a config.json.

        Raises:
            InputError: unknown model_type or rope_type, a missing or ill-typed field, or a feature that the family does
                not have here (sliding windows in Llama, other activations).
        """
        family = find_family(values.get("model_type"))
        fields = Fields(values, family.defaults)
        activation = values.get("hidden_act", "silu")
        if activation not in ("silu", "swish"):
            raise InputError(f"config.json: hidden_act {activation!r} is not supported", "known: silu")
        hidden, heads = fields.whole("hidden_size"), fields.whole("num_attention_heads")
        layers = fields.whole("num_hidden_layers")
        return cls(
            kind=family.model_type,
            vocab_size=fields.whole("vocab_size"),
            hidden_size=hidden,
            intermediate_size=fields.whole("intermediate_size"),
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=fields.whole("num_key_value_heads", heads),
            head_dim=fields.whole("head_dim", hidden // max(heads, 1)),
            max_position_embeddings=fields.whole("max_position_embeddings", 2048),
            rms_norm_eps=fields.number("rms_norm_eps", 1e-6),
            tie_word_embeddings=fields.flag("tie_word_embeddings"),
            rope=_rope_from_hf(values),
            bos_token_id=values.get("bos_token_id"),
            eos_token_id=token_ids(values.get("eos_token_id")),
            pad_token_id=values.get("pad_token_id"),
            **family.windows(fields, layers),
            **family.read(fields, layers),
        )

    def to_hf(self) -> dict[str, Any]:
        """The dictionary for config.json, readable by transformers 4 and 5 and by vLLM."""
        rope = self.rope.to_hf()
        return {
            "architectures": [self.family.architecture],
            "model_type": self.kind,
            **{name: getattr(self, name) for name in _WRITTEN},
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
            **self.family.write(self),
        }

    def architecture(self) -> dict[str, Any]:
        """What two models must share for their weights to mean the same: all but the token ids."""
        return {key: value for key, value in asdict(self).items() if not key.endswith("_token_id")}


_WRITTEN = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "max_position_embeddings",
    "rms_norm_eps",
    "tie_word_embeddings",
    "bos_token_id",
    "pad_token_id",
)
"""Fields of every family that are written to a config.json as they are."""


def _check_size(name: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"{name} is {value!r}", "it must be a whole number of at least 1")


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
