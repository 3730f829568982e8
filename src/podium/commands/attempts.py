"""Attempts on the screen: written side by side as they grow, and one below the other when they are over.

Knows rows and rich; runs attempts with the tool loop of podium.solve.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from podium.records import Attempt, Part
from podium.toolcode import split

OURS = {"max_tokens": 1024, "temperature": 0.7, "top_p": 0.95}  # of `podium generate`, where nobody names others
NARROWEST = 40  # characters of a column; attempts that do not fit side by side go into further rows
FRAMES_PER_SECOND = 8

# What a model writes may hold commands to the terminal: they are shown and not obeyed.
_HARMLESS = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | {0x7F: 0x2421}
_HARMLESS |= dict.fromkeys(range(0x80, 0xA0), 0xFFFD)


def side_by_side(attempts: Sequence[Attempt], running: set[int], console: Console) -> RenderableType:
    """The ends of all attempts, in as many columns as the terminal is wide."""
    width, height = console.size
    columns = max(1, min(len(attempts), width // NARROWEST))
    rows = -(-len(attempts) // columns)
    lines = max(3, (height - 1) // rows - 2)  # without the frame
    table = Table.grid(expand=True)
    for _ in range(columns):
        table.add_column(ratio=1)
    panels = []
    for attempt in attempts:
        wrapped = _body(attempt.parts).wrap(console, max(10, width // columns - 4))
        tail = Group(*wrapped[-lines:])
        state = "running" if attempt.index in running else attempt.stop_reason
        title = f"{attempt.index + 1}: {state}, {attempt.usage.completion_tokens} tokens"
        panels.append(Panel(tail, title=title, title_align="left", height=lines + 2, border_style="dim"))
    for start in range(0, len(panels), columns):
        table.add_row(*panels[start : start + columns])
    return table


def show_attempt(console: Console, attempt: Attempt) -> None:
    """A whole attempt: what the model wrote, its code in colours, what the code printed."""
    tokens = attempt.usage.completion_tokens
    console.rule(f"attempt {attempt.index + 1}: {attempt.stop_reason}, {tokens} tokens", align="left")
    console.print(_body(attempt.parts), soft_wrap=not console.is_terminal)


def _body(parts: Sequence[Part]) -> Text:
    body = Text()
    for segment in split(parts):
        if segment.kind == "output":
            body.append(segment.text.translate(_HARMLESS).strip("\n") + "\n", style="cyan")
        elif segment.kind == "code":
            code = segment.inside.translate(_HARMLESS)
            body.append_text(Syntax("", "python", background_color="default").highlight(code))
            body.append("\n")
        elif segment.text.strip():
            body.append(segment.text.translate(_HARMLESS).strip("\n") + "\n")
    body.rstrip()
    return body
