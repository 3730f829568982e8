"""`podium plan memory`: peak memory of one of our own trainings on a CPU."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from podium.commands.plan_show import print_json, print_lines, print_table
from podium.errors import InputError
from podium.models.families.registry import FAMILIES
from podium.plan.convnet import ConvNet
from podium.plan.named import find_model
from podium.plan.trainer_memory import trainer_memory
from podium.plan.units import parse_whole, show_bytes


def memory(
    model: Annotated[str, typer.Option(help="A model folder, a name, or layers=4,hidden=256,heads=4,…")],
    rows: Annotated[int, typer.Option(min=1, help="Rows per micro-batch.")] = 8,
    row_length: Annotated[str, typer.Option(help="Tokens per row.")] = "256",
    optimizer: Annotated[str, typer.Option(help="adamw, muon or sgd.")] = "adamw",
    accumulation: Annotated[int, typer.Option(min=1, help="Micro-batches per step.")] = 1,
    trained: Annotated[float, typer.Option(min=0.001, max=1, help="Share of tokens that are trained on.")] = 1.0,
    json_: Annotated[bool, typer.Option("--json", help="JSON instead of tables.")] = False,
) -> None:
    """Foretell the peak memory of a training on this machine's CPU (fp32, as `podium run` trains).

    Example: podium plan memory --model layers=6,hidden=384,heads=6,ffn=1024,vocab=4096 --rows 8 --row-length 512
    """
    shape = find_model(model)
    if isinstance(shape, ConvNet):
        known = ", ".join(FAMILIES)
        raise InputError(f"{shape.name}: the trainer has no such model", f"it trains decoders of families {known}")
    found = trainer_memory(
        shape,
        rows,
        parse_whole(row_length, "--row-length"),
        optimizer=optimizer,
        accumulation=accumulation,
        trained=trained,
    )
    if json_:
        print_json(asdict(found))
        return
    parts = {k: v for k, v in asdict(found).items() if k not in ("peak", "moment")}
    print_table(shape.name, ("part at its largest", "bytes"), [(name, show_bytes(v)) for name, v in parts.items()])
    print_lines(
        f"peak {show_bytes(found.peak)}, in: {found.moment}",
        "beside the interpreter and PyTorch (about 300 MB); glibc's heap may keep freed pieces and hold up to 1.6 "
        "times as much, unless MALLOC_MMAP_THRESHOLD_=65536 is set",
    )
