"""The formats that weights are held in: one table for the C kernels, the runners and whoever names a format.

Knows names and sizes; imports nothing that computes. `int8` rounds activations too, and `w8a16` does not: a name tells
what users choose between, and the C enum (LinearFormat of native/linear.h) has the same names.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WeightFormat:
    """Attributes:
    number: the value of LINEAR_<NAME> in linear.h.
    bits: of one weight with its share of the scales, in a matrix with many inputs.
    on_gpu: whether models on a GPU can be held in it.
    """

    number: int
    bits: float
    on_gpu: bool = False


WEIGHT_FORMATS: dict[str, WeightFormat] = {
    "fp32": WeightFormat(0, 32, on_gpu=True),
    "fp16": WeightFormat(1, 16, on_gpu=True),
    "int8": WeightFormat(2, 8),
    "w8a16": WeightFormat(3, 8),
    "w4a16": WeightFormat(4, 5),  # a scale of fp32 for 32 weights
    "fp8": WeightFormat(5, 8, on_gpu=True),
    "bf16": WeightFormat(6, 16, on_gpu=True),
}

GPU_FORMATS = tuple(name for name, format in WEIGHT_FORMATS.items() if format.on_gpu)
