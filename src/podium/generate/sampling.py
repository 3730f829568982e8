"""Choosing the next token of every row from its logits: penalties, greedy, temperature, top-k, top-p, min-p.

Knows rows of logits, no sequences and no cache. Every operation works within a row, and a row's path through the code
depends on its own settings and logits alone, so that its token does not depend on the rows beside it. Random numbers
are counter-based: number `i` of seed `s` is a hash of (s, i), whatever was drawn in between.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from podium.errors import InputError
from podium.generate.protocol import Sampling

CANDIDATES = 64
"""Filters look at this many of the likeliest tokens first; all of them are sorted only where that is not enough."""

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


def check_sampling(sampling: Sampling) -> None:
    """Raises InputError for settings that mean nothing."""
    for name, fine, wanted in (
        ("max_tokens", sampling.max_tokens >= 1, "at least 1"),
        ("temperature", 0 <= sampling.temperature < float("inf"), "0 (greedy) or more"),
        ("top_p", 0 < sampling.top_p <= 1, "above 0 and at most 1 (1: off)"),
        ("top_k", sampling.top_k >= 0, "0 (off) or more"),
        ("min_p", 0 <= sampling.min_p < 1, "from 0 (off) to below 1"),
        ("repetition_window", sampling.repetition_window >= 0, "0 (off) or more"),
        ("repetition_count", sampling.repetition_count >= 0, "0 (off) or more"),
        ("min_tokens", 0 <= sampling.min_tokens <= sampling.max_tokens, "from 0 to max_tokens"),
        ("repetition_penalty", 0 < sampling.repetition_penalty < float("inf"), "above 0 (1: off)"),
        ("presence_penalty", abs(sampling.presence_penalty) < float("inf"), "a finite number (0: off)"),
        ("frequency_penalty", abs(sampling.frequency_penalty) < float("inf"), "a finite number (0: off)"),
        ("top_logprobs", sampling.top_logprobs >= 0, "0 (none) or more"),
    ):
        if not fine:
            raise InputError(f"sampling: {name} is {getattr(sampling, name)!r}", f"it must be {wanted}")


def uniforms(seeds: Sequence[int], counters: Sequence[int]) -> np.ndarray:
    """Numbers in [0, 1), one per row, float64: output number `counter` of SplitMix64 (Steele et al., OOPSLA 2014,
    figure 15) started from the seed's own hash, so that neighbouring seeds do not share a stream."""
    start = _mix(np.array([seed & _MASK for seed in seeds], dtype=np.uint64) + np.uint64(_GOLDEN))
    number = np.array(counters, dtype=np.uint64) + np.uint64(1)
    return (_mix(start + number * np.uint64(_GOLDEN)) >> np.uint64(11)) * 2.0**-53


def _mix(z: np.ndarray) -> np.ndarray:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def adjust(
    logits: Tensor, sampling: Sampling, seen: Collection[int], written: Mapping[int, int], forbidden: Collection[int]
) -> None:
    """Penalise one row of logits [V] in place.

    Args:
        seen: tokens of the context, for repetition_penalty (arXiv:1909.05858, section 4.1).
        written: how often the model wrote which token, for presence_penalty and frequency_penalty (OpenAI's API).
        forbidden: tokens that must not be drawn.
    """
    if sampling.repetition_penalty != 1 and seen:
        at = torch.tensor(list(seen), device=logits.device)
        scores = logits[at]
        logits[at] = torch.where(scores > 0, scores / sampling.repetition_penalty, scores * sampling.repetition_penalty)
    if (sampling.presence_penalty or sampling.frequency_penalty) and written:
        at = torch.tensor(list(written), device=logits.device)
        times = torch.tensor(list(written.values()), dtype=logits.dtype, device=logits.device)
        logits[at] -= sampling.presence_penalty + sampling.frequency_penalty * times
    if forbidden:
        logits[torch.tensor(list(forbidden), device=logits.device)] = float("-inf")


class Settings:
    """The sampling settings of some rows as tensors, made once and used until the rows change."""

    def __init__(self, rows: Sequence[Sampling], device: torch.device) -> None:
        drawn = [i for i, s in enumerate(rows) if s.temperature > 0]
        plain = [i for i in drawn if not (rows[i].top_k or rows[i].top_p < 1 or rows[i].min_p)]
        filtered = [i for i in drawn if rows[i].top_k or rows[i].top_p < 1 or rows[i].min_p]
        self.seeds = [s.seed for s in rows]
        self.drawn = bool(drawn)
        self.top = [s.top_logprobs for s in rows]
        self.groups = [
            (index, _Group([rows[i] for i in index], index, device, narrow))
            for index, narrow in ((plain, False), (filtered, True))
            if index
        ]


