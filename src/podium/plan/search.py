"""All layouts of a training on given devices: which fit, how fast each is, and why the others fail."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from podium.errors import InputError
from podium.plan.compute import sequence_flops
from podium.plan.convnet import ConvNet
from podium.plan.counting import Attention, parameters
from podium.plan.failures import DEVICE_MTBF, Reliability, checkpoint_stall, goodput
from podium.plan.fitted import FITTED, SPREAD
from podium.plan.hardware import Device
from podium.plan.layouts import Choices, Layout, Layouts, enumerate_layouts
from podium.plan.memory import training_memory
from podium.plan.ranges import Spread, spread_for
from podium.plan.recipe import Recipe
from podium.plan.shapes import Shape
from podium.plan.step_time import Coefficients, step_time
from podium.plan.topology import Cluster
from podium.plan.units import show_bytes

# What else a run's calendar holds beside steps and failures (evaluation, ramping up, steps taken twice after a spike):
# low, likely, high share of steps. Published totals over published step times give 0.6-0.85, failures included.
OTHER = (1.0, 0.9, 0.75)


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be trained, on what. `tokens` in all; `batch` in sequences of `sequence` tokens."""

    shape: Shape
    device: Device
    devices: int
    tokens: float
    batch: int
    sequence: int
    recipe: Recipe = field(default_factory=Recipe)
    memory: float | None = None  # bytes per device; None: the device's
    attention: Attention = "full"  # how MFU counts it
    schedule: str = "1f1b"
    mtbf: float = DEVICE_MTBF  # seconds between failures of one device

    @property
    def steps(self) -> float:
        return max(1.0, self.tokens / (self.batch * self.sequence))

    @property
    def model_flop(self) -> float:
        """Of the whole run, nothing recomputed."""
        flops = sequence_flops(self.shape, self.sequence, self.attention, "none", self.recipe.attended).total
        return flops * self.tokens / self.sequence


@dataclass(frozen=True, slots=True)
class Candidate:
    """A layout that fits."""

    layout: Layout
    micro_batches: int
    memory: dict[str, float]  # bytes by part
    time: dict[str, float]  # seconds of a step by cause
    mfu: float
    hfu: float
    model_flops_per_second: float  # per device
    step_range: tuple[float, float]  # seconds
    days: tuple[float, float, float]  # low, likely, high; goodput included
    device_hours: float
    usd: float
    usd_range: tuple[float, float]

    @property
    def step_seconds(self) -> float:
        return sum(self.time.values())

    @property
    def memory_total(self) -> float:
        return sum(self.memory.values())

    def to_json(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "name": str(self.layout),
            "step_seconds": self.step_seconds,
            "memory_total": self.memory_total,
        }


@dataclass(frozen=True, slots=True)
class Failure:
    """Layouts that cannot be used, for one reason."""

    reason: str
    count: int
    nearest: str = ""
    leanest: float = 0.0  # bytes per device of the layout that needs least, where memory is the reason


@dataclass(frozen=True, slots=True)
class Plan:
    """The result of a search; `candidates` are ranked, fastest first."""

    job: Job
    candidates: list[Candidate]
    failures: list[Failure]
    considered: int
    feasible: int
    spread: Spread

    def best_of_each(self) -> list[Candidate]:
        """The fastest of each tensor x pipeline x data x context x expert layout, in order."""
        seen: set[str] = set()
        chosen: list[Candidate] = []
        for candidate in self.candidates:
            if str(candidate.layout) not in seen:
                seen.add(str(candidate.layout))
                chosen.append(candidate)
        return chosen


def search(
    job: Job,
    choices: Choices | None = None,
    coefficients: Coefficients = FITTED,
    spread: float = SPREAD,
    keep: int = 500,
) -> Plan:
    """Rank all layouts of a job. At most `keep` candidates are detailed; all are counted.

    Raises:
        InputError: a convolutional network (data parallelism is all there is to choose), or a device without the
            recipe's formats.
    """
    if isinstance(job.shape, ConvNet):
        raise InputError(f"{job.shape.name} has no layers to lay out", "use `podium plan count` for its figures")
    around = spread_for(job.shape, job.device, job.recipe, spread)
    choices = choices or Choices(recompute=("none", "selective", "full"))
    if job.schedule in ("gpipe", "zero-bubble"):
        choices = replace(choices, interleave=(1,))
    layouts, why = enumerate_layouts(job.shape, job.devices, job.device.domain, job.batch, job.sequence, choices)
    considered = len(layouts) + sum(why.values())
    failures = [Failure(reason, count) for reason, count in sorted(why.items(), key=lambda item: -item[1])]
    if not len(layouts):
        return Plan(job, [], failures, considered, 0, around)
    memory = training_memory(job.shape, layouts, job.recipe, job.sequence, job.schedule)
    total = memory.total
    limit = job.memory or job.device.memory
    fits = total <= limit
    if not fits.all():
        failures.insert(0, _too_large(job, layouts, total, memory.at(int(np.argmin(total))), limit, ~fits))
    index = np.flatnonzero(fits)
    if not len(index):
        return Plan(job, [], failures, considered, 0, around)
    chosen = layouts.take(index)
    cluster = Cluster(job.device, job.devices, coefficients.link, coefficients.network)
    time = step_time(job.shape, chosen, cluster, job.recipe, job.sequence, coefficients, job.schedule)
    # Of equally fast ones the one with more memory to spare comes first.
    order = np.lexsort((total[index], np.round(time.total / time.total.min(), 4)))[:keep]
    candidates = [_candidate(job, chosen, int(at), memory.at(int(index[at])), time.at(int(at)), around) for at in order]
    return Plan(job, candidates, failures, considered, len(index), around)


