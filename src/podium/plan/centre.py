"""A computing centre: what is installed, what it does in a year, what that draws and costs.

Figures of a centre are those of its accelerators times stated factors; each factor is a field, none is hidden.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from podium.errors import InputError
from podium.plan.counting import parameters, training_flops
from podium.plan.failures import Reliability, goodput
from podium.plan.hardware import Device, find_device
from podium.plan.named import MODELS
from podium.plan.shapes import Shape

YEAR_HOURS = 8760.0
HOURS_PER_PRICE = 10_000.0  # a device's purchase price is about this many hours of its on-demand price


@dataclass(frozen=True, slots=True)
class Centre:
    """Groups of devices, and how they are run.

    `load` is the share of device-hours that are let to jobs, `utilisation` the share of the peak those reach (MFU).
    Power: accelerators at `draw` of their maximum under load and 30 % of it idle; servers, network and storage add
    `servers` watts per watt of them; `pue` is watts at the meter per watt of equipment. Prices in USD.
    """

    name: str
    groups: tuple[tuple[Device, int], ...]
    load: float = 0.7
    utilisation: float = 0.35
    draw: float = 0.8
    servers: float = 0.35
    pue: float = 1.25
    usd_per_kwh: float = 0.09
    years: float = 5.0  # of service, over which the price is written off
    installation: float = 1.6  # price of everything over that of the accelerators
    staff: float = 0.04  # of the price, a year: people and repairs
    source: str = ""

    def __post_init__(self) -> None:
        if not self.groups or any(count < 1 for _, count in self.groups):
            raise InputError(f"centre {self.name!r} has no devices", "give at least one, e.g. --gpus 1024xH100")
        for field in ("load", "utilisation", "draw"):
            if not 0 < getattr(self, field) <= 1:
                raise InputError(f"{field} is {getattr(self, field):g}", "give a share, e.g. 0.7")
        if not 1 <= self.pue <= 5:
            raise InputError(f"PUE is {self.pue:g}", "it is at least 1; good centres reach 1.1-1.3")
        if not 0 < self.years <= 50 or self.usd_per_kwh < 0:
            raise InputError(f"{self.years:g} years at {self.usd_per_kwh:g} USD/kWh", "give for example 5 and 0.09")

    @property
    def devices(self) -> int:
        return sum(count for _, count in self.groups)

    def peak(self) -> dict[str, float]:
        """FLOP/s installed, by format (a group without a format adds nothing to it)."""
        total: dict[str, float] = {}
        for device, count in self.groups:
            for name, peak in device.peak.items():
                total[name] = total.get(name, 0.0) + count * peak
        return dict(sorted(total.items(), key=lambda item: item[1]))

    @property
    def training_peak(self) -> float:
        """FLOP/s in the 16-bit formats models are trained in."""
        return sum(count * device.peak[device.training_format] for device, count in self.groups)


@dataclass(frozen=True, slots=True)
class Year:
    """What a centre does in a year."""

    flop: float  # useful operations
    megawatts: float  # at the meter, on average
    gigawatt_hours: float
    usd_energy: float
    usd_price: float  # to buy and build, once
    usd_year: float  # written off, energy, people
    usd_per_device_hour: float  # of hours let
    usd_per_pflops_day: float


def year(centre: Centre) -> Year:
    """Operations, energy and money of one year."""
    rate = centre.training_peak * centre.utilisation * centre.load
    full = sum(count * device.power for device, count in centre.groups)
    idle = 0.3
    watts = full * (centre.load * centre.draw + (1 - centre.load) * idle) * (1 + centre.servers) * centre.pue
    kwh = watts / 1e3 * YEAR_HOURS
    price = sum(count * device.usd_per_hour for device, count in centre.groups) * HOURS_PER_PRICE * centre.installation
    cost = price / centre.years + kwh * centre.usd_per_kwh + price * centre.staff
    flop = rate * YEAR_HOURS * 3600
    return Year(
        flop=flop,
        megawatts=watts / 1e6,
        gigawatt_hours=kwh / 1e6,
        usd_energy=kwh * centre.usd_per_kwh,
        usd_price=price,
        usd_year=cost,
        usd_per_device_hour=cost / (centre.devices * YEAR_HOURS * centre.load),
        usd_per_pflops_day=cost / (flop / 8.64e19),
    )


@dataclass(frozen=True, slots=True)
class Work:
    """A kind of job: `flop` each, on at most `devices` devices (more do not help it)."""

    name: str
    flop: float
    devices: int
    memory: float = 0.0  # bytes its training state needs, over all devices


@dataclass(frozen=True, slots=True)
class Served:
    """How a centre serves a kind of job when it does nothing else."""

    work: Work
    possible: bool  # its state fits in the centre's memory
    days: float  # of one job
    a_year: float


def _decoder(name: str, tokens: float, devices: int, label: str) -> Work:
    shape = MODELS[name]
    assert isinstance(shape, Shape)
    flop = training_flops(shape).total * tokens / shape.sequence
    return Work(label, flop, devices, 18.0 * parameters(shape).total)


def usual_work() -> list[Work]:
    """Jobs such centres are built for, from minutes to months."""
    resnet = 90 * 1.281e6 * training_flops(MODELS["resnet-50"]).total
    return [
        Work("ResNet-50, 90 epochs", resnet, 256),
        _decoder("qwen2.5-14b", 2e9, 64, "14B fine-tuning, 2B tokens"),
        _decoder("llama-7b", 1e12, 1024, "LLaMA 7B, 1T tokens"),
        _decoder("gpt3-175b", 300e9, 4096, "GPT-3 175B, 300B tokens"),
        _decoder("yuan-245b", 180e9, 2128, "Yuan 245B, 180B tokens"),
        _decoder("llama-65b", 1.4e12, 4096, "LLaMA 65B, 1.4T tokens"),
    ]


def serve_work(centre: Centre, work: Work) -> Served:
    """One job on as many devices as help it, and as many such jobs side by side as there is room for."""
    group = min(work.devices, centre.devices)
    share = group / centre.devices
    memory = sum(count * device.memory for device, count in centre.groups)
    rate = centre.training_peak * share * centre.utilisation * goodput(Reliability(group)).training
    seconds = work.flop / rate
    return Served(
        work, work.memory <= 0.8 * memory, seconds / 86_400, YEAR_HOURS * 3600 * centre.load / share / seconds
    )


def sized(peak: float, device: Device, node: int = 8) -> int:
    """Devices for `peak` FLOP/s in their 16-bit format, rounded up to whole nodes.

    Raises:
        InputError: a peak no one has.
    """
    if not 1e12 <= peak <= 1e24:
        raise InputError(f"a centre of {peak:.3g} FLOP/s", "write for example 100P, in FLOP/s of 16-bit arithmetic")
    return math.ceil(peak / device.peak[device.training_format] / node) * node


def examples() -> list[Centre]:
    """Centres of the literature. Published: what is installed; all else is this module's defaults."""
    ascend, a100 = find_device("Ascend-910"), find_device("A100-80GB")
    return [
        Centre(
            "100P: Wuhan AI computing centre, phase 1",
            ((ascend, sized(100e15, ascend)),),
            source="100 PFLOPS, opened 2021-05-31 (Synced, 2021-06-01); device count follows from 256 TF each",
        ),
        Centre(
            "300P: Chengdu AI computing centre",
            ((ascend, sized(300e15, ascend)),),
            source="Atlas 900, 300 PFLOPS at half precision (CGTN, 2022-03-07); Xi'an's future AI centre is as large",
        ),
        Centre(
            "300P on A100",
            ((a100, sized(300e15, a100)),),
            source="not a centre of the literature: the same installed figure with other devices",
        ),
        Centre(
            "Peng Cheng Cloud Brain II",
            ((ascend, 4096),),
            source="4,096 Ascend 910, 1 EOPS FP16 and 2 EOPS INT8, in service 2020-10",
        ),
    ]
