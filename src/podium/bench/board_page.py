"""The scoreboard as one HTML file that opens from the disk, without a network, with everything inside.

Looks like the report of a run and shares its style sheet and scripts. Every text that comes from a round, a log or a
system description passes `text()`; there is no other way into the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from podium.bench.board import Board, DivisionBoard
from podium.bench.board_charts import board_charts, colour_names, scaling_series
from podium.bench.published import OWN, Entry, round_sources
from podium.bench.score import minutes_text
from podium.bench.score_folder import LABEL
from podium.bench.scoreboard import CATEGORIES, TASKS, Category, Improvement, accelerator_kind
from podium.board.page import colour, counted, script_json, text
from podium.board.report import POLICY

NAMES = {
    "resnet": "ResNet-50, image classification",
    "unet3d": "3D U-Net, medical segmentation",
    "ssd": "SSD, light object detection",
    "maskrcnn": "Mask R-CNN, heavy object detection",
    "rnnt": "RNN-T, speech recognition",
    "bert": "BERT-large, language",
    "dlrm": "DLRM, recommendation",
    "minigo": "Mini Go, reinforcement learning",
}
TITLES: dict[Category, str] = {"single": "Single machines", "cluster": "Clusters"}
COLOURS = 6


def board_page(board: Board, entries: Sequence[Entry], top: int) -> str:
    """The page as text; `entries` are those of the round, for the charts."""
    charts = board_charts(board, entries)
    parts = [_header(board), "<main>", _own(board)]
    for one in board.divisions:
        if any(one.lists.values()) or one.unranked:
            parts.append(_division(board, one, entries, set(charts), top))
    parts += [_sources(board), "</main>"]
    data = {"charts": charts, "exams": [], "colours": COLOURS}
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Scoreboard {text(board.round)} · Podium</title>
<style>{_asset("assets", "report.css")}</style></head><body>
{"".join(parts)}
<footer>Made by Podium from published logs. MLPerf is a trademark of MLCommons; your own runs are {LABEL}.
Charts: Vega and Vega-Lite (BSD-3-Clause), inside this file.</footer>
<script type="application/json" id="data">{script_json(data)}</script>
<script>{_asset("vendor", "vega.min.js")}</script>
<script>{_asset("vendor", "vega-lite.min.js")}</script>
<script>{_asset("assets", "report.js")}</script>
</body></html>
"""


def _asset(*path: str) -> str:
    return files("podium.board").joinpath(*path).read_text(encoding="utf-8")


def _header(board: Board) -> str:
    closed = next((one for one in board.divisions if one.division == "closed"), board.divisions[0])
    lists = sum(bool(rows) for rows in closed.lists.values())
    won = [f"{text(name)} {single + cluster}" for name, single, cluster in closed.first_places]
    lede = f"Of {lists} {closed.division} lists: {', '.join(won)}." if won else ""
    links = [("own", "Your runs")] if board.own else []
    for one in board.divisions:
        if any(one.lists.values()):
            links.append((f"{one.division}-lists", f"{one.division.capitalize()} division"))
            links.append((f"{one.division}-change", f"{one.division.capitalize()}: improvement and scaling"))
    nav = "".join(f'<a href="#{to}">{text(words)}</a>' for to, words in [*links, ("sources", "Sources")])
    return (
        '<header class="top"><button id="theme" hidden aria-label="change theme"></button>'
        f'<p class="kicker">Time to quality</p><h1>MLPerf Training {text(board.round)}</h1>'
        f'<p class="lede">{lede}</p><p class="note">{text(board.definition.words())}. Minutes to the target quality; '
        "closed and open entries are never in one list.</p>"
        f"<nav>{nav}</nav></header>"
    )


def _division(board: Board, one: DivisionBoard, entries: Sequence[Entry], charts: set[str], top: int) -> str:
    parts = [f'<section id="{one.division}-lists"><h2>{one.division.capitalize()} division</h2>']
    for category in CATEGORIES:
        parts.append(_lists(board, one, category, top))
    parts.append(f"{_not_ranked(one)}</section>")
    parts.append(_time_charts(board, one, entries, charts))
    parts.append(_change(board, one, charts))
    parts.append(_ratios(one))
    return "".join(parts)


