"""A plan as one HTML file: memory bars, time by cause, the frontier of layouts, checkpoints. Nothing is fetched."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

from podium.board.shell import header, page, table, text
from podium.board.svg import SERIES, Bar, Point, curve, legend, number, plot, scatter, stacked_bars
from podium.errors import StorageError
from podium.plan.counting import parameters
from podium.plan.failures import Reliability, checkpoint_stall, goodput
from podium.plan.memory import TrainingMemory
from podium.plan.search import Candidate, Plan
from podium.plan.step_time import StepTime
from podium.plan.units import show_bytes, show_count, show_flop, show_seconds

MEMORY = tuple(item.name for item in fields(TrainingMemory))
TIME = tuple(item.name for item in fields(StepTime))
POINTS = 2000  # of the scatter; more only make the file larger


def write_page(plan: Plan, path: Path, top: int = 8) -> None:
    """Write the page of a plan; `top` layouts are drawn as bars.

    Raises:
        StorageError: the file cannot be written.
    """
    text = render(plan, top)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}", "choose another file with --html") from error


def render(plan: Plan, top: int = 8) -> str:
    """The page of a plan as HTML."""
    job = plan.job
    counted = parameters(job.shape)
    best = plan.best_of_each()[:top]
    title = f"{job.shape.name} on {job.devices:,} x {job.device.name}"
    active = f" ({show_count(counted.active)} active)" if counted.active != counted.total else ""
    what = (
        f"{show_count(counted.total)} parameters{active}, {show_count(job.tokens)} tokens in rows of "
        f"{job.sequence:,}, batch {job.batch:,} rows, {job.steps:,.0f} steps, "
        f"{show_flop(job.model_flop)} of model FLOPs"
    )
    body = [header(title, kicker="Podium · plan", notes=[text(what)], links={}), "<main>"]
    if best:
        body += [_figures(best[0]), _reasons(plan), _table(best), _memory(plan, best), _time(best), _frontier(plan)]
    else:
        body.append("<section><h2>No layout fits</h2></section>")
    body.append(_failures(plan))
    if best:
        body.append(_checkpoints(plan))
    body.append("</main>")
    return page(f"{title} · Podium", "".join(body), footer="Made by Podium's planner.")


def _days(candidate: Candidate) -> str:
    return show_seconds(candidate.days[1] * 86_400)


def _reasons(plan: Plan) -> str:
    """Why the range is wider than the plain one; nothing where it is not."""
    if not plan.spread.because:
        return ""
    low, high = plan.spread.low, plan.spread.high
    reasons = "".join(f"<li>{text(why)}</li>" for why in plan.spread.because)
    told = f"A step may take {low:.2f} to {high:.2f} times as long as predicted:"
    return f'<p class="note">{told}</p><ul class="note">{reasons}</ul>'


def _unit(days: float) -> tuple[str, float]:
    """What times like this are given in, and how many of them a day has."""
    return ("days", 1.0) if days >= 1 else ("hours", 24.0)


def _figures(best: Candidate) -> str:
    low, _, high = (show_seconds(days * 86_400) for days in best.days)
    figures = (
        (_days(best), f"{low} to {high}"),
        (str(best.layout), "fastest layout"),
        (f"{best.mfu:.1%}", f"MFU (HFU {best.hfu:.1%})"),
        (show_seconds(best.step_seconds), "a step"),
        (show_bytes(best.memory_total), "on a device"),
        (show_count(best.usd), "USD"),
    )
    return (
        '<div class="tiles">'
        + "".join(f"<div><b>{text(value)}</b><span>{text(what)}</span></div>" for value, what in figures)
        + "</div>"
    )


def _memory(plan: Plan, best: list[Candidate]) -> str:
    bars = [
        Bar(str(c.layout), {name: size / 1e9 for name, size in c.memory.items()}, f"{c.memory_total / 1e9:.1f}")
        for c in best
    ]
    limit = (plan.job.memory or plan.job.device.memory) / 1e9
    chart = plot(
        lambda width: stacked_bars(bars, MEMORY, "GB on the fullest device", limit, f"{limit:.1f} GB", width=width)
    )
    return f"<section><h2>Memory</h2><figure>{chart}{legend(MEMORY, bars)}</figure></section>"


def _time(best: list[Candidate]) -> str:
    bars = [Bar(str(c.layout), c.time, f"{c.mfu:.1%}") for c in best]
    chart = plot(lambda width: stacked_bars(bars, TIME, "seconds of a step (at the end: MFU)", width=width))
    return f"<section><h2>Time of a step</h2><figure>{chart}{legend(TIME, bars)}</figure></section>"


def _frontier(plan: Plan) -> str:
    unit, scale = _unit(plan.candidates[0].days[1])
    tensor = sorted({c.layout.tp for c in plan.candidates})
    points = [
        Point(
            c.memory_total / 1e9,
            c.days[1] * scale,
            tensor.index(c.layout.tp) % SERIES,
            f"{c.layout} b{c.layout.micro_batch} {c.layout.recompute}: {c.memory_total / 1e9:.1f} GB, {_days(c)}",
        )
        for c in plan.candidates[:POINTS]
    ]
    named = [f"T{degree}" for degree in tensor[:SERIES]]
    key = legend(named, [Bar("", dict.fromkeys(named, 1.0))])
    shown = (
        f"the {len(points):,} fastest of {plan.feasible:,}" if len(points) < plan.feasible else f"all {len(points):,}"
    )
    chart = plot(lambda width: scatter(points, "GB on the fullest device", unit, width=width))
    return (
        f"<section><h2>Layouts: memory against time</h2><figure>{chart}{key}"
        f"<figcaption>{shown} layouts that fit, coloured by tensor parallelism; on the line nothing is both leaner and "
        "faster</figcaption></figure></section>"
    )


def _table(best: list[Candidate]) -> str:
    unit, scale = _unit(best[0].days[1])
    columns = [("layout", ""), (unit, "main num")]
    columns += [(name, "num") for name in ("step s", "MFU", "HFU", "GB", "USD", "micro-batch", "chunks", "ZeRO")]
    columns += [("recompute", "")]
    rows = [
        (
            f"<b>{text(c.layout)}</b>",
            "<b>{1}</b> ({0}-{2})".format(*(number(days * scale) for days in c.days)),
            number(c.step_seconds),
            f"{c.mfu:.1%}",
            f"{c.hfu:.1%}",
            f"{c.memory_total / 1e9:.1f}",
            show_count(c.usd),
            str(c.layout.micro_batch),
            str(c.layout.interleave),
            str(c.layout.zero),
            text(c.layout.recompute),
        )
        for c in best
    ]
    return f"<section><h2>The fastest of each layout</h2>{table(columns, rows, tight=True)}</section>"


def _failures(plan: Plan) -> str:
    if not plan.failures:
        return ""
    rows = [
        (f"{failure.count:,}", text(failure.reason + (f"; {failure.nearest}" if failure.nearest else "")))
        for failure in plan.failures
    ]
    which = f"the other {plan.considered - plan.feasible:,}" if plan.feasible else f"all {plan.considered:,}"
    columns = [("layouts", "main num"), ("reason", "")]
    return f"<section><h2>Why {which} fail</h2>{table(columns, rows, tight=True)}</section>"


def _checkpoints(plan: Plan) -> str:
    """How often to save, with interruptions at Llama 3's rate."""
    job = plan.job
    run = Reliability(job.devices, checkpoint=checkpoint_stall(parameters(job.shape).total, job.devices))
    best = goodput(run)
    if best.training <= 0:
        return ""
    every = run.saves_every
    values = [
        (seconds / 60, 100 * goodput(replace(run, interval=seconds)).training)
        for seconds in (every * 10 ** (step / 20) for step in range(-30, 31))
    ]
    mark = (every / 60, 100 * best.training, f"{show_seconds(every)}: {best.training:.1%}")
    chart = plot(
        lambda width: curve(
            values, "minutes of training between checkpoints", "% of the time on steps that count", mark, width=width
        )
    )
    return (
        f"<section><h2>Checkpoints</h2><figure>{chart}<figcaption>{job.devices:,} devices are interrupted every "
        f"{show_seconds(run.between_failures)} at Llama 3's rate; a restart takes {show_seconds(run.restart)}, saving "
        f"stops training for {show_seconds(run.checkpoint)}</figcaption></figure></section>"
    )
