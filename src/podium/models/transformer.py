"""The decoder shared by all families: blocks made of the parts that `TransformerConfig.block` names.

Knows neither packing nor caches nor tokens' meaning: attention is handed in. Projections of one input are one matrix
(q, k, v together; gate and up together), and within a head of q and k the halves that RoPE pairs are interleaved.
Hugging Face folders keep both apart; podium.models.checkpoint translates.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from podium.models import fused
from podium.models.config import TransformerConfig
from podium.models.experts import MixtureOfExperts
from podium.models.families.family import BlockPlan
from podium.models.ops import rotate, split_rotate
from podium.models.rope import Rope

Attend: TypeAlias = Callable[[int, Tensor, Tensor, Tensor, int], Tensor]
"""layer, q [B, T, H, Dh], k and v [B, T, Hkv, Dh], q and k after RoPE, the layer's window -> [B, T, H, Dh]

The window is how many positions a token sees, its own among them; 0: all up to its own."""


@runtime_checkable
class AttendsUnturned(Protocol):
    """An Attend that can apply RoPE itself, where it reads q and k anyway."""

    def unturned(self, layer: int, qkv: Tensor, turns: Tensor, kv_heads: int, window: int) -> Tensor:
        """qkv [B, T, H + 2 Hkv, Dh] before RoPE, turns [B or 1, T, 1, Dh/2], window as in Attend -> [B, T, H, Dh]"""
        ...


class RMSNorm(nn.Module):
    """Root-mean-square normalisation over the last dimension (arXiv:1910.07467, equation 4)."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        if fused.applies(x):
            return fused.rms_norm(x, self.weight, self.eps)
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)

    def after_adding(self, branch: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """x + branch, and that normalised."""
        if fused.applies(x) and branch.dtype == torch.float32:
            return fused.add_rms_norm(x, branch, self.weight, self.eps)
        x = x + branch
        return x, self(x)


class Attention(nn.Module):
    def __init__(self, config: TransformerConfig, plan: BlockPlan) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = (
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
        )
        self.window = plan.window
        self.qkv = nn.Linear(config.hidden_size, (self.heads + 2 * self.kv_heads) * self.head_dim, plan.qkv_bias)
        self.output = nn.Linear(self.heads * self.head_dim, config.hidden_size, plan.output_bias)
        self.q_norm = RMSNorm(self.head_dim, config.rms_norm_eps) if plan.qk_norm else None
        self.k_norm = RMSNorm(self.head_dim, config.rms_norm_eps) if plan.qk_norm else None

    def forward(self, x: Tensor, layer: int, turns: Tensor, attend: Attend) -> Tensor:
        batch, length, _ = x.shape
        heads, kv_heads = self.heads, self.kv_heads
        qkv = self.qkv(x).view(batch, length, heads + 2 * kv_heads, self.head_dim)
        if self.q_norm is not None and self.k_norm is not None:
            q, k, v = qkv.split((heads, kv_heads, kv_heads), dim=2)
            q, k = rotate(self.q_norm(q), turns), rotate(self.k_norm(k), turns)
            mixed = attend(layer, q, k, v, self.window)
        elif isinstance(attend, AttendsUnturned):
            mixed = attend.unturned(layer, qkv, turns, kv_heads, self.window)
        else:
            mixed = attend(layer, *split_rotate(qkv, turns, kv_heads), self.window)
        return self.output(mixed.reshape(batch, length, heads * self.head_dim))


class FeedForward(nn.Module):
    """SwiGLU (arXiv:2002.05202, equation 6)."""

    def __init__(self, hidden: int, inner: int, bias: bool = False) -> None:
        super().__init__()
        self.gate_up = nn.Linear(hidden, 2 * inner, bias)
        self.down = nn.Linear(inner, hidden, bias)

    def forward(self, x: Tensor) -> Tensor:
        if fused.applies(x) and self.down.bias is None and type(self.gate_up) is type(self.down) is nn.Linear:
            return fused.feed_forward(x, self.gate_up.weight, self.down.weight)
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)


class Block(nn.Module):
    def __init__(self, config: TransformerConfig, layer: int) -> None:
        super().__init__()
        plan = config.block(layer)
        self.attention_norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.attention = Attention(config, plan)
        self.feed_forward_norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.feed_forward = (
            FeedForward(config.hidden_size, config.intermediate_size, plan.mlp_bias)
            if plan.mixture is None
            else MixtureOfExperts(config.hidden_size, plan.mixture, FeedForward)
        )

    def forward(self, x: Tensor, layer: int, turns: Tensor, attend: Attend) -> Tensor:
        branch = self.attention(self.attention_norm(x), layer, turns, attend)
        x, normalised = self.feed_forward_norm.after_adding(branch, x)
        return x + self.feed_forward(normalised)


