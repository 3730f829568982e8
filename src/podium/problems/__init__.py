"""Where problems come from: generated tasks, exams and files; and the check that training and exam share none.

Knows no model. Importing it is cheap; reasoning-gym is imported when a `gym:` source is asked for.
"""

from podium.problems.disjoint import DisjointReport, check_disjoint, drop_shared, normalise_text, split_problems
from podium.problems.gym import GymTask, MixtureReport, gym_mixture
from podium.problems.rows import iterate_solutions, read_problems
from podium.problems.sources import load_problems

__all__ = [
    "DisjointReport",
    "GymTask",
    "MixtureReport",
    "check_disjoint",
    "drop_shared",
    "gym_mixture",
    "iterate_solutions",
    "load_problems",
    "normalise_text",
    "read_problems",
    "split_problems",
]
