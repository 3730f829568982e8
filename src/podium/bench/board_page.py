"""The scoreboard as one HTML file that opens from the disk, without a network, with everything inside.

Every text that comes from a round, a log or a system description passes `text()`.
"""

from __future__ import annotations

from collections.abc import Sequence

from podium.bench.board import Board, DivisionBoard
from podium.bench.board_charts import board_charts, colour_names, scaling_series
from podium.bench.published import OWN, Entry, round_sources
from podium.bench.registry import with_benchmark
from podium.bench.rules import load_ruleset
from podium.bench.score import minutes_text
from podium.bench.score_folder import LABEL
from podium.bench.scoreboard import CATEGORIES, Category, Improvement, accelerator_kind
from podium.board.shell import colour, counted, header, page, table, text
from podium.figures import say_gain

TITLES: dict[Category, str] = {"single": "Single machines", "cluster": "Clusters"}


def board_page(board: Board, entries: Sequence[Entry], top: int) -> str:
    """The page as text; `entries` are those of the round, for the charts."""
    charts = board_charts(board, entries)
    parts = [_header(board), "<main>", _own(board)]
    for one in board.divisions:
        if any(one.lists.values()) or one.unranked:
            parts.append(_division(board, one, entries, set(charts), top))
    parts += [_sources(board), "</main>"]
    return page(
        f"Scoreboard {board.round} · Podium",
        "".join(parts),
        footer=f"Made by Podium from published logs. MLPerf is a trademark of MLCommons; your own runs are {LABEL}.",
        charts=charts,
    )


def _about(task: str) -> tuple[str, str]:
    """Network and area of a task, in words; of one whose package is not here the name alone."""
    rules = with_benchmark(load_ruleset(), task).benchmarks.get(task)
    return (rules.model, rules.area) if rules else (task, "")


