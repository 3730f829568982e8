"""SSD (Liu et al. 2016, arXiv:1512.02325) on a ResNet, as in MLPerf's SSD300 with ResNet-34: 8732 default boxes.

Knows images and default boxes; what is matched with what is the objective's business.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from podium.models.boxes import clip, decode, overlap, suppress_by_class
from podium.models.resnet import ResNet, ResNetConfig

CODE_WEIGHTS = (10.0, 10.0, 5.0, 5.0)  # variances 0.1 and 0.2


@dataclass(frozen=True, slots=True)
class Extra:
    """A further level: a 1x1 convolution to `middle` channels, then 3x3 to `outputs`."""

    middle: int
    outputs: int
    stride: int
    padding: int


@dataclass(frozen=True, slots=True)
class SSDConfig:
    """Sizes in pixels of the square input. `scales` has one more entry than there are levels."""

    image: int = 300
    classes: int = 81  # background is class 0
    backbone: ResNetConfig = field(
        default_factory=lambda: ResNetConfig(block="basic", layers=(3, 4, 6), strides=(1, 2, 1), classes=0)
    )
    extras: tuple[Extra, ...] = (
        Extra(256, 512, 2, 1),
        Extra(256, 512, 2, 1),
        Extra(128, 256, 2, 1),
        Extra(128, 256, 1, 0),
        Extra(128, 256, 1, 0),
    )
    cells: tuple[int, ...] = (38, 19, 10, 5, 3, 1)
    steps: tuple[int, ...] = (8, 16, 32, 64, 100, 300)
    scales: tuple[float, ...] = (21, 45, 99, 153, 207, 261, 315)
    ratios: tuple[tuple[int, ...], ...] = ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,))


SSD300 = SSDConfig()


def default_boxes(config: SSDConfig) -> Tensor:
    """[D, 4] in pixels. Per cell: a square of the level's scale, one of the geometric mean with the next level's,
    and for each ratio r boxes of r : 1 and 1 : r with the area of the first (section 2.2)."""
    boxes = []
    for level, cells in enumerate(config.cells):
        scale, following = config.scales[level], config.scales[level + 1]
        sizes = [(scale, scale), ((scale * following) ** 0.5,) * 2]
        for ratio in config.ratios[level]:
            wide, narrow = scale * ratio**0.5, scale / ratio**0.5
            sizes += [(wide, narrow), (narrow, wide)]
        for width, height in sizes:
            for row, column in product(range(cells), repeat=2):
                x, y = ((place + 0.5) * config.steps[level] for place in (column, row))
                boxes.append((x - width / 2, y - height / 2, x + width / 2, y + height / 2))
    return torch.tensor(boxes, device="cpu").clamp(0, config.image)


class SSD(nn.Module):
    """Images [B, 3, S, S] -> box codes [B, D, 4] and class logits [B, D, classes]."""

    defaults: Tensor

    def __init__(self, config: SSDConfig = SSD300) -> None:
        super().__init__()
        self.config = config
        self.backbone = ResNet(config.backbone)
        channels = config.backbone.stage_channels[-1]
        self.extras = nn.ModuleList()
        widths = [channels]
        for extra in config.extras:
            self.extras.append(
                nn.Sequential(
                    nn.Conv2d(widths[-1], extra.middle, 1),
                    nn.ReLU(inplace=True),
                    nn.Conv2d(extra.middle, extra.outputs, 3, extra.stride, extra.padding),
                    nn.ReLU(inplace=True),
                )
            )
            widths.append(extra.outputs)
        numbers = [2 + 2 * len(ratios) for ratios in config.ratios]
        self.boxes = nn.ModuleList(nn.Conv2d(w, n * 4, 3, 1, 1) for w, n in zip(widths, numbers, strict=True))
        self.kinds = nn.ModuleList(
            nn.Conv2d(w, n * config.classes, 3, 1, 1) for w, n in zip(widths, numbers, strict=True)
        )
        self.register_buffer("defaults", default_boxes(config), persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = self.backbone.stages(images)[-1]
        levels = [x]
        for extra in self.extras:
            x = extra(x)
            levels.append(x)
        # Of the channels n * k of a head, n is the box of a cell and k its numbers; cells follow boxes in `defaults`.
        codes = [head(level).unflatten(1, (-1, 4)) for head, level in zip(self.boxes, levels, strict=True)]
        kinds = [
            head(level).unflatten(1, (-1, self.config.classes)) for head, level in zip(self.kinds, levels, strict=True)
        ]
        flat = [torch.cat([t.movedim(2, -1).flatten(1, 3) for t in tensors], dim=1) for tensors in (codes, kinds)]
        return flat[0], flat[1]

    @torch.no_grad()
    def detect(
        self, images: Tensor, *, least: float = 0.05, threshold: float = 0.5, most: int = 200
    ) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Per image: boxes [K, 4] in pixels, scores [K], classes [K], best first, at most `most` of them."""
        codes, logits = self(images)
        boxes = clip(decode(codes.float(), self.defaults, CODE_WEIGHTS), self.config.image, self.config.image)
        chances = logits.float().softmax(-1)
        found = []
        for image_boxes, image_chances in zip(boxes, chances, strict=True):
            where, kind = (image_chances[:, 1:] > least).nonzero(as_tuple=True)
            scores = image_chances[where, kind + 1]
            if len(scores) > 5 * most:  # suppression is quadratic
                scores, best = scores.topk(5 * most)
                where, kind = where[best], kind[best]
            kept = suppress_by_class(image_boxes[where], scores, kind, threshold)[:most]
            found.append((image_boxes[where[kept]], scores[kept], kind[kept] + 1))
        return found

    @torch.no_grad()
    def initialise(self, seed: int) -> SSD:
        """The backbone as a ResNet, the rest by Xavier's rule (uniform), biases 0. Returns self."""
        self.backbone.initialise(seed)
        generator = torch.Generator().manual_seed(seed + 1)
        for part in (self.extras, self.boxes, self.kinds):
            for module in part.modules():
                if isinstance(module, nn.Conv2d):
                    receptive = module.weight[0, 0].numel()
                    bound = (6 / (receptive * (module.weight.shape[0] + module.weight.shape[1]))) ** 0.5
                    module.weight.copy_(torch.empty(module.weight.shape).uniform_(-bound, bound, generator=generator))
                    assert module.bias is not None
                    module.bias.zero_()
        return self


