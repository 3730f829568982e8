"""The vote. Counts equivalence classes, not strings; does not know how equivalence is decided.

Every attempt has one voice, or a weight: by its length, by how sure the model was of its tokens, by how sure it was
towards the end, or by what a verifier thinks of it. Weights are relative: only their ratios matter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from podium.errors import InputError, nearest
from podium.grading import classes as equivalence_classes
from podium.records import Attempt, Problem, VoteClass
from podium.solve.confidence import TOP

Classes = Callable[[Problem, Sequence[str]], list[list[int]]]
"""Partition of the positions of `answers` into equivalence classes, as podium.grading.classes makes it."""

_LEVEL = 1e-9  # weights so close, relative to the largest, are level
_LEAST_ENTROPY = 0.01  # nats; a tail of nothing but copied text is no proof


Signals = Mapping[str, float]
"""What is known of an attempt beside its answer: `mean_logprob`, `tail_entropy`, `verifier`, where there is such."""


def _uniform(tokens: int, signals: Signals) -> float | None:
    return 1.0


def _length(tokens: int, signals: Signals) -> float | None:
    return 1.0 / max(1, tokens)


def _logprob(tokens: int, signals: Signals) -> float | None:
    mean = signals.get("mean_logprob")
    return None if mean is None else math.exp(mean)


def _entropy(tokens: int, signals: Signals) -> float | None:
    tail = signals.get("tail_entropy")
    return None if tail is None else 1.0 / max(_LEAST_ENTROPY, tail)


def _verifier(tokens: int, signals: Signals) -> float | None:
    return signals.get("verifier")


WEIGHTS: dict[str, Callable[[int, Signals], float | None]] = {
    "uniform": _uniform,
    "length": _length,  # the shorter, the heavier (arXiv 2504.16891 section 6.3.3)
    "logprob": _logprob,  # geometric mean of the token probabilities
    "entropy": _entropy,  # inverse of the mean entropy of the last tokens, as AIMO-3 entries weigh
    "verifier": _verifier,  # a score between 0 and 1, see podium.solve.verifier
}
"""By name: the weight of an attempt that wrote so many tokens and has such signals; None: its signal is missing."""

ASKED = {"entropy": {"top_logprobs": TOP}, "logprob": {"top_logprobs": 1}}
"""Fields of the tool profile without which a server does not tell what a vote weighs by."""


def check_weight(name: str) -> None:
    """Raises InputError where no weight has this name."""
    if name not in WEIGHTS:
        raise InputError(f"no vote weight is called {name!r}", nearest(name, WEIGHTS))


def weigh(attempts: Iterable[Attempt], by: str) -> dict[int, float]:
    """{attempt: weight} with the mean weight 1. An attempt whose signal is missing has the median of the others;
    where none has it (a server without log-probabilities), all are 1.

    Raises:
        InputError: no weight is called so.
    """
    check_weight(by)
    return relative({each.index: WEIGHTS[by](each.usage.completion_tokens, each.signals) for each in attempts})


def relative(found: Mapping[int, float | None]) -> dict[int, float]:
    """Weights with the mean 1 from what was found of each attempt; the missing ones as in `weigh`."""
    known = [weight for weight in found.values() if weight is not None]
    if not known or sum(known) <= 0.0:
        return dict.fromkeys(found, 1.0)
    middle = median(known)
    weights = {index: middle if weight is None else weight for index, weight in found.items()}
    mean = sum(weights.values()) / len(weights)
    return {index: weight / mean for index, weight in weights.items()}


@dataclass(frozen=True, slots=True)
class Vote:
    """Classes by falling weight, level ones by their first voter. `answer` is the first class's."""

    classes: tuple[VoteClass, ...]
    tie: bool  # more than one class has the highest weight

    @property
    def answer(self) -> str | None:
        return self.classes[0].answer if self.classes else None

    @property
    def leaders(self) -> tuple[VoteClass, ...]:
        """The classes that share the highest weight: a tie is scored as the mean of these."""
        return tuple(entry for entry in self.classes if _level(entry.weight, self.classes[0].weight))


def ballots(attempts: Iterable[Attempt]) -> dict[int, str]:
    """{attempt: answer} of those that have one, the shortest solution first.

    Short solutions tend to be right (arXiv 2504.16891 section 6.3.3). Which attempt is over first says much the same,
    but differs from run to run, and with it every vote that is tied.
    """
    order = sorted(attempts, key=lambda attempt: (attempt.usage.completion_tokens, attempt.index))
    return {attempt.index: attempt.answer for attempt in order if attempt.answer is not None}


def majority(
    problem: Problem,
    answers: Mapping[int, str],
    classes: Classes = equivalence_classes,
    weights: Mapping[int, float] | None = None,
) -> Vote:
    """Vote over {attempt: answer}, in the order of `ballots`; without `weights` every attempt has one voice.

    A tie goes to the class whose first voter comes first, and is reported. A class's `weight` is its share of all
    weights; it goes by its first voter's wording.
    """
    order = list(answers)
    texts = [answers[index] for index in order]
    groups = [sorted(group) for group in classes(problem, texts)] if texts else []
    voice = [1.0 if weights is None else weights.get(index, 1.0) for index in order]
    total = math.fsum(voice) or 1.0
    shares = {group[0]: math.fsum(voice[position] for position in group) / total for group in groups}
    ranked = sorted(groups, key=lambda group: (-shares[group[0]], group[0]))
    if ranked:  # level classes differ by rounding alone: their first voters decide
        highest = shares[ranked[0][0]]
        ranked.sort(key=lambda group: (0 if _level(shares[group[0]], highest) else 1, *_rank(shares, group, highest)))
    rows = tuple(
        VoteClass(
            answer=texts[group[0]],
            count=len(group),
            weight=shares[group[0]],
            attempts=tuple(order[position] for position in group),
        )
        for group in ranked
    )
    return Vote(rows, tie=len(rows) > 1 and _level(rows[1].weight, rows[0].weight))


def leaders(ballots: Mapping[int, int], weights: Mapping[int, float] | None = None) -> list[int]:
    """Of {attempt: class of its answer} the classes that share the highest weight, in the order of their first voters.

    The first of them is what `majority` answers; more than one is a tie.
    """
    sums: dict[int, float] = {}
    for index, number in ballots.items():
        sums[number] = sums.get(number, 0.0) + (1.0 if weights is None else weights[index])
    highest = max(sums.values(), default=0.0)
    return [number for number, weight in sums.items() if _level(weight, highest)]


def _rank(shares: Mapping[int, float], group: Sequence[int], highest: float) -> tuple[float, int]:
    share = shares[group[0]]
    return (0.0 if _level(share, highest) else -share), group[0]


def _level(share: float, highest: float) -> bool:
    return share >= highest * (1.0 - _LEVEL)
