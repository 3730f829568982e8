"""Making training sets: teachers that solve problems, and solutions turned into training documents.

Knows the Completer protocol, not how a model is trained or served.
"""

from podium.curate.dataset import DocumentReport, encode_solutions
from podium.curate.mixture import DEMO_TASKS, demo_mixture
from podium.curate.solutions import SolutionReport, make_solutions, solve_with_teacher
from podium.curate.teacher import programmatic_teacher

__all__ = [
    "DEMO_TASKS",
    "DocumentReport",
    "SolutionReport",
    "demo_mixture",
    "encode_solutions",
    "make_solutions",
    "programmatic_teacher",
    "solve_with_teacher",
]
