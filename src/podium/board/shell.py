"""The shell of every page: head, style, theme, scripts and licences; and how text and tables get into it.

A page is one file that opens from the disk, needs no network and reads well from 390 px of width on. Knows markup, and
nothing of what is shown: the rooms that write pages (board, bench, plan) hand it their sections. Every text that comes
from a model, a problem, a log or a machine passes `text()` or `script_json()`; there is no other way into a page.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

COLOURS = 6  # --c0 … --c5 of the style sheet
VEGA = "Charts: Vega and Vega-Lite (BSD-3-Clause), inside this file."
VEGA_LITE = "https://vega.github.io/schema/vega-lite/v6.json"  # names the dialect; nothing is fetched
KATEX = "Mathematics: KaTeX (MIT; its fonts OFL 1.1), inside this file."


def text(value: Any) -> str:
    """Anything as text inside an element or a quoted attribute."""
    return html.escape(str(value), quote=True)


def script_json(value: Any) -> str:
    """JSON that can stand inside a <script> element whatever it holds."""
    written = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        written = written.replace(character, f"\\u{ord(character):04x}")
    return written


def counted(count: int, one: str, many: str = "") -> str:
    """1 tie, 2 ties."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def colour(index: int) -> str:
    """The style that gives an element the colour of the series with this number."""
    return f"--c: var(--c{index % COLOURS})"


def header(
    title: str,
    *,
    kicker: str = "",
    warning: str = "",
    lede: str = "",
    notes: Sequence[str] = (),
    links: Mapping[str, str],
) -> str:
    """The head of a page. `warning`, `lede` and `notes` are markup; `links`: id of a section -> its words."""
    nav = "".join(f'<a href="#{text(to)}">{text(words)}</a>' for to, words in links.items())
    return (
        '<header class="top"><button id="theme" hidden aria-label="change theme"></button>'
        f'<p class="kicker">{text(kicker)}</p><h1>{text(title)}</h1>{warning}'
        + (f'<p class="lede">{lede}</p>' if lede else "")
        + "".join(f'<p class="note">{note}</p>' for note in notes)
        + (f"<nav>{nav}</nav>" if nav else "")
        + "</header>"
    )


def chart(rows: Sequence[Mapping[str, Any]], height: int) -> dict[str, Any]:
    """What every chart of a page begins with: its rows, and as wide as its place (height in pixels).

    The chart's own marks and encodings are added to it; colours and fonts are the page's.
    """
    return {
        "$schema": VEGA_LITE,
        "data": {"values": rows},
        "width": "container",
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"},
    }


def table(
    columns: Sequence[tuple[str, str]],
    rows: Sequence[Sequence[str]],
    *,
    styles: Sequence[str] = (),
    tight: bool = False,
) -> str:
    """A table whose main number can be seen on a telephone: it stands first or second, whatever else has to scroll.

    Args:
        columns: heading (text) and kind of each: `main` (one of them is), `num` (right-aligned), both or neither.
        rows: the markup inside each cell.
        styles: a style for each row.
        tight: rows close together.
    """
    kinds = [f' class="{kind}"' if kind else "" for _, kind in columns]
    main = [number for number, (_, kind) in enumerate(columns) if "main" in kind.split()]
    assert main in ([0], [1]), "the main number of a table stands first or second"
    head = "".join(f"<th{kind}>{text(words)}</th>" for (words, _), kind in zip(columns, kinds, strict=True))
    lines = []
    for number, row in enumerate(rows):
        style = f' style="{styles[number]}"' if styles else ""
        cells = "".join(f"<td{kind}>{cell}</td>" for cell, kind in zip(row, kinds, strict=True))
        lines.append(f"<tr{style}>{cells}</tr>")
    return (
        f'<div class="scroll"><table{" class=tight" if tight else ""}><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def page(
    title: str,
    body: str,
    *,
    footer: str,
    charts: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    scripts: Sequence[str] = (),
    mathematics: bool = False,
    generator: str = "podium",
) -> str:
    """A whole page.

    Args:
        title: text, for the window.
        body: markup, see `header`; elements of class `tex` hold texts with mathematics in them.
        footer: markup.
        charts: Vega-Lite specifications, drawn where an element names one as `data-chart`.
        data: what the scripts read.
        scripts: names of files in assets that run after the shell's own.
        mathematics: whether anything of class `tex` is, or will be, on the page.
        generator: says to programs what wrote the page.
    """
    charts = charts or {}
    code = [("vendor", "vega.min.js"), ("vendor", "vega-lite.min.js")] if charts else []
    code += [("vendor", "katex.min.js"), ("assets", "math.js")] if mathematics else []
    code += [("assets", name) for name in ("shell.js", *scripts)]
    said = [footer, *([VEGA] if charts else []), *([KATEX] if mathematics else [])]
    # A page needs nothing from anywhere; should a text ever get past the escaping, the browser still fetches nothing.
    # Vega builds functions from expressions.
    build = " 'unsafe-eval'" if charts else ""
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'{build}; img-src data:; "
        "font-src data:; base-uri 'none'; form-action 'none'"
    )
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="generator" content="{text(generator)}">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{text(title)}</title>
<style>{asset("assets", "page.css")}</style>
{f"<style>{asset('vendor', 'katex.min.css')}</style>" if mathematics else ""}</head><body>
{body}
<footer>{" ".join(said)}</footer>
<script type="application/json" id="data">{script_json({"charts": charts, "colours": COLOURS, **(data or {})})}</script>
{"".join(f"<script>{asset(*name)}</script>" for name in code)}
</body></html>
"""


def asset(*path: str) -> str:
    """A file of this package that goes into pages."""
    return files("podium.board").joinpath(*path).read_text(encoding="utf-8")
