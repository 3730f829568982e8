"""The full-size configurations have the sizes that were published; nothing is allocated (meta device)."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from podium.models.bert import BERT_LARGE, Bert, BertConfig
from podium.models.dlrm import DLRM
from podium.models.maskrcnn import MaskRCNN, MaskRCNNConfig
from podium.models.minigo import DualConfig, DualNet
from podium.models.resnet import RESNET50, ResNet, ResNetConfig
from podium.models.rnnt import RNNT
from podium.models.ssd import SSD, SSD300, default_boxes
from podium.models.unet3d import UNet3D


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("make", "parameters"),
    [
        # torchvision's model pages.
        (lambda: ResNet(RESNET50), 25_557_032),
        (lambda: ResNet(ResNetConfig(block="basic")), 21_797_672),
        # BertForPreTraining("bert-large-uncased") and BertForPreTraining("bert-base-uncased") of transformers.
        (lambda: Bert(BERT_LARGE), 336_226_108),
        (lambda: Bert(BertConfig(width=768, layers=12, heads=12, feed_forward=3072)), 110_106_428),
        # torchvision's maskrcnn_resnet50_fpn: 44,401,393 with the batch norms of the backbone frozen into buffers
        # (91 classes), and twice 26,560 for their scales and shifts.
        (lambda: MaskRCNN(MaskRCNNConfig(classes=91)), 44_401_393 + 2 * 26_560),
    ],
)
def test_parameters_are_those_published(make, parameters: int):
    with torch.device("meta"):
        assert count(make()) == parameters


def test_unet3d_layers():
    """Pairs of 3x3x3 convolutions without biases, each with the scale and shift of its normalisation; transposed
    2x2x2 ones and the output with biases."""
    conv = lambda inputs, outputs: 27 * inputs * outputs + 2 * outputs  # noqa: E731
    pair = lambda inputs, outputs: conv(inputs, outputs) + conv(outputs, outputs)  # noqa: E731
    widths = (32, 64, 128, 256, 320, 320)
    down = sum(pair(a, b) for a, b in pairwise(widths))
    up = sum(8 * b * a + a + pair(2 * a, a) for a, b in pairwise(widths))
    with torch.device("meta"):
        assert count(UNet3D()) == pair(1, 32) + down + up + 32 * 3 + 3


def test_dlrm_is_the_24_billion_of_the_terabyte_logs():
    """Rows of 26 tables, 128 wide; MLPs as in the reference: 13-512-256-128 and 479-1024-1024-512-256-1."""
    with torch.device("meta"):
        model = DLRM()
    assert sum(model.config.tables) == 187_767_399  # "188M rows" of the tables capped at 40 million
    dense = 13 * 512 + 512 * 256 + 256 * 128 + 896 + 479 * 1024 + 1024**2 + 1024 * 512 + 512 * 256 + 256 + 2817
    assert count(model) == 187_767_399 * 128 + dense
    assert round(count(model) / 1e9) == 24


def test_rnnt_layers():
    """Five LSTMs of 1024 (four gates, input and recurrent matrices, two biases), two of 512, and the joint network."""
    lstm = lambda inputs, width: 4 * width * (inputs + width + 2)  # noqa: E731
    encoder = lstm(240, 1024) + lstm(1024, 1024) + lstm(2048, 1024) + 2 * lstm(1024, 1024)
    predictor = 1023 * 512 + 2 * lstm(512, 512)
    joint = 1024 * 512 + 512 + 512 * 512 + 512 + 512 * 1024 + 1024
    with torch.device("meta"):
        assert count(RNNT()) == encoder + predictor + joint


def test_minigo_trunk_and_heads():
    width, points = 64, 361
    trunk = 13 * width * 9 + 2 * width + 9 * (2 * width * width * 9 + 4 * width)
    heads = (2 * width + 4 + 2 * points * (points + 1) + points + 1) + (width + 2 + (points + 1) * 64 + 65)
    with torch.device("meta"):
        assert count(DualNet(DualConfig())) == trunk + heads


def test_ssd300_has_8732_default_boxes_and_an_answer_for_each():
    boxes = default_boxes(SSD300)
    assert boxes.shape == (8732, 4)
    # The published first and last ones: a square of 21 pixels around (4, 4), and one as large as the image.
    torch.testing.assert_close(boxes[0], torch.tensor([0.0, 0.0, 14.5, 14.5]))
    torch.testing.assert_close((boxes[-3, :2] + boxes[-3, 2:]) / 2, torch.tensor([150.0, 150.0]))
    with torch.device("meta"):
        codes, logits = SSD(SSD300)(torch.empty(1, 3, 300, 300))
    assert codes.shape == (1, 8732, 4)
    assert logits.shape == (1, 8732, 81)
