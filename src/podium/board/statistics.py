"""Votes over time; the scores themselves are podium.solve.scores', their intervals podium.solve.statistics'."""

from __future__ import annotations

from collections.abc import Hashable, Sequence


def vote_score(ballots: Sequence[tuple[Hashable, bool]]) -> float:
    """1 if the most frequent class is correct, 0 if not; the share of correct ones where several lead.

    Args:
        ballots: (answer class, correct) of each attempt that gave an answer.
    """
    counts: dict[Hashable, int] = {}
    right: dict[Hashable, bool] = {}
    for choice, correct in ballots:
        counts[choice] = counts.get(choice, 0) + 1
        right[choice] = right.get(choice, False) or correct
    if not counts:
        return 0.0
    most = max(counts.values())
    leaders = [choice for choice, count in counts.items() if count == most]
    return sum(right[choice] for choice in leaders) / len(leaders)
