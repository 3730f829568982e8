"""`podium plan train`: layouts of a training, ranked, with memory, time and cost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from podium.commands.plan_show import print_json, print_lines, print_table
from podium.errors import InputError
from podium.plan.convnet import ConvNet
from podium.plan.counting import Attention, parameters
from podium.plan.hardware import find_device
from podium.plan.layouts import Choices, Layout, parse_layout
from podium.plan.named import find_model
from podium.plan.recipe import Recipe
from podium.plan.search import Candidate, Job, Plan, default_batch, devices_for, goodput_range, search
from podium.plan.shapes import Shape, with_sequence
from podium.plan.units import (
    DAY,
    PFLOPS_DAY,
    parse_bytes,
    parse_count,
    parse_devices,
    parse_rate,
    parse_seconds,
    parse_whole,
    show_bytes,
    show_count,
    show_flop,
    show_seconds,
)


def train(
    model: Annotated[str, typer.Option(help="A name, a config.json, or layers=32,hidden=4096,heads=32,…")],
    tokens: Annotated[str, typer.Option(help="Training tokens, e.g. 300B or 2.2M*9k (samples times length).")],
    gpus: Annotated[str, typer.Option(help="How many of which device, e.g. 512xH100.")],
    seq: Annotated[str | None, typer.Option(help="Tokens per row (default: the model's).")] = None,
    batch: Annotated[str | None, typer.Option(help="Global batch in sequences, or in tokens: 4Mtokens.")] = None,
    epochs: Annotated[float, typer.Option(min=0.001, help="Passes over the tokens.")] = 1.0,
    sft: Annotated[bool, typer.Option("--sft", help="Fine-tuning on documents packed into rows.")] = False,
    days: Annotated[float | None, typer.Option(min=0.001, help="Time there is; says whether it is enough.")] = None,
    memory: Annotated[str | None, typer.Option(help="Memory per device, e.g. 80GB (default: the device's).")] = None,
    layout: Annotated[str | None, typer.Option(help="Judge this one, e.g. T8P38D7 (C, E, B, V, Z too).")] = None,
    precision: Annotated[str, typer.Option(help="bf16, fp16, fp8 or fp32.")] = "bf16",
    optimizer: Annotated[str, typer.Option(help="adamw, adamw8bit, muon or sgd.")] = "adamw",
    offload: Annotated[bool, typer.Option("--offload", help="Optimiser states may live in host memory.")] = False,
    attention: Annotated[str, typer.Option(help="How MFU counts attention: full or causal.")] = "full",
    schedule: Annotated[str, typer.Option(help="Pipeline schedule: gpipe, 1f1b, interleaved or zero-bubble.")] = "1f1b",
    mtbf: Annotated[str | None, typer.Option(help="Time between failures of one device, e.g. 50000h.")] = None,
    network: Annotated[str | None, typer.Option(help="Network per device, e.g. 400Gb or 50GB (per second).")] = None,
    domain: Annotated[int | None, typer.Option(min=1, help="Devices the fast links join, e.g. 8 or 72.")] = None,
    price: Annotated[float | None, typer.Option(min=0, help="USD per device and hour.")] = None,
    top: Annotated[int, typer.Option(min=1, help="Layouts to show.")] = 8,
    page: Annotated[Path | None, typer.Option("--html", help="Also write a page with charts to this file.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="JSON instead of tables.")] = False,
) -> None:
    """Lay out a training: what fits, how fast it is, what it costs, and why the rest fails.

    Exit code 1: the layout of --layout does not work.

    Example: podium plan train --model qwen2.5-14b --tokens 2.2M*9k --gpus 512xH100 --sft --days 2
    """
    job = _job(model, tokens, gpus, seq, batch, epochs, sft, memory, precision, optimizer, attention, schedule, price)
    if network:
        job = replace(job, device=replace(job.device, network=parse_rate(network, "--network")))
    if domain:
        job = replace(job, device=replace(job.device, domain=domain))
    if mtbf:
        job = replace(job, mtbf=_mtbf(mtbf))
    choices = Choices(recompute=("none", "selective", "full"), offload=(False, True) if offload else (False,))
    plan = search(job, choices, keep=2000 if page else 500)
    judged = _judge(job, choices, plan, layout) if layout else None
    wanted = _deadline(plan, days) if days else None
    if page:
        from podium.plan.page import write_page

        write_page(plan, page, top)
    if json_:
        print_json(_to_json(plan, judged, wanted, top))
    else:
        _show(plan, judged, wanted, top)
    if not plan.candidates:
        raise InputError(f"no layout of {job.devices:,} x {job.device.name} works", _way_out(plan, choices))
    if judged and not judged["feasible"]:
        raise typer.Exit(1)  # a verdict, as of `bench check`; the reasons are in what was printed


def _way_out(plan: Plan, choices: Choices) -> str:
    """What would have to be different for anything to fit."""
    job = plan.job
    too_large = [failure for failure in plan.failures if failure.leanest]
    if too_large:
        cures = [f"give at least {too_large[0].leanest / 1e9:,.1f} GB per device"]
        devices = job.devices
        while devices < 65_536:
            devices *= 2
            batch = max(job.batch, devices)
            if search(replace(job, devices=devices, batch=batch), choices, keep=1).candidates:
                cures.append(f"or {devices:,} devices" + (f" with a batch of {batch:,}" if batch != job.batch else ""))
                break
        if choices.offload == (False,) and search(job, replace(choices, offload=(True,)), keep=1).candidates:
            cures.append("or --offload")
        return ", ".join(cures)
    for factor in (2, 3, 4, 6, 7, 8, 16, 32, 64):
        batch = job.batch * factor
        if search(replace(job, batch=batch), choices, keep=1).candidates:
            return f"give --batch {batch} or fewer devices: {plan.failures[0].reason}"
    return f"change --batch ({job.batch:,} sequences) or the number of devices: {plan.failures[0].reason}"


def _mtbf(text: str) -> float:
    seconds = parse_seconds(text, "--mtbf")
    if seconds < 3600:
        raise InputError(f"--mtbf {text}: nothing trains on devices that fail that often", "write for example 50000h")
    return seconds


def _job(
    model: str,
    tokens: str,
    gpus: str,
    seq: str | None,
    batch: str | None,
    epochs: float,
    sft: bool,
    memory: str | None,
    precision: str,
    optimizer: str,
    attention: str,
    schedule: str,
    price: float | None,
) -> Job:
    shape = find_model(model)
    count, name = parse_devices(gpus)
    device = find_device(name)
    if isinstance(shape, ConvNet):
        raise InputError(f"{shape.name} has no layers to lay out", "use `podium plan count` for its figures")
    if attention not in ("full", "causal"):
        raise InputError(f"unknown way to count attention: {attention!r}", "write full or causal")
    kind: Attention = "full" if attention == "full" else "causal"
    if price is not None:
        device = replace(device, usd_per_hour=price)
    total = parse_count(tokens, "tokens") * epochs
    if total > 1e18:
        raise InputError(
            f"{tokens!r} is {total:.2g} tokens", "all text there is comes to about 1e15; is a suffix wrong?"
        )
    attended = None
    if sft and "*" in tokens:
        attended = int(parse_count(tokens.split("*")[-1], "length of a sample"))
    sequence = parse_whole(seq, "--seq") if seq else shape.sequence
    if sft and not seq:
        # Rows that hold a few samples, so that little of a row stays empty.
        sequence = max(sequence, 1 << (2 * (attended or 1) - 1).bit_length() if attended else 16_384)
    if sequence > 10_000_000:
        raise InputError(f"--seq {seq}: no one trains on rows of {sequence:,} tokens", "write for example 8192")
    if sequence != shape.sequence:
        shape = with_sequence(shape, sequence)
    room = parse_bytes(memory, "--memory") if memory else None
    if room is not None and not 1e8 <= room <= 1e14:
        raise InputError(f"--memory {memory}: no device has {show_bytes(room)}", "write for example 80GB")
    rows = _batch(batch, shape, sequence, count)
    if total < rows * sequence:
        raise InputError(
            f"{tokens!r} is less than one batch of {rows:,} rows of {sequence:,} tokens",
            f"is a suffix missing ({tokens}B)? Or give a smaller --batch",
        )
    recipe = Recipe(precision=precision, optimizer=optimizer, attended=attended)  # pyright: ignore[reportArgumentType]
    return Job(
        shape=shape,
        device=device,
        devices=count,
        tokens=total,
        batch=rows,
        sequence=sequence,
        recipe=recipe,
        memory=room,
        attention=kind,
        schedule=schedule,
    )


def _batch(text: str | None, shape: Shape, sequence: int, devices: int) -> int:
    if text is None:
        return default_batch(parameters(shape).active, sequence, devices)
    if text.lower().endswith(("tokens", "tok")):
        tokens = parse_count(text.lower().removesuffix("tokens").removesuffix("tok"), "--batch")
        return max(1, round(tokens / sequence))
    return parse_whole(text, "--batch")


def _judge(job: Job, choices: Choices, plan: Plan, layout: str) -> dict[str, Any]:
    """Whether one layout fits, and where it stands among all."""
    given = parse_layout(layout)
    named = Layout(given.get("tp", 1), given.get("pp", 1), given.get("dp", 1), given.get("cp", 1))
    if "dp" in given and named.devices != job.devices:
        raise InputError(
            f"layout {named} is for {named.devices} devices, not {job.devices}",
            f"give --gpus {named.devices}x… or no D",
        )
    if "cp" not in given and "dp" in given:
        given["cp"] = 1
    alone = search(job, choices.fixed(given))
    result: dict[str, Any] = {"layout": layout, "feasible": bool(alone.candidates)}
    if alone.candidates:
        best = alone.candidates[0]
        faster = sum(other.step_seconds < best.step_seconds * 0.9999 for other in plan.best_of_each())
        result |= {"rank": faster + 1, "of": len(plan.best_of_each()), "candidate": best}
    else:
        result["why"] = [
            failure.reason + (f"; {failure.nearest}" if failure.nearest else "") for failure in alone.failures
        ]
        if plan.candidates:
            result["instead"] = str(_most_like(given, plan).layout)
    return result


def _most_like(given: dict[str, int], plan: Plan) -> Candidate:
    """Of what works, the candidate that keeps most of the given sizes; the fastest of those."""
    return max(
        plan.candidates,
        key=lambda one: (sum(getattr(one.layout, k, None) == v for k, v in given.items()), -one.step_seconds),
    )


def _deadline(plan: Plan, days: float) -> dict[str, Any]:
    result: dict[str, Any] = {"days": days, "enough": False}
    if plan.candidates:
        best = plan.candidates[0]
        low, likely, high = best.days
        result["enough"] = likely <= days
        result["certain"] = high <= days
        result["possible"] = low <= days
        result["devices_needed"] = devices_for(plan.job, best.model_flops_per_second, days)
    return result


def _to_json(plan: Plan, judged: dict[str, Any] | None, wanted: dict[str, Any] | None, top: int) -> dict[str, Any]:
    job = plan.job
    if judged and "candidate" in judged:
        judged = {**judged, "candidate": judged["candidate"].to_json()}
    return {
        "model": job.shape.name,
        "parameters": parameters(job.shape).total,
        "active_parameters": parameters(job.shape).active,
        "device": job.device.name,
        "devices": job.devices,
        "tokens": job.tokens,
        "sequence": job.sequence,
        "batch": job.batch,
        "steps": job.steps,
        "model_flop": job.model_flop,
        "pflops_days": job.model_flop / PFLOPS_DAY,
        "attention": job.attention,
        "considered": plan.considered,
        "feasible": plan.feasible,
        "range": {"low": plan.spread.low, "high": plan.spread.high, "because": list(plan.spread.because)},
        "layouts": [candidate.to_json() for candidate in plan.best_of_each()[:top]],
        "failures": [{"reason": f.reason, "count": f.count, "nearest": f.nearest} for f in plan.failures],
        **({"judged": judged} if judged else {}),
        **({"deadline": wanted} if wanted else {}),
    }


def _show(plan: Plan, judged: dict[str, Any] | None, wanted: dict[str, Any] | None, top: int) -> None:
    job = plan.job
    count = parameters(job.shape)
    active = f" ({show_count(count.active)} active)" if count.active != count.total else ""
    packed = f", packed from documents of {job.recipe.attended:,}" if job.recipe.attended else ""
    print_lines(
        f"{job.shape.name}: {show_count(count.total)} parameters{active}, {show_count(job.tokens)} tokens in rows of "
        f"{job.sequence:,}{packed}, batch {job.batch:,} rows, {job.steps:,.0f} steps",
        f"{show_flop(job.model_flop)} of model FLOPs (attention counted {job.attention}), on {job.devices:,} x "
        f"{job.device.name}",
        "",
    )
    best = plan.best_of_each()
    if best:
        unit, scale = ("hours", 24.0) if best[0].days[1] < 1 else ("days", 1.0)
        lost = 1 - goodput_range(job)[1]
        print_table(
            f"{plan.feasible:,} of {plan.considered:,} layouts fit; the fastest of each",
            ("layout", "batch", "again", "GB", "step s", "MFU", "HFU", unit, "range", "USD"),
            [_line(candidate, scale) for candidate in best[:top]],
            note=f"batch: b micro-batch, v chunks per stage, z ZeRO stage; again: what is recomputed; {unit} "
            f"include {lost:.0%} lost to failures and evaluation; MFU counts nothing twice, HFU what is recomputed",
        )
        _breakdown(best[0])
        _range_lines(plan)
    else:
        print_lines("no layout fits")
    if plan.failures:
        print_lines("", f"why the other {plan.considered - plan.feasible:,} fail:")
        print_lines(*(f"  {f.count:>7,}  {f.reason}{'; ' + f.nearest if f.nearest else ''}" for f in plan.failures))
    if judged:
        print_lines("", _judgement(judged))
    if wanted:
        print_lines("", _deadline_line(wanted, job.devices))


def _line(candidate: Candidate, scale: float) -> tuple[str, ...]:
    layout = candidate.layout
    low, likely, high = (value * scale for value in candidate.days)
    return (
        str(layout),
        f"b{layout.micro_batch} v{layout.interleave} z{layout.zero}" + (" o" if layout.offload else ""),
        {"none": "-", "selective": "part", "full": "all"}[layout.recompute],
        f"{candidate.memory_total / 1e9:.1f}",
        f"{candidate.step_seconds:.3g}",
        f"{candidate.mfu:.1%}",
        f"{candidate.hfu:.1%}",
        f"{likely:,.3g}",
        f"{low:,.3g}-{high:,.3g}",
        show_count(candidate.usd),
    )


def _breakdown(candidate: Candidate) -> None:
    seconds = candidate.step_seconds
    time = sorted(candidate.time.items(), key=lambda item: -item[1])
    memory = sorted(candidate.memory.items(), key=lambda item: -item[1])
    print_lines(
        "",
        f"{candidate.layout}, a step: " + ", ".join(f"{k} {v / seconds:.0%}" for k, v in time if v > 0.005 * seconds),
        f"{candidate.layout}, a device: " + ", ".join(f"{k} {show_bytes(v)}" for k, v in memory if v > 1e7),
    )


def _range_lines(plan: Plan) -> None:
    spread, best = plan.spread, plan.candidates[0]
    low, high = best.step_range
    print_lines(
        "",
        f"the range: a step may take {spread.low:.2f} to {spread.high:.2f} times as long as predicted, here "
        f"{low:.3g} to {high:.3g} s; USD {show_count(best.usd_range[0])} to {show_count(best.usd_range[1])}",
    )
    print_lines(*(f"  wide because of: {why}" for why in spread.because))


def _judgement(judged: dict[str, Any]) -> str:
    if not judged["feasible"]:
        return (
            f"{judged['layout']} does not work: "
            + "; ".join(judged["why"])
            + (f". What works and is most like it: {judged['instead']}" if "instead" in judged else "")
        )
    candidate: Candidate = judged["candidate"]
    return (
        f"{judged['layout']} fits: {show_bytes(candidate.memory_total)}, {show_seconds(candidate.step_seconds)} "
        f"({candidate.step_range[0]:.3g} to {candidate.step_range[1]:.3g} s) a step, MFU {candidate.mfu:.1%}, "
        f"{show_seconds(candidate.days[1] * DAY)}; "
        f"rank {judged['rank']} of {judged['of']}"
    )


def _deadline_line(wanted: dict[str, Any], devices: int) -> str:
    days = f"{wanted['days']:g} days"
    if "devices_needed" not in wanted:
        return f"{days}: nothing fits on these devices"
    if wanted["certain"]:
        return f"{days} are enough, whatever the range"
    verdict = "are likely enough" if wanted["enough"] else "are not enough"
    return f"{days} {verdict}: about {wanted['devices_needed']:,} devices at this rate would do ({devices:,} given)"
