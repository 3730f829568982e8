"""What a budget of operations trains, and what it takes to spend it.

The budget buys parameters and tokens (20 tokens per parameter, or longer training of smaller networks); it is spent by
devices at some share of their peak, with power and at a price.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from podium.errors import InputError
from podium.plan.counting import parameters, rule_of_thumb
from podium.plan.failures import Reliability, goodput
from podium.plan.hardware import Device
from podium.plan.named import MODELS
from podium.plan.scaling import LAWS, RULE
from podium.plan.shapes import Shape
from podium.plan.units import DAY

TEXT = 1.5e13  # tokens: what the openly described runs found of good public text (Llama 3: 15.6T)
OVERHEAD = 1.5  # watts at the wall per watt of accelerators: servers, network, cooling
RATIOS = (RULE, 100.0, 400.0, 2000.0)


@dataclass(frozen=True, slots=True)
class Purchase:
    """A network and its data, for the whole budget. `loss` in nats per token (arXiv 2404.10102)."""

    tokens_per_parameter: float
    parameters: float
    tokens: float
    loss: float

    @property
    def passes(self) -> float:
        """Over all good public text there is."""
        return self.tokens / TEXT


def purchases(flop: float) -> list[Purchase]:
    """What 6 N D = `flop` buys, from Chinchilla's ratio to far past it."""
    bought: list[Purchase] = []
    for ratio in RATIOS:
        size = math.sqrt(flop / (6 * ratio))
        bought.append(Purchase(ratio, size, ratio * size, LAWS["besiroglu"].loss(size, ratio * size)))
    return bought


# name, tokens, and the published parameters where the shape lacks some (relative positions); else they are counted
KNOWN_RUNS: tuple[tuple[str, float] | tuple[str, float, float], ...] = (
    ("gpt3-175b", 300e9),
    ("gopher-280b", 300e9, 280e9),
    ("mt-nlg-530b", 270e9),
    ("yuan-245b", 180e9),
    ("chinchilla-70b", 1.4e12, 70e9),
    ("palm-540b", 780e9),
    ("llama-65b", 1.4e12),
    ("llama-2-70b", 2e12),
    ("deepseek-v3", 14.8e12),
    ("qwen2.5-72b", 18e12),
    ("llama-3.1-8b", 15e12),
    ("llama-3.1-70b", 15e12),
    ("llama-3.1-405b", 15.6e12),
)
# A figure that is passed on as GPT-4's: 2.15e25 FLOP, a rumour of 2023, over 8.64e19. Nothing was ever published.
RUMOUR = 248_842


@dataclass(frozen=True, slots=True)
class KnownRun:
    """A published run, 6 N D with the parameters a token passes."""

    model: str
    parameters: float
    tokens: float
    flop: float


def known_runs() -> list[KnownRun]:
    """All of KNOWN_RUNS, smallest first."""
    runs: list[KnownRun] = []
    for name, tokens, *published in KNOWN_RUNS:
        shape = MODELS[name]
        assert isinstance(shape, Shape)
        counted = parameters(shape)
        total = published[0] if published else counted.total
        runs.append(KnownRun(name, total, tokens, rule_of_thumb(total - counted.total + counted.active, tokens)))
    return sorted(runs, key=lambda run: run.flop)


@dataclass(frozen=True, slots=True)
class Spending:
    """A budget spent on one machine."""

    devices: int
    days: float
    goodput: float
    device_hours: float
    megawatts: float
    gigawatt_hours: float
    usd: float


def spend(flop: float, device: Device, devices: int, utilisation: float) -> Spending:
    """Days, energy and price at a share `utilisation` of the peak (MFU), interruptions as Llama 3's.

    Raises:
        InputError: no devices, a utilisation outside 0-1.
    """
    if devices < 1:
        raise InputError(f"nothing can be computed on {devices} devices", "give at least 1, e.g. 8xH100")
    if not 0 < utilisation <= 1:
        raise InputError(f"a utilisation of {utilisation:g}", "give the MFU as a share, e.g. 0.4")
    useful = goodput(Reliability(devices)).training
    if useful <= 0:
        raise InputError(f"{devices:,} devices are interrupted before they get anywhere", "plan with fewer")
    rate = devices * device.peak[device.training_format] * utilisation * useful
    days = flop / rate / DAY
    hours = days * 24 * devices
    watts = devices * device.power * OVERHEAD
    return Spending(
        devices=devices,
        days=days,
        goodput=useful,
        device_hours=hours,
        megawatts=watts / 1e6,
        gigawatt_hours=watts * days * 24 / 1e9,
        usd=hours * device.usd_per_hour,
    )
