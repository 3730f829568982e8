"""Parameters and floating-point operations, by part. Closed forms; a multiply-add is two operations.

Which operations are counted is always said. Attention: "full" counts all pairs of tokens (PaLM, arXiv 2204.02311
appendix B; Megatron, arXiv 2104.04473 equation 3), "causal" the half a causal mask leaves. Recomputation: model FLOPs
(of MFU) leave it out, hardware FLOPs (of HFU) include it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

from podium.plan.convnet import ConvNet
from podium.plan.shapes import Shape

Attention = Literal["full", "causal"]
Recomputation = Literal["none", "selective", "full"]
RECOMPUTATIONS: tuple[Recomputation, ...] = ("none", "selective", "full")


@dataclass(frozen=True, slots=True)
class Parameters:
    """How many, by part. A head tied to the embedding is counted once, as embedding."""

    embedding: int
    attention: int
    feed_forward: int  # of one dense network, or of all experts with their routers
    norms: int
    head: int
    other: int
    active: int  # of all these, those one token passes

    @property
    def total(self) -> int:
        return self.embedding + self.attention + self.feed_forward + self.norms + self.head + self.other


def attention_parameters(shape: Shape) -> int:
    """Of one layer: projections, biases and norms of q and k."""
    h, q, kv = shape.hidden, shape.q_width, shape.kv_width
    if latent := shape.latent:
        width = latent.nope + latent.rope
        query = (
            h * latent.q_rank + latent.q_rank + latent.q_rank * shape.heads * width
            if latent.q_rank
            else h * shape.heads * width
        )
        keys = h * (latent.kv_rank + latent.rope) + latent.kv_rank
        keys += latent.kv_rank * shape.heads * (latent.nope + latent.value)
        return query + keys + shape.heads * latent.value * h
    matrices = h * (q + 2 * kv) + q * h
    biases = (q + 2 * kv) * shape.qkv_bias + h * shape.output_bias
    return matrices + biases + 2 * shape.head_dim * shape.qk_norm


def feed_forward_parameters(shape: Shape, width: int) -> int:
    """Of one feed-forward network of this inner width."""
    ups = 2 if shape.gated else 1
    return (ups + 1) * shape.hidden * width + (ups * width + shape.hidden) * shape.mlp_bias


def parameters(model: Shape | ConvNet) -> Parameters:
    """Counted exactly as the released networks hold them."""
    if isinstance(model, ConvNet):
        head = (model.features + 1) * model.classes
        convolutions = model.convolutions()
        norms = sum(2 * layer.outputs for layer in convolutions)
        body = sum(layer.parameters for layer in convolutions) - norms
        return Parameters(0, 0, body, norms, head, 0, active=model.parameters)
    h, layers = model.hidden, model.layers
    attention = layers * attention_parameters(model)
    dense = feed_forward_parameters(model, model.ffn)
    if experts := model.experts:
        one = feed_forward_parameters(model, experts.ffn)
        always = feed_forward_parameters(model, experts.shared_width) if experts.shared_width else 0
        router = h * experts.routed
        feed_forward = model.moe_layers * (experts.routed * one + always + router) + experts.dense_layers * dense
        idle = model.moe_layers * (experts.routed - experts.active) * one
    else:
        feed_forward, idle = layers * dense, 0
    norms = (layers * model.norms + model.final_norm) * h * (2 if model.norm_bias else 1)
    embedding = model.vocab * model.table_width + model.positions * h
    head = 0 if model.tied else model.vocab * model.table_width
    other = model.extra + model.joining
    if model.patches:
        patches = model.patches
        embedding += patches.channels * patches.patch**2 * h + h
        head = (h + 1) * patches.classes
    total = embedding + attention + feed_forward + norms + head + other
    return Parameters(embedding, attention, feed_forward, norms, head, other, active=total - idle)


@dataclass(frozen=True, slots=True)
class Flops:
    """Operations of one pass over one sequence (or image), by part."""

    projections: float  # of attention
    scores: float  # the two products over pairs of tokens
    feed_forward: float
    head: float

    @property
    def total(self) -> float:
        return self.projections + self.scores + self.feed_forward + self.head

    def times(self, factor: float) -> Flops:
        return Flops(*(factor * value for value in asdict(self).values()))


def pairs(shape: Shape, sequence: int, attention: Attention) -> float:
    """Pairs of tokens that are multiplied, summed over layers."""
    causal = attention == "causal" and shape.kind == "decoder"
    everything = sequence * sequence * (0.5 if causal else 1.0)
    if not shape.windowed or shape.window >= sequence:
        return shape.layers * everything
    window = shape.window
    # Under a causal mask the first `window` tokens see a triangle, the others a band.
    band = sequence * window - (window * window / 2 if causal else 0)
    return (shape.layers - shape.windowed) * everything + shape.windowed * band


def forward_flops(model: Shape | ConvNet, sequence: int | None = None, attention: Attention = "full") -> Flops:
    """One forward pass over one sequence of `sequence` tokens (default: the model's own), or one image."""
    if isinstance(model, ConvNet):
        head = 2.0 * model.features * model.classes
        return Flops(0.0, 0.0, model.forward_flops - head, head)
    s = float(sequence or model.sequence)
    h, q, kv = model.hidden, model.q_width, model.kv_width
    if latent := model.latent:
        width = latent.nope + latent.rope
        matrices = attention_parameters(model) - latent.kv_rank - latent.q_rank
        per_pair = 2.0 * model.heads * (width + latent.value)
    else:
        matrices = h * (q + 2 * kv) + q * h
        per_pair = 4.0 * q
    ups = 2 if model.gated else 1
    dense = (ups + 1) * h * model.ffn
    if experts := model.experts:
        visited = (ups + 1) * h * (experts.active * experts.ffn + experts.shared_width) + h * experts.routed
        feed_forward = model.moe_layers * visited + experts.dense_layers * dense
    else:
        feed_forward = model.layers * dense
    head = 2.0 * s * (model.table_width * model.vocab + model.joining)
    projections = 2.0 * s * model.layers * matrices
    if model.patches:
        projections += 2.0 * (s - 1) * model.patches.channels * model.patches.patch**2 * h
        head = 2.0 * h * model.patches.classes
    return Flops(projections, per_pair * pairs(model, int(s), attention), 2.0 * s * feed_forward, head)


def training_flops(
    model: Shape | ConvNet,
    sequence: int | None = None,
    attention: Attention = "full",
    recomputation: Recomputation = "none",
) -> Flops:
    """Forward and backward over one sequence; with recomputation, what the hardware does.

    "selective" recomputes the two products over pairs (arXiv 2205.05198 section 5), "full" every layer; the head is
    never recomputed. For a GPT these are Megatron's coefficients 72, 72 with 96 for the s/6h term, and 96.
    """
    once = forward_flops(model, sequence, attention)
    again = 4.0 if recomputation == "full" else 3.0
    return Flops(
        projections=again * once.projections,
        scores=(3.0 if recomputation == "none" else 4.0) * once.scores,
        feed_forward=again * once.feed_forward,
        head=3.0 * once.head,
    )


def rule_of_thumb(active_parameters: float, tokens: float, *, recomputed: bool = False) -> float:
    """6 N D, or 8 N D where the forward pass is made twice (arXiv 2001.08361 section 2.1)."""
    return (8.0 if recomputed else 6.0) * active_parameters * tokens
