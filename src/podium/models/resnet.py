"""ResNet v1.5 (He et al. 2015, arXiv:1512.03385; v1.5: the stride of a bottleneck sits on its 3x3 convolution).

Parameters have the names of torchvision's and timm's `resnet50`, so that their state dictionaries load unchanged.
Knows images, not what is done with them: classifiers use `forward`, detectors `stages`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class ResNetConfig:
    """`width` is that of the first stage (64 in all published ones); `stem` "small" keeps the resolution of small
    images: one 3x3 convolution instead of 7x7 with stride 2 and a max-pool."""

    block: Literal["bottleneck", "basic"] = "bottleneck"
    layers: tuple[int, ...] = (3, 4, 6, 3)
    strides: tuple[int, ...] = (1, 2, 2, 2)
    width: int = 64
    classes: int = 1000
    channels: int = 3
    stem: Literal["imagenet", "small"] = "imagenet"

    @property
    def stage_channels(self) -> tuple[int, ...]:
        """Channels that leave each stage."""
        expansion = Bottleneck.expansion if self.block == "bottleneck" else Basic.expansion
        return tuple(self.width * 2**stage * expansion for stage in range(len(self.layers)))


RESNET50 = ResNetConfig()


class Basic(nn.Module):
    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _projection(inputs, width, stride)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        return self.bn2

    def forward(self, x: Tensor) -> Tensor:
        branch = F.relu(self.bn1(self.conv1(x)), inplace=True)
        branch = self.bn2(self.conv2(branch))
        return F.relu(branch + (x if self.downsample is None else self.downsample(x)), inplace=True)


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.downsample = _projection(inputs, width * self.expansion, stride)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        return self.bn3

    def forward(self, x: Tensor) -> Tensor:
        branch = F.relu(self.bn1(self.conv1(x)), inplace=True)
        branch = F.relu(self.bn2(self.conv2(branch)), inplace=True)
        branch = self.bn3(self.conv3(branch))
        return F.relu(branch + (x if self.downsample is None else self.downsample(x)), inplace=True)


class ResNet(nn.Module):
    """Images [B, C, H, W] -> logits [B, classes]; with `classes` 0 it has no head and only `stages` can be asked."""

    def __init__(self, config: ResNetConfig = RESNET50) -> None:
        super().__init__()
        self.config = config
        if config.stem == "imagenet":
            self.conv1 = nn.Conv2d(config.channels, config.width, 7, 2, 3, bias=False)
        else:
            self.conv1 = nn.Conv2d(config.channels, config.width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(config.width)
        block = Bottleneck if config.block == "bottleneck" else Basic
        inputs = config.width
        for stage, (number, stride) in enumerate(zip(config.layers, config.strides, strict=True)):
            width = config.width * 2**stage
            blocks = [block(inputs, width, stride)]
            inputs = width * block.expansion
            blocks += [block(inputs, width, 1) for _ in range(number - 1)]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(inputs, config.classes) if config.classes else None

    def stages(self, x: Tensor) -> list[Tensor]:
        """The output of every stage, [B, stage_channels[i], H / s, W / s] each."""
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        if self.config.stem == "imagenet":
            x = F.max_pool2d(x, 3, 2, 1)
        outputs = []
        for stage in range(len(self.config.layers)):
            x = self.get_submodule(f"layer{stage + 1}")(x)
            outputs.append(x)
        return outputs

    def forward(self, x: Tensor) -> Tensor:
        assert self.fc is not None, "made without a head"
        return self.fc(self.stages(x)[-1].mean(dim=(2, 3)))

    @torch.no_grad()
    def initialise(self, seed: int) -> ResNet:
        """He et al. 2015 for convolutions (fan out), scale 0 for the last norm of every block (arXiv:1706.02677,
        section 5.1), normal(0, 0.01) for the head; the same for the same seed. Returns self."""
        generator = torch.Generator().manual_seed(seed)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.weight.shape[0] * module.weight[0, 0].numel()
                module.weight.copy_(
                    torch.empty(module.weight.shape).normal_(0, (2 / fan_out) ** 0.5, generator=generator)
                )
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
            elif isinstance(module, nn.Linear):
                module.weight.copy_(torch.empty(module.weight.shape).normal_(0, 0.01, generator=generator))
                module.bias.zero_()
        for module in self.modules():
            if isinstance(module, Basic | Bottleneck):
                module.last_norm.weight.zero_()
        return self


def _projection(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
