"""Mask R-CNN (He et al. 2017, arXiv:1703.06870) on a feature pyramid (Lin et al. 2016, arXiv:1612.03144).

Two stages: every place of the pyramid proposes boxes, and what is inside of the best ones is classified, measured and
outlined. Knows images and boxes in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from podium.models.boxes import clip, decode, suppress, suppress_by_class
from podium.models.resnet import ResNet, ResNetConfig

PROPOSAL_WEIGHTS = (1.0, 1.0, 1.0, 1.0)
BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)


@dataclass(frozen=True, slots=True)
class MaskRCNNConfig:
    """`anchors`: side of the anchor at each level of the pyramid, finest first; with `coarser`, the last level is the
    one before it at half the resolution. `first_stride`: pixels per cell of the finest level. `frozen`: the backbone
    comes trained; its norms keep their statistics, and they, the stem and the first stage are not trained further
    (Detectron's FREEZE_CONV_BODY_AT 2), since a few large images per device tell too little of a distribution."""

    classes: int = 81  # background is class 0
    backbone: ResNetConfig = field(default_factory=lambda: ResNetConfig(classes=0))
    first_stride: int = 4
    pyramid: int = 256
    coarser: bool = True
    anchors: tuple[float, ...] = (32, 64, 128, 256, 512)
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    proposals_before: int = 2000  # per image and level, before suppression
    proposals: int = 2000  # per image, after it, in training
    proposals_tested: int = 1000
    box_cells: int = 7
    box_hidden: int = 1024
    mask_cells: int = 14
    mask_width: int = 256
    mask_layers: int = 4
    frozen: bool = False


MASKRCNN = MaskRCNNConfig()


@dataclass(slots=True)
class Detection:
    """Per image: boxes [K, 4], scores [K], classes [K] and masks [K, H, W] (booleans), best first."""

    boxes: Tensor
    scores: Tensor
    classes: Tensor
    masks: Tensor


class Pyramid(nn.Module):
    """Features of a backbone's stages, all as wide: each lateral 1x1, plus the coarser level doubled, then 3x3."""

    def __init__(self, inputs: Sequence[int], width: int, coarser: bool) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in inputs)
        self.smooth = nn.ModuleList(nn.Conv2d(width, width, 3, 1, 1) for _ in inputs)
        self.coarser = coarser

    def forward(self, stages: Sequence[Tensor]) -> list[Tensor]:
        above = self.lateral[-1](stages[-1])
        levels = [self.smooth[-1](above)]
        for place in range(len(stages) - 2, -1, -1):
            here = self.lateral[place](stages[place])
            above = here + F.interpolate(above, size=here.shape[-2:], mode="nearest")
            levels.insert(0, self.smooth[place](above))
        if self.coarser:
            levels.append(F.max_pool2d(levels[-1], 1, 2))
        return levels


