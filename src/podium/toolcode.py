"""The form of a tool-integrated solution: tags around code, a fence around what the code printed, and how that is cut.

Whoever writes, runs, reads, shows or trains on such a solution takes the form from here, so that a model meets in an
exam what it was trained on. The module knows text and parts; it knows neither who writes nor what runs the code.

A solution is a sequence of parts (`podium.records.Part`). The model writes text, and in it blocks of code between
`OPEN_TAG` and `CLOSE_TAG`; after a closing tag a tool adds what the block printed, in a fence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from podium.records import Part

OPEN_TAG, CLOSE_TAG = "<tool_call>", "</tool_call>"
FENCE_START, FENCE_END = "\n```output\n", "\n```\n"
_HIDDEN = re.compile(f"{re.escape(OPEN_TAG)}.*?(?:{re.escape(CLOSE_TAG)}|\\Z)", re.DOTALL)
_BLOCK = re.compile(f"{re.escape(OPEN_TAG)}(?:(?!{re.escape(OPEN_TAG)}).)*?(?:{re.escape(CLOSE_TAG)}|\\Z)", re.DOTALL)
_OUTPUT = re.compile(f"(?<={re.escape(CLOSE_TAG)}){re.escape(FENCE_START)}.*?{re.escape(FENCE_END)}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of text, code or output, with its tags or its fence: the segments of a solution, joined, are its text."""

    kind: Literal["text", "code", "output"]
    text: str

    @property
    def inside(self) -> str:
        """What stands between the tags or in the fence; a segment without them is returned as it is."""
        if self.kind == "code":
            return self.text.removeprefix(OPEN_TAG).removesuffix(CLOSE_TAG).strip("\n")
        output = output_in(self.text) if self.kind == "output" else None
        return self.text if output is None else output


def code_block(code: str) -> str:
    """A block of code as a model writes it."""
    return f"{OPEN_TAG}\n{code}\n{CLOSE_TAG}"


def output_block(output: str) -> str:
    """What a tool adds to a solution to show `output`; line ends at the end of the output are left out."""
    return f"{FENCE_START}{output.rstrip(chr(10))}{FENCE_END}"


def output_in(text: str) -> str | None:
    """The output in the fence that `text` is; None where it is none."""
    fenced = text.startswith(FENCE_START) and text.endswith(FENCE_END) and len(text) >= len(FENCE_START + FENCE_END)
    return text[len(FENCE_START) : -len(FENCE_END)] if fenced else None


def closed_block(written: str) -> str | None:
    """The code of the block that the end of `written` closes; None where no tag is closed there, or none was opened.

    Of several opening tags the last one starts the block: those before it were never closed.
    """
    _, opened, code = written.removesuffix(CLOSE_TAG).rpartition(OPEN_TAG)
    if not written.endswith(CLOSE_TAG) or not opened or CLOSE_TAG in code:
        return None
    return code.strip("\n")


def split_written(written: str) -> list[Segment]:
    """Split what a model wrote into text and code.

    A block goes from an opening tag to its closing tag, or to the end. An opening tag before another one starts no
    block and stays in the text; so does a fence that the model wrote, as no code printed it.
    """
    segments: list[Segment] = []
    place = 0
    for block in _BLOCK.finditer(written):
        if block.start() > place:
            segments.append(Segment("text", written[place : block.start()]))
        segments.append(Segment("code", block[0]))
        place = block.end()
    return [*segments, Segment("text", written[place:])] if place < len(written) else segments


def split(parts: Iterable[Part]) -> list[Segment]:
    """Split a solution. What a tool added is an output, also where it has no fence (a nudge in an exam)."""
    segments: list[Segment] = []
    for part in parts:
        segments += split_written(part.text) if part.role == "model" else [Segment("output", part.text)]
    return segments


def parts_of(text: str) -> tuple[Part, ...]:
    """Split a solution that is given as one text into its parts: a fence right behind a closing tag is the tool's.

    An output that holds the end of a fence itself ends there, because one text does not tell the two apart.
    """
    parts: list[Part] = []
    place = 0
    for output in _OUTPUT.finditer(text):
        parts.append(Part(role="model", text=text[place : output.start()]))
        parts.append(Part(role="tool", text=output[0]))
        place = output.end()
    return (*parts, Part(role="model", text=text[place:])) if place < len(text) else tuple(parts)


def written_text(parts: Iterable[Part]) -> str:
    """What the model wrote of a solution, code included."""
    return "".join(part.text for part in parts if part.role == "model")


def outside_code(written: str) -> str:
    """What a model wrote outside of code: where an attempt's answer is looked for.

    While a model writes, everything behind an opening tag may be code; so it is here, also where another tag follows.
    """
    return _HIDDEN.sub("", written)


def cut_output(beginning: str, dropped: int, end: str, limit: int) -> tuple[str, int]:
    """At most `limit` characters of an output of which `dropped` are already missing between `beginning` and `end`.

    Every sandbox cuts what it shows with this function, at the limit of its session.

    Returns:
        The text, with a line in the gap that says how many characters are not shown; and that number.
    """
    if not dropped and len(beginning) + len(end) <= limit:
        return beginning + end, 0
    if not dropped:
        beginning, end = beginning + end, beginning + end
        total = len(beginning)
    else:
        total = len(beginning) + dropped + len(end)
    head = beginning[: limit - limit // 2]
    tail = end[max(len(end) - limit // 2, 0) :]
    missing = total - len(head) - len(tail)
    return f"{head}\n... [{missing} characters not shown] ...\n{tail}", missing