def match(truth: Tensor, defaults: Tensor, threshold: float = 0.5) -> Tensor:
    """For each default box the number of the true box it stands for, or -1: [D] of truth [M, 4].

    The best default box of every true box is taken whatever they overlap; further ones from `threshold` on.
    """
    overlaps = overlap(truth, defaults)
    best, which = overlaps.max(0)
    which = torch.where(best >= threshold, which, -1)
    which[overlaps.argmax(1)] = torch.arange(len(truth), device=truth.device)
    return which


def multibox_loss(codes: Tensor, logits: Tensor, wanted: Tensor, kinds: Tensor) -> Tensor:
    """Loss [B] of each image (equation 1): smooth L1 of the codes of positive boxes and cross-entropy, of negative
    ones only of the hardest, three for each positive; over the number of positives.

    codes, wanted [B, D, 4]; logits [B, D, classes]; kinds [B, D], 0 where the box stands for nothing.
    """
    positive = kinds > 0
    number = positive.sum(1)
    location = F.smooth_l1_loss(codes, wanted, reduction="none").sum(-1)
    cross = F.cross_entropy(logits.movedim(-1, 1), kinds, reduction="none")
    ranks = cross.detach().masked_fill(positive, 0.0).argsort(1, descending=True).argsort(1)
    hard = ranks < (3 * number).clamp(max=kinds.shape[1])[:, None]
    total = (location * positive).sum(1) + (cross * (positive | hard)).sum(1)
    return torch.where(number > 0, total / number.clamp(min=1), 0.0)
