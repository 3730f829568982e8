"""The network of AlphaGo Zero (Silver et al. 2017, doi:10.1038/nature24270): a residual trunk with two heads.

Knows planes of a square board, not the game.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class DualConfig:
    size: int = 19
    planes: int = 13
    width: int = 64
    blocks: int = 9
    hidden: int = 64  # of the value head
    head_scales: bool = True  # whether the norms of the heads have a scale and a shift of their own
    value_for_black: bool = False  # whose chances the value is: Black's, as in MLPerf's reference, or of who is to move


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        branch = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(x + self.bn2(self.conv2(branch)), inplace=True)


class DualNet(nn.Module):
    """Planes [B, P, S, S] -> logits of the moves [B, S² + 1], the pass last, and the value [B] in (-1, 1) for the
    player to move, or for Black (DualConfig.value_for_black)."""

    def __init__(self, config: DualConfig = DualConfig()) -> None:
        super().__init__()
        self.config = config
        points = config.size**2
        self.input, self.norm = (
            nn.Conv2d(config.planes, config.width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(config.width),
        )
        self.blocks = nn.Sequential(*(Block(config.width) for _ in range(config.blocks)))
        self.policy_conv = nn.Conv2d(config.width, 2, 1, bias=False)
        self.policy_norm = nn.BatchNorm2d(2, affine=config.head_scales)
        self.policy = nn.Linear(2 * points, points + 1)
        self.value_conv = nn.Conv2d(config.width, 1, 1, bias=False)
        self.value_norm = nn.BatchNorm2d(1, affine=config.head_scales)
        self.value_hidden = nn.Linear(points, config.hidden)
        self.value = nn.Linear(config.hidden, 1)

    def forward(self, planes: Tensor) -> tuple[Tensor, Tensor]:
        x = self.blocks(F.relu(self.norm(self.input(planes)), inplace=True))
        moves = self.policy(F.relu(self.policy_norm(self.policy_conv(x))).flatten(1))
        value = F.relu(self.value_hidden(F.relu(self.value_norm(self.value_conv(x))).flatten(1)))
        return moves, torch.tanh(self.value(value))[:, 0]

    @torch.no_grad()
    def initialise(self, seed: int) -> DualNet:
        """He et al. 2015 (fan in), biases 0; the same for the same seed. Returns self."""
        generator = torch.Generator().manual_seed(seed)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                fan_in = module.weight[0].numel()
                he = torch.empty(module.weight.shape).normal_(0, (2 / fan_in) ** 0.5, generator=generator)
                module.weight.copy_(he)
                if module.bias is not None:
                    module.bias.zero_()
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
        self.policy.weight.mul_(0.1)  # no opinion to begin with
        return self
