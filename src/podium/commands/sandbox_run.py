"""`podium sandbox run`: a file of Python, block by block in one isolated session."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from podium.commands.cli_options import JsonOption
from podium.errors import InputError, nearest

if TYPE_CHECKING:
    from podium.sandbox.limits import Limits

_WARM = ("numpy", "sympy")
_FILE_BYTES = 4 << 20


def sandbox_run(
    file: Annotated[Path, typer.Argument(help="Python blocks separated by lines that start with # %%.")],
    profile: Annotated[str, typer.Option(help="Limits: kaggle, notebook or eval.")] = "kaggle",
    json_: JsonOption = False,
) -> None:
    """Run a file block by block in one isolated session. Exit code 0 when the session ran, whatever the blocks did.

    Example: podium sandbox run blocks.py --profile kaggle --json
    """
    from rich.console import Console

    console = Console(highlight=False)
    for number, block in enumerate(run_file(file, profile), start=1):
        if json_:
            print(json.dumps(block, ensure_ascii=False), flush=True)
            continue
        style = "green" if block["status"] == "ok" else "red"
        console.print(f"[{style}]block {number}: {block['status']}[/{style}]  {block['seconds']:.3f} s")
        if block["output"]:
            console.print(block["output"], markup=False, soft_wrap=True)


def split_blocks(text: str) -> list[str]:
    """Blocks of a script, separated by lines that start with `# %%`; blocks of white space are left out."""
    blocks = [""]
    for line in text.splitlines(keepends=True):
        if line.startswith("# %%"):
            blocks.append("")
        else:
            blocks[-1] += line
    return [block for block in blocks if block.strip()]


def find_limits(name: str) -> Limits:
    """Limits by name. Raises InputError for an unknown one."""
    from podium.sandbox.limits import profiles

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
    from podium.sandbox.sync import SyncSandbox

    bounds = find_limits(limits) if isinstance(limits, str) else limits
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
    from podium.storage import storage_errors

    with storage_errors(path, "reading"), open(path, "rb") as file:
        data = file.read(_FILE_BYTES + 1)
    if len(data) > _FILE_BYTES:
        raise InputError(f"{path}: longer than {_FILE_BYTES >> 20} MB", "a script is expected, not data")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start})", "save it as UTF-8") from error
