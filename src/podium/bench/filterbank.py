"""Log-mel features of speech, and what is done to them and to the sound before a network sees them.

Two recipes of one thing: the plain one of the synthesised speech, and that of MLPerf's RNN-T reference (Slaney's mel
scale, pre-emphasis, dither, silence trimmed, SpecAugment of arXiv:1904.08779 with masks that grow with the length).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

SILENCE = 1e-6  # of the loudest window's power: 60 dB below it
WINDOW = 2048  # samples that the loudness of a place is taken over


@dataclass(frozen=True, slots=True)
class Filterbank:
    """`mels` channels of 20 ms windows every 10 ms, normalised per utterance and channel; `splice` frames put together
    into one. `dither`: noise added to the sound, so that digital silence has a logarithm."""

    mels: int
    splice: int
    rate: int
    scale: Literal["htk", "slaney"] = "htk"
    preemphasis: float = 0.0
    dither: float = 0.0
    floor: float = 1e-6

    def __call__(self, sound: Tensor) -> Tensor:
        """Samples [N] -> [frames, mels * splice]."""
        return self.spliced(self.energies(sound))

    def energies(self, sound: Tensor, noise: torch.Generator | None = None) -> Tensor:
        """Samples [N] -> [mels, frames]."""
        if self.dither:
            sound = sound + self.dither * torch.randn(sound.shape, generator=noise)
        if self.preemphasis:
            sound = torch.cat([sound[:1], sound[1:] - self.preemphasis * sound[:-1]])
        window = int(0.02 * self.rate)
        size = 1 << (window - 1).bit_length()
        spectrum = torch.stft(
            sound, size, int(0.01 * self.rate), window, torch.hann_window(window), return_complex=True, center=True
        )
        energy = (self.triangles(size) @ spectrum.abs().square() + self.floor).log()
        return (energy - energy.mean(1, keepdim=True)) / (energy.std(1, keepdim=True) + 1e-3)

    def spliced(self, energy: Tensor) -> Tensor:
        """[mels, frames] -> [frames // splice, mels * splice]."""
        whole = energy.shape[1] // self.splice * self.splice
        return energy[:, :whole].T.reshape(-1, self.mels * self.splice)

    def triangles(self, size: int) -> Tensor:
        """[mels, size / 2 + 1]: triangles of equal width on the mel scale."""
        top = self._mel(np.array(self.rate / 2))
        edges = self._hertz(np.linspace(0, top, self.mels + 2))
        hertz = np.linspace(0, self.rate / 2, size // 2 + 1)
        left, middle, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
        rising, falling = (hertz - left) / (middle - left), (right - hertz) / (right - middle)
        return torch.from_numpy(np.clip(np.minimum(rising, falling), 0, None)).float()

    def _mel(self, hertz: np.ndarray) -> np.ndarray:
        """2595 log10(1 + f / 700), or Slaney's: linear to 1000 Hz, from there 27 steps to a factor of 6.4."""
        if self.scale == "htk":
            return 2595 * np.log10(1 + hertz / 700)
        return np.where(hertz < 1000, hertz * 3 / 200, 15 + 27 * np.log(np.maximum(hertz, 1) / 1000) / np.log(6.4))

    def _hertz(self, mel: np.ndarray) -> np.ndarray:
        if self.scale == "htk":
            return 700 * (10 ** (mel / 2595) - 1)
        return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))


@dataclass(frozen=True, slots=True)
class SpecAugment:
    """`bands` masks of up to `widest` channels, `gaps` masks of up to `longest` (a share) of the frames."""

    bands: int = 2
    widest: int = 20
    gaps: int = 10
    longest: float = 0.03

    def __call__(self, energy: Tensor, draw: np.random.Generator) -> Tensor:
        """[mels, frames], masked with 0, the mean."""
        energy = energy.clone()
        mels, frames = energy.shape
        for _ in range(self.bands):
            width = int(draw.integers(0, self.widest + 1))
            start = int(draw.integers(0, max(1, mels - width)))
            energy[start : start + width] = 0
        for _ in range(self.gaps):
            width = int(draw.integers(0, round(self.longest * frames) + 1))
            start = int(draw.integers(0, max(1, frames - width)))
            energy[:, start : start + width] = 0
        return energy


def at_speed(sound: np.ndarray, factor: float) -> np.ndarray:
    """[N] -> [N * factor]: the sound resampled, so that it is slower and lower by a factor above 1.

    The spectrum is cut off or filled up with zeros: what lies above the new highest frequency is not folded down.
    """
    length = max(1, round(len(sound) * factor))
    spectrum = np.fft.rfft(sound)
    return (np.fft.irfft(spectrum, length) * (length / len(sound))).astype(np.float32)


def without_silence(sound: np.ndarray) -> np.ndarray:
    """From the first to the last window that is no quieter than 60 dB below the loudest."""
    if len(sound) <= WINDOW:
        return sound
    total = np.concatenate([[0.0], np.cumsum(np.square(sound, dtype=np.float64))])
    power = total[WINDOW:] - total[:-WINDOW]
    loud = np.flatnonzero(power >= max(power.max() * SILENCE, 1e-30))
    return sound[loud[0] : loud[-1] + WINDOW] if len(loud) else sound
