"""Memory of serving: weights, caches, and what of batch x context fits beside them."""

from __future__ import annotations

from dataclasses import dataclass

from podium.errors import InputError, nearest
from podium.plan.counting import parameters
from podium.plan.hardware import Device
from podium.plan.shapes import Shape

# Bytes per weight, scales included (one per 128 weights in 4 bits).
WEIGHT_BYTES = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0, "fp8": 1.0, "int8": 1.0, "int4": 0.5 + 2 / 128, "fp4": 0.5625}
CACHE_BYTES = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0, "fp8": 1.0, "int8": 1.0}
RESERVED = 1.5e9  # bytes per device: context, CUDA graphs, communicators


def cache_bytes(shape: Shape, context: int, cache: str = "bf16") -> float:
    """Bytes one sequence of `context` tokens keeps, over all layers; windowed layers keep their window only.

    Raises:
        InputError: unknown format.
    """
    if cache not in CACHE_BYTES:
        raise InputError(f"unknown cache format {cache!r}", nearest(cache, CACHE_BYTES))
    if shape.kind != "decoder":
        raise InputError(f"{shape.name} is no decoder: it has no cache", "name a decoder, e.g. qwen2.5-14b")
    whole = (shape.layers - shape.windowed) * context
    windowed = shape.windowed * min(context, shape.window or context)
    return CACHE_BYTES[cache] * shape.kv_numbers_per_token * (whole + windowed)


@dataclass(frozen=True, slots=True)
class ServingMemory:
    """Bytes per device of a tensor-parallel group, and how many sequences of a context fit at once."""

    weights: float
    working: float
    reserved: float
    cache_per_sequence: float
    free: float  # for caches; negative: the weights alone do not fit
    sequences: int

    @property
    def tokens(self) -> float:
        """Tokens of context all sequences together may hold (0 where nothing fits)."""
        return max(0.0, self.free) / self.cache_per_sequence if self.cache_per_sequence else 0.0


def serving_memory(
    shape: Shape,
    device: Device,
    context: int,
    *,
    ranks: int = 1,
    weights: str = "bf16",
    cache: str = "bf16",
    chunk: int = 8192,
    share: float = 0.95,
) -> ServingMemory:
    """What fits on a group of `ranks` devices that share out weights and KV heads.

    KV heads that are fewer than the ranks are repeated. `chunk` tokens are computed at once (prefill); `share` of the
    memory is used at most. The embedding and the head stay in 16 bits when weights are narrower.

    Raises:
        InputError: unknown format; ranks that do not divide the heads.
    """
    if weights not in WEIGHT_BYTES:
        raise InputError(f"unknown weight format {weights!r}", nearest(weights, WEIGHT_BYTES))
    if ranks < 1 or shape.heads % ranks:
        raise InputError(f"{ranks} devices do not divide the {shape.heads} heads", "use a number that divides them")
    counted = parameters(shape)
    outside = counted.embedding + counted.head
    inside = counted.total - outside
    held = (inside * WEIGHT_BYTES[weights] + outside * max(2.0, WEIGHT_BYTES[weights])) / ranks
    number = 2.0
    working = chunk * (
        number
        * (6 * shape.hidden + 3 * (shape.experts.ffn * shape.experts.active if shape.experts else shape.ffn) / ranks)
    )
    working += 256 * shape.vocab * 4 / ranks  # logits of the rows that sample
    repeats = ranks if shape.latent else max(1.0, ranks / shape.kv_heads)
    per_sequence = cache_bytes(shape, context, cache) / ranks * repeats
    free = share * device.memory - held - working - RESERVED
    return ServingMemory(held, working, RESERVED, per_sequence, free, max(0, int(free // per_sequence)))
