"""Running the model over the cache: one stretch of one sequence (prefill), or one token of many rows (decode).

Knows the model and the cache, no requests and no sampling. What a row gets must not depend on the rows beside it, to
the last bit. A matrix product is the same for each row only between certain numbers of rows, and attention only
between certain padded lengths; which ones depends on the machine's kernels. The runner finds out at the start and
uses no others. Prefill runs one sequence at a time in its own shape, so that nothing else can enter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from podium.generate.cache import CacheShape, Slab

if TYPE_CHECKING:
    from podium.models.transformer import Transformer

# torch's attention on the CPU walks the keys in steps of 512 and reduces each step on its own.
STEP = 512
_PARTS = (64, 128, 192, 256, 320, 384, 448, STEP)


class Runner:
    """`row_counts`: the numbers of rows decode may run; `parts`: what may stand behind whole steps of 512 keys."""

    def __init__(self, model: Transformer, max_rows: int) -> None:
        self.model = model
        config = model.config
        weight = model.embedding.weight
        self.heads, self.kv_heads, self.head_dim = (
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
        )
        self.shape = CacheShape(config.num_hidden_layers, self.kv_heads, self.head_dim, weight.dtype, weight.device)
        self.device = weight.device
        self.row_counts = self._consistent_row_counts(max_rows)
        self.parts = self._consistent_parts()

    def round_length(self, length: int) -> int:
        """The shortest padded length that may be used for `length` keys."""
        whole, part = divmod(max(length, 1), STEP)
        return whole * STEP + (min(p for p in self.parts if p >= part) if part else 0)

    @torch.inference_mode()
    def prefill(self, row: list[Tensor], tokens: Sequence[int], start: int) -> Tensor:
        """Compute the stretch `tokens` from position `start` on, write its keys and values into `row` (per layer
        [2, Hkv, capacity, Dh], which holds what is before), and return the logits [V] after its last token."""
        length = len(tokens)
        end = start + length
        mask = None
        if start:
            mask = torch.ones(length, end, dtype=torch.bool, device=self.device).tril(diagonal=start)
        grouped = self.heads != self.kv_heads

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            cache = row[layer]
            cache[0, :, start:end] = k[0].transpose(0, 1)
            cache[1, :, start:end] = v[0].transpose(0, 1)
            keys, values = cache[:, None, :, :end].unbind(0)
            q = q.transpose(1, 2)
            mixed = F.scaled_dot_product_attention(
                q, keys, values, attn_mask=mask, is_causal=mask is None, enable_gqa=grouped
            )
            return mixed.transpose(1, 2)

        hidden = self.model.hidden(
            torch.tensor([tokens], device=self.device),
            positions=torch.arange(start, end, device=self.device)[None],
            attend=attend,
        )
        return self.model.head(hidden[0, -1:])[0]

    @torch.inference_mode()
    def decode(self, slab: Slab, tokens: Sequence[int], positions: Sequence[int]) -> Tensor:
        """Compute one token of each of the first R rows, at its position, and return the logits [R, V]."""
        count = len(tokens)
        largest = self.row_counts[-1]
        return torch.cat(
            [
                self._decode(slab, first, tokens[first : first + largest], positions[first : first + largest])
                for first in range(0, count, largest)
            ]
        )

    def _decode(self, slab: Slab, first: int, tokens: Sequence[int], positions: Sequence[int]) -> Tensor:
        rows = len(tokens)
        padded = min(count for count in self.row_counts if count >= rows)
        filling = [0] * (padded - rows)
        capacity = slab.capacity
        length = min(self.round_length(max(positions) + 1), capacity)
        heads, kv_heads, head_dim = self.heads, self.kv_heads, self.head_dim
        group = heads // kv_heads
        places = torch.tensor([*positions, *filling], device=self.device)
        lines = torch.arange(first * kv_heads, (first + rows) * kv_heads, device=self.device).view(rows, kv_heads)
        where = (lines * capacity + places[:rows, None]).view(-1)
        slab.mask[first : first + rows].scatter_(1, places[:rows, None], 0.0)
        mask = slab.mask[first : first + rows, None, None, :length]

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            flat_keys, flat_values = slab.flat[layer]
            flat_keys.index_copy_(0, where, k[:rows].reshape(-1, head_dim))
            flat_values.index_copy_(0, where, v[:rows].reshape(-1, head_dim))
            keys, values = slab.layers[layer][:, first : first + rows, :, :length].unbind(0)
            # The query heads of one key head stand as query rows: no key is repeated.
            mixed = F.scaled_dot_product_attention(
                q[:rows, 0].unflatten(1, (kv_heads, group)), keys, values, attn_mask=mask
            )
            mixed = mixed.reshape(rows, 1, heads, head_dim)
            return mixed if rows == padded else F.pad(mixed, (0, 0, 0, 0, 0, 0, 0, padded - rows))

        hidden = self.model.hidden(
            torch.tensor([*tokens, *filling], device=self.device)[:, None],
            positions=places[:, None],
            attend=attend,
        )
        return self.model.head(hidden)[:rows, 0]

    @torch.inference_mode()
    def _consistent_row_counts(self, max_rows: int) -> tuple[int, ...]:
        """Numbers of rows that give the same bits for a row, wherever it stands, up to the first that holds
        `max_rows`; (1,) where only rows on their own are safe."""
        ladder = [4 * i for i in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32) if 4 * i < max_rows] + [-(-max_rows // 4) * 4]
        vocabulary = self.model.config.vocab_size
        generator = torch.Generator().manual_seed(0)
        samples = torch.randint(0, vocabulary, (3,), generator=generator).to(self.device)

        def logits(count: int) -> Tensor:
            which = torch.arange(count, device=self.device) % len(samples)
            hidden = self.model.hidden(
                samples[which][:, None],
                positions=(which * 7)[:, None],
                # The values of each head stand for what attention would mix.
                attend=lambda layer, q, k, v: q + v.repeat_interleave(self.heads // self.kv_heads, dim=2),
            )
            return self.model.head(hidden)[:, 0]

        expected = logits(ladder[-1])[: len(samples)]
        return tuple(
            count
            for count in ladder
            if torch.equal(
                (found := logits(count)).nan_to_num(),
                expected[torch.arange(len(found), device=self.device) % len(samples)].nan_to_num(),
            )
        ) or (1,)

    @torch.inference_mode()
    def _consistent_parts(self) -> tuple[int, ...]:
        """Rests behind whole steps whose attention has the bits of a whole step."""
        generator = torch.Generator().manual_seed(0)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator).to(self.device, self.shape.dtype)

        q = draw(1, self.kv_heads, self.heads // self.kv_heads, self.head_dim)
        cache = draw(2, 1, self.kv_heads, 2 * STEP, self.head_dim)

        def attention(seen: int, padded: int) -> Tensor:
            mask = torch.zeros(1, 1, 1, padded, dtype=self.shape.dtype, device=self.device)
            mask[..., seen:] = float("-inf")
            keys, values = cache[:, :, :, :padded].unbind(0)
            return F.scaled_dot_product_attention(q, keys, values, attn_mask=mask)

        return tuple(
            part
            for part in _PARTS
            if all(
                torch.equal(attention(base + part - short, base + part), attention(base + part - short, base + STEP))
                for base in (0, STEP)
                for short in (0, 1, 17, 40)
            )
        )
