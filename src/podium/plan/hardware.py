"""Accelerators as data: peak by number format, memory, bandwidth, links, power, each with where the figures are from.

Peaks are dense (no structured sparsity) and per device as it is scheduled: an SXM module, an OAM, a TPU chip (both of
its cores), an Ascend 910, an IPU. Bandwidths are bytes/s in one direction; `memory` is what software can allocate,
where that is known to differ from the name. Prices move: they are orders of magnitude for on-demand use, to be
replaced by the reader's own. The figures are in data/hardware.csv, with a source each.

`achievable` of NVIDIA and AMD parts: maximum achievable matmul FLOPS, "Machine Learning Engineering" (S. Bekman),
compute/accelerator/benchmarks, PyTorch GEMMs: A100 271/312, H100 794/989, H200 about H100, B200 1745/2250,
MI300X 668/1307. Where no measurement is known the value says so by being 0.85 (older, less power-bound parts).
"""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from podium.errors import InputError, nearest

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Device:
    """One accelerator. FLOP/s, bytes, bytes/s in one direction, watts, USD."""

    name: str
    vendor: str
    year: int
    peak: dict[str, float]  # FLOP/s (OP/s for integers) by format
    memory: float
    bandwidth: float  # of memory
    link: float  # scale-up fabric (NVLink, Infinity Fabric, ICI, HCCS), per device
    domain: int  # devices that fabric joins
    network: float  # scale-out network, per device, as such machines are usually built
    power: float  # board or chip, at most
    achievable: float  # share of the matrix peak that large products reach at sustained clocks
    usd_per_hour: float
    source: str
    aliases: tuple[str, ...] = field(default=())

    def best(self, *formats: str) -> float:
        """Peak of the first of `formats` this device has.

        Raises:
            InputError: it has none of them.
        """
        for name in formats:
            if name in self.peak:
                return self.peak[name]
        raise InputError(
            f"{self.name} has no {' or '.join(formats)} arithmetic", f"its formats: {', '.join(self.peak)}"
        )

    @property
    def training_format(self) -> str:
        """The 16-bit format models are trained in on it, or the widest there is."""
        return next(name for name in ("bf16", "fp16", "fp32") if name in self.peak)


_TABLE = Path(__file__).parent / "data" / "hardware.csv"
_FORMATS = ("fp64", "fp32", "tf32", "bf16", "fp16", "fp8", "int8", "fp4")  # columns, in TFLOP/s
_UNITS = {"GiB": GIB, "GB": 1e9}


def _read_table(path: Path) -> dict[str, Device]:
    with path.open(newline="") as file:
        return {row["name"]: _from_row(row) for row in csv.DictReader(file)}


def _from_row(row: dict[str, str]) -> Device:
    memory, unit = row["memory"].split()
    return Device(
        name=row["name"],
        vendor=row["vendor"],
        year=int(row["year"]),
        peak={name: float(row[name]) * 1e12 for name in _FORMATS if row[name]},
        memory=float(memory) * _UNITS[unit],
        bandwidth=float(row["bandwidth_gb_s"]) * 1e9,
        link=float(row["link_gb_s"]) * 1e9,
        domain=int(row["domain"]),
        network=float(row["network_gb_s"]) * 1e9,
        power=float(row["power_w"]),
        achievable=float(row["achievable"]),
        usd_per_hour=float(row["usd_per_hour"]),
        source=row["source"],
        aliases=tuple(row["aliases"].split("; ")) if row["aliases"] else (),
    )


DEVICES: dict[str, Device] = _read_table(_TABLE)


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


_BY_KEY = {_key(alias): device for device in DEVICES.values() for alias in (device.name, *device.aliases)}


THIS = ("this", "local")  # names of the machine that the plan is made on


def find_device(name: str) -> Device:
    """By name or alias (case, spaces and hyphens do not matter), or from a .json file of measured figures.

    "this" and "local" are the machine this runs on, as `podium probe` measured it.

    Raises:
        InputError: unknown name; a file that does not describe a device; this machine was not measured.
    """
    if _key(name) in THIS:
        # Only here: whoever plans for other machines does not pay for the reader.
        from podium.probe.record import read_record, record_path

        return _from_values(read_record()["device"], record_path())
    if name.endswith(".json"):
        return _from_file(Path(name))
    if found := _BY_KEY.get(_key(name)):
        return found
    raise InputError(f"unknown device {name!r}", nearest(name.upper(), DEVICES))


_FILE = 'needed: {"peak": {"fp32": FLOP/s}, "memory": bytes, "bandwidth": bytes/s}; the other fields are optional'


def _from_file(path: Path) -> Device:
    try:
        values: Any = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a device ({error})", _FILE) from error
    return _from_values(values.get("device", values) if isinstance(values, dict) else {}, path)


def _from_values(plan: dict[str, Any], path: Path) -> Device:
    needed = {"peak": dict, "memory": (int, float), "bandwidth": (int, float)}
    for key, kind in needed.items():
        if not isinstance(plan.get(key), kind) or not plan[key]:
            raise InputError(
                f"{path}: {key} is missing or not a number",
                _FILE,
            )
    bandwidth = float(plan["bandwidth"])
    return Device(
        name=str(plan.get("name", path.stem)),
        vendor=str(plan.get("vendor", "")),
        year=int(plan.get("year", 0)),
        peak={str(key): float(value) for key, value in plan["peak"].items()},
        memory=float(plan["memory"]),
        bandwidth=bandwidth,
        link=float(plan.get("link", bandwidth / 2)),
        domain=int(plan.get("domain", 1)),
        network=float(plan.get("network", 1.25e9)),
        power=float(plan.get("power", 0)),
        # What was measured is what products reach; there is nothing left to take off.
        achievable=float(plan.get("achievable", 1.0)),
        usd_per_hour=float(plan.get("usd_per_hour", 0)),
        source=str(plan.get("source", f"measured: {path.name}")),
    )
