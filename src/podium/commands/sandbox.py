"""What `podium sandbox check` and `podium sandbox run` do.

Knows files and tiers; printing is the command line's business.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podium.errors import InputError, SandboxUnavailable, nearest
from podium.sandbox.host import Sandbox
from podium.sandbox.limits import Limits, profiles
from podium.sandbox.sync import SyncSandbox
from podium.sandbox.tiers import TIERS
from podium.storage import storage_errors

_WARM = ("numpy", "sympy")
_FILE_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class TierCheck:
    """One tier, tried. `failed` says which step and what the system answered; both texts are empty when ok."""

    tier: str
    description: str
    ok: bool
    failed: str = ""
    cure: str = ""


def check() -> list[TierCheck]:
    """Try tiers A, B and C by really running a session of each, with nothing warm. D needs no trying."""
    return asyncio.run(_check())


async def _check() -> list[TierCheck]:
    checks = []
    for tier in ("A", "B", "C"):
        try:
            async with Sandbox(warm=(), tier=tier, ready=0):
                checks.append(TierCheck(tier, TIERS[tier], ok=True))
        except SandboxUnavailable as error:
            checks.append(TierCheck(tier, TIERS[tier], ok=False, failed=error.message, cure=error.cure))
    return checks


def split_blocks(text: str) -> list[str]:
    """Blocks of a script, separated by lines that start with `# %%`; blocks of white space are left out."""
    blocks = [""]
    for line in text.splitlines(keepends=True):
        if line.startswith("# %%"):
            blocks.append("")
        else:
            blocks[-1] += line
    return [block for block in blocks if block.strip()]


def profile(name: str) -> Limits:
    """Limits by name. Raises InputError for an unknown one."""
    if name not in profiles:
        raise InputError(f"no sandbox profile {name!r}", nearest(name, profiles))
    return profiles[name]


def run_file(
    path: Path | str,
    limits: Limits | str = "eval",
    *,
    warm: Sequence[str] = _WARM,
    tier: str | None = None,
    allow_unsafe: bool = False,
    seed: int = 0,
) -> Iterator[dict[str, Any]]:
    """Run a file's blocks in one session; yields {"status", "output", "seconds", "tier"} per block, as they end.

    `limits` may be the name of a profile. Raises InputError for a file that is missing, not text or too long, an
    unknown profile or a missing warm module, and SandboxUnavailable.
    """
    bounds = profile(limits) if isinstance(limits, str) else limits
    blocks = split_blocks(_read(Path(path)))
    with SyncSandbox(bounds, warm, tier=tier, allow_unsafe=allow_unsafe, ready=1) as sandbox:
        with sandbox.open(seed) as session:
            for block in blocks:
                result = session.run(block)
                yield {
                    "status": result.status,
                    "output": result.output,
                    "seconds": round(result.wall_seconds, 6),
                    "tier": result.tier,
                }


def _read(path: Path) -> str:
    with storage_errors(path, "reading"), open(path, "rb") as file:
        data = file.read(_FILE_BYTES + 1)
    if len(data) > _FILE_BYTES:
        raise InputError(f"{path}: longer than {_FILE_BYTES >> 20} MB", "a script is expected, not data")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start})", "save it as UTF-8") from error
