"""Accelerators as data: peak by number format, memory, bandwidth, links, power, each with where the figures are from.

Peaks are dense (no structured sparsity) and per device as it is scheduled: an SXM module, an OAM, a TPU chip (both of
its cores), an Ascend 910, an IPU. Bandwidths are bytes/s in one direction; `memory` is what software can allocate,
where that is known to differ from the name. Prices move: they are orders of magnitude for on-demand use, to be
replaced by the reader's own.
"""

from __future__ import annotations

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


def _device(
    name: str,
    vendor: str,
    year: int,
    teraflops: dict[str, float],
    *,
    memory: float,
    bandwidth: float,
    link: float,
    domain: int,
    network: float,
    power: float,
    achievable: float,
    usd: float,
    source: str,
    aliases: tuple[str, ...] = (),
) -> Device:
    return Device(
        name=name,
        vendor=vendor,
        year=year,
        peak={key: value * 1e12 for key, value in teraflops.items()},
        memory=memory,
        bandwidth=bandwidth * 1e9,
        link=link * 1e9,
        domain=domain,
        network=network * 1e9,
        power=power,
        achievable=achievable,
        usd_per_hour=usd,
        source=source,
        aliases=aliases,
    )


# `achievable` of NVIDIA and AMD parts: maximum achievable matmul FLOPS, "Machine Learning Engineering" (S. Bekman),
# compute/accelerator/benchmarks, PyTorch GEMMs: A100 271/312, H100 794/989, H200 about H100, B200 1745/2250,
# MI300X 668/1307. Where no measurement is known the value says so by being 0.85 (older, less power-bound parts).
_TABLE = (
    _device(
        "A100-80GB",
        "NVIDIA",
        2020,
        {"fp64": 9.7, "fp32": 19.5, "tf32": 156, "bf16": 312, "fp16": 312, "int8": 624},
        memory=79.2 * GIB,
        bandwidth=2039,
        link=300,
        domain=8,
        network=25,
        power=400,
        achievable=0.87,
        usd=1.8,
        source="NVIDIA A100 datasheet (SXM4 80GB); DGX A100: 8 HDR 200 Gb/s ports for 8 GPUs",
        aliases=("A100", "A100-80GB SXM", "A100-SXM4-80GB"),
    ),
    _device(
        "A100-40GB",
        "NVIDIA",
        2020,
        {"fp64": 9.7, "fp32": 19.5, "tf32": 156, "bf16": 312, "fp16": 312, "int8": 624},
        memory=39.4 * GIB,
        bandwidth=1555,
        link=300,
        domain=8,
        network=25,
        power=400,
        achievable=0.87,
        usd=1.3,
        source="NVIDIA A100 datasheet (SXM4 40GB)",
        aliases=("A100-40GB SXM", "A100-SXM4-40GB"),
    ),
    _device(
        "V100-32GB",
        "NVIDIA",
        2018,
        {"fp64": 7.8, "fp32": 15.7, "fp16": 125},
        memory=31.7 * GIB,
        bandwidth=900,
        link=150,
        domain=8,
        network=6.25,
        power=300,
        achievable=0.80,
        usd=0.9,
        source="NVIDIA V100 datasheet (SXM2 32GB); DGX-1: 4 EDR 100 Gb/s ports for 8 GPUs",
        aliases=("V100",),
    ),
    _device(
        "H100-80GB",
        "NVIDIA",
        2022,
        {"fp64": 34, "fp32": 67, "tf32": 494.7, "bf16": 989.4, "fp16": 989.4, "fp8": 1978.9, "int8": 1978.9},
        memory=79.1 * GIB,
        bandwidth=3350,
        link=450,
        domain=8,
        network=50,
        power=700,
        achievable=0.80,
        usd=2.8,
        source="NVIDIA H100 datasheet (SXM5); DGX H100: 8 NDR 400 Gb/s ports for 8 GPUs",
        aliases=("H100", "H100-80GB SXM", "H100-SXM5-80GB", "H100 SXM"),
    ),
    _device(
        "H800",
        "NVIDIA",
        2023,
        {"fp32": 67, "tf32": 494.7, "bf16": 989.4, "fp16": 989.4, "fp8": 1978.9, "int8": 1978.9},
        memory=79.1 * GIB,
        bandwidth=3350,
        link=200,
        domain=8,
        network=50,
        power=700,
        achievable=0.80,
        usd=2.0,
        source="H100 figures with 400 GB/s NVLink both ways (DeepSeek-V3, arXiv 2412.19437 section 3.1); its $2/h",
        aliases=("H800-80GB",),
    ),
    _device(
        "H200",
        "NVIDIA",
        2024,
        {"fp64": 34, "fp32": 67, "tf32": 494.7, "bf16": 989.4, "fp16": 989.4, "fp8": 1978.9, "int8": 1978.9},
        memory=139.8 * GIB,
        bandwidth=4800,
        link=450,
        domain=8,
        network=50,
        power=700,
        achievable=0.80,
        usd=3.5,
        source="NVIDIA H200 datasheet (SXM)",
        aliases=("H200-141GB", "H200 SXM"),
    ),
    _device(
        "B200",
        "NVIDIA",
        2024,
        {"fp32": 75, "tf32": 1125, "bf16": 2250, "fp16": 2250, "fp8": 4500, "int8": 4500, "fp4": 9000},
        memory=178 * GIB,
        bandwidth=7700,
        link=900,
        domain=8,
        network=50,
        power=1000,
        achievable=0.775,
        usd=5.5,
        source="NVIDIA DGX B200 datasheet (8 GPUs: 72 PF FP8 sparse, 1,440 GB, 64 TB/s, 14.4 TB/s NVLink both ways)",
        aliases=("B200 SXM",),
    ),
    _device(
        "GB200",
        "NVIDIA",
        2024,
        {"fp32": 80, "tf32": 1250, "bf16": 2500, "fp16": 2500, "fp8": 5000, "int8": 5000, "fp4": 10000},
        memory=184 * GIB,
        bandwidth=8000,
        link=900,
        domain=72,
        network=50,
        power=1200,
        achievable=0.775,
        usd=7.0,
        source="NVIDIA GB200 NVL72 datasheet, per GPU",
        aliases=("GB200-NVL72",),
    ),
    _device(
        "L4",
        "NVIDIA",
        2023,
        {"fp32": 30.3, "tf32": 60, "bf16": 121, "fp16": 121, "fp8": 242, "int8": 242},
        memory=22.0 * GIB,
        bandwidth=300,
        link=32,
        domain=1,
        network=3.1,
        power=72,
        achievable=0.60,
        usd=0.7,
        source="NVIDIA L4 datasheet (its tensor figures are sparse; halved here); 72 W limits long products",
    ),
    _device(
        "L40S",
        "NVIDIA",
        2023,
        {"fp32": 91.6, "tf32": 183, "bf16": 362, "fp16": 362, "fp8": 733, "int8": 733},
        memory=44.5 * GIB,
        bandwidth=864,
        link=32,
        domain=1,
        network=12.5,
        power=350,
        achievable=0.75,
        usd=1.1,
        source="NVIDIA L40S datasheet",
    ),
    _device(
        "T4",
        "NVIDIA",
        2018,
        {"fp32": 8.1, "fp16": 65, "int8": 130},
        memory=14.6 * GIB,
        bandwidth=320,
        link=16,
        domain=1,
        network=3.1,
        power=70,
        achievable=0.45,
        usd=0.35,
        source="NVIDIA T4 datasheet; 70 W limits long products to about half of the peak",
    ),
    _device(
        "RTX-4090",
        "NVIDIA",
        2022,
        {"fp32": 82.6, "tf32": 82.6, "bf16": 165.2, "fp16": 165.2, "fp8": 330.3},
        memory=23.5 * GIB,
        bandwidth=1008,
        link=32,
        domain=1,
        network=1.25,
        power=450,
        achievable=0.95,
        usd=0.5,
        source="NVIDIA Ada GPU architecture paper, appendix A (fp32 accumulation)",
        aliases=("4090", "RTX4090"),
    ),
    _device(
        "MI300X",
        "AMD",
        2023,
        {"fp64": 81.7, "fp32": 163.4, "bf16": 1307.4, "fp16": 1307.4, "fp8": 2614.9, "int8": 2614.9},
        memory=191.7 * GIB,
        bandwidth=5300,
        link=448,
        domain=8,
        network=50,
        power=750,
        achievable=0.51,
        usd=2.5,
        source="AMD Instinct MI300X datasheet (7 Infinity Fabric links of 128 GB/s both ways)",
    ),
    _device(
        "TPU-v3",
        "Google",
        2018,
        {"bf16": 123},
        memory=32 * GIB,
        bandwidth=900,
        link=280,
        domain=1024,
        network=6.25,
        power=220,
        achievable=0.85,
        usd=2.0,
        source="Google Cloud TPU v3 page (chip: 2 cores, 32 GiB); ICI 4 links of 70 GB/s (IEEE Micro 41(2) 2021)",
        aliases=("TPUv3",),
    ),
    _device(
        "TPU-v4",
        "Google",
        2020,
        {"bf16": 275, "int8": 275},
        memory=32 * GIB,
        bandwidth=1200,
        link=300,
        domain=4096,
        network=6.25,
        power=192,
        achievable=0.85,
        usd=3.2,
        source="TPU v4, arXiv 2304.01433 table 4: 275 TF, 1,200 GB/s, 6 ICI links of 50 GB/s, 192 W at most",
        aliases=("TPU v4", "TPUv4"),
    ),
    _device(
        "TPU-v5e",
        "Google",
        2023,
        {"bf16": 197, "int8": 394},
        memory=16 * GIB,
        bandwidth=819,
        link=200,
        domain=256,
        network=6.25,
        power=200,
        achievable=0.85,
        usd=1.2,
        source="Google Cloud TPU v5e page (1,600 Gb/s ICI a chip); power not published, an estimate",
        aliases=("TPUv5e", "TPU v5e"),
    ),
    _device(
        "TPU-v5p",
        "Google",
        2023,
        {"bf16": 459, "int8": 918},
        memory=95 * GIB,
        bandwidth=2765,
        link=600,
        domain=8960,
        network=6.25,
        power=400,
        achievable=0.85,
        usd=4.2,
        source="Google Cloud TPU v5p page (4,800 Gb/s ICI a chip); power not published, an estimate",
        aliases=("TPUv5p", "TPU v5p", "TPU-v5"),
    ),
    _device(
        "Ascend-910",
        "Huawei",
        2019,
        {"fp16": 256, "int8": 512},
        memory=32 * GIB,
        bandwidth=1200,
        link=45,
        domain=8,
        network=12.5,
        power=310,
        achievable=0.80,
        usd=1.0,
        source="Huawei launch 2019-08 (256 TF FP16, 310 W); HPCA 2021 paper on Ascend (HBM 1.2 TB/s, HCCS 3 x 30 GB/s "
        "both ways, 100 Gb RoCE)",
        aliases=("Ascend910", "910"),
    ),
    _device(
        "Ascend-910B",
        "Huawei",
        2023,
        {"fp32": 75, "bf16": 313, "fp16": 313, "int8": 626},
        memory=61 * GIB,
        bandwidth=1600,
        link=196,
        domain=8,
        network=25,
        power=400,
        achievable=0.80,
        usd=1.5,
        source="secondary reports, no datasheet is public; 910B3 figures",
        aliases=("Ascend910B", "910B"),
    ),
    _device(
        "IPU-GC200",
        "Graphcore",
        2020,
        {"fp32": 62.5, "fp16": 250},
        memory=0.9e9,
        bandwidth=47500,
        link=160,
        domain=64,
        network=12.5,
        power=150,
        achievable=0.70,
        usd=1.0,
        source="Graphcore Mk2 GC200 product page (900 MB in-processor, 47.5 TB/s, 320 GB/s IPU-Links both ways); "
        "beyond it lies up to 448 GB of streaming memory in an M2000, at 20 GB/s",
        aliases=("GC200", "IPU"),
    ),
)
DEVICES: dict[str, Device] = {device.name: device for device in _TABLE}


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


_BY_KEY = {_key(alias): device for device in _TABLE for alias in (device.name, *device.aliases)}


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
