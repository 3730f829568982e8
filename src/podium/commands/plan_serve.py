"""`podium plan serve`: how many attempts, at what length, on which device, within the exam's clock."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated, Any

import typer

from podium.commands.plan_show import print_json, print_lines, print_table
from podium.errors import InputError
from podium.plan.convnet import ConvNet
from podium.plan.hardware import Device, find_device
from podium.plan.inference_memory import serving_memory
from podium.plan.named import find_model
from podium.plan.serve import CONTEST, MOST, Clock, Fleet, Server, exam_clock, fleets, measured
from podium.plan.shapes import Shape
from podium.plan.units import parse_bytes, parse_devices, parse_seconds, parse_whole, show_bytes, show_seconds

# The contest's machine first, then what people rent.
USUAL = ("4xL4", "2xT4", "1xA100", "1xH100", "2xH100", "8xH100", "1xH200", "1xB200", "1xMI300X")
LENGTHS = (2_000, 4_000, 8_000, 12_000, 16_000, 32_000)


def serve(
    model: Annotated[str, typer.Option(help="A name, a config.json, or layers=32,hidden=4096,heads=32,…")],
    gpus: Annotated[list[str] | None, typer.Option(help="Groups to compare, e.g. 4xL4 (default: a few).")] = None,
    clock: Annotated[str, typer.Option(help="Time of the whole exam.")] = "5h",
    problems: Annotated[int, typer.Option(help="Problems of the exam.")] = 50,
    attempts: Annotated[int, typer.Option(min=1, max=MOST, help="Attempts at a problem.")] = 12,
    length: Annotated[str, typer.Option(help="Tokens of an attempt.")] = "12k",
    prompt: Annotated[str, typer.Option(help="Tokens of a problem with its instructions.")] = "256",
    waiting: Annotated[float, typer.Option(min=0, help="Seconds a problem loses to running code.")] = 10.0,
    weights: Annotated[str, typer.Option(help="fp32, bf16, fp8, int8, int4 or fp4.")] = "bf16",
    cache: Annotated[str, typer.Option(help="fp32, bf16, fp8 or int8.")] = "bf16",
    speedup: Annotated[float, typer.Option(help="Of speculative decoding, as measured (contest: 1.79).")] = 1.0,
    memory: Annotated[str | None, typer.Option(help="Memory per device (default: the device's).")] = None,
    check: Annotated[bool, typer.Option("--check", help="Also print published speeds beside these.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="JSON instead of tables.")] = False,
) -> None:
    """Fit attempts into an exam: how many, at what length, on which device, for which price.

    Example: podium plan serve --model qwen2.5-14b --weights fp8 --speedup 1.79 --gpus 4xL4
    """
    shape = find_model(model)
    if isinstance(shape, ConvNet) or shape.kind != "decoder":
        raise InputError(f"{shape.name} writes no attempts", "name a decoder, e.g. qwen2.5-14b")
    timing = exam_clock(parse_seconds(clock, "--clock"), problems)
    usable = Clock(timing.base - waiting, timing.cap - waiting)
    if usable.base <= 0:
        raise InputError(
            f"{waiting:g} s of running code leave nothing of {timing.base:g} s a problem",
            "give a longer --clock (5h), fewer --problems, or a lower --waiting",
        )
    tokens, before = parse_whole(length, "--length"), parse_whole(prompt, "--prompt")
    if tokens > 10_000_000 or before > 10_000_000:
        raise InputError(f"attempts of {tokens:,} tokens", "write for example --length 12k")
    Server(shape, find_device("H100"), 1, weights, cache, speedup).fits(1)  # refuses formats and speed-ups
    rows: list[dict[str, Any]] = []
    for text in gpus or USUAL:
        count, name = parse_devices(text)
        device = _device(name, memory)
        try:
            server = Server(shape, device, count, weights, cache, speedup)
            rows += [
                _row(fleet, usable, problems, timing.base, attempts, tokens, before)
                for fleet in _ways(server, attempts, tokens, before)
            ]
        except InputError as error:
            if gpus:  # asked for, so say what is wrong with it
                raise
            rows.append({"gpus": text, "fits": 0, "why": error.message})
    if not any(row["fits"] for row in rows):
        raise InputError(f"{shape.name} in {weights}: {rows[0]['why']}", _cure(shape, weights))
    checked = [measured(row) for row in CONTEST] if check else []
    if json_:
        print_json(
            {
                "model": shape.name,
                "weights": weights,
                "seconds_per_problem": {"base": timing.base, "cap": timing.cap},
                "attempts": attempts,
                "length": tokens,
                "devices": rows,
                **({"check": [_checked(item) for item in checked]} if check else {}),
            }
        )
        return
    _show(shape, weights, rows, timing, attempts, tokens)
    if check:
        print_lines("")
        print_table(
            "Published speeds, all attempts together",
            ("devices", "weights", "attempts", "tok/s", "this", "error", "source"),
            [
                (
                    item.row.gpus,
                    item.row.weights,
                    str(item.row.attempts),
                    f"{item.row.tokens_per_second:,.0f}",
                    f"{item.predicted:,.0f}",
                    f"{item.error:+.0%}",
                    item.row.source,
                )
                for item in checked
            ],
            note="two engine constants and the mean context were chosen by the L4 rows; on H100 that notebook's engine "
            "stayed far below what memory allows: these figures are what a good engine reaches",
        )


def _checked(item: Any) -> dict[str, Any]:
    return {
        "gpus": item.row.gpus,
        "weights": item.row.weights,
        "published": item.row.tokens_per_second,
        "predicted": item.predicted,
        "error": item.error,
    }


def _device(name: str, memory: str | None) -> Device:
    device = find_device(name)
    if memory is None:
        return device
    room = parse_bytes(memory, "--memory")
    if not 1e8 <= room <= 1e14:
        raise InputError(f"--memory {memory}: no device has {show_bytes(room)}", "write for example 24GB")
    return replace(device, memory=room)


def _cure(shape: Shape, weights: str) -> str:
    for text in ("1xL4", "2xL4", "4xL4", "1xH100", "2xH100", "4xH100", "8xH100", "8xB200"):
        count, name = parse_devices(text)
        if shape.heads % count == 0 and Server(shape, find_device(name), count, weights).fits(8192):
            return f"use for example --gpus {text}, or narrower --weights (fp8, int8, int4)"
    return "use narrower --weights (fp8, int8, int4)"


def _ways(server: Server, attempts: int, length: int, prompt: int) -> list[Fleet]:
    """How these devices are best used for these attempts, and, where that is another way, a copy on each device.

    Where nothing fits: the way that leaves most memory.
    """
    ways = fleets(server)
    fitting = [fleet for fleet in ways if fleet.fits(prompt + length)]
    if not fitting:
        return [min(ways, key=lambda fleet: fleet.copies)]
    best = min(fitting, key=lambda fleet: fleet.attempt_seconds(attempts, length, prompt))
    return [best, *(fleet for fleet in fitting if fleet.server.ranks == 1 and fleet != best)]


def _row(
    fleet: Fleet, usable: Clock, problems: int, base: float, attempts: int, length: int, prompt: int
) -> dict[str, Any]:
    context = prompt + length
    rows = fleet.fits(context)
    server = fleet.server
    device = server.device
    if rows < 1:
        memory = serving_memory(
            server.shape, device, context, ranks=server.ranks, weights=server.weights, cache=server.cache
        )
        needed = memory.weights + memory.working + memory.reserved + memory.cache_per_sequence
        why = f"{show_bytes(needed)} needed on each {device.name}, {show_bytes(device.memory)} there"
        return {"gpus": fleet.name, "fits": 0, "why": why}
    seconds = fleet.attempt_seconds(attempts, length, prompt)
    hours = base * problems / 3600
    width = min(rows, attempts)
    return {
        "gpus": fleet.name,
        "copies": fleet.copies,
        "devices_per_copy": server.ranks,
        "fits": rows,
        "tokens_per_second": fleet.tokens_per_second(width, prompt + length / 2),
        "tokens_per_second_each": fleet.tokens_per_second(width, prompt + length / 2) / width,
        "prefill_seconds": server.prefill_seconds(prompt),
        "seconds": seconds,
        "in_time": "base" if seconds <= usable.base else "cap" if seconds <= usable.cap else "no",
        "most_attempts": fleet.most_attempts(length, usable.base, prompt),
        "longest": fleet.longest(attempts, usable.base, prompt),
        "longest_at_cap": fleet.longest(attempts, usable.cap, prompt),
        "grid": {tokens: fleet.most_attempts(tokens, usable.base, prompt) for tokens in LENGTHS},
        "exam_usd": hours * fleet.devices * device.usd_per_hour,
        "exam_kwh": hours * fleet.devices * device.power / 1e3,
    }


def _show(shape: Shape, weights: str, rows: list[dict[str, Any]], timing: Clock, attempts: int, length: int) -> None:
    print_table(
        f"{shape.name} in {weights}: {attempts} attempts of {length:,} tokens, {show_seconds(timing.base)} a problem "
        f"(at most {show_seconds(timing.cap)})",
        (
            "devices",
            "copies",
            "fit",
            "tok/s",
            "each",
            "takes",
            "in time",
            "most attempts",
            "longest",
            "at cap",
            "USD",
            "kWh",
        ),
        [
            (
                row["gpus"],
                str(row["copies"]),
                f"{row['fits']:,}",
                f"{row['tokens_per_second']:,.0f}",
                f"{row['tokens_per_second_each']:,.0f}",
                show_seconds(row["seconds"]),
                {"base": "yes", "cap": "at cap", "no": "no"}[row["in_time"]],
                _most(row["most_attempts"]),
                f"{row['longest']:,}",
                f"{row['longest_at_cap']:,}",
                f"{row['exam_usd']:.3g}",
                f"{row['exam_kwh']:.2g}",
            )
            for row in rows
            if row["fits"]
        ],
        note="copies: of the model, each on its share of the devices; the fastest way first, then a copy on each "
        "device; fit: attempts of that length whose caches fit at once; most attempts: of that length in time; "
        "longest: tokens each of these attempts may take; USD and kWh: of the whole exam",
    )
    print_lines(*(f"{row['gpus']}: {row['why']}" for row in rows if not row["fits"]))
    print_lines("")
    print_table(
        "Attempts in time, by length",
        ("devices", *(f"{length // 1000}k" for length in LENGTHS)),
        [(_way(row), *(_most(count) for count in row["grid"].values())) for row in rows if row["fits"]],
    )


def _way(row: dict[str, Any]) -> str:
    return row["gpus"] if row["copies"] == 1 else f"{row['gpus']}, {row['copies']} copies"


def _most(count: int) -> str:
    return f">={count:,}" if count >= MOST else f"{count:,}" if count and math.isfinite(count) else "-"