def _candidate(
    job: Job, layouts: Layouts, at: int, memory: dict[str, float], time: dict[str, float], spread: Spread
) -> Candidate:
    layout = layouts.at(at)
    seconds = sum(time.values())
    attended = job.recipe.attended
    model = sequence_flops(job.shape, job.sequence, job.attention, "none", attended).total * job.batch
    # What is recomputed of unfused attention is the scores; a fused kernel recomputes only activation functions.
    again = "none" if layout.recompute == "selective" and job.recipe.flash else layout.recompute
    hardware = sequence_flops(job.shape, job.sequence, job.attention, again, attended).total * job.batch
    rate = model / seconds / job.devices
    peak = job.device.best(*job.recipe.formats)
    steady = seconds * job.steps / 86_400
    shares = goodput_range(job)
    factors = (spread.low, 1.0, spread.high)
    low, likely, high = (steady * factor / share for factor, share in zip(factors, shares, strict=True))
    hours = likely * 24 * job.devices
    price = 24 * job.devices * job.device.usd_per_hour  # of a day
    return Candidate(
        layout=layout,
        micro_batches=int(layouts.micro_batches[at]),
        memory=memory,
        time=time,
        mfu=rate / peak,
        hfu=hardware / seconds / job.devices / peak,
        model_flops_per_second=rate,
        step_range=(seconds * spread.low, seconds * spread.high),
        days=(low, likely, high),
        device_hours=hours,
        usd=hours * job.device.usd_per_hour,
        usd_range=(low * price, high * price),
    )


def goodput_range(job: Job) -> tuple[float, float, float]:
    """Share of the hours on steps that count: high, likely, low.

    Devices fail three times less or more often than said, restarts take 10 or 30 minutes (podium.plan.failures), and
    the calendar holds other things.
    """
    count = parameters(job.shape).total
    stall = checkpoint_stall(count, job.devices)
    cases = ((3.0, 600.0, OTHER[0]), (1.0, 600.0, OTHER[1]), (1 / 3, 1800.0, OTHER[2]))
    shares = [
        other * goodput(Reliability(job.devices, job.mtbf * factor, stall, restart)).training
        for factor, restart, other in cases
    ]
    return shares[0], shares[1], shares[2]


def _too_large(
    job: Job, layouts: Layouts, total: np.ndarray, leanest: dict[str, float], limit: float, bad: np.ndarray
) -> Failure:
    at = int(np.argmin(np.where(bad, total, np.inf)))
    layout = layouts.at(at)
    if bad.all():
        parts = sorted(leanest.items(), key=lambda item: -item[1])[:2]
        mostly = ", ".join(f"{name} {show_bytes(size)}" for name, size in parts)
        nearest = (
            f"the leanest, {layout} with {layout.recompute} recomputation, needs {show_bytes(total[at])}: {mostly}"
        )
    else:
        nearest = f"the nearest, {layout} micro-batch {layout.micro_batch}, needs {show_bytes(total[at])}"
    return Failure(f"more than {show_bytes(limit)} per device", int(bad.sum()), nearest, float(total.min()))


def default_batch(parameters: float, sequence: int, devices: int) -> int:
    """A usual global batch, in sequences: 1M tokens at 1B parameters, growing with their square root, whole on
    machines whose number of devices is no power of two."""
    tokens = 1e6 * (parameters / 1e9) ** 0.45
    odd = devices
    while odd % 2 == 0:
        odd //= 2
    odd = odd if odd * sequence < 8 * tokens else 1
    return odd * 2 ** max(0, round(math.log2(max(1.0, tokens / sequence / odd))))


def devices_for(job: Job, rate: float, days: float) -> int:
    """How many devices would meet `days` at this rate each, goodput included, rounded up to whole domains."""
    needed = job.model_flop / (rate * goodput_range(job)[1] * days * 86_400)
    domain = min(8, job.device.domain)
    return max(domain, math.ceil(needed / domain) * domain)
