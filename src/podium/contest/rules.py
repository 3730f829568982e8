"""The rules of the AIMO progress prizes: how many problems, how long, which answers, how it is scored.

AIMO-2 (2024/25): 110 problems, of which 10 were published for reference, 50 made the public leaderboard and 50 the
private one; one at a time, in a new order for every submission; 5 hours; integers from 0 to 999; 30 minutes for one
problem (the organiser's aimo_2_gateway.py sets this response timeout).

AIMO-3 (2025/26): integers from 0 to 99999; the public set in a random order, the private one in a fixed one, run twice:
a problem counts 1 when both runs are right, 1/2 when one is (the competition's pages "Evaluation" and "Submitting"); no
limit for one problem (aimo_3_gateway.py sets it to 9 hours, more than a submission has).

Serving must begin within 15 minutes; the first problem has no limit of its own, so that a model may be loaded in it
(kaggle_evaluation/core/relay.py, STARTUP_LIMIT_SECONDS, and base_gateway.py). Read in copies of these files and of the
overview page in public repositories, not on Kaggle itself.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from podium.errors import InputError, nearest
from podium.records import Problem


@dataclass(frozen=True, slots=True)
class ContestRules:
    """One contest. Seconds are those of the real one; `within` shrinks them."""

    name: str
    module: str  # of the organiser's package that entries import
    server: str  # the class in it
    largest: int  # answers are integers from 0 to this
    runs: int  # of the private set
    seconds: float = 5 * 3600.0  # the whole submission, loading included
    start_seconds: float = 15 * 60.0  # until the entry serves
    problem_seconds: float | None = None  # per problem but the first; None: only the submission's limit
    private_shuffled: bool = True  # False: every run of the private set has the same order
    problems: int = 50  # public and private each
    reference: int = 10

    def within(self, seconds: float | None) -> ContestRules:
        """The same contest in `seconds`, the limits in proportion; to start serving there is a minute at least."""
        if seconds is None:
            return self
        factor = seconds / self.seconds
        return replace(
            self,
            seconds=seconds,
            start_seconds=min(seconds, max(60.0, self.start_seconds * factor)),  # imports take what they take
            problem_seconds=None if self.problem_seconds is None else self.problem_seconds * factor,
        )


RULES = {
    "aimo2": ContestRules(
        "aimo2", "aimo_2_inference_server", "AIMO2InferenceServer", 999, runs=1, problem_seconds=30 * 60.0
    ),
    "aimo3": ContestRules(
        "aimo3", "aimo_3_inference_server", "AIMO3InferenceServer", 99_999, runs=2, private_shuffled=False
    ),
}


def get_rules(name: str) -> ContestRules:
    """Raises InputError: no such contest."""
    if name not in RULES:
        raise InputError(f"no contest is called {name!r}", nearest(name, RULES))
    return RULES[name]


@dataclass(frozen=True, slots=True)
class Drawn:
    """The problems of a rehearsal: disjoint; `left_out`: those whose answers the rules do not allow."""

    reference: tuple[Problem, ...]
    public: tuple[Problem, ...]
    private: tuple[Problem, ...]
    left_out: int


def draw_problems(problems: Sequence[Problem], rules: ContestRules, seed: int = 0) -> Drawn:
    """Deal problems into reference, public and private, as many as the rules say or in proportion.

    Raises:
        InputError: fewer than two problems have an answer that the rules allow.
    """
    fitting = [problem for problem in problems if right_answer(problem, rules) is not None]
    if len(fitting) < 2:
        raise InputError(
            f"{len(fitting)} of {len(problems)} problems have an integer answer from 0 to {rules.largest}",
            "take a set with integer answers, such as aime24",
        )
    random.Random(seed).shuffle(fitting)
    whole = 2 * rules.problems + rules.reference
    reference = rules.reference if len(fitting) >= whole else 0
    half = min(rules.problems, (len(fitting) - reference) // 2)
    public = reference + half
    return Drawn(
        tuple(fitting[:reference]),
        tuple(fitting[reference:public]),
        tuple(fitting[public : public + half]),
        len(problems) - len(fitting),
    )


def right_answer(problem: Problem, rules: ContestRules) -> int | None:
    """The integer a problem's answer is; None when it is none that the rules allow."""
    text = (problem.answer or "").strip().strip("$").replace(",", "")
    if not text.lstrip("-").isdecimal():
        return None
    return int(text) if 0 <= int(text) <= rules.largest else None
