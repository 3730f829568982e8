"""The few coefficients no data sheet gives, from published runs: damped Gauss-Newton on logarithms.

Robust (a run that is far off pulls little) and held near physical expectations by weak priors, so that a handful of
runs is enough and a coefficient no run speaks of stays where physics puts it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields, replace

import numpy as np

from podium.plan.layouts import Array, Layouts, enumerate_layouts
from podium.plan.memory import training_memory
from podium.plan.runs import Run
from podium.plan.step_time import Coefficients, step_time
from podium.plan.topology import Cluster

# Of the logarithm: how far a coefficient may be from its expectation without evidence.
_PRIOR = Coefficients()
_SPREAD = {"product": 0.2, "passes": 0.3, "link": 0.2, "network": 0.3, "exposed": 0.4}
_TOLERANCE = 0.06  # of a published figure: rounding, averaging over a run, machines that differ


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run with all layouts that are still open for it."""

    run: Run
    layouts: Layouts
    devices: int
    fits: bool  # whether the model of memory agrees that it ran

    def times(self, coefficients: Coefficients) -> Array:
        """Seconds per step of every open layout."""
        run = self.run
        assert run.device
        cluster = Cluster(run.device, self.devices, coefficients.link, coefficients.network)
        return step_time(
            run.shape, self.layouts, cluster, run.software.recipe, run.sequence, coefficients, run.software.schedule
        ).total

    def predict(self, coefficients: Coefficients) -> tuple[float, int]:
        """Seconds per step of the fastest open layout, and which that is."""
        total = self.times(coefficients)
        best = int(np.argmin(total))
        return float(total[best]), best


def prepare(run: Run) -> Prepared | None:
    """Layouts that are open for a run and fit its devices; None where there is no time to compare with, or none."""
    if run.seconds is None or run.device is None or not run.batch:
        return None
    devices = run.devices or max(8, run.batch // 8)
    ranks = run.degrees.get("dp", 1)
    # A published batch is a round number; what the ranks really shared out is the nearest multiple of them.
    batch = max(1, round(run.batch / ranks)) * ranks
    device = run.device
    run = replace(run, seconds=run.seconds * batch / run.batch, batch=batch)
    domain = max(8, run.degrees.get("tp", 8))
    layouts, _ = enumerate_layouts(run.shape, devices, domain, batch, run.sequence, run.choices())
    if not len(layouts):
        return None
    memory = training_memory(run.shape, layouts, run.software.recipe, run.sequence).total
    fitting = memory <= device.memory
    # What ran, did fit: where the model of memory says otherwise the leanest layouts are kept.
    keep = fitting if fitting.any() else memory <= memory.min() * 1.02
    ready = Prepared(run, layouts.take(keep), devices, bool(fitting.any()))
    # Those far behind the fastest stay behind whatever the coefficients are.
    seconds = ready.times(_PRIOR)
    return replace(ready, layouts=ready.layouts.take(seconds <= 1.3 * seconds.min()))


def residuals(prepared: Sequence[Prepared], coefficients: Coefficients) -> Array:
    """log(predicted / published), one per run."""
    return np.array([np.log(p.predict(coefficients)[0] / (p.run.seconds or 1)) for p in prepared])


def fit(prepared: Sequence[Prepared], start: Coefficients = _PRIOR) -> Coefficients:
    """Coefficients that explain these runs best."""
    names = [item.name for item in fields(Coefficients)]
    expected = np.log(np.array(astuple(_PRIOR)))
    spread = np.array([_SPREAD[name] for name in names])

    def coefficients(theta: Array) -> Coefficients:
        # Shares cannot pass 1; the number of passes can.
        capped = [
            float(np.exp(v)) if n == "passes" else float(min(1.0, np.exp(v))) for n, v in zip(names, theta, strict=True)
        ]
        return Coefficients(*capped)

    def errors(theta: Array) -> Array:
        return residuals(prepared, coefficients(theta)) / _TOLERANCE

    theta = np.log(np.array(astuple(start)))
    damping = 1e-2
    slope = np.zeros((len(prepared), len(theta)))
    cost, weight = _cost(errors, theta, expected, spread)
    for turn in range(40):
        value = errors(theta)
        if turn % 6 == 0:  # nearly linear in logarithms: a slope serves several turns
            slope = np.stack([(errors(theta + 1e-3 * unit) - value) / 1e-3 for unit in np.eye(len(theta))], axis=1)
        weight = 1 / (1 + (value / 2) ** 2)
        normal = slope.T @ (weight[:, None] * slope) + np.diag(1 / spread**2)
        gradient = slope.T @ (weight * value) + (theta - expected) / spread**2
        step = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), -gradient)
        after, _ = _cost(errors, theta + step, expected, spread)
        if after < cost:
            theta, gain, cost, damping = theta + step, cost - after, after, damping / 3
            if gain < 1e-3 * max(1.0, cost):
                break
        else:
            damping *= 4
            if damping > 1e6:
                break
    return coefficients(theta)


def _cost(errors: Callable[[Array], Array], theta: Array, expected: Array, spread: Array) -> tuple[float, Array]:
    value = errors(theta)
    # Cauchy's loss, of which 1 / (1 + (r / 2)^2) are the weights.
    loss = 2 * np.log1p((value / 2) ** 2)
    return float(loss.sum() + 0.5 * (((theta - expected) / spread) ** 2).sum()), value


def spread_of(prepared: Sequence[Prepared], coefficients: Coefficients, level: float = 0.85) -> float:
    """Half the width of the range around a prediction, of the logarithm: what `level` of these runs stay within.

    A quantile rather than a multiple of a deviation, since runs have long tails; one run more is counted than there
    are, as the next one is none of them (split conformal prediction).
    """
    value = np.sort(np.abs(residuals(prepared, coefficients)))
    rank = min(len(value), math.ceil((len(value) + 1) * level))
    return max(float(value[rank - 1]), 0.03)
