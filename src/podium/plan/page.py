"""A plan as one HTML file: memory bars, time by cause, the frontier of layouts, checkpoints. Nothing is fetched."""

from __future__ import annotations

import html
from dataclasses import fields, replace
from pathlib import Path

from podium.errors import StorageError
from podium.plan.counting import parameters
from podium.plan.failures import Reliability, checkpoint_stall, goodput
from podium.plan.memory import TrainingMemory
from podium.plan.search import Candidate, Plan
from podium.plan.step_time import StepTime
from podium.plan.svg import Bar, Point, curve, legend, number, scatter, stacked_bars
from podium.plan.units import show_bytes, show_count, show_flop, show_seconds

MEMORY = tuple(item.name for item in fields(TrainingMemory))
TIME = tuple(item.name for item in fields(StepTime))
POINTS = 2000  # of the scatter; more only make the file larger
_STYLE = """
:root{--bg:#fff;--fg:#1c2330;--soft:#5b6575;--line:#dfe3ea;--card:#f6f7f9;--bad:#c0392b;--best:#1c2330}
@media(prefers-color-scheme:dark){:root{--bg:#12161d;--fg:#e6e9ef;--soft:#9aa4b5;--line:#2b323e;--card:#1a2029;
--bad:#ff7b6b;--best:#e6e9ef}}
body{background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,sans-serif;max-width:900px;margin:2rem auto;
padding:0 1rem}
h1{font-size:1.5rem;margin:0 0 .2rem}h2{font-size:1.1rem;margin:2.2rem 0 .4rem}p{margin:.3rem 0}
.soft,.legend,figcaption{color:var(--soft);font-size:.9rem}figure{margin:.5rem 0}svg{width:100%;height:auto}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(8.4rem,1fr));gap:.7rem;margin:1.2rem 0}
.figures div{background:var(--card);border-radius:8px;padding:.6rem .8rem}
.figures b{display:block;font-size:1.05rem;line-height:1.3}.figures span{color:var(--soft);font-size:.85rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:.9rem}
th{color:var(--soft);font-weight:500}td,th{padding:.25rem .5rem;border-bottom:1px solid var(--line);text-align:right}
td:first-child,th:first-child{text-align:left}.wide td{white-space:nowrap}.wide{overflow-x:auto}
.legend span{margin-right:1rem;white-space:nowrap}
.legend i{display:inline-block;width:.8em;height:.8em;margin-right:.35em;border-radius:2px}
text{fill:var(--fg);font-size:12px}.axis{fill:var(--soft)}.grid{stroke:var(--line)}
.limit{stroke:var(--bad);stroke-width:1.5;stroke-dasharray:5 4}.limit-name{fill:var(--bad)}
.dot{fill-opacity:.65}.frontier,.curve{fill:none;stroke:var(--best);stroke-width:1.6}.mark{fill:var(--bad)}
"""
_COLOURS = (
    "#4477aa", "#66ccee", "#228833", "#ccbb44", "#ee6677", "#aa3377", "#9aa3af", "#ee9944", "#7766cc", "#44aa99",
    "#aa7744",
)  # fmt: skip


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
    body = [
        f"<h1>{_safe(title)}</h1>",
        f'<p class="soft">{show_count(counted.total)} parameters{active}, {show_count(job.tokens)} tokens in rows of '
        f"{job.sequence:,}, batch {job.batch:,} rows, {job.steps:,.0f} steps, {show_flop(job.model_flop)} of model "
        "FLOPs</p>",
    ]
    if best:
        body += [_figures(best[0]), _memory(plan, best), _time(best), _frontier(plan), _table(best)]
    else:
        body.append("<h2>No layout fits</h2>")
    body.append(_failures(plan))
    if best:
        body.append(_checkpoints(plan))
    colours = "".join(f".c{index}{{fill:{c};background:{c}}}" for index, c in enumerate(_COLOURS))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{_safe(title)}</title><style>{_STYLE}{colours}</style></head><body>{''.join(body)}</body></html>\n"
    )


def _safe(text: str) -> str:
    return html.escape(text, quote=True)


def _days(candidate: Candidate) -> str:
    return show_seconds(candidate.days[1] * 86_400)


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
        '<div class="figures">'
        + "".join(f"<div><b>{_safe(value)}</b><span>{_safe(what)}</span></div>" for value, what in figures)
        + "</div>"
    )


