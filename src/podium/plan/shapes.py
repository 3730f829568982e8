"""What a planner must know of a network: sizes, and which matrices and vectors exist.

A Transformer (decoder, encoder or vision) is one `Shape`; a convolutional network is in podium.plan.convnet. A shape
comes from a name (podium.plan.named), a Hugging Face config.json (podium.plan.hf_config) or `key=value` pairs.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from podium.errors import InputError, nearest
from podium.plan.units import parse_whole


@dataclass(frozen=True, slots=True)
class Experts:
    """A mixture of feed-forwards: each token visits `active` of `routed` experts and all `shared` ones."""

    routed: int
    active: int
    ffn: int  # inner width of one expert
    shared: int = 0
    shared_ffn: int = 0  # inner width of all shared ones together; 0: shared · ffn
    dense_layers: int = 0  # layers with one ordinary feed-forward of width Shape.ffn instead
    scattered: bool = False  # those layers lie evenly between the others; else they are the first ones

    @property
    def shared_width(self) -> int:
        return self.shared_ffn or self.shared * self.ffn


@dataclass(frozen=True, slots=True)
class Latent:
    """Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434 section 2.1): ranks and widths per head."""

    q_rank: int  # 0: queries are not compressed
    kv_rank: int
    nope: int
    rope: int
    value: int


@dataclass(frozen=True, slots=True)
class Patches:
    """An image as tokens (ViT, arXiv 2010.11929), one class token in front."""

    image: int = 224
    patch: int = 16
    channels: int = 3
    classes: int = 1000

    def __post_init__(self) -> None:
        if not 1 <= self.patch <= self.image:
            raise InputError(
                f"patches of {self.patch} in an image of {self.image}", "a patch is between 1 and the image's size"
            )

    @property
    def tokens(self) -> int:
        return (self.image // self.patch) ** 2 + 1


@dataclass(frozen=True, slots=True)
class Shape:
    """A Transformer. Widths in numbers per token; `sequence` is the context it is usually trained with."""

    name: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    sequence: int = 2048
    kind: Literal["decoder", "encoder", "vision"] = "decoder"
    gated: bool = True  # three matrices in a feed-forward (SwiGLU, GeGLU), else two
    tied: bool = False  # the head is the embedding
    positions: int = 0  # learned ones; 0: rotary, ALiBi or none
    norm_bias: bool = False  # LayerNorm instead of RMSNorm
    norms: int = 2  # per layer, of width `hidden`
    qk_norm: bool = False
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    extra: int = 0  # parameters outside of all this (token types, poolers, sinks)
    experts: Experts | None = None
    latent: Latent | None = None
    patches: Patches | None = None
    embedded: int = 0  # width of the token table, where two matrices join it to `hidden` (OPT-350m); 0: hidden
    final_norm: bool = True
    window: int = 0  # tokens seen in `windowed` of the layers (sliding windows)
    windowed: int = 0

    def __post_init__(self) -> None:
        for name in ("layers", "hidden", "heads", "kv_heads", "head_dim", "ffn", "sequence"):
            value = getattr(self, name)
            if value < 1:
                raise InputError(f"shape {self.name!r}: {name} is {value}", "it must be a whole number of at least 1")
        for name in ("layers", "hidden", "heads", "ffn", "vocab", "sequence"):
            if getattr(self, name) > 1e9:
                raise InputError(f"shape {self.name!r}: {name} is {getattr(self, name):,}", "is a suffix too much?")
        if self.heads % self.kv_heads:
            raise InputError(
                f"shape {self.name!r}: {self.heads} heads are no multiple of {self.kv_heads} KV heads",
                "choose kv_heads that divides heads",
            )
        if self.experts and not 0 < self.experts.active <= self.experts.routed:
            raise InputError(
                f"shape {self.name!r}: {self.experts.active} of {self.experts.routed} experts cannot be active",
                "active must be between 1 and experts",
            )

    @property
    def table_width(self) -> int:
        """Numbers that the token table has per token; of the head as well."""
        return self.embedded or self.hidden

    @property
    def joining(self) -> int:
        """Parameters between a narrower token table and the layers, to either side."""
        return 2 * self.table_width * self.hidden if self.table_width != self.hidden else 0

    @property
    def moe_layers(self) -> int:
        return self.layers - self.experts.dense_layers if self.experts else 0

    @property
    def q_width(self) -> int:
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Keys (or values) of one token."""
        return self.kv_heads * self.head_dim

    @property
    def kv_numbers_per_token(self) -> int:
        """Numbers one token leaves in the cache of one layer that sees everything."""
        return self.latent.kv_rank + self.latent.rope if self.latent else 2 * self.kv_width


