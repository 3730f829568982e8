"""How sure the model was of what it wrote: signals for a weighted vote, taken from pieces as they come.

`mean_logprob` is the mean log-probability of the written tokens. `tail_entropy` is the mean entropy, in nats, of the
last TAIL tokens' distributions: from the likeliest tokens where the engine tells them, the rest of the probability
counted as one more token; otherwise from the written tokens, whose mean surprise estimates it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

from podium.answering.protocol import Piece

TAIL = 512  # tokens
TOP = 20  # likeliest tokens asked for


class Confidence:
    """Takes pieces, keeps sums."""

    def __init__(self) -> None:
        self._sum = 0.0
        self._count = 0
        self._tail: deque[float] = deque(maxlen=TAIL)

    def push(self, piece: Piece) -> None:
        """Take the tokens of one more piece, if it tells their log-probabilities."""
        for number, logprob in enumerate(piece.logprobs):
            if not math.isfinite(logprob):
                continue
            self._sum += logprob
            self._count += 1
            top = piece.top_logprobs[number] if number < len(piece.top_logprobs) else ()
            self._tail.append(entropy([value for _, value in top]) if top else -logprob)

    def signals(self) -> dict[str, float]:
        """The signals so far; empty where no log-probability was told."""
        if not self._count:
            return {}
        return {"mean_logprob": self._sum / self._count, "tail_entropy": math.fsum(self._tail) / len(self._tail)}


def entropy(logprobs: Sequence[float]) -> float:
    """Entropy in nats of a distribution known by its likeliest tokens; what is left of it counts as one token."""
    shares = [math.exp(value) for value in logprobs]
    rest = max(0.0, 1.0 - math.fsum(shares))
    told = -math.fsum(share * value for share, value in zip(shares, logprobs, strict=True) if share > 0.0)
    return max(0.0, told - (rest * math.log(rest) if rest > 1e-12 else 0.0))