def _header(board: Board) -> str:
    closed = next((one for one in board.divisions if one.division == "closed"), board.divisions[0])
    lists = sum(bool(rows) for rows in closed.lists.values())
    won = [f"{text(name)} {single + cluster}" for name, single, cluster in closed.first_places]
    lede = f"Of {lists} {closed.division} lists: {', '.join(won)}." if won else ""
    links = {"own": "Your runs"} if board.own else {}
    for one in board.divisions:
        if any(one.lists.values()):
            links[f"{one.division}-lists"] = f"{one.division.capitalize()} division"
            links[f"{one.division}-change"] = f"{one.division.capitalize()}: improvement and scaling"
    note = (
        f"{text(board.definition.words())}. Minutes to the target quality; "
        "closed and open entries are never in one list."
    )
    return header(
        f"MLPerf Training {board.round}",
        kicker="Podium · time to quality",
        lede=lede,
        notes=[note],
        links={**links, "sources": "Sources"},
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
    for task in board.tasks:
        ranked = one.lists.get((task, category), [])
        improvement = one.against_best.get((task, category))
        for number, entry in enumerate(ranked[:top], start=1):
            first = number == 1
            mark = f' <span class="tag warn">{LABEL}</span>' if entry.round == OWN else ""
            name = f'<b>{task}</b><div class="between">{text(_about(task)[1])}</div>' if first else ""
            about = " · ".join(filter(None, (entry.system, accelerator_kind(entry.accelerator), entry.availability)))
            shown = minutes_text(entry.minutes or 0.0)
            rows.append(
                (
                    name,
                    f"<b>{shown}</b>" if first else shown,
                    f"{number}",
                    f'{text(entry.submitter)}{mark}<div class="between trouble">{text(about)}</div>',
                    f"{entry.accelerators}",
                    text(entry.ratio),
                    *(_change_cells(improvement) if first else ("", "")),
                )
            )
    if not rows:
        return ""
    columns = [("task", ""), ("minutes", "main num"), ("#", "num"), ("submitter and system", ""), ("accel.", "num")]
    columns += [("host", "num"), (f"best of {board.against}", "num"), ("time cut, rate gain", "num")]
    return f"<h3>{TITLES[category]}</h3>{table(columns, rows)}"


def _change_cells(found: Improvement | None) -> tuple[str, str]:
    if found is None:
        return "", ""
    return (
        f'{found.old.minutes:g}<div class="between">{text(found.old.submitter)}</div>',
        f'{_toned(found.time_cut)}<div class="between">rate {say_gain(found.rate_gain)}</div>',
    )


def _toned(share: float) -> str:
    tone = "right" if share > 0 else "wrong"
    return f'<span class="tag {tone}">{say_gain(share)}</span>'


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
        f"<figure><figcaption><b>{task}</b>: {text(', '.join(filter(None, _about(task))))}</figcaption>"
        f'<div class="chart" data-chart="time-{one.division}-{task}"></div></figure>'
        for task in board.tasks
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
    columns = [("submitter and system", ""), ("time cut", "main num"), ("task", ""), (board.against or "", "num")]
    columns += [(board.round, "num"), ("rate gain", "num")]
    rows = [
        (
            f'{text(found.new.submitter)}<div class="between">{text(found.new.system)}</div>',
            _toned(found.time_cut),
            found.new.task,
            f"{found.old.minutes:.3f}",
            f"{found.new.minutes:.3f}",
            _toned(found.rate_gain),
        )
        for found in one.same_system
    ]
    same = f"<h3>The same system a round before</h3>{table(columns, rows)}" if rows else ""
    if not figures and not same:
        return ""
    return (
        f'<section id="{one.division}-change"><h2>Improvement and scaling</h2>'
        '<p class="note">Two conventions are in use and differ: time cut is 1 - new / old, rate gain is '
        "old / new - 1. A gain of 22 % is a cut of 18 %.</p>"
        f'<div class="figures">{figures}</div>{same}{_scaling_table(one)}</section>'
    )


def _scaling_table(one: DivisionBoard) -> str:
    rows = [
        (
            f'{text(submitter)}<div class="between">{text(task)}, {text(accelerator)}</div>',
            f"{points[-1].efficiency:.0%}",
            " → ".join(f"{p.entry.accelerators}: {p.entry.minutes:g} min ({p.efficiency:.0%})" for p in points),
        )
        for submitter, task, accelerator, points in one.scaling
    ]
    if not rows:
        return ""
    columns = [("system", ""), ("efficiency", "main num"), ("accelerators: minutes (efficiency)", "")]
    return (
        '<details><summary class="note">every system with several sizes; the efficiency of its largest</summary>'
        f"{table(columns, rows)}</details>"
    )


def _ratios(one: DivisionBoard) -> str:
    rows = [(text(submitter), text(ratio), text(tasks)) for submitter, ratio, tasks in one.host_ratios]
    if not rows:
        return ""
    columns = [("submitter", ""), ("host : accelerators", "main"), ("tasks", "")]
    return (
        '<section><h2>Host processors per accelerator</h2><p class="note">One machine can have several: '
        f"disaggregated hosts are given to a task as it needs them.</p>{table(columns, rows, tight=True)}</section>"
    )


def _own(board: Board) -> str:
    if not board.own:
        return ""
    rows = [
        (
            f"<b>{text(entry.task)}</b>",
            f"<b>{minutes_text(entry.minutes) if entry.minutes is not None else '–'}</b>{_range(entry)}",
            f"{entry.runs - entry.failed} of {entry.runs}",
            text(entry.size),
            text(entry.division),
            f'{text(entry.system)}<div class="between">{text(entry.host_processor)}</div>',
            text(entry.note),
        )
        for entry in board.own
    ]
    columns = [("task", ""), ("minutes", "main num"), ("converged", "num"), ("size", ""), ("division", "")]
    return (
        f'<section id="own"><h2>Your runs <span class="tag warn">{LABEL}</span></h2>'
        '<p class="note">Sizes smoke and small are compared with nothing but themselves.</p>'
        f"{table([*columns, ('system', ''), ('', '')], rows)}</section>"
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
