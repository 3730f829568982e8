"""Seconds of one optimiser step, by cause, for many layouts at once.

Products take their operations at the reachable peak plus their traffic; what is not a product takes its traffic;
tensor-parallel collectives are felt in full, data-parallel ones as far as the backward pass does not hide them; the
pipeline's slowest stage sets the pace (arXiv 2104.04473 section 2.2). `Coefficients` holds the few numbers that no
data sheet gives; podium.plan.fitting finds them from published runs.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from podium.errors import InputError, nearest
from podium.plan.counting import pairs
from podium.plan.layouts import Array, Layouts
from podium.plan.memory import Held, activation_bytes, held_parameters, moe_layers_of
from podium.plan.recipe import Recipe
from podium.plan.schedules import SCHEDULES
from podium.plan.shapes import Shape
from podium.plan.topology import Cluster


@dataclass(frozen=True, slots=True)
class Coefficients:
    """What must be measured. All are shares or counts near 1, the same for every run."""

    product: float = 0.85  # of the reachable matrix peak, by large products within a network
    passes: float = 5.0  # how often what a layer keeps is read or written, forward and backward
    link: float = 0.7  # of the fast links, by collectives
    network: float = 0.7  # of the network ports
    exposed: float = 0.5  # of data-parallel communication, not hidden


@dataclass(frozen=True, slots=True)
class StepTime:
    """Seconds per step, arrays [N]; they add up to `total`."""

    products: Array
    attention: Array
    traffic: Array  # normalisation, activation functions, residuals, softmax where it is not fused
    tensor: Array  # communication of tensor parallelism
    context: Array
    expert: Array
    pipeline: Array  # handing activations on
    bubble: Array
    imbalance: Array  # stages waiting for the one with most layers and the head
    data: Array
    optimizer: Array

    @property
    def total(self) -> Array:
        return np.sum([getattr(self, item.name) for item in fields(self)], axis=0)

    def at(self, index: int) -> dict[str, float]:
        return {item.name: float(getattr(self, item.name)[index]) for item in fields(self)}


@dataclass(frozen=True, slots=True)
class _Speeds:
    peak: float  # FLOP/s reached by products without end
    attention: float
    bandwidth: float
    intensity: float  # FLOP per byte at which traffic and arithmetic take the same time
    number: float  # bytes


def bubble_share(schedule: str, pp: Array, m: Array, v: Array) -> Array:
    """Idle time of a pipeline of even stages as a share of its working time: podium.plan.schedules for many layouts.

    Zero-bubble is ZB-H1 with forward, input and weight gradients taking the same time.

    Raises:
        InputError: unknown schedule.
    """
    if schedule not in SCHEDULES:
        raise InputError(f"unknown pipeline schedule {schedule!r}", nearest(schedule, SCHEDULES))
    if schedule == "zero-bubble":
        return (pp - 1) / (3 * m)
    return (pp - 1) / (m * v)


def _product(m: Array, n: Array | float, k: Array | float, speeds: _Speeds) -> Array:
    """Seconds of [m, k] x [k, n]: its operations, and its three matrices read or written once."""
    n, k = np.asarray(n, dtype=float), np.asarray(k, dtype=float)
    traffic = speeds.number / 2 * speeds.intensity * (1 / m + 1 / n + 1 / k)
    return 2 * m * n * k / speeds.peak * (1 + traffic)


def _layer_products(shape: Shape, tokens: Array, t: Array, ep: Array, speeds: _Speeds) -> tuple[Array, Array]:
    """Seconds of one layer's products, forward: of a dense layer and of a mixture of experts."""
    h = shape.hidden
    if latent := shape.latent:
        width = latent.nope + latent.rope
        seconds = _product(tokens, latent.q_rank + latent.kv_rank + latent.rope, h, speeds)
        seconds = seconds + _product(tokens, shape.heads * width / t, max(1, latent.q_rank), speeds)
        seconds = seconds + _product(tokens, shape.heads * (latent.nope + latent.value) / t, latent.kv_rank, speeds)
        seconds = seconds + _product(tokens, h, shape.heads * latent.value / t, speeds)
    else:
        seconds = _product(tokens, (shape.q_width + 2 * shape.kv_width) / t, h, speeds)
        seconds = seconds + _product(tokens, h, shape.q_width / t, speeds)
    ups = 2 if shape.gated else 1

    def network(rows: Array, width: Array | float) -> Array:
        return _product(rows, ups * width, h, speeds) + _product(rows, h, width, speeds)

    dense = seconds + network(tokens, shape.ffn / t)
    if not shape.experts:
        return dense, dense
    experts = shape.experts
    here = experts.routed / ep  # experts of this device, each with its share of the group's tokens
    routed = here * network(np.maximum(1.0, tokens * ep * experts.active / experts.routed), experts.ffn / t)
    routed = routed + _product(tokens, experts.routed, h, speeds)
    if experts.shared_width:
        routed = routed + network(tokens, experts.shared_width / t)
    return dense, seconds + routed


