"""`podium plan centre`: what a computing centre has, does, draws and costs."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Annotated, Any

import typer

from podium.commands.plan_show import print_json, print_lines, print_table
from podium.errors import InputError
from podium.plan.centre import Centre, Work, examples, serve_work, sized, usual_work, year
from podium.plan.convnet import ConvNet
from podium.plan.counting import parameters, training_flops
from podium.plan.hardware import find_device
from podium.plan.named import find_model
from podium.plan.units import PFLOPS_DAY, parse_count, parse_devices, show_count


def centre(
    gpus: Annotated[list[str] | None, typer.Option(help="What is installed, e.g. 392xAscend-910.")] = None,
    installed: Annotated[str | None, typer.Option(help="Size it instead: 16-bit FLOP/s, e.g. 300P, of …")] = None,
    device: Annotated[str, typer.Option(help="… this device.")] = "Ascend-910",
    load: Annotated[float, typer.Option(help="Share of device-hours let to jobs.")] = 0.7,
    mfu: Annotated[float, typer.Option(help="Share of the peak that jobs reach.")] = 0.35,
    pue: Annotated[float, typer.Option(help="Watts at the meter per watt of equipment.")] = 1.25,
    kwh: Annotated[float, typer.Option(help="USD per kWh.")] = 0.09,
    years: Annotated[float, typer.Option(help="Of service, to write the price off.")] = 5.0,
    model: Annotated[str | None, typer.Option(help="Count trainings of this model …")] = None,
    tokens: Annotated[str | None, typer.Option(help="… on so many tokens (or samples).")] = None,
    json_: Annotated[bool, typer.Option("--json", help="JSON instead of tables.")] = False,
) -> None:
    """Size up a computing centre: PFLOPS by format, load, jobs a year, energy, cost. Without devices: examples.

    Example: podium plan centre --installed 300P --device Ascend-910 --load 0.8
    """
    if gpus and installed:
        raise InputError("--gpus and --installed both say how large it is", "give one of them")
    if gpus:
        named = [Centre("this centre", tuple((find_device(name), count) for count, name in map(parse_devices, gpus)))]
    elif installed:
        kind = find_device(device)
        count = sized(parse_count(installed, "--installed"), kind)
        named = [Centre(f"{installed} of {kind.name}", ((kind, count),))]
    else:
        named = examples()
    centres = [replace(c, load=load, utilisation=mfu, pue=pue, usd_per_kwh=kwh, years=years) for c in named]
    work = [_work(model, tokens)] if model else usual_work()
    if json_:
        print_json([_to_json(one, work) for one in centres])
        return
    print_table(
        f"Computing centres at {load:.0%} load and {mfu:.0%} of the peak",
        ("centre", "devices", "PFLOPS 16 bit", "8 bit", "PF-days a year", "MW", "GWh", "price", "a year", "USD/h"),
        [_line(one) for one in centres],
        note="MW and GWh at the meter; price to buy and build, a year: written off, energy, people (USD, estimates "
        "from the on-demand prices of `podium plan devices`); USD/h per device-hour that is let",
    )
    print_lines("")
    print_table(
        "Jobs a year, if it did nothing else (days of one, on how many devices)",
        ("job", "PF-days", *(one.name.split(":")[0] for one in centres)),
        [_job(item, centres) for item in work],
    )
    print_lines("", *(f"{one.name}: {one.source}" for one in centres if one.source))


def _work(model: str, tokens: str | None) -> Work:
    if tokens is None:
        raise InputError("--model needs --tokens", "e.g. --model llama-65b --tokens 1.4T")
    shape = find_model(model)
    amount = parse_count(tokens, "--tokens")
    if isinstance(shape, ConvNet):
        return Work(f"{shape.name}, {tokens} images", amount * training_flops(shape).total, 256)
    count = parameters(shape)
    flop = training_flops(shape).total * amount / shape.sequence
    # 40M parameters a device are about where published runs stopped adding devices (GPT-3: 4,096; LLaMA 65B: 2,048).
    devices = max(8, min(16_384, round(count.active / 4e7)))
    return Work(f"{shape.name}, {tokens} tokens", flop, devices, 18.0 * count.total)


def _line(one: Centre) -> tuple[str, ...]:
    made, peak = year(one), one.peak()
    narrow = max(peak.get("int8", 0.0), peak.get("fp8", 0.0))
    return (
        one.name,
        f"{one.devices:,}",
        f"{one.training_peak / 1e15:,.0f}",
        f"{narrow / 1e15:,.0f}",
        f"{made.flop / PFLOPS_DAY:,.0f}",
        f"{made.megawatts:.3g}",
        f"{made.gigawatt_hours:.3g}",
        show_count(made.usd_price),
        show_count(made.usd_year),
        f"{made.usd_per_device_hour:.2f}",
    )


def _job(work: Work, centres: list[Centre]) -> tuple[str, ...]:
    cells = [work.name, _figure(work.flop / PFLOPS_DAY)]
    for one in centres:
        served = serve_work(one, work)
        group = min(work.devices, one.devices)
        cells.append(
            f"{_figure(served.a_year)} ({_figure(served.days)} d, {group:,})"
            if served.possible
            else "does not fit in memory"
        )
    return tuple(cells)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def _to_json(one: Centre, work: list[Work]) -> dict[str, Any]:
    return {
        "name": one.name,
        "source": one.source,
        "devices": {device.name: count for device, count in one.groups},
        "peak": one.peak(),
        "training_peak": one.training_peak,
        "load": one.load,
        "utilisation": one.utilisation,
        "pue": one.pue,
        "year": asdict(year(one)),
        "jobs": [
            {
                "name": item.name,
                "pflops_days": item.flop / PFLOPS_DAY,
                "possible": served.possible,
                "days": served.days,
                "a_year": served.a_year,
            }
            for item in work
            for served in [serve_work(one, item)]
        ],
    }
