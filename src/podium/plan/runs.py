"""Published training runs: a CSV of shapes, layouts and speeds, turned into what a prediction can be held against.

One row is one run. What a row leaves open (micro-batch, interleaving, data-parallel sharding) the planner chooses as
the authors would have: the fastest that fits. What its source says of the software, beyond the columns, is in
SOURCES; a column of the same name overrides it. What cannot be read is refused with its line, never guessed.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from podium.errors import InputError, nearest
from podium.plan.convnet import ConvNet
from podium.plan.counting import RECOMPUTATIONS, Attention, Recomputation, parameters, training_flops
from podium.plan.hardware import Device, find_device
from podium.plan.hf_config import read_config
from podium.plan.layouts import Choices
from podium.plan.named import MODELS
from podium.plan.recipe import PRECISIONS, Recipe
from podium.plan.shapes import Shape, gpt_shape, parse_shape, same_sizes, with_sequence

PUBLISHED = Path(__file__).parent / "data" / "published_runs.csv"
DAY = 86_400.0
GOODPUT = 0.9  # of the hours of a whole run, spent on steps that count; what is published as total time contains it


@dataclass(frozen=True, slots=True)
class Software:
    """How a source's runs were made, beyond the columns of the table."""

    recompute: tuple[Recomputation, ...] = RECOMPUTATIONS
    recipe: Recipe = field(default_factory=Recipe)
    sequence_parallel: bool = True
    interleave: tuple[int, ...] | None = None  # None: the fastest
    zero: tuple[int, ...] = (0, 1, 3)
    schedule: str = "1f1b"
    attention: Attention = "full"  # how its FLOPs are counted
    device: str = ""  # where no column says it


_UNFUSED = Recipe(precision="fp16", gradient_bytes=2.0, flash=False, dropout=True, overlap=False)
# By arXiv number. Attention kept its scores before FlashAttention (2205.14135); Megatron reduced gradients after the
# backward pass until it learnt to overlap (2023).
SOURCES: dict[str, Software] = {
    # section 5: interleaved 1F1B with scatter/gather, activations recomputed
    "2104.04473": Software(("full",), _UNFUSED, sequence_parallel=False, zero=(0,)),
    # section 2.3: DeepSpeed's 1F1B, not interleaved
    "2201.11990": Software(("full",), _UNFUSED, sequence_parallel=False, interleave=(1,), zero=(0,)),
    # table 3: three chunks per stage where there are three layers
    "2205.05198": Software(("selective",), _UNFUSED, interleave=(3, 1), zero=(0,)),
    "2110.04725": Software(("full",), _UNFUSED, sequence_parallel=False, zero=(0,), device="A100-80GB"),
    # FSDP with Megatron's tensor parallelism
    "2205.01068": Software(("full",), replace(_UNFUSED, overlap=True), sequence_parallel=False, zero=(3,)),
    # section 5: 2D sharding of weights and activations, rematerialisation (57.8 of hardware for 46.2 of model FLOPs)
    "2204.02311": Software(("full",), Recipe(flash=False), zero=(3,)),
    # section 2.4: memory-efficient attention, few activations recomputed, overlap
    "2302.13971": Software(("none", "selective"), Recipe()),
    # section 3.1.2 (BLOOM) and section 3 (GLM): Megatron-DeepSpeed, 1F1B, ZeRO-1, fused softmax
    "2211.05100": Software(("full",), _UNFUSED, sequence_parallel=False, interleave=(1,), zero=(1,)),
    "2210.02414": Software(("full",), _UNFUSED, sequence_parallel=False, interleave=(1,), zero=(1,)),
    # section 3.3: gradients reduced in fp32, FSDP whose weights stay gathered for the backward pass
    "2407.21783": Software(("none", "selective"), Recipe(), zero=(1,), attention="causal"),
    # section 3: FP8, DualPipe, experts' exchange overlapped
    "2412.19437": Software(("selective",), Recipe(precision="fp8"), zero=(1,), schedule="zero-bubble"),
}


