"""Drawing the next token of every row in fixed shapes, so that it can be captured: the tokens of sampling.choose.

Knows logits and settings; no sequences. The arithmetic is that of podium.generate.sampling, operation by operation, and
so is the choice of random numbers: SplitMix64 of a row's seed and counter, computed where the logits are. A draw hands
over tokens and log-probabilities in one tensor, so that the host waits once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from podium.generate.device.replay import Mailbox
from podium.generate.sampling import CANDIDATES, candidates, draw_in_parts, draw_sorted, in_parts, sums_of_parts

if TYPE_CHECKING:
    from podium.answering.protocol import Sampling

TRIES = 3
"""Draws per step of a row with top-p or min-p; one in ten thousand with top-p 0.95 needs more, which are made apart."""

_MASK = (1 << 64) - 1


class Kinds(NamedTuple):
    """Which ways of drawing a step has rows for."""

    greedy: bool
    narrow: bool  # top-k
    trying: bool  # top-p, min-p, or none of them


def kinds_of(samplings: Sequence[Sampling]) -> Kinds | None:
    """None where there is one that is not drawn here: a wide top-k, or likeliest tokens to be told."""
    if any(s.top_logprobs or (s.temperature and s.top_k > CANDIDATES) for s in samplings):
        return None
    return Kinds(
        any(not s.temperature for s in samplings),
        any(bool(s.temperature and s.top_k) for s in samplings),
        any(bool(s.temperature and not s.top_k) for s in samplings),
    )


class DrawStep:
    """`run` draws a token for each row of `logits` [R, V] fp32, which are not changed.

    Attributes:
        found: [3, R] float64, what `run` writes: the token, its log-probability at temperature 1, and 1 where the token
            is drawn or 0 where all tries were refused.
    """

    def __init__(self, logits: Tensor, kinds: Kinds) -> None:
        rows, device = len(logits), logits.device
        self.logits, self.kinds = logits, kinds
        self.settings = Mailbox((4, rows), torch.float32, device)
        self.numbers = Mailbox((2, rows), torch.int64, device)
        self.found = torch.zeros(3, rows, dtype=torch.float64, device=device)
        self.replay: Callable[[], None] = self.run

    def set(self, samplings: Sequence[Sampling]) -> None:
        """Settings and seeds of the first rows."""
        settings, seeds = self.settings.open(), self.numbers.open()[0]
        count = len(samplings)
        columns = [(s.temperature, float(s.top_k), s.top_p, s.min_p) for s in samplings]
        settings[:, :count] = torch.tensor(columns, dtype=torch.float32).T
        seeds[:count] = torch.tensor([_signed(s.seed & _MASK) for s in samplings])
        self.settings.send()

    def draw(self, counters: Sequence[int]) -> list[list[float]]:
        """`found` of the first rows, when each has drawn so many tokens before. Waits for it."""
        count = len(counters)
        self.numbers.open()[1, :count] = torch.tensor(counters)
        self.numbers.send()
        self.replay()
        return [row[:count] for row in self.found.tolist()]

    def run(self) -> None:
        logits = self.logits
        temperature, top_k, top_p, min_p = self.settings.device.unsqueeze(2).unbind(0)
        seeds, counters = self.numbers.device.unbind(0)
        largest = logits.amax(-1, keepdim=True)
        tokens, through = logits.argmax(-1), torch.ones_like(seeds, dtype=torch.bool)
        drawn, narrow = (temperature > 0).squeeze(1), (top_k > 0).squeeze(1)
        wide = narrow.logical_not()
        if self.kinds.narrow or self.kinds.trying:
            # Greedy rows are divided by something, too; nobody looks at it.
            weights = in_parts(((logits - largest) / torch.where(temperature > 0, temperature, 1)).exp())
            if self.kinds.trying:
                tried, right = _try(weights, seeds, counters, top_p, min_p)
                tokens = torch.where(drawn & wide, tried, tokens)
                through = (drawn & wide).logical_not() | right
            if self.kinds.narrow:
                best, order = candidates(weights)
                draws = uniforms_of(seeds, counters, 0).unsqueeze(1)
                tokens = torch.where(drawn & narrow, draw_sorted(best, order, top_k, top_p, min_p, draws), tokens)
        # Among NaN, a token may stand in the padding of the last part.
        tokens = tokens.clamp(max=logits.shape[1] - 1)
        own = logits.gather(1, tokens.unsqueeze(1))
        logprobs = (own - largest - (logits - largest).exp().sum(-1, keepdim=True).log()).squeeze(1)
        self.found.copy_(torch.stack([tokens.double(), logprobs.double(), through.double()]))


def _try(weights: Tensor, seeds: Tensor, counters: Tensor, top_p: Tensor, min_p: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens [R] by rejection, as sampling's own tries, and which of them are let through."""
    sums = sums_of_parts(weights)
    total, largest = sums[:, -1:], weights.amax(-1, keepdim=True)
    tokens = torch.zeros_like(seeds)
    right = torch.zeros_like(seeds, dtype=torch.bool)
    for attempt in range(TRIES):
        drawn = draw_in_parts(weights, sums, uniforms_of(seeds, counters, attempt).unsqueeze(1))
        own = weights.gather(1, drawn)
        heavier = sums_of_parts(weights * (weights > own))[:, -1:]
        fine = ((heavier < top_p * total) | (top_p >= 1)) & (own >= min_p * largest)
        tokens = torch.where(right, tokens, drawn.squeeze(1))
        right = right | fine.squeeze(1)
    return tokens, right


def uniforms_of(seeds: Tensor, counters: Tensor, attempt: int) -> Tensor:
    """sampling.uniforms for int64 tensors [R] that hold the seeds' 64 bits: [R] float64."""
    start = _mix(seeds + _GOLDEN)
    output = _mix(start + (counters + 1) * _GOLDEN)
    if attempt:
        output = _mix(output + _signed(attempt * _GOLDEN & _MASK))
    return _shifted(output, 11).double() * 2.0**-53


def _signed(bits: int) -> int:
    return bits - (1 << 64) if bits >> 63 else bits


_GOLDEN = _signed(0x9E3779B97F4A7C15)


def _shifted(z: Tensor, by: int) -> Tensor:
    # int64 shifts its sign in.
    return (z >> by) & ((1 << (64 - by)) - 1)


def _mix(z: Tensor) -> Tensor:
    z = (z ^ _shifted(z, 30)) * _signed(0xBF58476D1CE4E5B9)
    z = (z ^ _shifted(z, 27)) * _signed(0x94D049BB133111EB)
    return z ^ _shifted(z, 31)
