"""The coefficients in use, found from all rows of data/published_runs.csv (`podium plan validate --fit`)."""

from podium.plan.step_time import Coefficients

FITTED = Coefficients(product=0.825, passes=5.69, link=0.736, network=0.805, exposed=0.365)
SPREAD = 0.175  # 85 % of those runs lie within exp(± this) of their prediction
