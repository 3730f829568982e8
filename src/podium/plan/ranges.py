"""How far off a step time may be, by what is predicted: a table of what was compared and how it came out.

The coefficients come from dense 16-bit training, most of it on A100. Where a run is of another kind the prediction is
the same and its range is as wide as runs of that kind were measured to be off. The range of a run under several
conditions spans all of theirs: each was measured on runs where others held too, so that adding them would count twice.
Nothing here moves the prediction itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from podium.plan.fitted import SPREAD
from podium.plan.hardware import DEVICES, Device
from podium.plan.recipe import Recipe
from podium.plan.shapes import Shape

# Devices whose runs the coefficients were fitted to (plan/data/published_runs.csv).
COMPARED = ("A100-80GB", "A100-40GB", "V100-32GB", "H100-80GB", "H800", "TPU-v4")


@dataclass(frozen=True, slots=True)
class Condition:
    """A kind of run. A measured step took between `low` and `high` times the predicted one; `because` says how that is
    known, in a line for a person. `holds` says whether a run is of this kind."""

    name: str
    low: float
    high: float
    because: str
    holds: Callable[[Shape, Device, Recipe], bool]


def _small_and_not_fitted(shape: Shape, device: Device, recipe: Recipe) -> bool:
    # Small dense models were among the runs of the fit on these (1.7 to 18 B on A100).
    return shape.hidden <= 5120 and not (shape.experts or device.name.startswith(("A100", "V100")))


_SIMUMAX = "43 steps measured by SimuMax v1.2 on one B200 machine"
_NVIDIA = "NVIDIA's published throughputs of 2024-26"
PLAIN = Condition(
    "plain",
    math.exp(-SPREAD),
    math.exp(SPREAD),
    "dense 16-bit training on devices with published runs: 85 % of those runs lie within",
    lambda shape, device, recipe: True,
)
# Share of measured over predicted; an error of -40 % (predicted / measured - 1) is 1 / 0.6 = 1.67 here.
MEASURED = (
    PLAIN,
    Condition(
        "unprobed device",
        0.84,
        1.70,
        f"no run on this device was compared when the model was fitted: {_SIMUMAX} took 1.29 to 1.66 times as long "
        f"(dense), {_NVIDIA} on B200 and GB200 0.88 to 1.23 times; `podium probe` on the machine narrows it",
        lambda shape, device, recipe: device.name in DEVICES and device.name not in COMPARED,
    ),
    Condition(
        "probed device",
        0.80,
        1.25,
        f"a measured device that no published run is of: with the product rate of its machine put in, the errors on "
        f"{_SIMUMAX} were 11 % on average, 90 % within 20 %",
        lambda shape, device, recipe: device.name not in DEVICES,
    ),
    Condition(
        "FP8",
        0.82,
        1.24,
        f"FP8: 25 dense rows of {_NVIDIA}, 90 % within 18 %, the worst 19 % off",
        lambda shape, device, recipe: recipe.precision == "fp8",
    ),
    Condition(
        "small hidden size",
        0.84,
        1.46,
        f"hidden size of 5,120 or less: too fast by 13 % on average in {_NVIDIA} (6 rows), torchtitan's 8 B took 1.46 "
        "times as long; launches of small kernels are not priced",
        _small_and_not_fitted,
    ),
    Condition(
        "mixture of experts",
        0.80,
        2.70,
        f"mixture of experts: priced as dense products. 30 rows of {_NVIDIA} took 1.6 times as long on average and 2.7 "
        "times at the 90th percentile, one across the network 0.82 times; the same on SimuMax's machine (1.6)",
        lambda shape, device, recipe: shape.experts is not None,
    ),
    Condition(
        "small experts",
        0.80,
        4.75,
        f"experts of a model with a hidden size of 2,560 or less: in {_NVIDIA} up to 4.7 times as long "
        "(micro-batch 1, software of 2026)",
        lambda shape, device, recipe: shape.experts is not None and shape.hidden <= 2560,
    ),
)


@dataclass(frozen=True, slots=True)
class Spread:
    """Factors around a predicted step time, and the conditions that widen them (empty: the plain range)."""

    low: float
    high: float
    because: tuple[str, ...]


def conditions(shape: Shape, device: Device, recipe: Recipe) -> list[Condition]:
    """What holds of a run, the plain range first."""
    return [condition for condition in MEASURED if condition.holds(shape, device, recipe)]


def spread_for(shape: Shape, device: Device, recipe: Recipe, plain: float = SPREAD) -> Spread:
    """The range of a step time. `plain` is half the width of the plain range, of the logarithm."""
    held = conditions(shape, device, recipe)[1:]
    low = min([math.exp(-plain), *(condition.low for condition in held)])
    high = max([math.exp(plain), *(condition.high for condition in held)])
    return Spread(low, high, tuple(condition.because for condition in held))