def step_time(
    shape: Shape,
    layouts: Layouts,
    cluster: Cluster,
    recipe: Recipe,
    sequence: int,
    coefficients: Coefficients,
    schedule: str = "1f1b",
) -> StepTime:
    """Seconds of one step; all arrays [N]. `schedule` is one of podium.plan.schedules (interleaving is the layout's).

    Raises:
        InputError: the device has none of the recipe's number formats; unknown schedule.
    """
    speeds = _speeds(cluster, recipe, coefficients)
    t, pp, cp, m = layouts.tp, layouts.pp, layouts.cp, layouts.micro_batches
    number, h = recipe.number_bytes, shape.hidden
    tokens = layouts.micro_batch * sequence / cp
    again = (layouts.recompute == 2).astype(float)  # whole layers are run twice
    scores_again = (layouts.recompute >= 1).astype(float)
    stage = shape.layers / pp  # on average; the fullest one is accounted for as imbalance

    # One micro-batch on one layer, forward and backward: of a dense layer, of a mixture, and on average.
    share = shape.moe_layers / shape.layers
    kinds = [forward * (3 + again) for forward in _layer_products(shape, tokens, t, layouts.ep, speeds)]
    products = (1 - share) * kinds[0] + share * kinds[1]
    kind = "causal" if recipe.flash else "full"
    seen = min(sequence, recipe.attended or sequence)
    width = shape.latent.nope + shape.latent.rope + shape.latent.value if shape.latent else 2 * shape.head_dim
    operations = 2 * shape.heads * width * pairs(shape, seen, kind) / shape.layers * (sequence / seen)
    # A fused kernel computes scores again in its backward pass: 2 products forward, 5 backward.
    repeats = (3.5 if recipe.flash else 3.0) + np.where(recipe.flash, again, scores_again)
    attention = layouts.micro_batch * operations / cp / t / speeds.attention * repeats
    # Recomputing reads and writes the forward pass's part once more.
    repeated = 1 + np.choose(layouts.recompute.astype(int), [0.0, 0.1, 0.4])
    passed = [
        coefficients.passes * repeated * activation_bytes(shape, layouts, recipe, sequence, of)[0] / speeds.bandwidth
        for of in ((0.0, 1.0) if shape.experts else (0.0, 0.0))
    ]
    traffic = (1 - share) * passed[0] + share * passed[1]

    # A reduce-scatter and an all-gather (or an all-reduce: the same) after attention and after the feed-forward.
    whole = number * h * tokens
    pair = 2 * cluster.gather(whole, t, np.ones_like(t))
    tensor = np.where(t > 1, pair * 2 * (2 + again), 0.0)
    keys = number * shape.kv_numbers_per_token * layouts.micro_batch * sequence / (1.0 if shape.latent else t)
    context = np.where(cp > 1, cluster.gather(keys, np.maximum(cp, 1), t) * (3 + again), 0.0)
    exchange = np.zeros_like(t)
    if shape.experts:
        sent = tokens * shape.experts.active * h * number
        exchange = 4 * (1 + 0.5 * again) * cluster.exchange(sent / t, layouts.ep, t)
        if recipe.overlap:
            exchange = exchange * coefficients.exposed
    expert = share * exchange
    common = attention + tensor + context
    layer = products + traffic + expert + common
    dense_layer, moe_layer = kinds[0] + passed[0] + common, kinds[1] + passed[1] + exchange + common

    head = 3 * _product(tokens, (shape.vocab or 1) / t, shape.table_width, speeds)
    head = head + 4 * tokens * shape.vocab * (number + 4) / t / speeds.bandwidth
    hand_over = 2 * layouts.interleave * cluster.pass_on(whole / t, t * layouts.dp * cp)
    hand_over = np.where(pp > 1, hand_over, 0.0)
    mean = stage * layer + head / pp + hand_over
    full, end = np.ceil(stage), _last_stage(shape, pp)

    def of_stage(layers: Array, *, first: bool) -> Array:
        moe = moe_layers_of(shape, layouts, layers, first=first)
        return moe * moe_layer + (layers - moe) * dense_layer

    # Dense layers lie on the first stage; where there are more than two stages one in between has none.
    middle = np.where(pp > 2, of_stage(full, first=False), 0.0)
    fullest = np.maximum(of_stage(full, first=True), middle)
    fullest = np.maximum(fullest, of_stage(end, first=False) + head) + hand_over
    waiting = m * np.maximum(0.0, np.where(pp > 1, fullest - mean, 0.0))
    bubble = m * mean * bubble_share(schedule, pp, m, layouts.interleave)

    # The optimiser's step waits for the stage with most to update, its gradients for the one with most to send.
    first, last = held_parameters(shape, layouts)
    held = Held(np.maximum(first.dense, last.dense), np.maximum(first.expert, last.expert), first.layer)
    data, optimizer = _once_per_step(layouts, cluster, recipe, coefficients, held.dense, held.expert, m * mean)
    return StepTime(
        products=m * (stage * products + head / pp),
        attention=m * stage * attention,
        traffic=m * stage * traffic,
        tensor=m * stage * tensor,
        context=m * stage * context,
        expert=m * stage * expert,
        pipeline=m * hand_over,
        bubble=bubble,
        imbalance=waiting,
        data=data,
        optimizer=optimizer,
    )


