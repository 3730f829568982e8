"""3D U-Net (Çiçek et al. 2016, arXiv:1606.06650) in the form of MLPerf's KiTS19 reference: instance normalisation,
leaky ReLU, strided convolutions down and transposed ones up. Knows volumes, not organs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class UNet3DConfig:
    """`filters` are those of the resolutions from the finest on; below the last there is a bottleneck as wide."""

    channels: int = 1
    classes: int = 3
    filters: tuple[int, ...] = (32, 64, 128, 256, 320)

    @property
    def stride(self) -> int:
        """What the sides of a volume must be multiples of."""
        return 2 ** len(self.filters)


class UNet3D(nn.Module):
    """Volumes [B, C, D, H, W] -> logits [B, classes, D, H, W]."""

    def __init__(self, config: UNet3DConfig = UNet3DConfig()) -> None:
        super().__init__()
        self.config = config
        filters = config.filters
        self.input = _pair(config.channels, filters[0], 1)
        below = (*filters[1:], filters[-1])
        self.down = nn.ModuleList(_pair(inputs, outputs, 2) for inputs, outputs in zip(filters, below, strict=True))
        self.grow = nn.ModuleList(
            nn.ConvTranspose3d(inputs, outputs, 2, 2)
            for inputs, outputs in zip(reversed(below), reversed(filters), strict=True)
        )
        self.up = nn.ModuleList(_pair(2 * outputs, outputs, 1) for outputs in reversed(filters))
        self.output = nn.Conv3d(filters[0], config.classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.input(x)
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(x)
        for grow, up in zip(self.grow, self.up, strict=True):
            x = up(torch.cat([grow(x), skips.pop()], dim=1))
        return self.output(x)

    @torch.no_grad()
    def initialise(self, seed: int) -> UNet3D:
        """Uniform in ± 1 / sqrt(fan in), what PyTorch draws for convolutions; the same for the same seed."""
        generator = torch.Generator().manual_seed(seed)
        for module in self.modules():
            if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
                bound = (1 / module.weight[0].numel()) ** 0.5
                for parameter in module.parameters():
                    parameter.copy_(torch.empty(parameter.shape).uniform_(-bound, bound, generator=generator))
            elif isinstance(module, nn.InstanceNorm3d):
                module.reset_parameters()
        return self


def _pair(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for step, channels in ((stride, inputs), (1, outputs)):
        layers += [
            nn.Conv3d(channels, outputs, 3, step, 1, bias=False),
            nn.InstanceNorm3d(outputs, affine=True),
            nn.LeakyReLU(0.01, inplace=True),
        ]
    return nn.Sequential(*layers)
