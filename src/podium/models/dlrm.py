"""DLRM (Naumov et al. 2019, arXiv:1906.00091): dense features through an MLP, categories through embeddings, their
dot products through a second MLP. Knows numbers and category ids, not clicks.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

# Rows of the 26 tables of the Criteo Terabyte logs, categories capped at 40 million (MLPerf's DLRM).
CRITEO_TABLES = (
    39884406, 39043, 17289, 7420, 20263, 3, 7120, 1543, 63, 38532951, 2953546, 403346, 10, 2208, 11938, 155, 4, 976,
    14, 39979771, 25641295, 39664984, 585935, 12972, 108, 36,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class DLRMConfig:
    """`bottom` ends with the width of the embeddings; `top` ends before the single output."""

    dense: int = 13
    tables: tuple[int, ...] = CRITEO_TABLES
    bottom: tuple[int, ...] = (512, 256, 128)
    top: tuple[int, ...] = (1024, 1024, 512, 256)

    @property
    def width(self) -> int:
        return self.bottom[-1]


class DLRM(nn.Module):
    """Dense features [B, dense] and category ids [B, tables] -> logits [B]."""

    offsets: Tensor

    def __init__(self, config: DLRMConfig = DLRMConfig()) -> None:
        super().__init__()
        self.config = config
        # One table holds all: a lookup of B x 26 rows instead of 26 lookups.
        self.embedding = nn.Embedding(sum(config.tables), config.width)
        starts = torch.tensor((0, *config.tables[:-1]), device="cpu").cumsum(0)
        self.register_buffer("offsets", starts, persistent=False)
        vectors = len(config.tables) + 1
        rows, columns = torch.tril_indices(vectors, vectors, -1, device="cpu")
        self.register_buffer("pairs", rows * vectors + columns, persistent=False)
        self.bottom = _mlp((config.dense, *config.bottom), last_relu=True)
        self.top = _mlp((config.width + vectors * (vectors - 1) // 2, *config.top, 1), last_relu=False)

    def forward(self, dense: Tensor, categories: Tensor) -> Tensor:
        x = self.bottom(dense)
        vectors = torch.cat([x[:, None], self.embedding(categories + self.offsets)], dim=1)
        products = torch.bmm(vectors, vectors.transpose(1, 2)).flatten(1).index_select(1, self.get_buffer("pairs"))
        return self.top(torch.cat([x, products], dim=1))[:, 0]

    @torch.no_grad()
    def initialise(self, seed: int) -> DLRM:
        """As the reference does: MLP weights normal with deviation sqrt(2 / (in + out)), biases sqrt(1 / out),
        embeddings uniform in ± sqrt(1 / rows of their table). Returns self."""
        generator = torch.Generator().manual_seed(seed)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                outputs, inputs = module.weight.shape
                module.weight.copy_(
                    torch.empty(outputs, inputs).normal_(0, (2 / (inputs + outputs)) ** 0.5, generator=generator)
                )
                module.bias.copy_(torch.empty(outputs).normal_(0, (1 / outputs) ** 0.5, generator=generator))
        for table in self.embedding.weight.split(self.config.tables):
            bound = (1 / len(table)) ** 0.5
            table.copy_(torch.empty(table.shape).uniform_(-bound, bound, generator=generator))
        return self


def _mlp(widths: tuple[int, ...], *, last_relu: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*(layers if last_relu else layers[:-1]))