@dataclass(frozen=True, slots=True)
class Run:
    """One row, understood. `seconds` is the published time of a step; None: nothing to hold a prediction against."""

    line: int
    name: str
    shape: Shape
    stated_parameters: float | None
    device: Device | None
    devices: int | None
    sequence: int
    batch: int | None  # sequences
    tokens: float | None
    degrees: dict[str, int]
    software: Software
    seconds: float | None
    observed: str  # where `seconds` comes from, or why there is none
    source: str = ""
    columns: dict[str, str] = field(default_factory=dict)

    def choices(self) -> Choices:
        """What a search may still choose for this row."""
        choices = Choices(
            recompute=self.software.recompute,
            interleave=self.software.interleave,
            zero=self.software.zero,
            sequence_parallel=(self.software.sequence_parallel,),
            cp=(1,),
            micro_batch=(1, 2, 4, 8),
        )
        return choices.fixed(self.degrees)


def read_runs(path: Path) -> list[Run]:
    """All rows of a CSV with the columns of podium/plan/data/published_runs.csv.

    Raises:
        InputError: unreadable, a needed column missing, or a field that is no number (with its line).
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = [(reader.line_num, row) for row in reader]
            names = reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read ({error})", "give a CSV of training runs") from error
    missing = [name for name in ("model", "layers", "hidden", "gpu", "gpus") if name not in names]
    if missing:
        raise InputError(
            f"{path}: column {missing[0]} is missing", f"needed are model, layers, hidden, gpu, gpus; see {PUBLISHED}"
        )
    if not rows:
        raise InputError(f"{path}: there are no rows", f"see {PUBLISHED} for an example")
    return [_run(path, line, {key: (value or "").strip() for key, value in row.items() if key}) for line, row in rows]


def _run(path: Path, line: int, row: dict[str, str]) -> Run:
    where = f"{path}:{line}"

    def number(name: str) -> float | None:
        text = row.get(name, "")
        if not text:
            return None
        found = re.fullmatch(r"[A-Za-z]*\s*([0-9.eE+]+)", text)
        if not found:
            raise InputError(f"{where}: {name} is {text!r}", "it must be a number, or empty where unknown")
        return float(found[1])

    def whole(name: str) -> int | None:
        value = number(name)
        return None if value is None else int(value)

    sequence = whole("seq") or 2048
    stated = number("params_b")
    shape = _shape(path.parent, where, row, whole, sequence, stated)
    degrees = {name: value for name in ("tp", "pp", "dp") if (value := whole(name))}
    if batch := whole("micro_bs"):
        degrees["micro_batch"] = batch
    degrees |= _other_degrees(where, row, whole)
    if degrees.get("ep", 1) > 1 and not shape.experts:
        raise InputError(
            f"{where}: {degrees['ep']} expert-parallel ranks, but {shape.name} has no experts",
            "say the network in a column shape (experts=…) or config (path of its config.json), or leave EP out",
        )
    software = _software(where, row)
    device = _device(where, row.get("gpu", "")) or (find_device(software.device) if software.device else None)
    run = Run(
        line=line,
        name=row["model"] or f"row {line}",
        shape=shape,
        stated_parameters=stated * 1e9 if stated else None,
        device=device,
        devices=whole("gpus"),
        sequence=sequence,
        batch=whole("global_bs_seq"),
        tokens=(number("tokens_b") or 0) * 1e9 or None,
        degrees=degrees,
        software=software,
        seconds=None,
        observed="",
        source=row.get("source", ""),
        columns=row,
    )
    seconds, observed = _observed(run, number)
    return replace(run, seconds=seconds, observed=observed)


def _other_degrees(where: str, row: dict[str, str], whole: Any) -> dict[str, int]:
    """Context and expert parallelism, of columns of their own or together in `cp_or_ep` ("CP2 EP8")."""
    text = row.get("cp_or_ep", "")
    if not re.fullmatch(r"(((CP|EP)\s*=?\s*[0-9]+|FSDP|ZeRO-?[0-3])[\s,;/]*)*", text, re.IGNORECASE):
        raise InputError(f"{where}: cp_or_ep is {text!r}", "write CP2, EP8 or CP2 EP8, or leave it empty")
    found = {kind.lower(): int(value) for kind, value in re.findall(r"(CP|EP)\s*=?\s*([0-9]+)", text, re.IGNORECASE)}
    return found | {name: value for name in ("cp", "ep") if (value := whole(name))}


def _shape(folder: Path, where: str, row: dict[str, str], whole: Any, sequence: int, stated: float | None) -> Shape:
    """Of the columns `config`, `shape`, or a named network with these sizes; else a GPT whose size is the stated one.

    `folder`: the table's, from which the path in `config` is taken.

    Raises:
        InputError: nothing says what the network is beyond its layers and hidden size.
    """
    if row.get("config"):
        shape = read_config(folder / row["config"])
        if isinstance(shape, ConvNet):
            raise InputError(f"{where}: {row['config']} has no layers to lay out", "rows are of Transformers")
        return with_sequence(shape, sequence) if sequence != shape.sequence and not shape.patches else shape
    if row.get("shape"):
        return parse_shape(row["shape"])
    layers, hidden = whole("layers"), whole("hidden")
    if not layers or not hidden:
        raise InputError(f"{where}: layers or hidden is empty", "both are needed to know the network")
    heads, vocab = whole("heads") or max(1, hidden // 128), whole("vocab") or 51200
    # A row with the sizes of a named network is that network (its feed-forward and KV heads are in no column); of
    # several the one whose parameters fit.
    known = [
        model
        for model in MODELS.values()
        if isinstance(model, Shape) and same_sizes(model, layers, hidden, heads, vocab) and model.kind == "decoder"
    ]
    active = float(row["active_b"]) if re.fullmatch(r"[0-9.]+", row.get("active_b", "")) else stated
    for model in sorted(known, key=lambda model: abs(parameters(model).total - (stated or 0) * 1e9)):
        count = parameters(model)
        if stated and active and _near(count.total, stated) and _near(count.active, active):
            return model
    shape = gpt_shape(row["model"], layers, hidden, heads, vocab, sequence)
    cure = "say it in a column shape (layers=…,hidden=…,kv=…,ffn=…,experts=…) or config (path of its config.json)"
    if not stated or not active:
        raise InputError(f"{where}: {row['model']!r} is no known network, and layers and hidden do not make one", cure)
    counted = parameters(shape).total
    if not _near(counted, stated) or not _near(stated * 1e9, active):
        raise InputError(
            f"{where}: {row['model']!r} is no known network, and a GPT of {layers} layers of {hidden} is not it: "
            f"{counted / 1e9:.3g} B parameters, all active, where {stated:g} B and {active:g} B are stated",
            cure,
        )
    return shape


def _near(counted: float, stated_billions: float) -> bool:
    return abs(counted / (stated_billions * 1e9) - 1) < 0.05


def _device(where: str, text: str) -> Device | None:
    """The device; None where the row says none ("", "not stated", "gpu")."""
    if not text or "not stated" in text.lower() or text.lower() in ("gpu", "unknown", "?", "-"):
        return None
    try:
        return find_device(text)
    except InputError as error:
        raise InputError(f"{where}: {error.message}", error.cure) from error


_PRECISIONS = {"mxfp8": "fp8", "fp8-cs": "fp8", "fp8-mx": "fp8", "float8": "fp8", "bfloat16": "bf16", "float16": "fp16"}


def _precision(where: str, row: dict[str, str], recipe: Recipe) -> Recipe:
    """With the number format the row says. One it only hints at is no format: the row is refused."""
    said = row.get("precision", "").lower()
    said = said.partition(" (")[0]
    if said:
        name = _PRECISIONS.get(said, said)
        if name not in PRECISIONS:
            raise InputError(f"{where}: precision is {row['precision']!r}", nearest(name, PRECISIONS))
        return replace(recipe, precision=name)  # pyright: ignore[reportArgumentType]
    hints = " ".join(row.get(name, "") for name in ("model", "flops_convention", "util_kind", "gpu", "peak_tflops"))
    found = re.search(r"(?i)\b(?:mx|nv)?fp[48]\b|\bint8\b", hints)
    if found and recipe.precision != "fp8":
        raise InputError(
            f"{where}: the row speaks of {found[0]}, but no column says what its products are computed in",
            "add a column precision: bf16, fp16, fp8 or fp32",
        )
    return recipe


def _software(where: str, row: dict[str, str]) -> Software:
    found = re.search(r"\b([0-9]{4}\.[0-9]{5})\b", row.get("source", ""))
    number = found[1] if found else ""
    software = SOURCES.get(number) or _usual(number, row.get("flops_convention", "") + row.get("util_kind", ""))
    if again := row.get("recompute"):
        if again not in RECOMPUTATIONS:
            raise InputError(f"{where}: recompute is {again!r}", "it is none, selective or full")
        software = replace(
            software, recompute=(again,), sequence_parallel=software.sequence_parallel and again != "full"
        )
    if chunks := row.get("interleave"):
        software = replace(software, interleave=(_whole(where, "interleave", chunks),))
    if stage := row.get("zero") or _zero_stage(row.get("cp_or_ep", "") if number not in SOURCES else ""):
        if stage not in ("0", "1", "2", "3"):
            raise InputError(f"{where}: zero is {stage!r}", "it is the ZeRO stage: 0, 1, 2 or 3 (FSDP)")
        software = replace(software, zero=(int(stage),))
    recipe = _precision(where, row, software.recipe)
    if overlap := row.get("overlap"):
        if overlap.lower() not in ("yes", "no", "true", "false", "1", "0"):
            raise InputError(f"{where}: overlap is {overlap!r}", "write yes or no")
        recipe = replace(recipe, overlap=overlap.lower() in ("yes", "true", "1"))
    if size := row.get("gradient_bytes"):
        if size not in ("2", "4"):
            raise InputError(f"{where}: gradient_bytes is {size!r}", "gradients are summed in 2 or 4 bytes")
        recipe = replace(recipe, gradient_bytes=float(size))
    return replace(software, recipe=recipe)


def _zero_stage(text: str) -> str:
    found = re.search(r"FSDP|ZeRO-?([0-3])", text, re.IGNORECASE)
    return (found[1] or "3") if found else ""


def _whole(where: str, name: str, text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]*", text):
        raise InputError(f"{where}: {name} is {text!r}", "it must be a whole number, or empty where unknown")
    return int(text)


def _usual(number: str, convention: str) -> Software:
    """Of a source that is not in SOURCES, by its date and by what it counts."""
    recompute: tuple[Recomputation, ...] = ("full",) if "recompute" in convention.lower() else RECOMPUTATIONS
    if number and number < "2301":  # before fused attention had reached the large training codes
        return Software(recompute, _UNFUSED, sequence_parallel=False)
    return Software(recompute)


def _observed(run: Run, number: Any) -> tuple[float | None, str]:
    """Seconds per step, from the most direct column there is."""
    if run.device is None or not (run.batch or number("gpu_hours")):
        return None, "device, batch or time not published"
    if seconds := number("step_s"):
        return seconds, "step time"
    convention = (run.columns.get("flops_convention", "") + " " + run.columns.get("util_kind", "")).lower()
    derived = "6n" in convention
    if run.devices and run.batch and not derived:
        recomputed: Recomputation = "full" if "recompute" in convention or "(hfu)" in convention else "none"
        if run.columns.get("flops_convention", "").lower().startswith("model"):
            recomputed = "none"
        flops = training_flops(run.shape, run.sequence, run.software.attention, recomputed).total * run.batch
        if rate := number("tflops_per_gpu"):
            return flops / (rate * 1e12 * run.devices), "TFLOP/s"
        peak = number("peak_tflops") or run.device.best("bf16", "fp16") / 1e12
        if share := number("util_pct"):
            return flops / (share / 100 * peak * 1e12 * run.devices), "utilisation"
    if run.tokens and run.batch:
        # Eight sequences per device where nothing says how many devices there were.
        devices = run.devices or max(8, run.batch // 8)
        step = run.batch * run.sequence / run.tokens
        if hours := number("gpu_hours"):
            return hours * 3600 / devices * step * GOODPUT, "GPU-hours"
        if (days := number("days")) and run.devices:
            return days * DAY * step * GOODPUT, "days"
    return None, "no time published, or no number of tokens"
