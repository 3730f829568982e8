"""Limits that the kernel keeps for one process. They are set hard and can only ever be lowered."""

from __future__ import annotations

import resource
from collections.abc import Mapping


def apply(limits: Mapping[str, float], baseline: int) -> None:
    """Set memory, file size, processor time and descriptors.

    `limits` are the fields of a Limits; `baseline` is the address space, in bytes, that the warm interpreter takes
    before any block.
    """
    bound(resource.RLIMIT_AS, baseline + limits["memory_bytes"])
    bound(resource.RLIMIT_FSIZE, limits["scratch_bytes"])
    bound(resource.RLIMIT_CPU, limits["cpu_seconds"])
    bound(resource.RLIMIT_NOFILE, limits["open_files"])


def bound(kind: int, value: float) -> None:
    """Lower one limit, soft and hard; fractions round up, and a smaller hard limit that was inherited stays."""
    hard = resource.getrlimit(kind)[1]
    wanted = -int(-value // 1)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(kind, (wanted, wanted))
