"""What interruptions and slow devices leave of a long run's time, in closed form.

A run on N devices is interrupted every MTBF / N on average, loses what it did since the last checkpoint, and needs
time to find the fault and start again. Young and Daly say how often to save; Daly's expected time gives the goodput.
podium.plan.failure_run plays the same out with random interruptions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from podium.errors import InputError
from podium.plan.units import DAY

# Llama 3 405B, arXiv 2407.21783 table 5: 54 days on 16,384 H100s; 47 planned interruptions beside these 419.
CAUSES: dict[str, int] = {
    "faulty GPU": 148,
    "GPU HBM3 memory": 72,
    "software bug": 54,
    "network switch or cable": 35,
    "unplanned host maintenance": 32,
    "GPU SRAM memory": 19,
    "GPU system processor": 17,
    "network card": 7,
    "NCCL watchdog timeout": 7,
    "silent data corruption": 6,
    "GPU thermal interface or sensor": 6,
    "SSD": 3,
    "power supply": 3,
    "server chassis": 2,
    "I/O expansion board": 2,
    "dependency": 2,
    "CPU": 2,
    "system memory": 2,
}
NOT_HARDWARE = ("software bug", "unplanned host maintenance", "NCCL watchdog timeout", "dependency")
PLANNED_PER_DAY = 47 / 54
DEVICE_MTBF = 16_384 * 54 * DAY / sum(CAUSES.values())  # seconds, about 50,700 device-hours
HOST_LINK = 25e9  # bytes/s from a device to its host (PCIe 4.0 x16, reached)


@dataclass(frozen=True, slots=True)
class Reliability:
    """A run and what disturbs it; all times in seconds.

    `mtbf` is one device's, everything it needs included. `checkpoint` is how long saving stops the training (not how
    long writing goes on behind it), `restart` from the interruption to the next step. Planned stops save first.
    """

    devices: int
    mtbf: float = DEVICE_MTBF
    checkpoint: float = 5.0
    restart: float = 600.0
    planned_per_day: float = 0.0
    interval: float | None = None  # of training between checkpoints; None: Daly's

    def __post_init__(self) -> None:
        if self.devices < 1:
            raise InputError(f"nothing can be trained on {self.devices} devices", "give at least 1")
        if not 60.0 <= self.mtbf < math.inf:
            raise InputError(
                f"a device that fails every {self.mtbf:.3g} s trains nothing", "give its MTBF in hours, e.g. 50000h"
            )
        if self.checkpoint <= 0 or self.restart < 0 or (self.interval is not None and self.interval <= 0):
            raise InputError("a checkpoint, restart or interval takes no time", "give them with a unit, e.g. 30s")
        if self.planned_per_day < 0 or self.planned_per_day * self.restart >= DAY:
            raise InputError(f"{self.planned_per_day:g} planned stops a day", "leave time for training between them")

    @property
    def between_failures(self) -> float:
        """Seconds between interruptions of the whole run, on average."""
        return self.mtbf / self.devices

    @property
    def saves_every(self) -> float:
        """Seconds of training between checkpoints."""
        return self.interval or daly_interval(self.checkpoint, self.between_failures)


def young_interval(checkpoint: float, between_failures: float) -> float:
    """Seconds of training between checkpoints (J. W. Young, CACM 17(9), 1974): sqrt(2 checkpoint M)."""
    return math.sqrt(2 * checkpoint * between_failures)


def daly_interval(checkpoint: float, between_failures: float) -> float:
    """The same to higher order (J. T. Daly, FGCS 22(3), 2006, equation 37)."""
    ratio = checkpoint / (2 * between_failures)
    if ratio >= 1:
        return between_failures
    return young_interval(checkpoint, between_failures) * (1 + math.sqrt(ratio) / 3 + ratio / 9) - checkpoint


@dataclass(frozen=True, slots=True)
class Goodput:
    """Shares of the hours; they add up to 1."""

    training: float  # steps that count
    saving: float
    lost: float  # trained and not saved, broken-off saving included
    restarting: float
    planned: float


def goodput(run: Reliability) -> Goodput:
    """Where the time goes.

    Daly's equation 13: with interruptions at rate 1/M at all times, restarting included, an interval of t and a
    checkpoint of d take M exp(R/M) (exp((t + d)/M) - 1) on average.
    """
    mean, trained = run.between_failures, run.saves_every
    piece = trained + run.checkpoint
    if piece / mean > 500 or run.restart / mean > 500:
        return Goodput(0.0, 0.0, 0.0, 1.0, 0.0)
    expected = mean * math.exp(run.restart / mean) * math.expm1(piece / mean)
    restarting = mean * math.expm1(run.restart / mean) * math.expm1(piece / mean)
    planned = run.planned_per_day * (run.restart + run.checkpoint) / DAY
    rest = 1 - planned
    return Goodput(
        training=rest * trained / expected,
        saving=rest * run.checkpoint / expected,
        lost=rest * (1 - (piece + restarting) / expected),
        restarting=rest * restarting / expected,
        planned=planned,
    )


def checkpoint_stall(
    parameters: float, devices: int, *, bytes_per_parameter: float = 14.0, barrier: float = 2.0
) -> float:
    """Seconds training stops for a checkpoint that is written behind it: each device copies its share to its host.

    14 bytes: weights in 16 bits, fp32 weights, two moments. `barrier` is for all to agree on a step.
    """
    return barrier + parameters * bytes_per_parameter / devices / HOST_LINK


def expected_causes(interruptions: float) -> dict[str, float]:
    """So many interruptions split as Llama 3's were."""
    total = sum(CAUSES.values())
    return {cause: interruptions * count / total for cause, count in CAUSES.items()}


def spare_nodes(run: Reliability, repair: float = 2 * DAY, node: int = 8, sure: float = 0.99) -> int:
    """Nodes to hold ready so that, with probability `sure`, no broken one is waited for.

    Nodes under repair are Poisson distributed with mean rate x `repair` (Palm's theorem).
    """
    hardware = 1 - sum(CAUSES[cause] for cause in NOT_HARDWARE) / sum(CAUSES.values())
    mean = hardware * repair / run.between_failures
    if mean > 1e3:
        return math.ceil(mean + NormalDist().inv_cdf(sure) * math.sqrt(mean))
    spare, term = 0, math.exp(-mean)
    reached = term
    while reached < sure and spare * node < run.devices:
        spare += 1
        term *= mean / spare
        reached += term
    return spare


def straggler_factor(devices: int, spread: float) -> float:
    """How much longer a synchronous step takes than a device's own, which varies by `spread` (standard deviation over
    mean): all wait for the slowest of N, 1 + spread times the expected maximum of N normals (Blom 1958).

    Raises:
        InputError: no devices, a spread outside 0-0.5.
    """
    if devices < 1:
        raise InputError(f"{devices} devices have no slowest one", "give at least 1")
    if not 0 <= spread <= 0.5:
        raise InputError(f"a spread of {spread:g} between devices", "give a share, e.g. 0.01 for 1 %")
    if devices == 1:
        return 1.0
    alpha = 0.375 if devices < 1000 else 0.405  # Blom's constant grows slowly with N
    return 1 + spread * NormalDist().inv_cdf((devices - alpha) / (devices - 2 * alpha + 1))
