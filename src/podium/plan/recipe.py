"""How a network is trained, apart from where: number formats, optimiser, attention kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from podium.errors import InputError, nearest

Precision = Literal["bf16", "fp16", "fp8", "fp32"]

# Bytes per parameter of the optimiser, master weights included: those of mixed precision are kept in fp32.
_STATES: dict[str, float] = {"adamw": 8.0, "adamw8bit": 2.0, "muon": 4.0, "sgd": 4.0}
OPTIMIZERS = tuple(_STATES)
PRECISIONS: tuple[Precision, ...] = ("bf16", "fp16", "fp8", "fp32")


@dataclass(frozen=True, slots=True)
class Recipe:
    """Mixed-precision training as Megatron does it: 2 + 4 + 12 bytes per parameter with AdamW.

    `gradient_bytes` is what gradients are summed in; 2 gives the 16 bytes of the ZeRO paper (arXiv 1910.02054
    section 3.1). `flash`: attention keeps no scores (arXiv 2205.14135). `attended` is how many tokens a token can see,
    where rows are packed from shorter documents.
    """

    precision: Precision = "bf16"
    optimizer: str = "adamw"
    gradient_bytes: float = 4.0
    flash: bool = True
    dropout: bool = False
    overlap: bool = True  # data-parallel communication runs during the backward pass
    attended: int | None = None

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise InputError(f"unknown precision {self.precision!r}", nearest(self.precision, PRECISIONS))
        if self.optimizer not in _STATES:
            raise InputError(f"unknown optimiser {self.optimizer!r}", nearest(self.optimizer, OPTIMIZERS))

    @property
    def number_bytes(self) -> float:
        """Of an activation, and of the weights the products read."""
        return 4.0 if self.precision == "fp32" else 2.0

    @property
    def kept_bytes(self) -> float:
        """Of a number kept only to be multiplied again in the backward pass."""
        return 1.0 if self.precision == "fp8" else self.number_bytes

    @property
    def optimizer_bytes(self) -> float:
        """Per parameter: states, and the fp32 weights where the model itself is narrower."""
        return _STATES[self.optimizer] + (0.0 if self.precision == "fp32" else 4.0)

    @property
    def formats(self) -> tuple[str, ...]:
        """Of the products, the one asked for first; what stands in where a device has other 16-bit arithmetic next."""
        return {
            "fp8": ("fp8",),
            "fp32": ("tf32", "fp32"),
            "fp16": ("fp16", "bf16", "fp32"),
            "bf16": ("bf16", "fp16", "fp32"),
        }[self.precision]
