"""Accuracy by time and by token budget, from traces: what would have been scored with less of either.

An exam under one limit tells the scores under all smaller ones: an attempt cut at B tokens has the answer it had boxed
by then. Knows no policy but "wait for everything": these are figures of the model, not of the clock.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from podium.solve.lab.outcomes import BenchProblem, course
from podium.solve.policy import Policy
from podium.solve.replay import vote
from podium.solve.rules import Plan
from podium.solve.scores import Estimate, estimate
from podium.solve.trace import Trace


class BudgetPoint(BaseModel):
    """Scores within a budget: `vote` of all attempts, `single` the mean attempt, `ended` the share of them done."""

    model_config = ConfigDict(frozen=True)

    budget: float  # tokens per attempt, or seconds per problem
    vote: Estimate
    single: Estimate
    ended: float


class BudgetCurves(BaseModel):
    """`budgets.json` of an exam."""

    model_config = ConfigDict(frozen=True)

    problems: int
    attempts: int
    broken_off: int  # attempts that the policy cancelled: what they would have become is not known
    tokens: list[BudgetPoint]
    seconds: list[BudgetPoint]


def budget_curves(traces: Sequence[Trace], points: int = 6, seed: int = 0) -> BudgetCurves:
    """Curves over `points` budgets each, halving from what the longest attempt took."""
    problems = [BenchProblem.of(trace) for trace in traces]
    attempts = [attempt for problem in problems for attempt in problem.attempts]
    most_tokens = max((attempt.tokens for attempt in attempts), default=0)
    longest = max((trace.used_seconds for trace in traces), default=0.0)
    return BudgetCurves(
        problems=len(problems),
        attempts=len(attempts),
        broken_off=sum(not attempt.whole for attempt in attempts),
        tokens=[_by_tokens(problems, budget, seed) for budget in _halving(most_tokens, points, whole=True)],
        seconds=[_by_seconds(problems, budget, seed) for budget in _halving(longest, points, whole=False)],
    )


def _halving(most: float, points: int, *, whole: bool) -> list[float]:
    budgets = [most / 2**power for power in range(points - 1, -1, -1)]
    return sorted({float(round(budget)) if whole else round(budget, 3) for budget in budgets} - {0.0})


def _by_tokens(problems: Sequence[BenchProblem], budget: float, seed: int) -> BudgetPoint:
    votes: list[float] = []
    singles: list[float] = []
    ended = total = 0
    for problem in problems:
        answers: list[tuple[int, int]] = []  # tokens written until then, answer
        right = 0
        for attempt in problem.attempts:
            answer = None
            written = 0
            for step in attempt.steps:
                if step.happening.tokens > budget:
                    break
                written = step.happening.tokens
                if step.happening.kind in ("answer", "end"):
                    answer = step.happening.answer
            total += 1
            ended += attempt.whole and attempt.tokens <= budget
            right += answer in problem.right
            if answer is not None:
                answers.append((written, answer))
        answers.sort(key=lambda entry: entry[0])
        votes.append(float(vote(dict(enumerate(answer for _, answer in answers))) in problem.right))
        singles.append(right / max(1, len(problem.attempts)))
    return BudgetPoint(
        budget=budget, vote=estimate(votes, seed), single=estimate(singles, seed), ended=ended / max(1, total)
    )


def _by_seconds(problems: Sequence[BenchProblem], budget: float, seed: int) -> BudgetPoint:
    everything = Policy("all")
    votes: list[float] = []
    singles: list[float] = []
    ended = total = 0
    for problem in problems:
        if not problem.attempts:
            votes.append(0.0)
            singles.append(0.0)
            continue
        outcome = course(everything, Plan(len(problem.attempts)), problem.attempts, problem.right, problem.vote)
        votes.append(outcome.at(budget)[1])
        right = 0
        for attempt in problem.attempts:
            known = [step for step in attempt.steps if attempt.delay + step.after < budget]
            total += 1
            ended += bool(known) and known[-1].happening.kind == "end"
            answers = [step.happening.answer for step in known if step.happening.kind in ("answer", "end")]
            right += bool(answers) and answers[-1] in problem.right
        singles.append(right / len(problem.attempts))
    return BudgetPoint(
        budget=budget, vote=estimate(votes, seed), single=estimate(singles, seed), ended=ended / max(1, total)
    )