class _Group:
    def __init__(self, rows: list[Sampling], index: list[int], device: torch.device, filtered: bool) -> None:
        def column(values: list[float]) -> Tensor:
            return torch.tensor(values, dtype=torch.float32, device=device)[:, None]

        self.index = torch.tensor(index, device=device)
        self.filtered = filtered
        self.temperature = column([s.temperature for s in rows])
        self.top_k = column([float(s.top_k or 2**31) for s in rows])
        self.top_p = column([s.top_p for s in rows])
        self.min_p = column([s.min_p for s in rows])


def choose(
    logits: Tensor, settings: Settings, counters: Sequence[int], adjusted: Tensor | None = None
) -> tuple[list[int], list[float], list[tuple[tuple[int, float], ...]]]:
    """The next token of each row of logits [R, V]; its log-probability under the unfiltered distribution at
    temperature 1, before penalties; and of as many of the likeliest tokens as the row asks for, likeliest first.

    Args:
        counters: [R], how many tokens the row has drawn before: with its seed, they alone decide its random number.
        adjusted: the logits to draw from, where these are not `logits`.
    """
    logits = logits.float()
    drawn_from = logits if adjusted is None else adjusted.float()
    tokens = drawn_from.argmax(-1)
    if settings.drawn:
        numbers = torch.from_numpy(uniforms(settings.seeds, counters)).to(logits.device)[:, None]
        for index, group in settings.groups:
            whole = len(index) == len(tokens)
            rows = drawn_from if whole else drawn_from[group.index]
            draws = numbers if whole else numbers[group.index]
            # Subtracting the maximum first keeps tiny temperatures finite.
            rows = (rows - rows.amax(-1, keepdim=True)) / group.temperature
            tokens[group.index] = _draw_filtered(rows, group, draws) if group.filtered else _draw(rows.exp(), draws)
    logprobs = torch.log_softmax(logits, -1)
    chosen = logprobs.gather(1, tokens[:, None])[:, 0]
    return tokens.tolist(), chosen.tolist(), likeliest(logprobs, settings.top)


def likeliest(logprobs: Tensor, counts: Sequence[int]) -> list[tuple[tuple[int, float], ...]]:
    """The `counts[i]` likeliest tokens of row i of logprobs [R, V], with their log-probabilities."""
    most = min(max(counts, default=0), logprobs.shape[-1])
    if not most:
        return [()] * len(counts)
    values, tokens = logprobs.topk(most)
    rows = zip(tokens.tolist(), values.tolist(), counts, strict=True)
    return [tuple(zip(ids[:count], found[:count], strict=True)) for ids, found, count in rows]


def _draw(weights: Tensor, draws: Tensor) -> Tensor:
    """The index at which the cumulated weights [R, V] pass `draws` [R, 1] of their sum; never one of weight 0."""
    cumulated = weights.cumsum(-1, dtype=torch.float64)
    # A draw below 1 times the sum may round up to the sum itself: the clamp keeps it inside.
    picked = torch.searchsorted(cumulated, draws * cumulated[:, -1:], right=True)[:, 0]
    last = torch.searchsorted(cumulated, cumulated[:, -1:].contiguous())[:, 0]
    return torch.minimum(picked, last)


def _draw_filtered(rows: Tensor, group: _Group, draws: Tensor) -> Tensor:
    """Filters in the order of transformers: top-k, then top-p over what is left, then min-p."""
    weights = rows.exp()
    total = weights.sum(-1, keepdim=True, dtype=torch.float64)
    count = rows.shape[1]
    if count > CANDIDATES:
        best, order = weights.topk(CANDIDATES)
        # Enough for a row if top-k or min-p cuts inside, or if top-p alone is reached.
        enough = (
            (group.top_k <= CANDIDATES)
            | (best[:, -1:] < group.min_p * best[:, :1])
            | ((group.top_k >= count) & (best.sum(-1, keepdim=True, dtype=torch.float64) >= group.top_p * total))
        )[:, 0]
        tokens = _draw_sorted(best, order, group, draws, total)
        if not bool(enough.all()):
            full, full_order = weights.sort(dim=-1, descending=True, stable=True)
            tokens = torch.where(enough, tokens, _draw_sorted(full, full_order, group, draws, total))
        return tokens
    best, order = weights.sort(dim=-1, descending=True, stable=True)
    return _draw_sorted(best, order, group, draws, total)


def _draw_sorted(best: Tensor, order: Tensor, group: _Group, draws: Tensor, total: Tensor) -> Tensor:
    """Draw among weights [R, C] in falling order, of which `total` [R, 1] is the sum over the whole vocabulary."""
    rank = torch.arange(best.shape[1], device=best.device)
    inside = rank < group.top_k
    kept = torch.where(inside, best, 0)
    mass = kept.cumsum(-1, dtype=torch.float64)
    # What top-k leaves: its own sum where it cuts within the candidates, else everything.
    left = torch.where(group.top_k <= best.shape[1], mass[:, -1:], total)
    keep = ((mass - kept) < group.top_p * left) | (group.top_p >= 1)
    keep &= inside & (best >= group.min_p * best[:, :1])
    return order.gather(1, _draw(torch.where(keep, best, 0), draws)[:, None])[:, 0]
