"""`podium plan budget`: what so many PetaFLOP/s-days train, and what spending them takes."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from podium.commands.plan_show import print_json, print_lines, print_table
from podium.errors import InputError
from podium.plan.budget import RUMOUR, known_runs, purchases, spend
from podium.plan.hardware import find_device
from podium.plan.units import PFLOPS_DAY, parse_count, parse_devices, show_count, show_flop

USUAL = (1_024, 4_096, 16_384, 65_536)


def budget(
    pflops_days: Annotated[str | None, typer.Option(help="The budget in PetaFLOP/s-days, e.g. 248842.")] = None,
    flops: Annotated[str | None, typer.Option(help="… or in FLOP, e.g. 1e24.")] = None,
    gpus: Annotated[list[str] | None, typer.Option(help="Spend it on these, e.g. 4096xA100.")] = None,
    mfu: Annotated[float, typer.Option(help="Share of the peak that is reached.")] = 0.4,
    json_: Annotated[bool, typer.Option("--json", help="JSON instead of tables.")] = False,
) -> None:
    """Say what a budget of operations trains, beside published runs, and how long it takes to spend.

    Example: podium plan budget --pflops-days 248842 --gpus 16384xH100
    """
    if (pflops_days is None) == (flops is None):
        raise InputError("a budget is needed, once", "give --pflops-days 3640, or --flops 3.14e23")
    flop = (
        parse_count(pflops_days, "--pflops-days") * PFLOPS_DAY if pflops_days else parse_count(flops or "", "--flops")
    )
    if not 1e15 <= flop <= 1e32:
        raise InputError(
            f"{flop:.3g} FLOP trains nothing" if flop < 1e15 else f"{flop:.3g} FLOP is more than all computers can do",
            "is the unit right? GPT-3 took 3,640 PetaFLOP/s-days, 3.14e23 FLOP",
        )
    bought, runs = purchases(flop), known_runs()
    machines = [parse_devices(text) for text in gpus] if gpus else [(count, "H100") for count in USUAL]
    spent = [(find_device(name), spend(flop, find_device(name), count, mfu)) for count, name in machines]
    if json_:
        print_json(
            {
                "flop": flop,
                "pflops_days": flop / PFLOPS_DAY,
                "buys": [asdict(one) | {"passes": one.passes} for one in bought],
                "known_runs": [asdict(run) | {"times": flop / run.flop} for run in runs],
                "spending": [{"device": device.name, **asdict(one)} for device, one in spent],
            }
        )
        return
    print_table(
        f"{flop:.3g} FLOP = {show_flop(flop)}",
        ("tokens per parameter", "parameters", "tokens", "loss", "of public text"),
        [
            (
                f"{one.tokens_per_parameter:,.0f}" + (" (best)" if index == 0 else ""),
                show_count(one.parameters),
                show_count(one.tokens),
                f"{one.loss:.3f}",
                f"{one.passes:.2g} x",
            )
            for index, one in enumerate(bought)
        ],
        note="loss in nats per token by arXiv 2404.10102; public text taken as 15T good tokens",
    )
    print_lines("")
    print_table(
        "Published runs this would pay for",
        ("run", "parameters", "tokens", "PF-days (6ND)", "times"),
        [
            (
                run.model,
                show_count(run.parameters),
                show_count(run.tokens),
                f"{run.flop / PFLOPS_DAY:,.0f}",
                f"{flop / run.flop:,.3g}",
            )
            for run in runs
        ],
    )
    print_lines("")
    print_table(
        f"Spending it at {mfu:.0%} of the peak",
        ("devices", "days", "goodput", "device-hours", "MW", "GWh", "USD"),
        [
            (
                f"{one.devices:,} x {device.name}",
                f"{one.days:,.3g}",
                f"{one.goodput:.0%}",
                show_count(one.device_hours),
                f"{one.megawatts:,.3g}",
                f"{one.gigawatt_hours:,.3g}",
                show_count(one.usd),
            )
            for device, one in spent
        ],
        note="interruptions at the rate of Llama 3's; MW and GWh with 1.5 W at the wall per W of accelerators",
    )
    if abs(flop / PFLOPS_DAY / RUMOUR - 1) < 1e-4:
        print_lines(
            "",
            f"{RUMOUR:,} PF-days is 2.15e25 FLOP, a rumour about GPT-4; nothing was ever published that confirms it",
        )
