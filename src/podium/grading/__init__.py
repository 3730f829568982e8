"""Is this answer right, and are these two the same? Extraction, equivalence, verifiers, a judge for what is left.

Knows nothing of who answered. Importing it is cheap: sympy and reasoning-gym live in worker processes.
"""

from podium.grading.compare import Comparison, Sameness, compare, compare_async, warm
from podium.grading.extract import extract_answer
from podium.grading.rules import Rules, make_rules, rules_of
from podium.grading.verdicts import VERIFIERS, Verifier, classes, equivalent, find_answer, grade, verifier

__all__ = [
    "VERIFIERS",
    "Comparison",
    "Rules",
    "Sameness",
    "Verifier",
    "classes",
    "compare",
    "compare_async",
    "equivalent",
    "extract_answer",
    "find_answer",
    "grade",
    "make_rules",
    "rules_of",
    "verifier",
    "warm",
]
