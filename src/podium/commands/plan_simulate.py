"""`podium plan simulate`: a pipeline schedule or weeks of failures, played out beside what the closed forms say."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from podium.commands.plan_show import print_json, print_lines, print_table
from podium.errors import InputError
from podium.plan.convnet import ConvNet
from podium.plan.counting import parameters
from podium.plan.failure_run import run_failures
from podium.plan.failures import (
    DEVICE_MTBF,
    Goodput,
    Reliability,
    checkpoint_stall,
    expected_causes,
    goodput,
    spare_nodes,
    straggler_factor,
)
from podium.plan.hardware import find_device
from podium.plan.named import find_model
from podium.plan.pipeline_run import PipelineRun, run_pipeline
from podium.plan.schedules import SCHEDULES, Pipeline, bubble_fraction, check_schedule, step_seconds
from podium.plan.units import DAY, parse_devices, parse_seconds, show_seconds


def simulate(
    gpus: Annotated[str | None, typer.Option(help="Play out failures on these, e.g. 16384xH100.")] = None,
    days: Annotated[float, typer.Option(min=0.01, max=3650, help="Days to play out.")] = 54.0,
    mtbf: Annotated[str | None, typer.Option(help="One device's, e.g. 50000h (default: Llama 3's).")] = None,
    checkpoint: Annotated[str | None, typer.Option(help="How long saving stops training, e.g. 5s.")] = None,
    restart: Annotated[str, typer.Option(help="From an interruption to the next step.")] = "10min",
    interval: Annotated[str | None, typer.Option(help="Training between checkpoints (default: Daly's).")] = None,
    planned: Annotated[float, typer.Option(min=0, help="Planned stops a day.")] = 0.87,
    model: Annotated[str | None, typer.Option(help="Its checkpoint's size gives --checkpoint.")] = None,
    spread: Annotated[float, typer.Option(help="Step time between devices: deviation over mean.")] = 0.01,
    runs: Annotated[int, typer.Option(min=1, max=1000, help="Histories to play out.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Of the first history.")] = 0,
    stages: Annotated[int | None, typer.Option(help="Play out a pipeline of so many stages.")] = None,
    micro_batches: Annotated[int, typer.Option(help="Of one step.")] = 32,
    schedule: Annotated[list[str] | None, typer.Option(help="gpipe, 1f1b, interleaved, zero-bubble.")] = None,
    forward: Annotated[str | None, typer.Option(help="Seconds by stage, e.g. 1,1,1,1.4 (instead of --stages).")] = None,
    backward: Annotated[str | None, typer.Option(help="Seconds by stage (default: twice the forward ones).")] = None,
    hand_over: Annotated[float, typer.Option(min=0, help="Seconds from stage to stage.")] = 0.0,
    chunks: Annotated[int, typer.Option(help="Slices per stage when interleaved.")] = 2,
    json_: Annotated[bool, typer.Option("--json", help="JSON instead of tables.")] = False,
) -> None:
    """Play out failures over weeks, or one step of a pipeline, beside the closed forms.

    Example: podium plan simulate --gpus 16384xH100 --model llama-3.1-405b --days 54
    Example: podium plan simulate --stages 8 --micro-batches 32 --hand-over 0.05
    """
    if gpus is None and stages is None and forward is None:
        raise InputError("nothing to simulate", "give --gpus 16384xH100 for failures, or --stages 8 for a pipeline")
    values: dict[str, Any] = {}
    if gpus is not None:
        run = _reliability(gpus, mtbf, checkpoint, restart, interval, planned, model)
        values["failures"] = played = _play_failures(run, days, runs, seed, spread)
        if not json_:
            _show_failures(run, played, days, runs)
    if stages is not None or forward is not None:
        pipeline = _pipeline(stages, forward, backward, hand_over)
        values["pipeline"] = steps = _play_steps(pipeline, schedule or list(SCHEDULES), micro_batches, chunks)
        if not json_:
            _show_steps(pipeline, steps, micro_batches)
    if json_:
        for step in values.get("pipeline", []):
            step.pop("run")
        print_json(values)


def _reliability(
    gpus: str,
    mtbf: str | None,
    checkpoint: str | None,
    restart: str,
    interval: str | None,
    planned: float,
    model: str | None,
) -> Reliability:
    count, name = parse_devices(gpus)
    find_device(name)  # that it exists; failures do not depend on it
    stall = 5.0
    if checkpoint:
        stall = parse_seconds(checkpoint, "--checkpoint")
    elif model:
        shape = find_model(model)
        if isinstance(shape, ConvNet):
            raise InputError(f"{shape.name} is too small to wait for its checkpoints", "leave --model out")
        stall = checkpoint_stall(parameters(shape).total, count)
    return Reliability(
        devices=count,
        mtbf=parse_seconds(mtbf, "--mtbf") if mtbf else DEVICE_MTBF,
        checkpoint=stall,
        restart=parse_seconds(restart, "--restart"),
        planned_per_day=planned,
        interval=parse_seconds(interval, "--interval") if interval else None,
    )


def _play_failures(run: Reliability, days: float, runs: int, seed: int, spread: float) -> dict[str, Any]:
    interruptions = days * DAY / run.between_failures
    if interruptions * runs > 2e6:
        raise InputError(
            f"{interruptions:,.0f} interruptions in {days:g} days: no training gets anywhere",
            "is the unit of --mtbf right? It is one device's, e.g. 50000h",
        )
    histories = [run_failures(run, days * DAY, seed + index) for index in range(runs)]
    mean = {
        part.name: float(np.mean([getattr(history.shares, part.name) for history in histories]))
        for part in fields(Goodput)
    }
    training = [history.shares.training for history in histories]
    closed = goodput(run)
    return {
        "devices": run.devices,
        "device_mtbf_hours": run.mtbf / 3600,
        "between_interruptions_hours": run.between_failures / 3600,
        "checkpoint_seconds": run.checkpoint,
        "interval_seconds": run.saves_every,
        "closed_form": asdict(closed),
        "simulated": mean,
        "simulated_range": [min(training), max(training)],
        "closed_over_simulated": closed.training / mean["training"] - 1 if mean["training"] else None,
        "interruptions": float(np.mean([history.failed for history in histories])),
        "longest_loss_seconds": max(history.longest_loss for history in histories),
        "causes": expected_causes(interruptions),
        "spare_nodes": spare_nodes(run),
        "straggler_factor": straggler_factor(run.devices, spread),
    }


def _show_failures(run: Reliability, played: dict[str, Any], days: float, runs: int) -> None:
    low, high = played["simulated_range"]
    print_table(
        f"{run.devices:,} devices, {days:g} days: interrupted every {show_seconds(run.between_failures)}, saved every "
        f"{show_seconds(run.saves_every)} of training",
        ("share of the time", "closed form", f"mean of {runs} histories"),
        [
            (name, f"{played['closed_form'][name]:.2%}", f"{played['simulated'][name]:.2%}")
            for name in played["closed_form"]
        ],
        note=f"training (goodput) {low:.1%}-{high:.1%} over the histories; saving stops training for "
        f"{show_seconds(run.checkpoint)}, a restart takes {show_seconds(run.restart)}",
    )
    causes = sorted(played["causes"].items(), key=lambda item: -item[1])
    shown = ", ".join(f"{cause} {count:.0f}" for cause, count in causes if count >= 0.5)
    print_lines(
        "",
        f"to be expected in {days:g} days, by Llama 3's causes (arXiv 2407.21783 table 5): {shown or 'nothing'}",
        f"{played['spare_nodes']} spare nodes of 8 are enough 99 % of the time if a repair takes 2 days; waiting for "
        f"the slowest device makes a step {played['straggler_factor'] - 1:.1%} longer",
    )


def _pipeline(stages: int | None, forward: str | None, backward: str | None, hand_over: float) -> Pipeline:
    if forward:
        ahead = _times(forward, "--forward")
        if stages is not None and stages != len(ahead):
            raise InputError(f"--stages {stages} and {len(ahead)} forward times", "leave --stages out")
    else:
        if stages is None or stages < 1:
            raise InputError(f"a pipeline of {stages} stages", "give --stages of at least 1")
        if stages > 512:
            raise InputError(
                f"a pipeline of {stages} stages", "no network has so many layers to share out: at most 512"
            )
        ahead = (1.0,) * stages
    back = _times(backward, "--backward") if backward else tuple(2 * seconds for seconds in ahead)
    return Pipeline(ahead, back, tuple(seconds / 2 for seconds in back), hand_over)


def _times(text: str, option: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"{option} {text!r} are no times", f"write seconds by stage: {option} 1,1,1.2,1.4") from None


def _play_steps(pipeline: Pipeline, schedules: list[str], micro_batches: int, chunks: int) -> list[dict[str, Any]]:
    if micro_batches * pipeline.stages * chunks > 100_000:
        raise InputError(
            f"{micro_batches} micro-batches on {pipeline.stages} stages take too long to play out",
            "give at most 100,000 micro-batches times stages times chunks",
        )
    steps: list[dict[str, Any]] = []
    refused: list[InputError] = []  # of several schedules those are shown that can run
    for name in schedules:
        sliced = pipeline
        if name == "interleaved":
            sliced = Pipeline(pipeline.forward, pipeline.backward, pipeline.weight, pipeline.hand_over, chunks)
        try:
            check_schedule(name, sliced, micro_batches)
        except InputError as error:
            refused.append(error)
            continue
        run = run_pipeline(name, sliced, micro_batches)
        closed = step_seconds(name, sliced, micro_batches)
        steps.append(
            {
                "schedule": name,
                "closed_form_seconds": closed,
                "simulated_seconds": run.seconds,
                "closed_over_simulated": closed / run.seconds - 1,
                "closed_form_bubble": bubble_fraction(name, sliced, micro_batches),
                "simulated_bubble": run.bubble_fraction,
                "peak_kept": max(kept / sliced.chunks for kept in run.peak),
                "run": run,
            }
        )
    if not steps:
        raise refused[0]
    return steps


def _show_steps(pipeline: Pipeline, steps: list[dict[str, Any]], micro_batches: int) -> None:
    print_table(
        f"{pipeline.stages} stages, {micro_batches} micro-batches",
        ("schedule", "closed form s", "simulated s", "difference", "bubble", "micro-batches kept"),
        [
            (
                step["schedule"],
                f"{step['closed_form_seconds']:.4g}",
                f"{step['simulated_seconds']:.4g}",
                f"{step['closed_over_simulated']:+.2%}",
                f"{step['simulated_bubble']:.1%}",
                f"{step['peak_kept']:g}",
            )
            for step in steps
        ],
    )
    width = min(100, Console().width)
    for step in steps:
        print_lines("", f"{step['schedule']} (# forward, o backward, w weight gradients, . waiting)")
        print_lines(*timeline(step["run"], width))


def timeline(run: PipelineRun, width: int) -> list[str]:
    """One line per device, `width` characters long: what it did most of each moment."""
    seconds = run.seconds
    lines: list[str] = []
    for device in range(run.stages):
        share = np.zeros((4, width))
        for span in run.spans:
            if span.device != device:
                continue
            row = "FBW".index(span.task.kind)
            first, last = span.start / seconds * width, span.end / seconds * width
            for cell in range(int(first), min(width, int(last) + 1)):
                share[row, cell] += max(0.0, min(last, cell + 1) - max(first, cell))
        share[3] = 1 - share[:3].sum(axis=0)
        lines.append("".join("#ow."[row] for row in np.argmax(share, axis=0)))
    return lines
