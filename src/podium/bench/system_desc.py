"""The system description of a submission: the 33 fields of v1.1, which of them must say something, and our own machine.

Every value is text, counts too. Source: MLPerf Training submission rules and the system_desc_checker of
mlcommons/logging, rule set 1.1.0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from podium.errors import InputError
from podium.storage import read_json

FIELDS = (
    "submitter",
    "division",
    "status",
    "system_name",
    "number_of_nodes",
    "host_processors_per_node",
    "host_processor_model_name",
    "host_processor_core_count",
    "host_processor_vcpu_count",
    "host_processor_frequency",
    "host_processor_caches",
    "host_processor_interconnect",
    "host_memory_capacity",
    "host_storage_type",
    "host_storage_capacity",
    "host_networking",
    "host_networking_topology",
    "host_memory_configuration",
    "accelerators_per_node",
    "accelerator_model_name",
    "accelerator_host_interconnect",
    "accelerator_frequency",
    "accelerator_on-chip_memories",
    "accelerator_memory_configuration",
    "accelerator_memory_capacity",
    "accelerator_interconnect",
    "accelerator_interconnect_topology",
    "cooling",
    "hw_notes",
    "framework",
    "other_software_stack",
    "operating_system",
    "sw_notes",
)
MEANINGFUL = (
    "submitter",
    "division",
    "status",
    "system_name",
    "number_of_nodes",
    "host_processors_per_node",
    "host_processor_model_name",
    "host_memory_capacity",
    "host_storage_type",
    "host_storage_capacity",
    "accelerators_per_node",
    "accelerator_model_name",
    "accelerator_memory_configuration",
    "accelerator_memory_capacity",
    "framework",
    "other_software_stack",
    "operating_system",
)
EITHER = ("host_processor_core_count", "host_processor_vcpu_count")
PLACEHOLDERS = {"", "todo", "tbd", "n/a?", "fill in"}


def missing_fields(description: Mapping[str, Any]) -> list[str]:
    return [name for name in FIELDS if name not in description]


def empty_fields(description: Mapping[str, Any]) -> list[str]:
    """Fields that must say something and do not; those of an accelerator only where there is one."""
    none = accelerators(description) == 0
    wanted = [name for name in MEANINGFUL if not (none and name.startswith("accelerator_"))]
    empty = [name for name in wanted if not _says_something(description.get(name, ""))]
    if not any(_says_something(description.get(name, "")) for name in EITHER):
        empty.append(" or ".join(EITHER))
    return empty


def _says_something(value: Any) -> bool:
    return str(value).strip().lower() not in PLACEHOLDERS


def count(value: Any) -> int | None:
    """A count field as a number; None when it holds none. `"2"`, `2` and `"2 sockets"` are two."""
    match = re.match(r"\s*(\d+)", str(value))
    return int(match[1]) if match else None


def accelerators(description: Mapping[str, Any]) -> int | None:
    """Accelerators of the whole system."""
    nodes, each = count(description.get("number_of_nodes", "")), count(description.get("accelerators_per_node", ""))
    return None if nodes is None or each is None else nodes * each


def host_ratio(processors: int | None, accelerators: int | None) -> str:
    """Host processors to accelerators, `1:8`; `n/a` for a system without accelerators."""
    if not processors or not accelerators:
        return "n/a"
    ratio = accelerators / processors
    return f"1:{ratio:g}" if ratio >= 1 else f"{1 / ratio:g}:1"


def read_description(path: Path) -> dict[str, Any]:
    """Raises InputError when the file is missing or no JSON object."""
    description = read_json(path)
    if not isinstance(description, dict):
        raise InputError(f"{path}: a system description is a JSON object", "`podium bench init` writes one to fill in")
    return description


def describe_this_machine(submitter: str, division: str, system_name: str) -> dict[str, str]:
    """What can be found out here; what cannot is left empty for a person to fill in."""
    from podium.runlog import system_description

    found = system_description()
    cards = found["accelerators"]
    memory = f"{found['memory_bytes'] / 2**30:.0f} GiB" if found["memory_bytes"] else ""
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items() if version)
    known = {
        "submitter": submitter,
        "division": division,
        "status": "research",
        "system_name": system_name,
        "number_of_nodes": "1",
        "host_processors_per_node": "1",
        "host_processor_model_name": found["cpu"],
        "host_processor_vcpu_count": str(found["cores"] or ""),
        "host_memory_capacity": memory,
        "accelerators_per_node": str(len(cards)),
        "accelerator_model_name": cards[0]["name"] if cards else "",
        "accelerator_memory_capacity": f"{cards[0]['memory_bytes'] / 2**30:.0f} GiB" if cards else "",
        "framework": f"PyTorch {found['versions'].get('torch', '')}".strip(),
        "other_software_stack": versions,
        "operating_system": found["platform"],
    }
    return {name: known.get(name, "") for name in FIELDS}