_STYLES: dict[str, dict[str, Any]] = {
    "llama": {"gated": True},
    "gpt": {
        "gated": False,
        "tied": True,
        "norm_bias": True,
        "qkv_bias": True,
        "output_bias": True,
        "mlp_bias": True,
    },
}
_NUMBERS = ("layers", "hidden", "heads", "kv_heads", "head_dim", "ffn", "vocab", "sequence")
_EXPERT_NUMBERS = ("experts", "active", "expert_ffn", "shared")
_SPELLINGS = {"seq": "sequence", "kv": "kv_heads", "L": "layers", "h": "hidden", "a": "heads", "V": "vocab"}


def gpt_shape(name: str, layers: int, hidden: int, heads: int, vocab: int, sequence: int) -> Shape:
    """A GPT-2/3-like decoder: the shape behind Megatron's parameter formula (arXiv 2104.04473, equation 2)."""
    return Shape(
        name=name,
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=heads,
        head_dim=max(1, hidden // max(1, heads)),
        ffn=4 * hidden,
        vocab=vocab,
        sequence=sequence,
        positions=sequence,
        **_STYLES["gpt"],
    )


def parse_shape(text: str) -> Shape:
    """A shape in words: "layers=80,hidden=8192,heads=64,kv=8,ffn=28672,vocab=128k,seq=8192[,style=gpt]".

    layers and hidden are needed. Unsaid: heads of 128, kv = heads, ffn = 4 hidden (gpt) or 8/3 hidden rounded up to
    256 (llama), vocab 32000, seq 2048; experts=, active=, expert_ffn=, shared= make it a mixture.

    Raises:
        InputError: unknown or missing key, a value that is no whole number.
    """
    given: dict[str, str] = {}
    for pair in text.split(","):
        key, equals, value = pair.partition("=")
        key = _SPELLINGS.get(key.strip(), key.strip())
        if not equals or not value.strip():
            raise InputError(f"shape: {pair.strip()!r} is not key=value", "e.g. layers=32,hidden=4096,heads=32")
        known = (*_NUMBERS, *_EXPERT_NUMBERS, "style", "tied")
        if key not in known:
            raise InputError(f"shape: unknown key {key!r}", nearest(key, known))
        given[key] = value.strip()
    for key in ("layers", "hidden"):
        if key not in given:
            raise InputError(f"shape: {key} is missing in {text!r}", "e.g. layers=32,hidden=4096,heads=32")
    style = given.pop("style", "llama")
    if style not in _STYLES:
        raise InputError(f"shape: unknown style {style!r}", nearest(style, _STYLES))
    options = dict(_STYLES[style])
    if "tied" in given:
        options["tied"] = given.pop("tied").lower() in ("1", "true", "yes")
    numbers = {key: parse_whole(value, f"shape: {key}") for key, value in given.items()}
    hidden = numbers["hidden"]
    heads = numbers.get("heads") or max(1, hidden // numbers.get("head_dim", 128))
    if hidden % heads and "head_dim" not in numbers:
        raise InputError(
            f"shape: hidden {hidden} is no multiple of {heads} heads", "choose heads that divides it, or say head_dim="
        )
    ffn = numbers.get("ffn") or (4 * hidden if style == "gpt" else -(-8 * hidden // 3 // 256) * 256)
    sequence = numbers.get("sequence", 2048)
    experts = None
    if "experts" in numbers:
        experts = Experts(
            routed=numbers["experts"],
            active=numbers.get("active", 2),
            ffn=numbers.get("expert_ffn", ffn),
            shared=numbers.get("shared", 0),
        )
    elif stray := [key for key in _EXPERT_NUMBERS if key in numbers]:
        raise InputError(f"shape: {stray[0]}= without experts=", "say how many experts there are: experts=8")
    return Shape(
        name=text,
        layers=numbers["layers"],
        hidden=hidden,
        heads=heads,
        kv_heads=numbers.get("kv_heads", heads),
        head_dim=numbers.get("head_dim", hidden // heads),
        ffn=ffn,
        vocab=numbers.get("vocab", 32_000),
        sequence=sequence,
        positions=sequence if style == "gpt" else 0,
        experts=experts,
        **options,
    )


def with_sequence(shape: Shape, sequence: int) -> Shape:
    """The same network trained on another context; learned positions grow with it."""
    if shape.patches:
        raise InputError(f"{shape.name} has a fixed number of patches", "leave the sequence length out")
    return replace(shape, sequence=sequence, positions=max(shape.positions, sequence) if shape.positions else 0)


def same_sizes(shape: Shape, layers: int, hidden: int, heads: int, vocab: int) -> bool:
    """Whether a published row with these numbers is this network (vocabularies are padded to taste: within 2 %)."""
    return (shape.layers, shape.hidden, shape.heads) == (layers, hidden, heads) and abs(
        shape.vocab - vocab
    ) <= 0.02 * vocab


def described(shape: Shape) -> dict[str, Any]:
    """All that is not at its default, for JSON."""
    values: dict[str, Any] = {}
    for item in fields(shape):
        value = getattr(shape, item.name)
        if value == item.default:
            continue
        values[item.name] = (
            {part.name: getattr(value, part.name) for part in fields(value)}
            if isinstance(value, Experts | Latent | Patches)
            else value
        )
    return values
