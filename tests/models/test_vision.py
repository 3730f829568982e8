"""ResNet against transformers, the detectors' parts against their definitions, 3D U-Net's shapes."""

from __future__ import annotations

import pytest
import torch

from podium.models.boxes import decode, encode, overlap, suppress, suppress_by_class
from podium.models.maskrcnn import MaskRCNN, MaskRCNNConfig, align, paste
from podium.models.resnet import RESNET50, ResNet, ResNetConfig
from podium.models.ssd import SSD, Extra, SSDConfig, default_boxes, match, multibox_loss
from podium.models.unet3d import UNet3D, UNet3DConfig


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def transformers_name(name: str) -> str:
    """What transformers calls a parameter or buffer of our ResNet with bottlenecks."""
    parts = name.split(".")
    if parts[0] == "fc":
        return f"classifier.1.{parts[1]}"
    kinds = {"conv": "convolution", "bn": "normalization"}
    if not parts[0].startswith("layer"):
        return f"resnet.embedder.embedder.{kinds[parts[0][:-1]]}.{parts[1]}"
    layer = f"resnet.encoder.stages.{int(parts[0][-1]) - 1}.layers.{parts[1]}"
    if parts[2] == "downsample":
        return f"{layer}.shortcut.{list(kinds.values())[int(parts[3])]}.{parts[4]}"
    return f"{layer}.layer.{int(parts[2][-1]) - 1}.{kinds[parts[2][:-1]]}.{parts[3]}"


@pytest.mark.parametrize("training", [True, False])
def test_resnet50_agrees_with_transformers_forwards_and_backwards(training: bool):
    """Logits and the gradient of every weight are those of an independent ResNet v1.5."""
    from transformers import ResNetConfig as TheirConfig
    from transformers import ResNetForImageClassification

    ours = ResNet(RESNET50).initialise(0).train(training)
    theirs = ResNetForImageClassification(TheirConfig(num_labels=1000)).train(training)
    theirs.load_state_dict({transformers_name(name): value for name, value in ours.state_dict().items()})
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    out, expected = ours(images), theirs(images).logits
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)
    out.square().mean().backward()
    expected.square().mean().backward()
    wanted = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, wanted[transformers_name(name)].grad, rtol=1e-3, atol=1e-5, msg=name)


def test_resnet_v1_5_strides_in_the_3x3_convolution():
    """The difference from version 1: a change of the pixels between the strided ones reaches the next stage."""
    model = ResNet(ResNetConfig(layers=(1, 1), strides=(1, 2), width=4, classes=0, stem="small")).initialise(0).eval()
    first = model.get_submodule("layer2.0")
    assert first.conv1.stride == (1, 1)
    assert first.conv2.stride == (2, 2)
    assert [tuple(x.shape) for x in model.stages(torch.zeros(1, 3, 16, 16))] == [(1, 16, 16, 16), (1, 32, 8, 8)]


def test_a_new_block_is_the_identity_of_its_shortcut():
    model = ResNet(ResNetConfig(layers=(2,), strides=(1,), width=4, classes=0, stem="small")).initialise(1).eval()
    x = torch.rand(1, 16, 8, 8)
    torch.testing.assert_close(model.get_submodule("layer1.1")(x), x)


def test_box_codes_come_back():
    torch.manual_seed(0)
    corner, references = torch.rand(50, 2) * 30, torch.tensor([[5.0, 6.0, 25.0, 20.0]]).expand(50, 4)
    boxes = torch.cat([corner, corner + torch.rand(50, 2) * 30 + 1], dim=1)
    weights = (10.0, 10.0, 5.0, 5.0)
    torch.testing.assert_close(decode(encode(boxes, references, weights), references, weights), boxes)


def test_overlap_counts_pixels():
    draw = torch.Generator().manual_seed(0)
    a, b = (torch.randint(0, 12, (8, 4), generator=draw).float() for _ in range(2))
    a, b = (torch.cat([torch.minimum(x[:, :2], x[:, 2:]), torch.maximum(x[:, :2], x[:, 2:])], 1) for x in (a, b))
    cells = [(x, y) for x in range(12) for y in range(12)]
    inside = lambda box: {(x, y) for x, y in cells if box[0] <= x < box[2] and box[1] <= y < box[3]}  # noqa: E731
    for i, first in enumerate(a.tolist()):
        for j, second in enumerate(b.tolist()):
            both, either = inside(first) & inside(second), inside(first) | inside(second)
            assert float(overlap(a, b)[i, j]) == pytest.approx(len(both) / len(either) if either else 0.0)


