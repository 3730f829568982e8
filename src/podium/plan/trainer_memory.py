"""Peak memory of Podium's own trainer on a CPU, in fp32: a walk through one step that adds up what is alive.

Follows podium.train.trainer and podium.models as they are: products that belong together are one matrix, the kernels of
podium.models.kernels keep q, k, v and the feed-forward's gate and up, logits exist for trained positions only. Without
those kernels (no compiler) the feed-forward keeps two more tensors.
"""

from __future__ import annotations

from dataclasses import dataclass

from podium.errors import InputError, nearest
from podium.models.families.registry import FAMILIES
from podium.plan.counting import parameters
from podium.plan.shapes import Shape

NUMBER = 4  # bytes
LOGITS_AT_ONCE = 1 << 25  # of podium.train.NextToken
_OPTIMIZERS = ("adamw", "muon", "sgd")


@dataclass(frozen=True, slots=True)
class TrainerMemory:
    """Bytes. `peak` is the most that is alive at one time; the others are the parts as large as they get."""

    weights: float
    optimizer: float
    gradients: float
    activations: float
    logits: float
    peak: float
    moment: str  # when that is


def trainer_memory(
    shape: Shape,
    rows: int,
    row_length: int,
    *,
    optimizer: str = "adamw",
    accumulation: int = 1,
    trained: float = 1.0,
    kernels: bool = True,
) -> TrainerMemory:
    """Of one process after its first step; `trained` is the share of positions whose next token is predicted.

    Raises:
        InputError: unknown optimiser; a shape the trainer has no model for.
    """
    if optimizer not in _OPTIMIZERS:
        raise InputError(f"unknown optimiser {optimizer!r}", nearest(optimizer, _OPTIMIZERS))
    if shape.experts:
        raise InputError(
            f"{shape.name}: what the trainer needs for a mixture of experts is not planned yet", "train a step and look"
        )
    if shape.latent or not shape.gated or shape.kind != "decoder":
        known = ", ".join(FAMILIES)
        raise InputError(f"{shape.name}: the trainer has no such model", f"it trains decoders of families {known}")
    walk = _Walk(shape, rows * row_length, trained, kernels)
    total = NUMBER * parameters(shape).total
    hidden_matrices = NUMBER * shape.layers * (walk.attention_weights + walk.feed_forward_weights)
    states = {
        "adamw": 2 * total,
        "sgd": total,
        "muon": 2 * total - hidden_matrices,
    }[optimizer]
    base = total + states
    moments: dict[str, float] = {}
    kept = total if accumulation > 1 else 0
    walk.forward(moments, base + kept)
    walk.backward(moments, base, total, accumulating=accumulation > 1)
    if optimizer == "muon":
        moments["orthogonalising"] = base + total + walk.newton_schulz()
    moment = max(moments, key=lambda name: moments[name])
    return TrainerMemory(
        weights=total,
        optimizer=states,
        gradients=total,
        activations=walk.activations,
        logits=walk.logits_alive,
        peak=moments[moment],
        moment=moment,
    )


class _Walk:
    """One micro-batch of `tokens`; sizes in bytes."""

    def __init__(self, shape: Shape, tokens: int, trained: float, kernels: bool) -> None:
        self.shape, self.tokens = shape, tokens
        h, q, kv = shape.hidden, shape.q_width, shape.kv_width
        self.stream = NUMBER * tokens * h  # a tensor of the residual stream's width
        self.inner = NUMBER * tokens * shape.ffn
        self.both = NUMBER * tokens * (-(-2 * shape.ffn // 16) * 16)  # rows begin at multiples of 64 bytes
        self.qkv = NUMBER * tokens * (q + 2 * kv)
        self.mixed = NUMBER * tokens * q
        self.attention_weights = h * (q + 2 * kv) + q * h
        self.feed_forward_weights = 3 * h * shape.ffn
        # Norm inputs are the stream itself and it with the attention branch added; both norms' outputs are read again.
        self.layer = 4 * self.stream + self.qkv + self.mixed + self.both + NUMBER * tokens * (shape.heads + 2)
        if shape.qk_norm:  # normalised copies of q and k, turned ones, and what the norms read
            self.layer += 2 * NUMBER * tokens * (q + kv)
        if not kernels:
            self.layer += 2 * self.inner
        self.predicted = tokens * trained
        chunk = max(1, LOGITS_AT_ONCE // shape.vocab)
        self.chunked = self.predicted > chunk
        self.logits = NUMBER * shape.vocab * min(self.predicted, chunk)
        copies = 1 if trained < 1 else 0
        self.after = 2 * self.stream + copies * NUMBER * self.predicted * h
        self.activations = shape.layers * self.layer + self.after
        self.logits_alive = 3 * self.logits

    def forward(self, moments: dict[str, float], base: float) -> None:
        # Logits and their logarithms of the softmax; in the last layer, the feed-forward's inner and outer result.
        moments["loss"] = base + self.activations + 2 * self.logits
        moments["last layer forward"] = base + self.shape.layers * self.layer + self.inner + self.stream

    def backward(self, moments: dict[str, float], base: float, gradients: float, *, accumulating: bool) -> None:
        shape = self.shape
        head = NUMBER * shape.vocab * shape.hidden
        kept = gradients if accumulating else 0.0
        alive = base + kept + self.activations
        # Gradients of the loss and of the softmax, beside its saved result.
        moments["logits backward"] = alive + 3 * self.logits + (self.after if self.chunked else 0)
        # The head's gradient is made beside the logits' and the hidden states' ones.
        moments["head backward"] = alive + self.logits + head + NUMBER * self.predicted * shape.hidden
        made = 0.0 if accumulating else float(head)
        beside = head if accumulating and shape.tied else 0.0
        layer_gradient = NUMBER * (self.attention_weights + self.feed_forward_weights)
        largest = NUMBER * 2 * shape.ffn * shape.hidden
        for left in (shape.layers, 1):
            done = shape.layers - left
            so_far = base + kept + left * self.layer + (made + done * layer_gradient if not accumulating else beside)
            # A layer: the incoming gradient, those of inner, gate and up, and the weights' as they come.
            weights = largest if accumulating else NUMBER * self.feed_forward_weights
            step = so_far + self.stream + self.inner + self.both + weights + self.stream
            moments[f"backward with {left} layers left"] = step
        embedding = NUMBER * shape.vocab * shape.hidden
        # A lookup's gradient is dense; tied to the head it is added to the one that is there.
        moments["embedding backward"] = (
            base + gradients + embedding * (1 if accumulating or shape.tied else 0) + self.stream
        )

    def newton_schulz(self) -> float:
        """The largest group of equal matrices, stacked: the stack, two iterates (of tall ones, which are turned, also a
        copy in order), two products with itself."""
        shape = self.shape
        h, q, kv, f = shape.hidden, shape.q_width, shape.kv_width, shape.ffn
        groups: dict[tuple[int, int], int] = {}
        for rows, columns, count in ((q, h, 1), (kv, h, 2), (h, q, 1), (f, h, 2), (h, f, 1)):
            groups[rows, columns] = groups.get((rows, columns), 0) + count * shape.layers
        return max(
            NUMBER * count * ((4 if rows > columns else 3) * rows * columns + 2 * min(rows, columns) ** 2)
            for (rows, columns), count in groups.items()
        )
