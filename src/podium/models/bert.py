"""BERT (Devlin et al. 2018, arXiv:1810.04805) with its two pre-training heads. Knows token ids, not text.

q, k and v of a layer are one matrix, and the masked-word head runs on the masked positions alone: at 15 % masked
words the largest product of the network is a seventh of what it is over all positions. `from_transformers` reads the
state dictionary of transformers' BertForPreTraining.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class BertConfig:
    vocab_size: int = 30522
    width: int = 1024
    layers: int = 24
    heads: int = 16
    feed_forward: int = 4096
    positions: int = 512
    segments: int = 2
    dropout: float = 0.1
    eps: float = 1e-12


BERT_LARGE = BertConfig()


class Layer(nn.Module):
    """Post-norm block: attention and feed-forward, each added to its input and normalised."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.heads, self.dropout = config.heads, config.dropout
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.output = nn.Linear(config.width, config.width)
        self.attention_norm = nn.LayerNorm(config.width, config.eps)
        self.up = nn.Linear(config.width, config.feed_forward)
        self.down = nn.Linear(config.feed_forward, config.width)
        self.norm = nn.LayerNorm(config.width, config.eps)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        batch, length, width = x.shape
        drop = self.dropout if self.training else 0.0
        q, k, v = self.qkv(x).view(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=drop)
        mixed = self.output(mixed.transpose(1, 2).reshape(batch, length, width))
        x = self.attention_norm(x + F.dropout(mixed, drop))
        return self.norm(x + F.dropout(self.down(F.gelu(self.up(x))), drop))


class Bert(nn.Module):
    """`hidden` [B, T, D] of token ids; `words` and `follows` are the logits of the two heads."""

    def __init__(self, config: BertConfig = BERT_LARGE) -> None:
        super().__init__()
        self.config = config
        self.word = nn.Embedding(config.vocab_size, config.width)
        self.position = nn.Embedding(config.positions, config.width)
        self.segment = nn.Embedding(config.segments, config.width)
        self.norm = nn.LayerNorm(config.width, config.eps)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.pooler = nn.Linear(config.width, config.width)
        self.follow = nn.Linear(config.width, 2)
        self.transform = nn.Linear(config.width, config.width)
        self.transform_norm = nn.LayerNorm(config.width, config.eps)
        self.word_bias = nn.Parameter(torch.zeros(config.vocab_size))

    def hidden(self, tokens: Tensor, segments: Tensor | None = None, real: Tensor | None = None) -> Tensor:
        """States of tokens [B, T]; segments [B, T] (default 0); `real` [B, T] is true where a token is no padding."""
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.word(tokens) + self.position(positions)
        x = x + (self.segment.weight[0] if segments is None else self.segment(segments))
        x = F.dropout(self.norm(x), self.config.dropout, self.training)
        mask = None if real is None else real.bool()[:, None, None, :]
        for layer in self.layers:
            x = layer(x, mask)
        return x

    def words(self, hidden: Tensor) -> Tensor:
        """Logits [..., V] of the words at states [..., D]; the matrix is that of the embedding."""
        return F.linear(self.transform_norm(F.gelu(self.transform(hidden))), self.word.weight, self.word_bias)

    def follows(self, hidden: Tensor) -> Tensor:
        """Logits [B, 2] of "the second segment follows the first" (0) and "it does not" (1)."""
        return self.follow(torch.tanh(self.pooler(hidden[:, 0])))

    def forward(self, tokens: Tensor, segments: Tensor | None = None, real: Tensor | None = None) -> Tensor:
        return self.words(self.hidden(tokens, segments, real))

    @torch.no_grad()
    def initialise(self, seed: int, std: float = 0.02) -> Bert:
        """Matrices normal(0, std), biases 0, norms 1; the same for the same seed. Returns self."""
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in self.named_parameters():
            if parameter.ndim >= 2:
                parameter.copy_(torch.empty(parameter.shape).normal_(0, std, generator=generator))
            else:
                parameter.fill_(1.0 if name.endswith("norm.weight") else 0.0)
        return self

    def flops(self, tokens: int, length: int, masked: int) -> float:
        """Floating-point operations of a training step: matrix products of `tokens` positions in rows of `length`,
        the word head on `masked` of them; forward and backward (6 per weight and position, arXiv:2204.02311)."""
        config = self.config
        block = 4 * config.width**2 + 2 * config.width * config.feed_forward
        attention = 2 * config.width * length
        head = config.width**2 + config.width * config.vocab_size
        return 6.0 * (tokens * config.layers * (block + attention) + masked * head)


def from_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dictionary of a Bert from that of transformers' BertForPreTraining."""
    names = {
        "bert.embeddings.word_embeddings.weight": "word.weight",
        "bert.embeddings.position_embeddings.weight": "position.weight",
        "bert.embeddings.token_type_embeddings.weight": "segment.weight",
        "bert.embeddings.LayerNorm": "norm",
        "bert.pooler.dense": "pooler",
        "cls.seq_relationship": "follow",
        "cls.predictions.transform.dense": "transform",
        "cls.predictions.transform.LayerNorm": "transform_norm",
        "cls.predictions.bias": "word_bias",
    }
    parts = {
        "attention.output.dense": "output",
        "attention.output.LayerNorm": "attention_norm",
        "intermediate.dense": "up",
        "output.dense": "down",
        "output.LayerNorm": "norm",
    }
    made: dict[str, Tensor] = {}
    for theirs, ours in names.items():
        for ending in ("", ".weight", ".bias"):
            if theirs + ending in state:
                made[ours + ending] = state[theirs + ending]
    layers = 1 + max(int(name.split(".")[3]) for name in state if name.startswith("bert.encoder.layer."))
    for layer in range(layers):
        there, here = f"bert.encoder.layer.{layer}", f"layers.{layer}"
        for kind in ("weight", "bias"):
            for theirs, ours in parts.items():
                made[f"{here}.{ours}.{kind}"] = state[f"{there}.{theirs}.{kind}"]
            made[f"{here}.qkv.{kind}"] = torch.cat(
                [state[f"{there}.attention.self.{which}.{kind}"] for which in ("query", "key", "value")]
            )
    return made