def _memory(plan: Plan, best: list[Candidate]) -> str:
    bars = [
        Bar(str(c.layout), {name: size / 1e9 for name, size in c.memory.items()}, f"{c.memory_total / 1e9:.1f}")
        for c in best
    ]
    limit = (plan.job.memory or plan.job.device.memory) / 1e9
    chart = stacked_bars(bars, MEMORY, "GB on the fullest device", limit, f"{limit:.1f} GB")
    return f"<h2>Memory</h2><figure>{chart}{legend(MEMORY, bars)}</figure>"


def _time(best: list[Candidate]) -> str:
    bars = [Bar(str(c.layout), c.time, f"{c.mfu:.1%}") for c in best]
    chart = stacked_bars(bars, TIME, "seconds of a step (at the end: MFU)")
    return f"<h2>Time of a step</h2><figure>{chart}{legend(TIME, bars)}</figure>"


def _frontier(plan: Plan) -> str:
    unit, scale = _unit(plan.candidates[0].days[1])
    tensor = sorted({c.layout.tp for c in plan.candidates})
    points = [
        Point(
            c.memory_total / 1e9,
            c.days[1] * scale,
            tensor.index(c.layout.tp) % len(_COLOURS),
            f"{c.layout} b{c.layout.micro_batch} {c.layout.recompute}: {c.memory_total / 1e9:.1f} GB, {_days(c)}",
        )
        for c in plan.candidates[:POINTS]
    ]
    named = [f"T{degree}" for degree in tensor[: len(_COLOURS)]]
    key = legend(named, [Bar("", dict.fromkeys(named, 1.0))])
    shown = (
        f"the {len(points):,} fastest of {plan.feasible:,}" if len(points) < plan.feasible else f"all {len(points):,}"
    )
    return (
        f"<h2>Layouts: memory against time</h2><figure>{scatter(points, 'GB on the fullest device', unit)}{key}"
        f"<figcaption>{shown} layouts that fit, coloured by tensor parallelism; on the line nothing is both leaner and "
        "faster</figcaption></figure>"
    )


def _table(best: list[Candidate]) -> str:
    unit, scale = _unit(best[0].days[1])
    head = ("layout", "micro-batch", "chunks", "ZeRO", "recompute", "GB", "step s", "MFU", "HFU", unit, "USD")
    rows = [
        (
            str(c.layout),
            str(c.layout.micro_batch),
            str(c.layout.interleave),
            str(c.layout.zero),
            c.layout.recompute,
            f"{c.memory_total / 1e9:.1f}",
            number(c.step_seconds),
            f"{c.mfu:.1%}",
            f"{c.hfu:.1%}",
            "{1} ({0}-{2})".format(*(number(days * scale) for days in c.days)),
            show_count(c.usd),
        )
        for c in best
    ]
    return (
        '<h2>The fastest of each layout</h2><div class="wide"><table><tr>'
        + "".join(f"<th>{name}</th>" for name in head)
        + "</tr>"
        + "".join("<tr>" + "".join(f"<td>{_safe(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        + "</table></div>"
    )


def _failures(plan: Plan) -> str:
    if not plan.failures:
        return ""
    lines = "".join(
        f"<tr><td>{_safe(f.reason)}{_safe('; ' + f.nearest) if f.nearest else ''}</td><td>{f.count:,}</td></tr>"
        for f in plan.failures
    )
    which = f"the other {plan.considered - plan.feasible:,}" if plan.feasible else f"all {plan.considered:,}"
    return f"<h2>Why {which} fail</h2><table>{lines}</table>"


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
    chart = curve(
        values,
        "minutes of training between checkpoints",
        "% of the time on steps that count",
        (every / 60, 100 * best.training, f"{show_seconds(every)}: {best.training:.1%}"),
    )
    return (
        f"<h2>Checkpoints</h2><figure>{chart}<figcaption>{job.devices:,} devices are interrupted every "
        f"{show_seconds(run.between_failures)} at Llama 3's rate; a restart takes {show_seconds(run.restart)}, saving "
        f"stops training for {show_seconds(run.checkpoint)}</figcaption></figure>"
    )
