"""Choosing the next token of every row from its logits: penalties, greedy, temperature, top-k, top-p, min-p.

Knows rows of logits, no sequences and no cache. Every operation works within a row, and a row's path through the code
depends on its own settings and logits alone, so that its token does not depend on the rows beside it. Random numbers
are counter-based: number `i` of seed `s` is a hash of (s, i), whatever was drawn in between.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from podium.answering.protocol import Sampling, Top
from podium.errors import InputError

CANDIDATES = 64
"""top-k up to this many looks at the likeliest tokens alone."""

TRIES = 8
"""top-p and min-p redraw a token that they do not let through; what is left after so many tries is sorted."""

PART = 128
"""Weights are summed in parts of this many: a part is summed alike whatever stands around it."""

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


def uniforms(seeds: Sequence[int], counters: Sequence[int], attempt: int = 0) -> np.ndarray:
    """Numbers in [0, 1), one per row, float64: output number `counter` of SplitMix64 (Steele et al., OOPSLA 2014,
    figure 15) started from the seed's own hash, so that neighbouring seeds do not share a stream. For a later
    `attempt`, output number `attempt - 1` of the stream that starts from there."""
    start = _mix(np.array([seed & _MASK for seed in seeds], dtype=np.uint64) + np.uint64(_GOLDEN))
    number = np.array(counters, dtype=np.uint64) + np.uint64(1)
    output = _mix(start + number * np.uint64(_GOLDEN))
    if attempt:
        output = _mix(output + np.uint64(attempt * _GOLDEN & _MASK))
    return (output >> np.uint64(11)) * 2.0**-53


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
    # A folder may name ends that its model does not have.
    forbidden = [token for token in forbidden if 0 <= token < len(logits)]
    if forbidden:
        logits[torch.tensor(forbidden, device=logits.device)] = float("-inf")


Chosen: TypeAlias = tuple[list[int], list[float], list[Top]]
"""Per row: a token, its log-probability, and the likeliest ones that were asked for."""

_Draw: TypeAlias = "Callable[[Tensor, _Group, Sequence[int]], Tensor]"
"""weights [R, V], their settings, how many tokens each row has drawn -> tokens [R]"""


class Settings:
    """The sampling settings of some rows as tensors, made once and used until the rows change."""

    def __init__(self, rows: Sequence[Sampling], device: torch.device) -> None:
        drawn = [i for i, s in enumerate(rows) if s.temperature > 0]
        self.seeds = [s.seed for s in rows]
        self.top = [s.top_logprobs for s in rows]
        self.greedy = len(drawn) < len(rows)
        narrow = [i for i in drawn if 0 < rows[i].top_k <= CANDIDATES]
        wide = [i for i in drawn if rows[i].top_k > CANDIDATES]
        others = [i for i in drawn if not rows[i].top_k]
        self.groups = [
            _Group([rows[i] for i in index], index, device, draw)
            for index, draw in ((narrow, _draw_narrow), (wide, _draw_wide), (others, _draw_trying))
            if index
        ]


class _Group:
    """Rows that are drawn in the same way."""

    def __init__(self, rows: list[Sampling], index: list[int], device: torch.device, draw: _Draw) -> None:
        def column(values: list[float]) -> Tensor:
            return torch.tensor(values, dtype=torch.float32, device=device)[:, None]

        self.rows = index
        self.index = torch.tensor(index, device=device)
        self.draw = draw
        self.seeds = [s.seed for s in rows]
        self.filtered = [i for i, s in enumerate(rows) if s.top_p < 1 or s.min_p]
        self.temperature = column([s.temperature for s in rows])
        self.top_k = column([float(s.top_k or 2**31) for s in rows])
        self.top_p = column([s.top_p for s in rows])
        self.min_p = column([s.min_p for s in rows])


def repeated(rows: Sequence[Sampling], counts: Sequence[int]) -> list[Sampling]:
    """Each of `rows` as often as `counts` says."""
    return [sampling for sampling, count in zip(rows, counts, strict=True) for _ in range(count)]


def choose(logits: Tensor, settings: Settings, counters: Sequence[int], adjusted: Tensor | None = None) -> Chosen:
    """The next token of each row of logits [R, V]; its log-probability under the unfiltered distribution at
    temperature 1, before penalties; and of as many of the likeliest tokens as the row asks for, likeliest first.

    Args:
        counters: [R], how many tokens the row has drawn before: with its seed, they alone decide its random number.
        adjusted: the logits to draw from, where these are not `logits`.
    """
    logits = logits.float()
    drawn_from = logits if adjusted is None else adjusted.float()
    tokens = (
        _argmax(drawn_from) if settings.greedy else torch.empty(len(logits), dtype=torch.long, device=logits.device)
    )
    for group in settings.groups:
        rows = drawn_from if len(group.rows) == len(tokens) else drawn_from[group.index]
        # Subtracting the maximum first keeps tiny temperatures finite.
        weights = ((rows - rows.amax(-1, keepdim=True)) / group.temperature).exp_()
        tokens[group.index] = group.draw(in_parts(weights), group, [counters[i] for i in group.rows])
    logprobs = torch.log_softmax(logits, -1)
    chosen = logprobs.gather(1, tokens[:, None])[:, 0]
    return tokens.tolist(), chosen.tolist(), likeliest(logprobs, settings.top)


def likeliest(logprobs: Tensor, counts: Sequence[int]) -> list[Top]:
    """The `counts[i]` likeliest tokens of row i of logprobs [R, V], with their log-probabilities."""
    most = min(max(counts, default=0), logprobs.shape[-1])
    if not most:
        return [()] * len(counts)
    values, tokens = logprobs.topk(most)
    rows = zip(tokens.tolist(), values.tolist(), counts, strict=True)
    return [tuple(zip(ids[:count], found[:count], strict=True)) for ids, found, count in rows]


def _argmax(rows: Tensor) -> Tensor:
    # numpy's is many times as fast as torch's on the CPU.
    return torch.from_numpy(rows.numpy().argmax(-1)) if rows.device.type == "cpu" else rows.argmax(-1)


def in_parts(weights: Tensor) -> Tensor:
    """Weights [R, V], with zeros behind them up to a whole number of parts."""
    return F.pad(weights, (0, -weights.shape[1] % PART)) if weights.shape[1] % PART else weights


def sums_of_parts(weights: Tensor) -> Tensor:
    """The sum [R, V / PART] of all weights up to the end of each part."""
    return weights.unflatten(1, (-1, PART)).sum(-1).cumsum(-1, dtype=torch.float64)


def _numbers(group: _Group, counters: Sequence[int], attempt: int, device: torch.device) -> Tensor:
    return torch.from_numpy(uniforms(group.seeds, counters, attempt)).to(device)[:, None]


def _pick(cumulated: Tensor, draws: Tensor) -> Tensor:
    """The index [R, 1] at which rising sums [R, C] pass `draws` [R, 1]; never one that adds nothing."""
    picked = torch.searchsorted(cumulated, draws, right=True)
    # A draw below the sum may round up to the sum itself: it stays inside. So does NaN, which GPUs would stumble over.
    last = torch.searchsorted(cumulated, cumulated[:, -1:].contiguous())
    return torch.minimum(picked, last).clamp_(max=cumulated.shape[1] - 1)


def draw_in_parts(weights: Tensor, cumulated: Tensor, draws: Tensor) -> Tensor:
    """The index [R, 1] at which the weights up to it pass `draws` [R, 1] of their sum: its part first."""
    targets = draws * cumulated[:, -1:]
    part = _pick(cumulated, targets)
    before = F.pad(cumulated, (1, 0)).gather(1, part)
    inside = weights.gather(1, part * PART + torch.arange(PART, device=weights.device))
    return part * PART + _pick(inside.cumsum(-1, dtype=torch.float64), targets - before)


def _draw_trying(weights: Tensor, group: _Group, counters: Sequence[int]) -> Tensor:
    """top-p and min-p by rejection: a token drawn from all is as likely as it should be among those let through. That
    takes one look at the weights in place of sorting them, and nearly always one."""
    cumulated = sums_of_parts(weights)
    tokens = draw_in_parts(weights, cumulated, _numbers(group, counters, 0, weights.device))[:, 0]
    left = group.filtered
    for attempt in range(1, TRIES + 1):
        if not left:
            return tokens
        at = torch.tensor(left, device=weights.device)
        mine = weights if len(left) == len(weights) else weights[at]
        own = mine.gather(1, tokens[at, None])
        # What stands before it in falling order; equally likely tokens pass together.
        heavier = mine * (mine > own)
        through = sums_of_parts(heavier)[:, -1:] < group.top_p[at] * cumulated[at, -1:]
        through = (through | (group.top_p[at] >= 1)) & (own >= group.min_p[at] * mine.amax(-1, keepdim=True))
        left = [row for row, fine in zip(left, through[:, 0].tolist(), strict=True) if not fine]
        if left and attempt < TRIES:
            again = torch.tensor(left, device=weights.device)
            draws = _numbers(group, counters, attempt, weights.device)[again]
            tokens[again] = draw_in_parts(weights[again], cumulated[again], draws)[:, 0]
    if left:
        again = torch.tensor(left, device=weights.device)
        draws = _numbers(group, counters, TRIES, weights.device)
        best, order = weights[again].sort(dim=-1, descending=True, stable=True)
        tokens[again] = draw_sorted(
            best, order, group.top_k[again], group.top_p[again], group.min_p[again], draws[again]
        )
    return tokens


def _draw_wide(weights: Tensor, group: _Group, counters: Sequence[int]) -> Tensor:
    best, order = weights.sort(dim=-1, descending=True, stable=True)
    draws = _numbers(group, counters, 0, weights.device)
    return draw_sorted(best, order, group.top_k, group.top_p, group.min_p, draws)


def _draw_narrow(weights: Tensor, group: _Group, counters: Sequence[int]) -> Tensor:
    best, order = candidates(weights)
    draws = _numbers(group, counters, 0, weights.device)
    return draw_sorted(best, order, group.top_k, group.top_p, group.min_p, draws)


def candidates(weights: Tensor) -> tuple[Tensor, Tensor]:
    """The CANDIDATES largest of weights [R, V] in falling order, and where they stand. They are in the parts that have
    the largest maxima: only those are looked at."""
    parts = weights.unflatten(1, (-1, PART))
    if parts.shape[1] > CANDIDATES:
        which = parts.amax(-1).topk(CANDIDATES).indices.sort(-1).values
        places = (which[:, :, None] * PART + torch.arange(PART, device=weights.device)).flatten(1)
        best, order = weights.gather(1, places).topk(CANDIDATES)
        return best, places.gather(1, order)
    best, order = weights.topk(min(CANDIDATES, weights.shape[1]))
    return best, order


def draw_sorted(best: Tensor, order: Tensor, top_k: Tensor, top_p: Tensor, min_p: Tensor, draws: Tensor) -> Tensor:
    """Draw among weights [R, C] in falling order, of which those behind the first C are cut by top-k in any case.
    Filters in the order of transformers: top-k, then top-p over what is left, then min-p."""
    inside = torch.arange(best.shape[1], device=best.device) < top_k
    kept = torch.where(inside, best, 0)
    mass = kept.cumsum(-1, dtype=torch.float64)
    keep = ((mass - kept) < top_p * mass[:, -1:]) | (top_p >= 1)
    keep &= inside & (best >= min_p * best[:, :1])
    cumulated = torch.where(keep, best, 0).cumsum(-1, dtype=torch.float64)
    return order.gather(1, _pick(cumulated, draws * cumulated[:, -1:]))[:, 0]