def test_suppression_keeps_a_box_unless_a_better_kept_one_covers_it():
    torch.manual_seed(1)
    corner = torch.rand(60, 2) * 20
    boxes, scores = torch.cat([corner, corner + 6], 1), torch.rand(60)
    kept = suppress(boxes, scores, 0.5).tolist()
    assert scores[kept].tolist() == sorted(scores[kept].tolist(), reverse=True)
    overlaps = overlap(boxes, boxes)
    for box in range(60):
        beaten = any(scores[k] > scores[box] and overlaps[k, box] > 0.5 for k in kept if k != box)
        assert (box in kept) != beaten
    same = torch.tensor([[0.0, 0, 5, 5], [0, 0, 5, 5], [0, 0, 5, 5]])
    classes = torch.tensor([1, 2, 1])
    assert sorted(suppress_by_class(same, torch.tensor([0.9, 0.8, 0.7]), classes, 0.5).tolist()) == [0, 1]


SMALL_SSD = SSDConfig(
    image=32,
    classes=3,
    backbone=ResNetConfig(block="basic", layers=(1,), strides=(2,), width=8, classes=0, stem="small"),
    extras=(Extra(8, 16, 2, 1),),
    cells=(16, 8),
    steps=(2, 4),
    scales=(6, 12, 20),
    ratios=((2,), (2,)),
)


def test_ssd_answers_belong_to_their_default_boxes():
    """A head that is nonzero in one cell and for one box only shows up at that default box."""
    model = SSD(SMALL_SSD).initialise(0).eval()
    head = model.kinds[0]
    with torch.no_grad():
        head.weight.zero_()
        head.bias.zero_()
        head.weight[3 * 3 + 2, :, 1, 1] = 1.0  # box 3 (1 : 2), class 2
        _, logits = model(torch.rand(1, 3, 32, 32))
    boxes = default_boxes(SMALL_SSD)
    hot = logits[0, : 16 * 16 * 4, 2].nonzero()[:, 0]
    assert len(hot) > 0
    inner = [b for b in boxes[hot].tolist() if b[0] > 8 and b[2] < 24 and b[1] > 8 and b[3] < 24]
    for left, top, right, bottom in inner:
        assert (right - left) / (bottom - top) == pytest.approx(0.5, rel=1e-4)


def test_every_true_box_gets_a_default_box():
    defaults = default_boxes(SMALL_SSD)
    truth = torch.tensor([[1.0, 1.0, 3.0, 3.0], [4.0, 4.0, 28.0, 30.0]])  # smaller and larger than all of them
    which = match(truth, defaults)
    assert set(which.tolist()) == {-1, 0, 1}
    overlaps = overlap(truth, defaults)
    for place, number in enumerate(which.tolist()):
        if number >= 0:
            assert overlaps[number, place] >= 0.5 or place == int(overlaps[number].argmax())


def test_multibox_loss_counts_positives_and_three_hard_negatives_each():
    logits = torch.zeros(1, 10, 2)
    logits[0, :, 0] = torch.arange(10.0)  # background is clearer for later boxes: the first negatives are hardest
    kinds = torch.zeros(1, 10, dtype=torch.long)
    kinds[0, 9] = 1
    codes, wanted = torch.zeros(1, 10, 4), torch.zeros(1, 10, 4)
    wanted[0, 9] = torch.tensor([0.5, 2.0, 0.0, 0.0])
    cross = -logits[0].log_softmax(-1)
    expected = 0.125 + 1.5 + cross[9, 1] + cross[:3, 0].sum()
    torch.testing.assert_close(multibox_loss(codes, logits, wanted, kinds)[0], expected)


