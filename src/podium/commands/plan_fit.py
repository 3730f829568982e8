"""`podium plan fit`: what of batch x context fits on which device, for serving."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from podium.commands.plan_show import print_json, print_table
from podium.errors import InputError
from podium.plan.convnet import ConvNet
from podium.plan.hardware import find_device
from podium.plan.inference_memory import serving_memory
from podium.plan.named import find_model
from podium.plan.units import parse_devices, parse_whole, show_bytes


def fit(
    model: Annotated[str, typer.Option(help="A name, a config.json, or layers=32,hidden=4096,heads=32,…")],
    gpus: Annotated[str, typer.Option(help="One group that shares the weights, e.g. 1xL4 or 4xH100.")],
    context: Annotated[list[str] | None, typer.Option(help="Tokens per sequence (several: a table).")] = None,
    weights: Annotated[str, typer.Option(help="fp32, bf16, fp8, int8, int4 or fp4.")] = "bf16",
    cache: Annotated[str, typer.Option(help="fp32, bf16, fp8 or int8.")] = "bf16",
    json_: Annotated[bool, typer.Option("--json", help="JSON instead of tables.")] = False,
) -> None:
    """Say how many sequences of which length fit beside the weights.

    Example: podium plan fit --model qwen2.5-14b --gpus 4xL4 --weights int8 --context 16k
    """
    shape = find_model(model)
    if isinstance(shape, ConvNet):
        raise InputError(f"{shape.name} has no cache", "name a decoder, e.g. qwen2.5-14b")
    ranks, name = parse_devices(gpus)
    device = find_device(name)
    lengths = [parse_whole(text, "--context") for text in context or ["2k", "8k", "32k", "128k"]]
    found = [
        (length, serving_memory(shape, device, length, ranks=ranks, weights=weights, cache=cache)) for length in lengths
    ]
    if found[0][1].free <= 0:
        first = found[0][1]
        raise InputError(
            f"{shape.name} in {weights} needs {show_bytes(first.weights + first.working + first.reserved)} on each of "
            f"{ranks} x {device.name}, which have {show_bytes(device.memory)}",
            "use more devices, narrower --weights or a larger device",
        )
    if json_:
        print_json([{"context": length, **asdict(memory)} for length, memory in found])
        return
    first = found[0][1]
    print_table(
        f"{shape.name} on {ranks} x {device.name}: weights {show_bytes(first.weights)} each, "
        f"{show_bytes(max(0.0, first.free))} left for caches",
        ("context", "sequences", "cache each"),
        [(f"{n:,}", f"{m.sequences:,}", show_bytes(m.cache_per_sequence * ranks)) for n, m in found],
    )