def _speeds(cluster: Cluster, recipe: Recipe, coefficients: Coefficients) -> _Speeds:
    device = cluster.device
    reach = device.achievable * coefficients.product
    peak = device.best(*recipe.formats)
    half = device.best("bf16", "fp16", "fp32")
    return _Speeds(
        peak=peak * reach,
        attention=(half if recipe.precision == "fp8" else peak) * reach * (0.75 if recipe.flash else 0.7),
        bandwidth=device.bandwidth,
        intensity=peak * reach / device.bandwidth,
        number=recipe.number_bytes,
    )


def _last_stage(shape: Shape, pp: Array) -> Array:
    """Layers of the last stage: with a remainder it is given the fewer."""
    return np.where(pp > 1, shape.layers - np.ceil(shape.layers / pp) * (pp - 1), shape.layers)


def _once_per_step(
    layouts: Layouts,
    cluster: Cluster,
    recipe: Recipe,
    coefficients: Coefficients,
    dense: Array,
    expert: Array,
    computing: Array,
) -> tuple[Array, Array]:
    """Seconds of data-parallel communication that are felt, and of the optimiser."""
    ranks = layouts.dp * layouts.cp
    span = layouts.tp
    sizes = [(dense, ranks)]
    if expert.any():
        sizes.append((expert, np.maximum(1.0, ranks / layouts.ep)))
    reduced = gathered = np.zeros_like(dense)
    for held, group in sizes:
        reduced = reduced + np.where(group > 1, cluster.gather(recipe.gradient_bytes * held, group, span), 0.0)
        gathered = gathered + np.where(group > 1, cluster.gather(recipe.number_bytes * held, group, span), 0.0)
    # FSDP gathers weights for the forward and the backward pass of every micro-batch and keeps none.
    m = layouts.micro_batches
    plain = reduced + np.where(layouts.zero > 0, gathered, reduced)
    sharded = m * (reduced + 2 * gathered)
    needed = np.where(layouts.zero >= 3, sharded, plain)
    hidden = (1 - coefficients.exposed) if recipe.overlap else 0.0
    room = np.where(layouts.zero >= 3, computing, computing / np.maximum(1.0, m))
    data = np.maximum(needed * (1 - hidden), needed - room)
    # Experts have as many copies as there are ranks per expert rank, and only these share their states out.
    on = layouts.zero >= 1
    updated = dense / np.where(on, ranks, 1.0) + expert / np.where(on, np.maximum(1.0, ranks / layouts.ep), 1.0)
    moved = updated * (2 * recipe.optimizer_bytes + recipe.gradient_bytes + 2 * recipe.number_bytes)
    over_pcie = updated * (recipe.gradient_bytes + recipe.number_bytes) / 25e9
    optimizer = moved / cluster.device.bandwidth + np.where(layouts.offload > 0, over_pcie + moved / 50e9, 0.0)
    return data, optimizer