def _lists(board: Board, one: DivisionBoard, category: Category, top: int) -> str:
    rows = []
    for task in TASKS:
        ranked = one.lists.get((task, category), [])
        improvement = one.against_best.get((task, category))
        for number, entry in enumerate(ranked[:top], start=1):
            first = number == 1
            mark = f' <span class="tag warn">{LABEL}</span>' if entry.round == OWN else ""
            name = f'<b>{task}</b><div class="between">{text(NAMES[task].partition(", ")[2])}</div>' if first else ""
            about = " · ".join(filter(None, (entry.system, accelerator_kind(entry.accelerator), entry.availability)))
            shown = minutes_text(entry.minutes or 0.0)
            rows.append(
                f'<tr><td>{name}</td><td class="num">{number}</td>'
                f"<td>{text(entry.submitter)}{mark}<div class='between trouble'>{text(about)}</div></td>"
                f'<td class="num">{entry.accelerators}</td><td class="num">{text(entry.ratio)}</td>'
                f'<td class="num">{f"<b>{shown}</b>" if first else shown}</td>'
                f"{_change_cells(improvement) if first else '<td></td><td></td>'}</tr>"
            )
    if not rows:
        return ""
    return (
        f"<h3>{TITLES[category]}</h3>"
        '<div class="scroll"><table><thead><tr><th>task</th><th class="num">#</th><th>submitter and system</th>'
        '<th class="num">accel.</th><th class="num">host</th><th class="num">minutes</th>'
        f'<th class="num">best of {text(board.against)}</th><th class="num">time cut, rate gain</th>'
        f"</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _change_cells(found: Improvement | None) -> str:
    if found is None:
        return "<td></td><td></td>"
    return (
        f'<td class="num">{found.old.minutes:g}<div class="between">{text(found.old.submitter)}</div></td>'
        f'<td class="num">{_signed(found.time_cut)}<div class="between">rate {100 * found.rate_gain:+.1f} %</div></td>'
    )


def _signed(share: float) -> str:
    tone = "right" if share > 0 else "wrong"
    return f'<span class="tag {tone}">{100 * share:+.1f} %</span>'


def _not_ranked(one: DivisionBoard) -> str:
    if not one.unranked:
        return ""
    rows = "".join(
        f"<li>{text(entry.submitter)} {text(entry.system)}, {entry.task}"
        f"{f', {entry.minutes:g} min' if entry.minutes else ''}: {text(reason)}</li>"
        for entry, reason in one.unranked
    )
    return (
        f'<details><summary class="note">{counted(len(one.unranked), "entry", "entries")} in no list</summary>'
        f'<ul class="note">{rows}</ul></details>'
    )


def _time_charts(board: Board, one: DivisionBoard, entries: Sequence[Entry], charts: set[str]) -> str:
    figures = "".join(
        f"<figure><figcaption><b>{task}</b>: {text(NAMES[task])}</figcaption>"
        f'<div class="chart" data-chart="time-{one.division}-{task}"></div></figure>'
        for task in TASKS
        if f"time-{one.division}-{task}" in charts
    )
    if not figures:
        return ""
    own = [entry for entry in board.own if entry.division == one.division]
    return (
        f"<section><h2>Minutes against size</h2>{_key(colour_names(one, entries, own))}"
        f'<div class="figures small">{figures}</div></section>'
    )


def _key(names: Sequence[str]) -> str:
    marks = (f'<span style="{colour(i)}"><i class="dot"></i>{text(name)}</span>' for i, name in enumerate(names))
    return f'<div class="key">{"".join(marks)}</div>'


def _change(board: Board, one: DivisionBoard, charts: set[str]) -> str:
    figures = ""
    if f"improvement-{one.division}" in charts:
        figures += (
            f"<figure><figcaption><b>Best of {text(board.round)} against best of {text(board.against)}</b>: "
            f"1 - new / old; below zero, nobody was as fast as before</figcaption>"
            f"{_key(['single machines', 'clusters'])}"
            f'<div class="chart" data-chart="improvement-{one.division}"></div></figure>'
        )
    if f"scaling-{one.division}" in charts:
        figures += (
            "<figure><figcaption><b>Scaling efficiency</b>: share of the smallest size's speed times the number of "
            f"accelerators; of each size the submitter's fastest system</figcaption>{_key(scaling_series(one))}"
            f'<div class="chart" data-chart="scaling-{one.division}"></div></figure>'
        )
    rows = "".join(
        f"<tr><td>{text(found.new.submitter)}</td><td>{text(found.new.system)}</td><td>{found.new.task}</td>"
        f'<td class="num">{found.old.minutes:.3f}</td><td class="num">{found.new.minutes:.3f}</td>'
        f'<td class="num">{_signed(found.time_cut)}</td><td class="num">{_signed(found.rate_gain)}</td></tr>'
        for found in one.same_system
    )
    table = (
        "<h3>The same system a round before</h3><div class='scroll'><table><thead><tr><th>submitter</th>"
        f'<th>system</th><th>task</th><th class="num">{text(board.against)}</th>'
        f'<th class="num">{text(board.round)}</th>'
        f'<th class="num">time cut</th><th class="num">rate gain</th></tr></thead><tbody>{rows}</tbody></table></div>'
        if rows
        else ""
    )
    if not figures and not table:
        return ""
    return (
        f'<section id="{one.division}-change"><h2>Improvement and scaling</h2>'
        '<p class="note">Two conventions are in use and differ: time cut is 1 - new / old, rate gain is '
        "old / new - 1. A gain of 22 % is a cut of 18 %.</p>"
        f'<div class="figures">{figures}</div>{table}{_scaling_table(one)}</section>'
    )


def _scaling_table(one: DivisionBoard) -> str:
    rows = "".join(
        f"<tr><td>{text(submitter)}</td><td>{task}</td><td>{text(accelerator)}</td><td>"
        + " → ".join(f"{p.entry.accelerators}: {p.entry.minutes:g} min ({p.efficiency:.0%})" for p in points)
        + "</td></tr>"
        for submitter, task, accelerator, points in one.scaling
    )
    if not rows:
        return ""
    return (
        '<details><summary class="note">every system with several sizes</summary><div class="scroll"><table><thead><tr>'
        "<th>submitter</th><th>task</th><th>accelerator</th><th>accelerators: minutes (efficiency)</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div></details>"
    )


def _ratios(one: DivisionBoard) -> str:
    rows = "".join(
        f'<tr><td class="tight">{text(submitter)}</td><td class="tight">{text(ratio)}</td>'
        f'<td class="tight">{text(tasks)}</td></tr>'
        for submitter, ratio, tasks in one.host_ratios
    )
    return (
        f"<section><h2>Host processors per accelerator</h2><p class='note'>One machine can have several: "
        "disaggregated hosts are given to a task as it needs them.</p><div class='scroll'><table><thead><tr>"
        f"<th>submitter</th><th>host : accelerators</th><th>tasks</th></tr></thead><tbody>{rows}</tbody></table></div>"
        "</section>"
        if rows
        else ""
    )


def _own(board: Board) -> str:
    if not board.own:
        return ""
    rows = "".join(
        f"<tr><td><b>{entry.task}</b></td><td>{text(entry.size)}</td><td>{text(entry.division)}</td>"
        f"<td>{text(entry.system)}<div class='between'>{text(entry.host_processor)}</div></td>"
        f'<td class="num">{entry.runs - entry.failed} of {entry.runs}</td>'
        f'<td class="num">{minutes_text(entry.minutes) if entry.minutes is not None else "–"}'
        f"{_range(entry)}</td><td>{text(entry.note)}</td></tr>"
        for entry in board.own
    )
    return (
        f'<section id="own"><h2>Your runs <span class="tag warn">{LABEL}</span></h2>'
        '<p class="note">Sizes smoke and small are compared with nothing but themselves.</p>'
        '<div class="scroll"><table><thead><tr><th>task</th><th>size</th><th>division</th><th>system</th>'
        '<th class="num">converged</th><th class="num">minutes</th><th></th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div></section>"
    )


def _range(entry: Entry) -> str:
    if entry.fastest is None or entry.slowest is None:
        return ""
    return f'<div class="between">{minutes_text(entry.fastest)} to {minutes_text(entry.slowest)}</div>'


def _sources(board: Board) -> str:
    told = round_sources()
    rows = "".join(
        f"<dt>{text(name)}</dt><dd>{text(told['rounds'][name]['repository'])}, {told['rounds'][name]['entries']} "
        "entries</dd>"
        for name in (board.against, board.round)
        if name in told["rounds"]
    )
    words = "".join(f"<dt>{text(word)}</dt><dd>{text(meaning)}</dd>" for word, meaning in told["sources"].items())
    return (
        f'<section id="sources"><h2>Sources</h2><p class="note">{text(told["method"])}</p><dl>{rows}{words}</dl>'
        "</section>"
    )
