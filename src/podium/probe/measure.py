"""One probe of this machine: every ceiling within a few seconds each, as a record the planner can read."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import torch

from podium.errors import PodiumError
from podium.probe.ceilings import copy_bandwidth, engine_int8_rate, link_bandwidth, peaks, read_bandwidth
from podium.probe.disk import disk_speed
from podium.runlog import machine


def probe(folder: Path) -> dict[str, Any]:
    """Measures this machine, and the storage of `folder`.

    Returns machine, date (UTC), threads, matmul (operations/s by format), memory (bytes/s by threads), cache and array
    (bytes), disk (bytes/s), accelerators, and `device`: the accelerator, or else the processor, for the planner.

    Raises:
        InputError, StorageError: the folder is missing, cannot be written, or is full.
    """
    disk = disk_speed(folder)  # first: the one part that a user can have got wrong
    here, threads = machine(), torch.get_num_threads()
    matmul = peaks()
    try:
        matmul["int8 engine"] = engine_int8_rate(tries=10, within=0.5)
    except (PodiumError, RuntimeError, OSError):
        pass  # no compiler: the engine runs on torch
    cache = last_level_cache()
    array = int(min(max(2 * cache, 1 << 28), 1 << 30, here["memory_bytes"] / 8 or 1 << 28))
    memory = _memory(array, min(threads, here["cores"]))
    accelerators = [_accelerator(index) for index in range(torch.cuda.device_count())]
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    record: dict[str, Any] = {
        "machine": here,
        "date": date,
        "threads": threads,
        "matmul": matmul,
        "memory": memory,
        "cache": cache,
        "array": array,
        "disk": {"folder": str(folder.resolve()), **disk},
        "accelerators": accelerators,
    }
    return {**record, "device": _device(record)}


def last_level_cache() -> int:
    """Bytes of the largest cache the system names; 32 MiB where it names none."""
    sizes = []
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = path.read_text().strip()
        scale = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:], 0)
        if scale and text[:-1].isdigit():
            sizes.append(int(text[:-1]) * scale)
    return max(sizes, default=32 << 20)


def _memory(array: int, most: int) -> list[dict[str, float]]:
    """Read and copy rates with 1, 2, 4 … and with all threads."""
    counts = sorted({1 << power for power in range(most.bit_length()) if 1 << power <= most} | {most})
    before, found = torch.get_num_threads(), []
    within, values = 2.0 / len(counts), torch.ones(array // 4)
    try:
        for count in counts:
            torch.set_num_threads(count)
            read, copy = read_bandwidth(values, within=within), copy_bandwidth(values, within=within)
            found.append({"threads": count, "read": read, "copy": copy})
    finally:
        torch.set_num_threads(before)
    return found


def _accelerator(index: int) -> dict[str, Any]:
    device = f"cuda:{index}"
    properties = torch.cuda.get_device_properties(index)
    values = torch.ones(min(1 << 30, properties.total_memory // 8) // 4, device=device)
    return {
        "name": properties.name,
        "memory": properties.total_memory,
        "matmul": peaks(device),
        "read": read_bandwidth(values),
        "copy": copy_bandwidth(values),
        "link": link_bandwidth(device),
    }


def _device(record: dict[str, Any]) -> dict[str, Any]:
    """A row of the planner's table: the first accelerator, or else the processor with all its threads."""
    here, accelerators = record["machine"], record["accelerators"]
    source = f"podium probe on {here['host']}, {record['date']}"
    if accelerators:
        first = accelerators[0]
        return {
            "name": f"this ({first['name']})",
            "peak": first["matmul"],
            "memory": first["memory"],
            "bandwidth": first["read"],
            "link": first["link"],
            "domain": len(accelerators),
            "source": source,
        }
    peak = {name: rate for name, rate in record["matmul"].items() if " " not in name}
    if engine := record["matmul"].get("int8 engine"):
        peak["int8"] = max(peak.get("int8", 0.0), engine)
    return {
        "name": f"this ({here['cpu']})",
        "peak": peak,
        "memory": here["memory_bytes"],
        "bandwidth": max(row["read"] for row in record["memory"]),
        "source": source,
    }
