"""Is this answer right, and are these two the same? Extraction, equivalence, verifiers.

Knows nothing of who answered. Importing it is cheap: sympy and reasoning-gym live in worker processes.
"""

from podium.grading.extract import extract
from podium.grading.verdicts import VERIFIERS, classes, equivalent, grade

__all__ = ["VERIFIERS", "classes", "equivalent", "extract", "grade"]
