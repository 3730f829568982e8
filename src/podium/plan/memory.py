"""Memory of one device in training, by part, for many layouts at once.

Weights, gradients and optimiser states follow from the parameters a device holds (ZeRO: arXiv 1910.02054), activations
from what each operation must keep (arXiv 2205.05198, equations 1-6: for a GPT with dropout this is exactly
s b h (10 + 24/t + 5 a s / (h t)) per layer), each for the first and the last pipeline stage; the larger one counts.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from podium.plan.counting import attention_parameters, feed_forward_parameters
from podium.plan.layouts import Array, Layouts
from podium.plan.recipe import Recipe
from podium.plan.shapes import Shape

RESERVED = 1.5e9  # bytes: CUDA context, communicators, libraries' workspaces
FRAGMENTATION = 0.04  # of what is allocated and freed within a step


@dataclass(frozen=True, slots=True)
class TrainingMemory:
    """Bytes per device, arrays [N]; of the stage that needs most."""

    weights: Array
    gradients: Array
    optimizer: Array
    activations: Array
    logits: Array
    working: Array  # one layer being recomputed or gathered
    reserved: Array  # context and fragmentation

    @property
    def total(self) -> Array:
        return np.sum([getattr(self, item.name) for item in fields(self)], axis=0)

    def at(self, index: int) -> dict[str, float]:
        return {item.name: float(getattr(self, item.name)[index]) for item in fields(self)}


@dataclass(frozen=True, slots=True)
class Held:
    """Parameters one device holds: `dense` is shared out over all data and context ranks, `expert` over fewer."""

    dense: Array
    expert: Array
    layer: Array  # of one whole layer as one tensor-parallel rank has it

    @property
    def total(self) -> Array:
        return self.dense + self.expert


def layers_per_stage(shape: Shape, layouts: Layouts) -> Array:
    """Of the fullest stage."""
    return np.ceil(shape.layers / layouts.pp)


def moe_layers_of(shape: Shape, layouts: Layouts, layers: Array, *, first: bool) -> Array:
    """How many of a stage's `layers` are mixtures of experts: the first stage has the dense ones that lie in front
    (interleaved: those of its first chunk), any other none of these."""
    if not shape.experts:
        return np.zeros_like(layouts.tp)
    dense = float(shape.experts.dense_layers)
    if shape.experts.scattered:
        return np.minimum(layers, np.ceil(layers * shape.moe_layers / shape.layers))
    alone = layouts.pp == 1
    front = np.where(alone, dense, np.minimum(dense, np.ceil(layers / layouts.interleave)) if first else 0.0)
    # A model that is dense nearly throughout has not enough mixtures to fill a stage.
    return np.minimum(layers - np.minimum(front, layers), float(shape.moe_layers))


def held_parameters(shape: Shape, layouts: Layouts) -> tuple[Held, Held]:
    """What a device of the first and of the last stage holds."""
    t, stage = layouts.tp, layers_per_stage(shape, layouts)
    norms = shape.norms * shape.hidden * (2 if shape.norm_bias else 1)
    outside = attention_parameters(shape) / t + norms
    dense = outside + feed_forward_parameters(shape, shape.ffn) / t
    mixed, expert = dense, np.zeros_like(t)
    if experts := shape.experts:
        always = feed_forward_parameters(shape, experts.shared_width) if experts.shared_width else 0
        mixed = outside + always / t + shape.hidden * experts.routed
        expert = experts.routed * feed_forward_parameters(shape, experts.ffn) / (layouts.ep * t)
    moe_first = moe_layers_of(shape, layouts, stage, first=True)
    moe_last = moe_layers_of(shape, layouts, stage, first=False)
    largest = np.maximum(dense, mixed + expert)  # one layer as a whole, which FSDP gathers
    patches = shape.patches
    beside = shape.positions + (patches.channels * patches.patch**2 if patches else 0)
    table = shape.vocab * shape.table_width + beside * shape.hidden + shape.joining
    head = patches.classes * shape.hidden if patches else shape.vocab * shape.table_width
    first = moe_first * mixed + (stage - moe_first) * dense + (table + shape.extra) / t
    # With one stage a tied head is the embedding; with several the last one has a copy.
    last = moe_last * mixed + (stage - moe_last) * dense + head / t
    alone = layouts.pp == 1
    first = np.where(alone, first + (0 if shape.tied else head / t), first)
    last = np.where(alone, first, last)
    return Held(first, moe_first * expert, largest), Held(last, moe_last * expert, largest)


def activation_bytes(
    shape: Shape, layouts: Layouts, recipe: Recipe, sequence: int, moe_share: Array | float | None = None
) -> tuple[Array, Array, Array]:
    """Per layer and micro-batch, bytes: what is kept, of it what full and what selective recomputation still keep.

    Averaged over layers of which `moe_share` are mixtures of experts (default: the model's share).

    Selective recomputation drops the attention scores (arXiv 2205.05198 section 5); where a fused kernel keeps none,
    it drops what a pass over memory brings back: normalised inputs and the activation function's result.
    """
    number, kept_number, h = recipe.number_bytes, recipe.kept_bytes, shape.hidden
    tokens = layouts.micro_batch * sequence / layouts.cp
    mask = 1.0 if recipe.dropout else 0.0
    normalised = 2 * kept_number * h  # what attention and feed-forward read
    same = number * h * shape.norms + normalised + 2 * mask * h
    if latent := shape.latent:
        projected = number * shape.heads * (2 * (latent.nope + latent.rope) + latent.value)
        compressed = number * (latent.q_rank + latent.kv_rank)
        attention = projected + compressed + kept_number * shape.heads * latent.value
    else:
        projected = 0.0  # q, k and v are kept by either kind of recomputation but the full one
        attention = number * (shape.q_width + 2 * shape.kv_width) + kept_number * shape.q_width
    # Gate and up (or up alone) before the activation function, and its result, which the last product reads.
    before = number * (2 if shape.gated else 1)
    if experts := shape.experts:
        share = shape.moe_layers / shape.layers if moe_share is None else moe_share
        width = share * (experts.active * experts.ffn + experts.shared_width) + (1 - share) * shape.ffn
        copies = share * experts.active * kept_number * h  # each choice is a copy of the token
    else:
        width, copies = np.float64(shape.ffn), np.float64(0.0)
    feed_forward = (before + kept_number) * width + copies
    seen = min(sequence, recipe.attended or sequence)
    scores = shape.heads * (4.0 if recipe.flash else (number + mask * (1 + number)) * seen)
    split = np.where(layouts.sequence_parallel > 0, layouts.tp, 1.0)
    kept = tokens * (same / split + (attention + feed_forward + scores) / layouts.tp)
    if recipe.flash:
        # Latent attention expands its keys and values again as well (arXiv 2412.19437 section 3.2.3).
        dropped = tokens * (normalised / split + (kept_number * width + projected) / layouts.tp)
    else:
        dropped = tokens * scores / layouts.tp
    return kept, tokens * number * h / split, kept - dropped


def in_flight(layouts: Layouts, schedule: str = "1f1b") -> Array:
    """Micro-batches whose activations the first stage holds at once: all of them under GPipe, else as many as there
    are stages (interleaved: some more; ZB-H1: as 1F1B)."""
    if schedule == "gpipe":
        return layouts.micro_batches
    pp, v = layouts.pp, layouts.interleave
    interleaved = pp * (1 + (pp - 1) / (pp * v))  # arXiv 2205.05198 section 4.2.3
    return np.minimum(np.where(v > 1, interleaved, pp), layouts.micro_batches)


def training_memory(
    shape: Shape, layouts: Layouts, recipe: Recipe, sequence: int, schedule: str = "1f1b"
) -> TrainingMemory:
    """Bytes per device of the stage that needs most; all arrays [N]."""
    first, last = held_parameters(shape, layouts)
    ranks = layouts.dp * layouts.cp
    stage = layers_per_stage(shape, layouts)
    which = layouts.recompute.astype(int)

    def of_stage(*, first: bool) -> tuple[Array, Array]:
        """Bytes a layer of this stage keeps, and what one needs again while it is recomputed."""
        share = moe_layers_of(shape, layouts, stage, first=first) / stage
        whole, inputs, selected = activation_bytes(shape, layouts, recipe, sequence, share)
        again = np.choose(which, [np.zeros_like(whole), whole - selected, whole])
        return np.choose(which, [whole, selected, inputs]), again

    (kept_first, again_first), (kept_last, again_last) = of_stage(first=True), of_stage(first=False)
    tokens = layouts.micro_batch * sequence / layouts.cp
    split = np.where(layouts.sequence_parallel > 0, layouts.tp, 1.0)
    embedded = tokens * shape.hidden * (1.0 if recipe.dropout else recipe.number_bytes) / split
    # Logits in the model's format and in fp32, once: they are gone before the next micro-batch.
    logits = (
        tokens * shape.vocab * (recipe.number_bytes + 4) / layouts.tp + 2 * recipe.number_bytes * tokens * shape.hidden
    )
    flying = in_flight(layouts, schedule)
    first_activations = flying * (stage * kept_first + embedded)
    behind = flying if schedule == "gpipe" else np.minimum(np.where(layouts.interleave > 1, flying, 1.0), flying)
    last_activations = behind * stage * kept_last
    alone = layouts.pp == 1
    parts: list[list[Array]] = []
    for held, activations, head, again in (
        (first, first_activations, np.where(alone, logits, 0.0), again_first),
        (last, np.where(alone, first_activations, last_activations), logits, again_last),
    ):
        expert_ranks = np.maximum(1.0, ranks / layouts.ep)

        def shared(stage_of_zero: int, held: Held = held, expert_ranks: Array = expert_ranks) -> Array:
            on = layouts.zero >= stage_of_zero
            return held.dense / np.where(on, ranks, 1.0) + held.expert / np.where(on, expert_ranks, 1.0)

        gathered = np.where(layouts.zero >= 3, 2 * held.layer * recipe.number_bytes, 0.0)
        # Full gradients of a layer exist before they are reduced to this rank's share.
        gathered = gathered + np.where(layouts.zero >= 2, held.layer * recipe.gradient_bytes, 0.0)
        weights = recipe.number_bytes * shared(3)
        gradients = recipe.gradient_bytes * shared(2)
        optimizer = np.where(layouts.offload > 0, 0.0, recipe.optimizer_bytes * shared(1))
        dynamic = activations + head + again + gathered
        parts.append(
            [weights, gradients, optimizer, activations, head, again + gathered, RESERVED + FRAGMENTATION * dynamic]
        )
    totals = [np.sum(part, axis=0) for part in parts]
    pick = totals[0] >= totals[1]
    return TrainingMemory(*(np.where(pick, a, b) for a, b in zip(parts[0], parts[1], strict=True)))