class Transformer(nn.Module):
    """Token ids [B, T] -> logits [B, T, V]."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Block(config, layer) for layer in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.unembedding = (
            None if config.tie_word_embeddings else nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        )
        self.rope = Rope(config)

    def forward(
        self,
        tokens: Tensor,
        *,
        positions: Tensor | None = None,
        attend: Attend | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Logits [B, T, V] of tokens [B, T].

        Args:
            positions: [B, T] or [1, T]; default 0..T-1, counted from the first real token where there is a mask.
            attend: the attention of each layer; default causal. It decides alone what is seen.
            attention_mask: [B, T], nonzero where a token is real; only for the default attention.
        """
        return self.head(self.hidden(tokens, positions=positions, attend=attend, attention_mask=attention_mask))

    def hidden(
        self,
        tokens: Tensor,
        *,
        positions: Tensor | None = None,
        attend: Attend | None = None,
        attention_mask: Tensor | None = None,
        taps: Sequence[int] = (),
        lengths: Tensor | None = None,
    ) -> Tensor:
        """States [B, T, D] after the last norm, before the head. Arguments as in `forward`.

        Args:
            lengths: [B, T], what RoPE of the kind "dynamic" stretches each token by: see Rope.turns.
            taps: layers whose outputs stand behind the state, [B, T, (1 + len(taps)) * D], as the next layer gets them.
        """
        if attend is None:
            attend = causal_attention if attention_mask is None else padded_attention(attention_mask)
        elif attention_mask is not None:
            raise ValueError("give attend or attention_mask, not both")
        if positions is None:
            positions = (
                torch.arange(tokens.shape[1], device=tokens.device)[None]
                if attention_mask is None
                else (attention_mask.long().cumsum(-1) - 1).clamp(min=0)
            )
        x = self.embedding(tokens)
        turns = self.rope.turns(positions, lengths)
        tapped: dict[int, Tensor] = {}
        for layer, block in enumerate(self.layers):
            x = block(x, layer, turns, attend)
            if layer in taps:
                tapped[layer] = x
        state = self.norm(x)
        return torch.cat([state, *(tapped[layer] for layer in taps)], -1) if taps else state

    def head(self, hidden: Tensor) -> Tensor:
        """Logits [..., V] of states [..., D]."""
        return F.linear(hidden, self.embedding.weight if self.unembedding is None else self.unembedding.weight)

    @torch.no_grad()
    def initialise(self, seed: int, *, std: float = 0.02, zero_output: bool = False) -> Transformer:
        """Draw all weights anew, the same for the same seed; returns self.

        Matrices are normal(0, std), biases 0, norms 1. With `zero_output` the last matrix of each residual branch is
        0, so that every block starts as the identity (Fixup and muP practice; steadier at high learning rates).
        """
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in self.named_parameters():
            if name.endswith("norm.weight"):
                parameter.fill_(1.0)
            elif name.endswith("bias") or (zero_output and name.endswith(("attention.output.weight", "down.weight"))):
                parameter.zero_()
            else:
                # Drawn on the CPU in fp32: one seed gives one model on every device and in every precision.
                parameter.copy_(torch.empty(parameter.shape).normal_(0.0, std, generator=generator))
        return self

    def fused_parts(self) -> dict[str, tuple[int, ...]]:
        """Names of the matrices that are several stacked ones, with the rows of each (for optimisers that care)."""
        config = self.config
        return {
            f"layers.{layer}.{joined.part}.weight": tuple(rows for _, rows in joined.tensors)
            for layer in range(config.num_hidden_layers)
            for joined in config.family.tensors(config, layer)
            if len(joined.tensors) > 1
        }

    def num_parameters(self, *, embedding: bool = True) -> int:
        """Parameters, each counted once; `embedding=False` leaves out the input embedding unless it is the head too."""
        total = sum(parameter.numel() for parameter in self.parameters())
        return total if embedding or self.unembedding is None else total - self.embedding.weight.numel()

    def flops_per_token(self, context_length: int, *, causal: bool = False, backward: bool = True) -> float:
        """Floating-point operations of matrix products per token, a multiply-add being two.

        Counts what multiplies: all projections and the head (also when tied), not the embedding lookup, plus the two
        products of attention over `context_length` keys (PaLM, arXiv:2204.02311, appendix B: 6N + 12 L H Q T with the
        backward pass). `causal` counts the half of attention that a causal mask leaves. Of experts those count that a
        token visits, and of keys those within a layer's window.
        """
        config = self.config
        matrices = config.vocab_size * config.hidden_size
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear) and name != "unembedding":
                mixture = config.mixture if ".experts." in name else None
                matrices += module.weight.numel() * (mixture.active / mixture.experts if mixture else 1)
        seen = 0.0
        for window in (config.window(layer) for layer in range(config.num_hidden_layers)):
            width = min(window, context_length) if window else context_length
            # A causal mask leaves half of the square of all pairs, or takes its first corner from the band of a window.
            seen += width - width**2 / (2 * context_length) if causal else width
        attention = 2 * config.num_attention_heads * config.head_dim * seen
        forward = 2 * matrices + 2 * attention
        return forward * (3 if backward else 1)


def causal_attention(layer: int, q: Tensor, k: Tensor, v: Tensor, window: int = 0) -> Tensor:
    """Each token sees itself and what is before it, as far as the window goes."""
    length = q.shape[1]
    return _attention(q, k, v, causal_mask(length, window, q.device) if 0 < window < length else None)


def padded_attention(attention_mask: Tensor) -> Attend:
    """Causal attention that does not see padding, on the left or on the right; attention_mask is [B, T]."""
    length = attention_mask.shape[1]
    itself = torch.eye(length, dtype=torch.bool, device=attention_mask.device)

    @functools.cache
    def mask(window: int) -> Tensor:
        causal = causal_mask(length, window, attention_mask.device)
        # Padding sees itself: a row of the softmax with nothing in it would be NaN and spread through the gradients.
        return ((causal & attention_mask.bool()[:, None, :]) | itself)[:, None]

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor, window: int = 0) -> Tensor:
        return _attention(q, k, v, mask(window))

    return attend


def causal_mask(length: int, window: int, device: torch.device) -> Tensor:
    """[T, T], true where the token of a row sees that of a column: itself and what is before it, `window` tokens in all
    where that is not 0."""
    mask = torch.ones(length, length, dtype=torch.bool, device=device).tril()
    return mask.triu(1 - window) if window else mask


def _attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    mixed = F.scaled_dot_product_attention(
        q.transpose(1, 2),
        k.transpose(1, 2),
        v.transpose(1, 2),
        attn_mask=mask,
        is_causal=mask is None,
        enable_gqa=q.shape[2] != k.shape[2],
    )
    return mixed.transpose(1, 2)