class MaskRCNN(nn.Module):
    def __init__(self, config: MaskRCNNConfig = MASKRCNN) -> None:
        super().__init__()
        self.config = config
        self.backbone = ResNet(config.backbone)
        self.pyramid = Pyramid(config.backbone.stage_channels, config.pyramid, config.coarser)
        width, number = config.pyramid, len(config.ratios)
        self.propose = nn.Conv2d(width, width, 3, 1, 1)
        self.propose_score = nn.Conv2d(width, number, 1)
        self.propose_box = nn.Conv2d(width, 4 * number, 1)
        self.box_first = nn.Linear(width * config.box_cells**2, config.box_hidden)
        self.box_second = nn.Linear(config.box_hidden, config.box_hidden)
        self.box_kind = nn.Linear(config.box_hidden, config.classes)
        self.box_code = nn.Linear(config.box_hidden, 4 * config.classes)
        mask: list[nn.Module] = []
        for layer in range(config.mask_layers):
            mask += [nn.Conv2d(config.mask_width if layer else width, config.mask_width, 3, 1, 1), nn.ReLU(True)]
        mask += [nn.ConvTranspose2d(config.mask_width, config.mask_width, 2, 2), nn.ReLU(True)]
        self.mask = nn.Sequential(*mask, nn.Conv2d(config.mask_width, config.classes, 1))
        if config.frozen:
            for name, parameter in self.backbone.named_parameters():
                norm = isinstance(self.backbone.get_submodule(name.rpartition(".")[0]), nn.BatchNorm2d)
                parameter.requires_grad_(not norm and not name.startswith(("conv1.", "layer1.")))

    def train(self, mode: bool = True) -> MaskRCNN:
        super().train(mode)
        if self.config.frozen:
            self.backbone.eval()
        return self

    def features(self, images: Tensor) -> list[Tensor]:
        """The levels of the pyramid, finest first."""
        return self.pyramid(self.backbone.stages(images))

    def anchors(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """[H * W * ratios, 4] of each level, the ratios of a cell side by side."""
        found = []
        for number, (level, side) in enumerate(zip(levels, self.config.anchors, strict=True)):
            stride = self.config.first_stride * 2**number
            ratios = torch.tensor(self.config.ratios, device=level.device).sqrt()
            half = torch.stack([side / ratios, side * ratios], dim=1) / 2
            rows, columns = (torch.arange(n, device=level.device) * stride + stride / 2 for n in level.shape[-2:])
            centre = torch.stack(torch.meshgrid(rows, columns, indexing="ij")[::-1], dim=-1).reshape(-1, 1, 2)
            found.append(torch.cat([centre - half, centre + half], dim=-1).reshape(-1, 4))
        return found

    def proposals_of(self, levels: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Logits [B, A] and codes [B, A, 4] of each level's anchors."""
        scores, codes = [], []
        for level in levels:
            hidden = F.relu(self.propose(level))
            scores.append(self.propose_score(hidden).movedim(1, -1).flatten(1))
            codes.append(self.propose_box(hidden).movedim(1, -1).flatten(1).unflatten(1, (-1, 4)))
        return scores, codes

    @torch.no_grad()
    def best_proposals(
        self,
        scores: Sequence[Tensor],
        codes: Sequence[Tensor],
        anchors: Sequence[Tensor],
        sizes: Sequence[tuple[int, int]],
    ) -> list[Tensor]:
        """Per image, whose size is (height, width), the boxes [K, 4] that are likeliest to hold something, after
        suppression within each level."""
        most = self.config.proposals if self.training else self.config.proposals_tested
        found = []
        for image, size in enumerate(sizes):
            boxes, chances = [], []
            for level_scores, level_codes, level_anchors in zip(scores, codes, anchors, strict=True):
                chosen, where = level_scores[image].topk(min(self.config.proposals_before, level_scores.shape[1]))
                level_boxes = clip(decode(level_codes[image, where], level_anchors[where], PROPOSAL_WEIGHTS), *size)
                big = ((level_boxes[:, 2:] - level_boxes[:, :2]) >= 1e-2).all(1)
                kept = suppress(level_boxes[big], chosen[big], 0.7)
                boxes.append(level_boxes[big][kept])
                chances.append(chosen[big][kept])
            best = torch.cat(chances).topk(min(most, sum(map(len, chances)))).indices
            found.append(torch.cat(boxes)[best])
        return found

    def inside(self, levels: Sequence[Tensor], boxes: Sequence[Tensor], cells: int) -> Tensor:
        """Features [sum of K, D, cells, cells] of the boxes of each image, from the level that fits their size
        (Lin et al. 2016, equation 1)."""
        used = levels[: len(self.config.backbone.layers)]
        together = torch.cat(list(boxes))
        owner = torch.cat([torch.full((len(b),), i, device=together.device) for i, b in enumerate(boxes)])
        side = (together[:, 2:] - together[:, :2]).clamp(min=1e-6).prod(1).sqrt()
        # A box as large as the canonical anchor of 224 pixels is read at the third level (of strides 4, 8, 16, 32).
        canonical = 56 * self.config.first_stride
        which = (2 + torch.log2(side / canonical + 1e-6)).floor().clamp(0, len(used) - 1).long()
        result = together.new_zeros(len(together), self.config.pyramid, cells, cells)
        for number, level in enumerate(used):
            chosen = (which == number).nonzero()[:, 0]
            if len(chosen):
                stride = self.config.first_stride * 2**number
                read = align(level, together[chosen] / stride, owner[chosen], cells)
                result = result.index_put((chosen,), read.to(result.dtype))
        return result

    def classify(self, inside: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits [K, classes] and box codes [K, classes, 4]."""
        hidden = F.relu(self.box_second(F.relu(self.box_first(inside.flatten(1)))))
        return self.box_kind(hidden), self.box_code(hidden).unflatten(1, (-1, 4))

    @torch.no_grad()
    def detect(
        self,
        images: Tensor,
        *,
        least: float = 0.05,
        threshold: float = 0.5,
        most: int = 100,
        sizes: Sequence[tuple[int, int]] | None = None,
        originals: Sequence[tuple[int, int]] | None = None,
    ) -> list[Detection]:
        """What is in the images [B, 3, H, W]; the model must be in eval mode.

        Args:
            sizes: (height, width) of what is no padding.
            originals: (height, width) that the images had before they were resized to `sizes`: boxes and masks are
                given in these.
        """
        sizes = sizes or [(images.shape[-2], images.shape[-1])] * len(images)
        levels = self.features(images)
        scores, codes = self.proposals_of(levels)
        proposals = self.best_proposals(scores, codes, self.anchors(levels), sizes)
        kinds, box_codes = self.classify(self.inside(levels, proposals, self.config.box_cells))
        numbers = [len(boxes) for boxes in proposals]
        found = []
        for boxes, chances, image_codes, size in zip(
            proposals, kinds.softmax(-1).split(numbers), box_codes.split(numbers), sizes, strict=True
        ):
            where, kind = (chances[:, 1:] > least).nonzero(as_tuple=True)
            scores_here = chances[where, kind + 1]
            refined = clip(decode(image_codes[where, kind + 1], boxes[where], BOX_WEIGHTS), *size)
            kept = suppress_by_class(refined, scores_here, kind, threshold)[:most]
            found.append((refined[kept], scores_here[kept], kind[kept] + 1))
        outlines = self.mask(self.inside(levels, [boxes for boxes, _, _ in found], self.config.mask_cells))
        results = []
        shares = outlines.split([len(boxes) for boxes, _, _ in found])
        for (boxes, chances, kind), outline, size, original in zip(
            found, shares, sizes, originals or sizes, strict=True
        ):
            chosen = outline[torch.arange(len(kind)), kind].sigmoid()
            scale = boxes.new_tensor([original[1] / size[1], original[0] / size[0]] * 2)
            boxes = boxes * scale
            results.append(Detection(boxes, chances, kind, paste(chosen, boxes, original)))
        return results

    @torch.no_grad()
    def initialise(self, seed: int) -> MaskRCNN:
        """The backbone as a ResNet; heads normal(0, 0.01) (box codes 0.001), pyramid uniform by fan in, mask head by
        He's rule; biases 0. Returns self."""
        self.backbone.initialise(seed)
        generator = torch.Generator().manual_seed(seed + 1)
        for name, module in self.named_modules():
            if name.startswith("backbone") or not isinstance(module, nn.Conv2d | nn.Linear | nn.ConvTranspose2d):
                continue
            fan_in, fan_out = module.weight[0].numel(), module.weight.shape[0] * module.weight[0, 0].numel()
            if name.startswith("propose") or name == "box_kind":
                deviation = 0.01
            elif name == "box_code":
                deviation = 0.001
            elif name.startswith("mask"):
                deviation = (2 / fan_out) ** 0.5
            else:
                deviation = (1 / fan_in) ** 0.5
            module.weight.copy_(torch.empty(module.weight.shape).normal_(0, deviation, generator=generator))
            assert module.bias is not None
            module.bias.zero_()
        return self


def align(level: Tensor, boxes: Tensor, owner: Tensor, cells: int) -> Tensor:
    """RoIAlign (He et al. 2017, section 3) with two by two samples per cell: [K, D, cells, cells].

    level [B, D, H, W]; boxes [K, 4] in cells of the level; owner [K] is the image of each box. Samples are bilinear
    with the value of a cell at its centre minus one half, as in the first implementations (Detectron's default);
    outside of the level it goes on as at its edge.
    """
    _, channels, height, width = level.shape
    corner, sides = boxes[:, :2], (boxes[:, 2:] - boxes[:, :2]).clamp(min=1.0)
    offsets = (torch.arange(2 * cells, device=level.device) + 0.5) / (2 * cells)
    at_x = (corner[:, :1] + sides[:, :1] * offsets).clamp(0, width - 1)  # [K, 2 cells]
    at_y = (corner[:, 1:] + sides[:, 1:] * offsets).clamp(0, height - 1)
    left, top = at_x.floor().long(), at_y.floor().long()
    right, bottom = (left + 1).clamp(max=width - 1), (top + 1).clamp(max=height - 1)
    dx, dy = (at_x - left)[:, None, :, None], (at_y - top)[:, :, None, None]
    flat = level.movedim(1, -1).reshape(-1, channels)
    start = (owner * height * width)[:, None, None]

    def read(rows: Tensor, columns: Tensor) -> Tensor:
        places = start + rows[:, :, None] * width + columns[:, None, :]
        return flat.index_select(0, places.reshape(-1)).reshape(*places.shape, channels)

    upper = read(top, left) * (1 - dx) + read(top, right) * dx
    lower = read(bottom, left) * (1 - dx) + read(bottom, right) * dx
    samples = (upper * (1 - dy) + lower * dy).movedim(-1, 1)
    return F.avg_pool2d(samples, 2)


def paste(masks: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks [K, h, w] of probabilities laid into their boxes: [K, H, W], true from one half on."""
    height, width = size
    if not len(masks):
        return torch.zeros(0, height, width, dtype=torch.bool, device=masks.device)
    # The places that are read take 64 times the memory of what comes out: some masks at a time.
    return torch.cat([_paste(*part, height, width) for part in zip(masks.split(16), boxes.split(16), strict=True)])


def _paste(masks: Tensor, boxes: Tensor, height: int, width: int) -> Tensor:
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1e-3)
    across = (torch.arange(width, device=masks.device) + 0.5 - boxes[:, :1]) / sides[:, :1] * 2 - 1
    down = (torch.arange(height, device=masks.device) + 0.5 - boxes[:, 1:2]) / sides[:, 1:] * 2 - 1
    places = torch.stack([across[:, None, :].expand(-1, height, -1), down[:, :, None].expand(-1, -1, width)], dim=-1)
    return F.grid_sample(masks[:, None], places, align_corners=False)[:, 0] >= 0.5
