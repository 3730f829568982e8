"""The policy lab: recorded attempts, any policy, thousands of exams, no engine.

Knows traces and policies, no texts and no models. `Bench` holds the recorded problems; `hold_exams` draws exams from
them and sits each with a policy; `optimise` looks for better ones.
"""

from podium.solve.lab.exams import Comparison, Exams, combine, compare, hold_exams
from podium.solve.lab.optimal import fit_optimal_stopping
from podium.solve.lab.outcomes import Bench, BenchProblem
from podium.solve.lab.search import Candidate, Optimised, optimise

__all__ = [
    "Bench",
    "BenchProblem",
    "Candidate",
    "Comparison",
    "Exams",
    "Optimised",
    "combine",
    "compare",
    "fit_optimal_stopping",
    "hold_exams",
    "optimise",
]
