"""`podium sandbox check`: every isolation tier, tried."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

import typer

from podium.commands.cli_options import JsonOption


@dataclass(frozen=True, slots=True)
class TierCheck:
    """One tier, tried. `failed` says which step failed and what the system answered; both texts are empty when ok."""

    tier: str
    description: str
    ok: bool
    failed: str = ""
    cure: str = ""


def sandbox_check(json_: JsonOption = False) -> None:
    """Try every isolation tier with a real canary session; say what failed and the cure.

    Example: podium sandbox check
    """
    from rich.console import Console

    checks = try_tiers()
    if json_:
        for each in checks:
            print(json.dumps(dataclasses.asdict(each)))
    else:
        console = Console(highlight=False)
        for each in checks:
            mark = "[green]ok[/green]    " if each.ok else "[red]failed[/red]"
            console.print(f"tier {each.tier}  {mark}  {each.description}")
            for label, text in (("failed", each.failed), ("cure", each.cure)):
                if text:
                    console.print(f"        {label}: {text}", markup=False, soft_wrap=True)
        usable = [each.tier for each in checks if each.ok]
        console.print(f"in use: tier {usable[0]}" if usable else "no tier works here: code will not be run")
    raise typer.Exit(0 if any(each.ok for each in checks) else 1)


def try_tiers() -> list[TierCheck]:
    """Try tiers A, B and C by really running a session of each, with nothing warm. D needs no trying."""
    import asyncio

    return asyncio.run(_try_tiers())


async def _try_tiers() -> list[TierCheck]:
    from podium.errors import SandboxUnavailable
    from podium.sandbox.host import Sandbox
    from podium.sandbox.tiers import TIERS

    checks = []
    for tier in ("A", "B", "C"):
        try:
            async with Sandbox(warm=(), tier=tier, ready=0):
                checks.append(TierCheck(tier, TIERS[tier], ok=True))
        except SandboxUnavailable as error:
            checks.append(TierCheck(tier, TIERS[tier], ok=False, failed=error.message, cure=error.cure))
    return checks
