"""Rotary position embeddings: the frequencies of each scaling kind, and the turns of a forward pass.

Knows positions and angles only. Sources: RoPE, arXiv:2104.09864 (section 3.2.2); linear interpolation,
arXiv:2306.15595; NTK-aware and dynamic scaling, and YaRN, arXiv:2309.00071 (sections 3.1-3.4); the llama3 kind is the
frequency-dependent rule published with Llama 3.1. Numbers agree with transformers' ROPE_INIT_FUNCTIONS.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from podium.models.config import TransformerConfig


class Rope:
    """Frequencies of one model. Kept in fp32 whatever the weights are in: angles of late positions need it."""

    def __init__(self, config: TransformerConfig) -> None:
        self._config = config
        self.inverse_frequencies, self.attention_factor = inverse_frequencies(config)  # [Dh/2]

    def turns(self, positions: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Unit complex numbers [B or 1, T, 1, Dh/2] for positions [B or 1, T]; shared by all layers of a forward pass.

        Their length is not quite 1 where YaRN asks for it. `lengths`, in the shape of `positions`, tell how long the
        text of each token was when the token was computed, which matters to the kind "dynamic" alone; without them it
        is the largest position + 1 for all, as in transformers.
        """
        if self.inverse_frequencies.device != positions.device:
            self.inverse_frequencies = self.inverse_frequencies.to(positions.device)
        frequencies = self.inverse_frequencies
        if self._config.rope.kind == "dynamic":
            frequencies = _dynamic(self._config, positions.max() + 1 if lengths is None else lengths[:, :, None, None])
        angles = positions[:, :, None, None].float() * frequencies
        return torch.polar(torch.full_like(angles, self.attention_factor), angles)


def inverse_frequencies(config: TransformerConfig) -> tuple[Tensor, float]:
    """Inverse frequencies [Dh/2] (radians per position, fp32, on the CPU) and the factor on cos and sin."""
    rope, size = config.rope, config.head_dim
    exponents = torch.arange(0, size, 2, dtype=torch.float32, device="cpu") / size
    plain = 1.0 / rope.theta**exponents
    original = rope.original_max_position_embeddings or config.max_position_embeddings
    factor = config.rope_factor
    if rope.kind == "linear":
        return plain / factor, 1.0
    if rope.kind == "llama3":
        wavelength = 2 * math.pi / plain
        low, high = original / rope.low_freq_factor, original / rope.high_freq_factor
        smooth = (original / wavelength - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor)
        between = (1 - smooth) * plain / factor + smooth * plain
        return torch.where(wavelength > low, plain / factor, torch.where(wavelength < high, plain, between)), 1.0
    if rope.kind == "yarn":
        return _yarn(config, plain, original)
    return plain, 1.0


def _dynamic(config: TransformerConfig, length: Tensor) -> Tensor:
    # Stays on the device: the length seen decides the base, without waiting for it.
    rope, size, trained, factor = config.rope, config.head_dim, config.max_position_embeddings, config.rope_factor
    stretch = factor * length.clamp(min=trained).float() / trained - (factor - 1)
    base = rope.theta * stretch ** (size / (size - 2))
    return 1.0 / base ** (torch.arange(0, size, 2, dtype=torch.float32, device=length.device) / size)


def _yarn(config: TransformerConfig, plain: Tensor, original: int) -> tuple[Tensor, float]:
    rope, size, scale = config.rope, config.head_dim, config.rope_factor

    def dimension(rotations: float) -> float:
        """The dimension that turns this often within the original context (paper, section 3.2)."""
        return size * math.log(original / (rotations * 2 * math.pi)) / (2 * math.log(rope.theta))

    def mscale(weight: float) -> float:
        return 1.0 if scale <= 1 else 0.1 * weight * math.log(scale) + 1.0

    # transformers takes a 0 for the default, too.
    low, high = dimension(rope.beta_fast or 32.0), dimension(rope.beta_slow or 1.0)
    if rope.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, size - 1)
    if low == high:
        high += 0.001
    ramp = ((torch.arange(size // 2, dtype=torch.float32, device="cpu") - low) / (high - low)).clamp(0, 1)
    frequencies = plain / scale * ramp + plain * (1 - ramp)
    factor = rope.attention_factor
    if factor is None:
        factor = mscale(1.0)
        if rope.mscale and rope.mscale_all_dim:
            factor = mscale(rope.mscale) / mscale(rope.mscale_all_dim)
    return frequencies, factor
