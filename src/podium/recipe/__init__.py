"""A recipe file becomes a chain of stages that can be killed at any moment and continued.

Knows nothing of what is inside a stage. Stages are registered with `stage`; `execute` runs a `Recipe`.
"""

from podium.recipe.registry import Estimate, Params, StageContext, StageReport, stage

__all__ = ["Estimate", "Params", "StageContext", "StageReport", "stage"]
