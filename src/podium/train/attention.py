"""Attention that keeps the documents of a packed row apart. Knows where documents begin, nothing of what they say.

Three exact ways, chosen by device in `isolate`:

- `ByDocument` (CPU): each document attends by itself, so that no work is spent on pairs of tokens from different
  ones: in fp32 by podium.models.kernels where there are any, else gathered into [N, L] groups of similar length.
- `VariableLength` (CUDA, half precision): one FlashAttention call over all documents.
- `Dense` (anywhere): a boolean mask [B, 1, T, T] with PyTorch's scaled_dot_product_attention; the portable reference.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from podium.models.kernels import Kernels, Spans, kernels
from podium.models.ops import split_rotate
from podium.models.transformer import causal_mask

Layout = Sequence[Sequence[int]]
"""Lengths of the documents of each row, in order. What is left of a row is padding."""


class Dense:
    """A boolean mask over whole rows. Padding attends causally to itself, so that no softmax is empty."""

    def __init__(self, layout: Layout, row_length: int, device: torch.device | str = "cpu") -> None:
        documents = torch.zeros(len(layout), row_length, dtype=torch.long)
        for row, lengths in enumerate(layout):
            ends = torch.tensor([*lengths, row_length - sum(lengths)])
            documents[row] = torch.repeat_interleave(torch.arange(len(ends)), ends)
        same = documents[:, :, None] == documents[:, None, :]

        @functools.cache
        def mask(window: int) -> Tensor:
            return (same & causal_mask(row_length, window, same.device))[:, None].to(device)

        self.mask = mask  # window -> [B, 1, T, T]

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor, window: int = 0) -> Tensor:
        mixed = F.scaled_dot_product_attention(
            q.transpose(1, 2),
            k.transpose(1, 2),
            v.transpose(1, 2),
            attn_mask=self.mask(window),
            enable_gqa=q.shape[2] != k.shape[2],
        )
        return mixed.transpose(1, 2)


SHORT = 128  # tokens; up to here explicit batched products beat PyTorch's fused CPU attention (measured, fp32)
GROUP_RATIO = 5 / 6  # a group holds documents at least this long compared with its longest


class ByDocument:
    """Causal attention inside each document, by the kernel or on groups of documents of similar length.

    Padding gets zeros from the kernel, something finite from the groups, and sends no gradient back.

    Of the groups' index lists `take` says for each (group, document, head, place) which (token, head) of the rows
    stands there, `put` the way back; both are applied to whole vectors of Dh numbers, which makes every group
    contiguous without further copies. Places after a document's end repeat its last token: being last they are seen
    by nobody else, and their own results are dropped.

    Where a layer has a window that is shorter than a document, the kernel leaves out what lies before it, and without
    the kernel the dense mask does.
    """

    def __init__(self, layout: Layout, row_length: int) -> None:
        documents = sorted(
            (length, row * row_length + sum(lengths[:index]))
            for row, lengths in enumerate(layout)
            for index, length in enumerate(lengths)
        )
        self._tokens = len(layout) * row_length
        self._groups: list[tuple[Tensor, Tensor, int]] = []  # starts [N], lengths [N], L
        first = 0
        while first < len(documents):
            # From the short end: take all that are close enough to the first to share its group.
            last = first
            while last < len(documents) and documents[first][0] >= GROUP_RATIO * documents[last][0]:
                last += 1
            lengths, starts = zip(*documents[first:last], strict=True)
            self._groups.append((torch.tensor(starts), torch.tensor(lengths), lengths[-1]))
            first = last
        self._plans: dict[int, _Plan] = {}
        self._dense = functools.cache(lambda: Dense(layout, row_length))
        self._spans = Spans(
            [(start, length) for length, start in documents],
            [
                (row * row_length + sum(lengths), row_length - sum(lengths))
                for row, lengths in enumerate(layout)
                if sum(lengths) < row_length
            ],
        )

    def unturned(self, layer: int, qkv: Tensor, turns: Tensor, kv_heads: int, window: int = 0) -> Tensor:
        """q, k and v [B, T, H + 2 Hkv, Dh] before RoPE, which the kernel applies as it reads them."""
        native = kernels()
        if native is None or qkv.dtype != torch.float32:
            return self(layer, *split_rotate(qkv, turns, kv_heads), window)
        return _Attend.apply(native, self._spans, window, turns.flatten(0, 2), kv_heads, qkv)  # pyright: ignore[reportReturnType]

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor, window: int = 0) -> Tensor:
        heads, kv_heads = q.shape[2], k.shape[2]
        native = kernels()
        if native is not None and q.dtype == k.dtype == v.dtype == torch.float32:
            return _Attend.apply(native, self._spans, window, None, kv_heads, q, k, v)  # pyright: ignore[reportReturnType]
        if 0 < window < self._spans.longest:
            return self._dense()(layer, q, k, v, window)
        if heads != k.shape[2]:
            k, v = (x.repeat_interleave(heads // x.shape[2], dim=2) for x in (k, v))
        if heads not in self._plans:
            self._plans[heads] = _Plan(self._groups, self._tokens, heads)
        return _AttendByDocument.apply(self._plans[heads], q, k, v)  # pyright: ignore[reportReturnType]


class _Attend(torch.autograd.Function):
    """Attention by the kernel: of qkv in one tensor with turns to be applied, or of q, k and v already turned."""

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx, native: Kernels, spans: Spans, window: int, turns: Tensor | None, kv_heads: int, *inputs: Tensor
    ) -> Tensor:
        flat = [_by_token(x) for x in inputs]
        out, logsumexp = native.attention_forward(spans, *_split(flat, kv_heads), turns, window)
        ctx.native, ctx.spans, ctx.window, ctx.kv_heads = native, spans, window, kv_heads
        ctx.shapes = [x.shape for x in inputs]
        ctx.save_for_backward(turns, logsumexp, *flat)
        return out.view(*inputs[0].shape[:2], *out.shape[1:])

    @staticmethod
    @once_differentiable
    def backward(ctx, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        turns, logsumexp, *flat = ctx.saved_tensors
        # One buffer where the inputs were one: the gradient of a split would be a concatenation.
        grads = [torch.empty(x.shape) for x in flat]
        ctx.native.attention_backward(
            ctx.spans,
            _split(flat, ctx.kv_heads),
            turns,
            logsumexp,
            _by_token(grad_outputs[0]),
            _split(grads, ctx.kv_heads),
            ctx.window,
        )
        return None, None, None, None, None, *(x.view(shape) for x, shape in zip(grads, ctx.shapes, strict=True))


def _by_token(x: Tensor) -> Tensor:
    """[B, T, H, Dh] as [B T, H, Dh] with the heads of a token side by side; copied only where it must be."""
    flat = x.flatten(0, 1)
    return flat if flat.stride()[1:] == (x.shape[-1], 1) else flat.contiguous()


def _split(tensors: Sequence[Tensor], kv_heads: int) -> tuple[Tensor, Tensor, Tensor]:
    if len(tensors) == 1:
        q, k, v = tensors[0].split((tensors[0].shape[1] - 2 * kv_heads, kv_heads, kv_heads), dim=1)
    else:
        q, k, v = tensors
    return q, k, v


class _Plan:
    """Index lists of a layout for a number of heads; made once per batch, used by every layer."""

    def __init__(self, groups: list[tuple[Tensor, Tensor, int]], tokens: int, heads: int) -> None:
        head = torch.arange(heads)
        take, padding = [], []
        # Tokens of no document (padding of a row) read place 0; they send no gradient back.
        self.put = torch.zeros(tokens * heads, dtype=torch.long)
        outside = torch.ones(tokens * heads, dtype=torch.bool)
        self.groups: list[tuple[int, int, int]] = []  # documents × heads, L, first vector
        offset = 0
        for starts, lengths, longest in groups:
            place = torch.arange(longest)
            token = starts[:, None] + torch.minimum(place, lengths[:, None] - 1)  # [N, L]
            source = (token[:, None, :] * heads + head[:, None]).flatten()  # [N, H, L]
            real = (place < lengths[:, None])[:, None, :].expand(-1, heads, -1).flatten()
            here = torch.arange(offset, offset + source.numel())
            self.put[source[real]] = here[real]
            outside[source] = False
            take.append(source)
            padding.append(here[~real])
            self.groups.append((len(starts) * heads, longest, offset))
            offset += source.numel()
        self.take, self.padding = torch.cat(take), torch.cat(padding)
        self.outside = outside.nonzero().flatten()
        self.masks = {
            longest: torch.full((longest, longest), float("-inf")).triu(1)
            for _, longest, _ in self.groups
            if longest <= SHORT
        }


class _AttendByDocument(torch.autograd.Function):
    @staticmethod
    def forward(ctx, plan: _Plan, q: Tensor, k: Tensor, v: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        size = q.shape[-1]
        qs, ks, vs = (x.reshape(-1, size).index_select(0, plan.take) for x in (q, k, v))
        out = torch.empty_like(qs)
        saved = []
        for count, length, offset in plan.groups:
            group = slice(offset, offset + count * length)
            a, b, c, o = (x[group].view(count, length, size) for x in (qs, ks, vs, out))
            if length <= SHORT:
                weights = torch.baddbmm(plan.masks[length].to(a.dtype), a, b.transpose(1, 2), alpha=size**-0.5)
                torch.softmax(weights, -1, out=weights)
                torch.bmm(weights, c, out=o)
                saved.append(weights)
            else:
                result, logsumexp = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
                    a[:, None], b[:, None], c[:, None], 0.0, True
                )
                o.copy_(result[:, 0])
                saved += [result, logsumexp]
        ctx.plan = plan
        ctx.save_for_backward(qs, ks, vs, *saved)
        return out.index_select(0, plan.put).view(q.shape)

    @staticmethod
    def backward(ctx, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        plan: _Plan = ctx.plan
        (gradient,) = grad_outputs
        qs, ks, vs, *saved = ctx.saved_tensors
        size = gradient.shape[-1]
        gs = gradient.reshape(-1, size).index_select(0, plan.take).index_fill_(0, plan.padding, 0.0)
        dq, dk, dv = (torch.empty_like(qs) for _ in range(3))
        remaining = iter(saved)
        for count, length, offset in plan.groups:
            group = slice(offset, offset + count * length)
            g, a, b, c, da, db, dc = (x[group].view(count, length, size) for x in (gs, qs, ks, vs, dq, dk, dv))
            if length <= SHORT:
                weights = next(remaining)
                torch.bmm(weights.transpose(1, 2), g, out=dc)
                scores = torch.bmm(g, c.transpose(1, 2))
                scores = torch.ops.aten._softmax_backward_data(scores, weights, -1, weights.dtype)
                scores.mul_(size**-0.5)
                torch.bmm(scores, b, out=da)
                torch.bmm(scores.transpose(1, 2), a, out=db)
            else:
                result, logsumexp = next(remaining), next(remaining)
                parts = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
                    g[:, None], a[:, None], b[:, None], c[:, None], result, logsumexp, 0.0, True
                )
                for target, part in zip((da, db, dc), parts, strict=True):
                    target.copy_(part[:, 0])
        back = (x.index_select(0, plan.put).index_fill_(0, plan.outside, 0.0) for x in (dq, dk, dv))
        return None, *(x.view(gradient.shape) for x in back)


class VariableLength:
    """FlashAttention over all documents in one call (CUDA, bf16 or fp16). Padding is a document of its own.

    FlashAttention has no fp32 kernel: fp32 falls back to the dense mask.
    """

    def __init__(self, layout: Layout, row_length: int, device: torch.device | str) -> None:
        lengths = [n for row in layout for n in (*row, row_length - sum(row)) if n]
        self._longest = max(lengths)
        self._bounds = torch.tensor([0, *lengths]).cumsum(0).to(device, torch.int32)
        self._dense = functools.cache(lambda: Dense(layout, row_length, device))

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor, window: int = 0) -> Tensor:
        if q.dtype not in (torch.bfloat16, torch.float16):
            return self._dense()(layer, q, k, v, window)
        from torch.nn.attention.varlen import varlen_attn

        bounds, longest = self._bounds, self._longest
        mixed = varlen_attn(
            q.flatten(0, 1),
            k.flatten(0, 1),
            v.flatten(0, 1),
            bounds,
            bounds,
            longest,
            longest,
            window_size=(window - 1, 0),  # tokens before the own one; -1: all of them
            enable_gqa=q.shape[2] != k.shape[2],
        )
        assert isinstance(mixed, Tensor)  # a pair only when more is asked for
        return mixed.view(q.shape)


def isolate(layout: Layout, row_length: int, device: torch.device) -> Dense | ByDocument | VariableLength:
    """The fastest exact attention for this device."""
    if device.type == "cpu":
        return ByDocument(layout, row_length)
    if device.type == "cuda" and importlib.util.find_spec("torch.nn.attention.varlen"):
        return VariableLength(layout, row_length, device)
    return Dense(layout, row_length, device)