def test_align_reads_what_a_loop_over_the_samples_reads():
    torch.manual_seed(2)
    level = torch.randn(2, 3, 9, 7)
    # The last is narrower than a pixel.
    boxes = torch.tensor([[0.5, 1.0, 6.0, 7.5], [2.2, 3.1, 4.0, 4.4], [-1.0, -2.0, 3.0, 12.0], [3.3, 4.7, 3.6, 8.0]])
    owner = torch.tensor([0, 1, 1, 0])
    got = align(level, boxes, owner, 4)

    def value(image: int, y: float, x: float) -> torch.Tensor:
        y, x = min(max(y, 0.0), 8.0), min(max(x, 0.0), 6.0)
        y0, x0 = int(y), int(x)
        y1, x1 = min(y0 + 1, 8), min(x0 + 1, 6)
        dy, dx = y - y0, x - x0
        f = level[image]
        return (f[:, y0, x0] * (1 - dx) + f[:, y0, x1] * dx) * (1 - dy) + (
            f[:, y1, x0] * (1 - dx) + f[:, y1, x1] * dx
        ) * dy

    for k, (left, top, right, bottom) in enumerate(boxes.tolist()):
        width, height = max(right - left, 1.0) / 4, max(bottom - top, 1.0) / 4
        for row in range(4):
            for column in range(4):
                samples = [
                    value(int(owner[k]), top + (row + dy) * height, left + (column + dx) * width)
                    for dy in (0.25, 0.75)
                    for dx in (0.25, 0.75)
                ]
                torch.testing.assert_close(got[k, :, row, column], torch.stack(samples).mean(0))


def test_a_pasted_mask_fills_its_box():
    masks = torch.ones(1, 14, 14)
    pasted = paste(masks, torch.tensor([[3.0, 5.0, 11.0, 9.0]]), (16, 16))
    expected = torch.zeros(1, 16, 16, dtype=torch.bool)
    expected[0, 5:9, 3:11] = True
    assert torch.equal(pasted, expected)
    assert paste(masks[:0], torch.zeros(0, 4), (4, 4)).shape == (0, 4, 4)


def test_mask_rcnn_anchors_cover_the_image_in_order_of_the_scores():
    config = MaskRCNNConfig(
        classes=3,
        backbone=ResNetConfig(block="basic", layers=(1, 1), strides=(2, 2), width=8, classes=0, stem="small"),
        first_stride=2,
        pyramid=8,
        coarser=True,
        anchors=(4, 8, 16),
        ratios=(0.5, 1.0, 2.0),
        box_hidden=8,
        mask_width=8,
        mask_layers=1,
    )
    model = MaskRCNN(config).initialise(0).eval()
    levels = model.features(torch.rand(2, 3, 32, 48))
    assert [tuple(level.shape[-2:]) for level in levels] == [(16, 24), (8, 12), (4, 6)]
    anchors = model.anchors(levels)
    scores, codes = model.proposals_of(levels)
    for level, level_anchors, level_scores, level_codes in zip(levels, anchors, scores, codes, strict=True):
        assert len(level_anchors) == 3 * level[0, 0].numel()
        assert level_scores.shape == (2, len(level_anchors))
        assert level_codes.shape == (2, len(level_anchors), 4)
    centres = (anchors[0][:, :2] + anchors[0][:, 2:]) / 2
    torch.testing.assert_close(centres[3 * 25], torch.tensor([3.0, 3.0]))  # second row, second column of 24
    sides = anchors[0][:3, 2:] - anchors[0][:3, :2]
    torch.testing.assert_close(sides.prod(1), torch.full((3,), 16.0))
    torch.testing.assert_close(sides[:, 1] / sides[:, 0], torch.tensor([0.5, 1.0, 2.0]))
    for found in model.detect(torch.rand(2, 3, 32, 48), least=0.0, most=5):
        assert len(found.boxes) == len(found.scores) == len(found.classes) == len(found.masks) <= 5
        assert found.masks.shape[1:] == (32, 48)


def test_unet3d_keeps_the_size_and_sees_everything_through_the_bottleneck():
    model = UNet3D(UNet3DConfig(filters=(4, 8))).initialise(0).eval()
    volume = torch.randn(1, 1, 8, 8, 8, requires_grad=True)
    out = model(volume)
    assert out.shape == (1, 3, 8, 8, 8)
    out[0, 1, 0, 0, 0].backward()
    assert volume.grad is not None
    assert volume.grad[0, 0, 7, 7, 7] != 0
