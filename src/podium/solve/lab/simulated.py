"""Simulated problems with recorded attempts, for trying policies before there is an exam to record.

The population imitates what is known of AIMO-like exams: half of the problems are nearly always or nearly never
solved; wrong answers scatter but often share one popular mistake; right solutions are shorter than wrong ones, hard
problems take longer, durations have a long tail; some attempts never box anything.
"""

from __future__ import annotations

import numpy as np

from podium.solve.happening import Happening
from podium.solve.lab.outcomes import BenchProblem
from podium.solve.replay import RecordedAttempt, Step

TOKENS_PER_SECOND = 60.0
LONGEST = 900.0  # seconds, as a token limit would have it


def simulated_problems(count: int, attempts: int = 16, seed: int = 0) -> list[BenchProblem]:
    """`count` problems with `attempts` whole attempts each; the same arguments give the same problems."""
    draw = np.random.default_rng(seed)
    problems: list[BenchProblem] = []
    for number in range(count):
        kind = draw.random()
        if kind < 0.4:
            solved = draw.beta(12, 1.5)
        elif kind < 0.8:
            solved = draw.beta(2.2, 2.6)
        else:
            solved = draw.beta(0.6, 10)
        trap = draw.beta(1.0, 3.0)  # share of the wrong answers that are the popular one
        silent = 0.02 + 0.25 * (1 - solved) * draw.random()  # attempts that box nothing
        middle = 90.0 + 260.0 * (1 - solved) * draw.uniform(0.5, 1.5)
        made = []
        for _ in range(attempts):
            right = draw.random() < solved
            seconds = min(LONGEST, middle * (0.95 if right else 1.1) * float(draw.lognormal(0.0, 0.45)))
            if draw.random() < silent:
                seconds, answer = min(LONGEST, 2.0 * seconds), None
            else:
                answer = 0 if right else (1 if draw.random() < trap else int(draw.integers(2, 60)))
            made.append(_attempt(seconds, answer))
        problems.append(BenchProblem(f"simulated-{number}", tuple(made), frozenset({0})))
    return problems


def _attempt(seconds: float, answer: int | None) -> RecordedAttempt:
    tokens = round(seconds * TOKENS_PER_SECOND)
    end = Happening(seconds, "end", 0, tokens, answer, "eos" if seconds < LONGEST else "length")
    if answer is None:
        return RecordedAttempt((Step(seconds, end),))
    boxed = seconds * 0.97
    seen = Happening(boxed, "answer", 0, round(boxed * TOKENS_PER_SECOND), answer)
    return RecordedAttempt((Step(boxed, seen), Step(seconds, end)))
