"""`podium plan count`, `scale` and `devices`: figures of networks, budgets and accelerators."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from podium.commands.plan_show import print_json, print_lines, print_table
from podium.errors import InputError
from podium.plan.convnet import ConvNet
from podium.plan.counting import RECOMPUTATIONS, forward_flops, parameters, training_flops
from podium.plan.hardware import DEVICES
from podium.plan.named import MODELS, find_model
from podium.plan.scaling import judge, optimal, with_inference
from podium.plan.shapes import described, with_sequence
from podium.plan.units import PFLOPS_DAY, parse_count, parse_whole, show_bytes, show_count, show_flop

JsonOption = Annotated[bool, typer.Option("--json", help="JSON instead of tables.")]


def count(
    model: Annotated[
        list[str] | None, typer.Option(help="Names, config.json files or shapes (default: all names).")
    ] = None,
    seq: Annotated[str | None, typer.Option(help="Tokens per row (default: the model's).")] = None,
    json_: JsonOption = False,
) -> None:
    """Count parameters and FLOPs by part, attention counted both ways, with and without recomputation.

    Example: podium plan count --model llama-3.1-8b --seq 8192
    """
    rows = [_counted(name, seq) for name in model or MODELS]
    if json_:
        print_json(rows)
        return
    if not model:
        print_table(
            "Known models",
            ("model", "parameters", "active", "forward GFLOP/token", "KV bytes/token"),
            [
                (
                    row["model"],
                    show_count(row["parameters"]["total"]),
                    show_count(row["parameters"]["active"]),
                    f"{row['forward_flop_full']['total'] / row['items'] / 1e9:.3g}",
                    f"{row['kv_bytes_per_token']:,.0f}",
                )
                for row in rows
            ],
            note="forward passes at the model's own context, attention counted in full; caches of 2 bytes a number",
        )
        return
    for row in rows:
        _show_counted(row)


def _counted(name: str, seq: str | None) -> dict[str, Any]:
    model = find_model(name)
    if seq and not isinstance(model, ConvNet):
        model = with_sequence(model, parse_whole(seq, "--seq"))
    counted = parameters(model)
    both = {f"forward_flop_{kind}": forward_flops(model, None, kind) for kind in ("full", "causal")}
    recomputed = {again: training_flops(model, None, "full", again).total for again in RECOMPUTATIONS}
    transformer = not isinstance(model, ConvNet)
    cached = model.layers * model.kv_numbers_per_token * 2 if transformer and model.kind == "decoder" else 0
    return {
        "model": model.name,
        "shape": described(model) if transformer else asdict(model),
        "items": model.sequence if transformer and not model.patches else 1,
        "unit": "token" if transformer and not model.patches else "image",
        "parameters": {**asdict(counted), "total": counted.total},
        **{key: {**asdict(flops), "total": flops.total} for key, flops in both.items()},
        "training_flop_full": recomputed,
        "kv_bytes_per_token": cached,
    }


def _show_counted(row: dict[str, Any]) -> None:
    counted = {k: v for k, v in row["parameters"].items() if k not in ("total", "active") and v}
    print_table(
        row["model"],
        ("parameters", "", "share"),
        [
            *((k.replace("_", " "), f"{v:,}", f"{v / row['parameters']['total']:.1%}") for k, v in counted.items()),
            ("total", f"{row['parameters']['total']:,}", ""),
            *([("active", f"{row['parameters']['active']:,}", "")] if "experts" in row["shape"] else []),
        ],
    )
    items, unit = row["items"], row["unit"]
    full, causal = row["forward_flop_full"], row["forward_flop_causal"]
    print_table(
        f"GFLOP per {unit}" + (f" in rows of {items:,}" if items > 1 else ""),
        ("forward", "attention full", "attention causal"),
        [
            (part.replace("_", " "), f"{full[part] / items / 1e9:.4g}", f"{causal[part] / items / 1e9:.4g}")
            for part in full
            if full[part]
        ],
    )
    again = row["training_flop_full"]
    print_lines(
        "training, attention full: "
        + ", ".join(f"{again[kind] / items / 1e9:.4g} ({kind} recomputed)" for kind in RECOMPUTATIONS),
        f"6 N D: {6 * row['parameters']['active'] / 1e9:.4g}" if unit == "token" else "",
        f"cache: {show_bytes(row['kv_bytes_per_token'])} per token of context" if row["kv_bytes_per_token"] else "",
        "",
    )


def scale(
    flops: Annotated[str | None, typer.Option(help="Budget, in FLOP (1e24) or PF-days (3640pfd).")] = None,
    model: Annotated[str | None, typer.Option(help="Judge this model instead …")] = None,
    tokens: Annotated[str | None, typer.Option(help="… trained on so many tokens.")] = None,
    serve: Annotated[str | None, typer.Option(help="Tokens it will generate in its life, e.g. 1T.")] = None,
    json_: JsonOption = False,
) -> None:
    """Spend a budget well: parameters and tokens by Chinchilla, and over-training for cheaper serving.

    Example: podium plan scale --model yuan-1.0 --tokens 180B
    """
    values: dict[str, Any] = {}
    if model:
        if not tokens:
            raise InputError("--model needs --tokens", "e.g. --model llama-3.1-8b --tokens 15T")
        shape = find_model(model)
        if isinstance(shape, ConvNet) or shape.kind == "vision":
            raise InputError(f"{shape.name} reads no tokens", "the laws are for language models, e.g. llama-3.1-8b")
        judged = judge(parameters(shape).active, parse_count(tokens, "--tokens"))
        budget = judged.flop
        values["judgement"] = asdict(judged)
    elif flops:
        budget = _budget(flops)
    else:
        raise InputError("nothing to scale", "give --flops 1e24, or --model with --tokens")
    values |= {"flop": budget, "pflops_days": budget / PFLOPS_DAY}
    laws = {law: optimal(budget, law) for law in ("rule", "hoffmann", "besiroglu")}
    values["optimal"] = {law: {"parameters": n, "tokens": d} for law, (n, d) in laws.items()}
    if serve:
        plain, longer = with_inference(budget, parse_count(serve, "--serve"))
        values["serving"] = {"training_only": asdict(plain), "with_serving": asdict(longer)}
    if json_:
        print_json(values)
        return
    print_table(
        f"{budget:.3g} FLOP = {show_flop(budget)}",
        ("best spent on", "parameters", "tokens", "tokens/parameter"),
        [(law, show_count(n), show_count(d), f"{d / n:.1f}") for law, (n, d) in laws.items()],
    )
    if model:
        j = values["judgement"]
        missing = (
            f"{show_count(j['missing_tokens'])} tokens short of 20 per parameter"
            if j["missing_tokens"]
            else "trained past 20 tokens per parameter"
        )
        print_lines(
            f"{model} on {tokens}: {j['tokens_per_parameter']:.2f} tokens per parameter, {missing}; "
            f"{j['excess_loss']:+.3f} nats above the best for its budget"
        )
    if serve:
        s = values["serving"]["with_serving"]
        p = values["serving"]["training_only"]
        saved = 1 - (s["training_flop"] + s["serving_flop"]) / (p["training_flop"] + p["serving_flop"])
        print_lines(
            f"serving {serve} tokens: {show_count(s['parameters'])} parameters on {show_count(s['tokens'])} tokens "
            f"reach the same loss and save {saved:.0%} of all operations"
        )


def _budget(text: str) -> float:
    lowered = text.lower().strip()
    for ending in ("pf-days", "pfdays", "pfd"):
        if lowered.endswith(ending):
            return parse_count(lowered.removesuffix(ending), "--flops") * PFLOPS_DAY
    flop = parse_count(text, "--flops")
    if flop < 1e12:
        raise InputError(f"--flops {text} is less than any training", "write FLOP as 1e24, or 3640pfd for PF-days")
    return flop


def devices(json_: JsonOption = False) -> None:
    """List the accelerators that are known, with the sources of their figures.

    Example: podium plan devices
    """
    if json_:
        print_json([asdict(device) for device in DEVICES.values()])
        return
    print_table(
        "Dense peak in TFLOP/s; GB and GB/s of 10^9; links in one direction",
        ("device", "16 bit", "8 bit", "memory", "bandwidth", "link", "network", "W", "reached"),
        [
            (
                d.name,
                f"{d.peak[d.training_format] / 1e12:,.0f}",
                f"{max((d.peak.get(f, 0) for f in ('fp8', 'int8')), default=0) / 1e12:,.0f}",
                f"{d.memory / 1e9:,.1f}",
                f"{d.bandwidth / 1e9:,.0f}",
                f"{d.link / 1e9:,.0f} x{d.domain}",
                f"{d.network / 1e9:,.1f}",
                f"{d.power:,.0f}",
                f"{d.achievable:.0%}",
            )
            for d in DEVICES.values()
        ],
        note="sources: --json; `reached` is the share of the matrix peak large products get at sustained clocks",
    )
