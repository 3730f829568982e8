"""Better policies for a bench: thresholds of the rules by trying them all, and optimal stopping; cross-validated.

What is tuned on problems must be judged on others. The problems are split into folds; every candidate family is fitted
on all folds but one and sits exams drawn from that one, so that each problem's outcome comes from a policy that never
saw it. Everything is compared with one reference policy at equal time: the reference sits with the budget, the others
with no more than the time the reference took.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeAlias

import numpy as np

from podium.errors import InputError
from podium.solve.lab.exams import Comparison, Exams, combine, compare, hold_exams
from podium.solve.lab.optimal import fit_optimal_stopping
from podium.solve.lab.outcomes import Bench
from podium.solve.policy import Policy
from podium.solve.rules import Finished, FirstAgree, LastAgree, Rule

FOLDS = 5
TRYING = 60  # exams per candidate while choosing
JUDGING = 400  # exams per fold in the verdict

Members: TypeAlias = Sequence[int]
Fit: TypeAlias = Callable[[Bench, Members, float], Policy]
"""(bench, problems, seconds for an exam of so many problems) -> the policy of a family that does best on them."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A family, judged on problems it was not fitted to, and fitted to all of them."""

    family: str
    policy: Policy
    held_out: Exams
    against: Comparison  # minus the reference, over the same draws


@dataclass(frozen=True, slots=True)
class Optimised:
    """The reference on the same draws, and the families, the best first."""

    reference: Exams
    budget: float  # seconds of an exam that the families had: what the reference took in the mean
    candidates: tuple[Candidate, ...]


def optimise(
    bench: Bench,
    against: Policy,
    *,
    budget: float | None,
    length: int | None = None,
    folds: int = FOLDS,
    seed: int = 0,
) -> Optimised:
    """Fit every family and judge it against a policy on held-out problems, in no more time than that policy takes.

    Raises:
        InputError: fewer than two problems per fold.
    """
    total = len(bench.problems)
    if total < 2 * folds:
        raise InputError(f"{total} recorded problems for {folds} folds", "record more problems, or take fewer folds")
    length = length or total
    order = np.random.default_rng(seed).permutation(total).tolist()
    parts = [sorted(order[fold::folds]) for fold in range(folds)]

    def judge(policies: Sequence[Policy], seconds: float | None) -> Exams:
        return combine(
            [
                hold_exams(bench, policy, budget=seconds, length=length, exams=JUDGING, members=part, seed=seed + fold)
                for fold, (policy, part) in enumerate(zip(policies, parts, strict=True))
            ]
        )

    reference = judge([against] * folds, budget)
    seconds = reference.time
    everyone = list(range(total))
    candidates: list[Candidate] = []
    for family, fit in FAMILIES.items():
        fitted = [fit(bench, sorted(set(everyone) - set(part)), seconds / length) for part in parts]
        held_out = judge(fitted, seconds)
        policy = fit(bench, everyone, seconds / length)
        candidates.append(Candidate(family, policy, held_out, compare(held_out, reference)))
    candidates.sort(key=lambda candidate: -candidate.against.difference)
    return Optimised(reference, seconds, tuple(candidates))


def _best_of(candidates: Callable[[int], list[tuple[Rule, ...]]], name: str) -> Fit:
    def fit(bench: Bench, members: Members, pace: float) -> Policy:
        policies = [Policy("+".join(rule.name for rule in rules), rules) for rules in candidates(bench.n)]
        length = min(50, len(members))
        tried = [
            hold_exams(bench, policy, budget=pace * length, length=length, exams=TRYING, members=members)
            for policy in policies
        ]
        # Of equal scores the one that takes less time.
        best = max(range(len(tried)), key=lambda number: (tried[number].score, -tried[number].time))
        return Policy(f"{name} {policies[best].name}", policies[best].rules, attempts=bench.n)

    return fit


def _agreements(n: int) -> list[tuple[Rule, ...]]:
    """k agree, among all or the first few finished; with and without stragglers."""
    found: list[tuple[Rule, ...]] = []
    for k, more, stragglers in product(range(2, min(6, n) + 1), (None, 0, 1, 3), (0, 2)):
        if (more is not None and k + more > n) or n - stragglers < k:
            continue
        agreement = FirstAgree(k, 0 if more is None else k + more)
        found.append((agreement, Finished(stragglers=stragglers)) if stragglers else (agreement,))
    return found


def _windows(n: int) -> list[tuple[Rule, ...]]:
    """k of the last few finished agree, or m have finished."""
    found: list[tuple[Rule, ...]] = [(Finished(m),) for m in range(1, n + 1)]
    for k, more in product(range(2, min(6, n) + 1), (0, 1, 2)):
        if k + more <= n:
            found.append((LastAgree(k, k + more),))
    return found


def _stopping(bench: Bench, members: Members, pace: float) -> Policy:
    return fit_optimal_stopping(bench, members)


FAMILIES: dict[str, Fit] = {
    "agreement": _best_of(_agreements, "best of"),
    "window or count": _best_of(_windows, "best of"),
    "optimal stopping": _stopping,
}
