"""What a training run does in operations, and the budget units it is spoken of in."""

from __future__ import annotations

from podium.plan.convnet import ConvNet
from podium.plan.counting import Attention, Flops, Recomputation, training_flops
from podium.plan.shapes import Shape


def sequence_flops(
    model: Shape | ConvNet,
    sequence: int,
    attention: Attention = "full",
    recomputation: Recomputation = "none",
    attended: int | None = None,
) -> Flops:
    """Forward and backward of one sequence; of rows packed from documents of `attended` tokens, only their pairs."""
    if attended is None or attended >= sequence or isinstance(model, ConvNet):
        return training_flops(model, sequence, attention, recomputation)
    document = training_flops(model, attended, attention, recomputation)
    return document.times(sequence / attended)
