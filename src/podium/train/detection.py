"""The loss of Mask R-CNN: which anchors and proposals stand for which true boxes, and five sums over them.

Knows the model's parts by their names; reads true boxes, classes and masks, padded with class 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from podium.models.boxes import encode, overlap
from podium.models.maskrcnn import BOX_WEIGHTS, PROPOSAL_WEIGHTS, align

if TYPE_CHECKING:
    from podium.models.maskrcnn import MaskRCNN


@dataclass(frozen=True, slots=True)
class Matching:
    """An anchor or proposal is positive from `high` overlap on, negative below `low`; `number` are drawn per image, at
    most `share` of them positive."""

    high: float
    low: float
    number: int
    share: float
    keep_best: bool  # the best one of each true box is positive whatever its overlap


ANCHORS = Matching(high=0.7, low=0.3, number=256, share=0.5, keep_best=True)
PROPOSALS = Matching(high=0.5, low=0.5, number=512, share=0.25, keep_best=False)


def draw(boxes: Tensor, truth: Tensor, rule: Matching) -> tuple[Tensor, Tensor, Tensor]:
    """Numbers of the drawn positive and negative ones of `boxes` [N, 4], and which true box the positive stand for."""
    overlaps = overlap(truth, boxes) if len(truth) else boxes.new_zeros(1, len(boxes))
    best, which = overlaps.max(0)
    positive = best >= rule.high
    if rule.keep_best and len(truth):
        top = overlaps.max(1, keepdim=True).values
        near = (overlaps >= top - 1e-6) & (top > 0)
        positive |= near.any(0)
        which = torch.where(near.any(0) & (best < rule.high), near.float().argmax(0), which)
    negative = (best < rule.low) & ~positive
    chosen = _some(positive, int(rule.number * rule.share))
    others = _some(negative, rule.number - len(chosen))
    return chosen, others, which[chosen]


def mask_rcnn_losses(
    model: MaskRCNN,
    images: Tensor,
    boxes: Tensor,
    classes: Tensor,
    masks: Tensor,
    anchor_rule: Matching = ANCHORS,
    proposal_rule: Matching = PROPOSALS,
    sizes: Tensor | None = None,
) -> dict[str, Tensor]:
    """Means over the batch: propose_score, propose_box, kind, box, mask.

    images [B, 3, H, W]; boxes [B, M, 4]; classes [B, M], 0 for padding; masks [B, M, H, W]; sizes [B, 2] (height,
    width) of what is no padding.
    """
    whole = (images.shape[-2], images.shape[-1])
    within = [whole] * len(images) if sizes is None else [(int(h), int(w)) for h, w in sizes.tolist()]
    real = classes > 0
    levels = model.features(images)
    scores, codes = model.proposals_of(levels)
    anchors = model.anchors(levels)
    losses = _proposal_losses(torch.cat(scores, 1), torch.cat(codes, 1), torch.cat(anchors), boxes, real, anchor_rule)

    proposals = model.best_proposals(scores, codes, anchors, within)
    sampled, kinds, targets, positives, stand_for = [], [], [], [], []
    for image, found in enumerate(proposals):
        truth, truth_kinds = boxes[image][real[image]], classes[image][real[image]]
        candidates = torch.cat([found, truth])  # true boxes too: early proposals hit nothing
        chosen, others, which = draw(candidates, truth, proposal_rule)
        sampled.append(candidates[torch.cat([chosen, others])])
        kinds.append(torch.cat([truth_kinds[which], truth_kinds.new_zeros(len(others))]))
        targets.append(encode(truth[which], candidates[chosen], BOX_WEIGHTS))
        positives.append(candidates[chosen])
        stand_for.append(real[image].nonzero()[which, 0])
    kind = torch.cat(kinds)
    logits, box_codes = model.classify(model.inside(levels, sampled, model.config.box_cells))
    losses["kind"] = F.cross_entropy(logits.float(), kind)
    hit = kind.nonzero()[:, 0]
    refined = box_codes[hit, kind[hit]].float()
    losses["box"] = F.smooth_l1_loss(refined, torch.cat(targets), reduction="sum") / max(1, len(kind))

    outlines = model.mask(model.inside(levels, positives, model.config.mask_cells)).float()
    chosen_outlines = outlines[torch.arange(len(hit), device=kind.device), kind[hit]]
    side = outlines.shape[-1]
    wanted = torch.cat(
        [
            _cut(masks[image], which, found, side)
            for image, (found, which) in enumerate(zip(positives, stand_for, strict=True))
        ]
    )
    losses["mask"] = F.binary_cross_entropy_with_logits(chosen_outlines, wanted) if len(hit) else outlines.sum() * 0.0
    return losses


def _proposal_losses(
    scores: Tensor, codes: Tensor, anchors: Tensor, boxes: Tensor, real: Tensor, rule: Matching
) -> dict[str, Tensor]:
    logits, wanted, refined, targets = [], [], [], []
    for image in range(len(boxes)):
        truth = boxes[image][real[image]]
        chosen, others, which = draw(anchors, truth, rule)
        logits.append(scores[image][torch.cat([chosen, others])])
        wanted.append(torch.cat([torch.ones_like(chosen), torch.zeros_like(others)]))
        refined.append(codes[image][chosen])
        targets.append(encode(truth[which], anchors[chosen], PROPOSAL_WEIGHTS))
    drawn = torch.cat(wanted).float()
    box = F.smooth_l1_loss(torch.cat(refined).float(), torch.cat(targets), reduction="sum", beta=1 / 9)
    return {
        "propose_score": F.binary_cross_entropy_with_logits(torch.cat(logits).float(), drawn),
        "propose_box": box / max(1, len(drawn)),
    }


def _cut(masks: Tensor, which: Tensor, boxes: Tensor, side: int) -> Tensor:
    """What of masks [M, H, W], number `which` [K] of them each, lies in boxes [K, 4]: [K, side, side] of 0 and 1."""
    if not len(boxes):
        return masks.new_zeros(0, side, side, dtype=torch.float32)
    # A pixel's value sits at its centre, half a pixel from where `align` reads it.
    return (align(masks[:, None].float(), boxes - 0.5, which, side)[:, 0] >= 0.5).float()


def _some(chosen: Tensor, most: int) -> Tensor:
    """Numbers of at most `most` true entries of chosen [N], drawn at random."""
    places = chosen.nonzero()[:, 0]
    return places if len(places) <= most else places[torch.randperm(len(places), device=places.device)[:most]]
