"""Attempts on the screen."""

import io

import pytest
from rich.console import Console

from podium.commands.attempts import show_attempt, side_by_side
from podium.records import Attempt, Maker, Part


def attempt(index, *parts):
    return Attempt(
        id=f"x#{index}",
        problem_id="x",
        style="tir",
        prompt=(),
        parts=tuple(Part(role=role, text=text) for role, text in parts),
        maker=Maker(model="m"),
        index=index,
        stop_reason="eos",
    )


def shown(paint, width=120, height=30):
    console = Console(file=io.StringIO(), force_terminal=True, width=width, height=height, color_system="truecolor")
    paint(console)
    return console.file.getvalue()


WITH_CODE = attempt(
    0,
    ("model", "I compute.\n<tool_call>\nprint(6 * 7)\n</tool_call>"),
    ("tool", "\n```output\n42\n```\n"),
    ("model", "It is 42."),
)


def test_code_and_outputs_stand_out_from_the_text():
    text = shown(lambda console: show_attempt(console, WITH_CODE))
    assert "\x1b[36m42" in text.replace("```output\n", "\x1b[36m") or "\x1b[36m```output" in text
    assert "I compute." in text
    assert "print(6" not in text  # in several colours
    assert "<tool_call>" not in text


@pytest.mark.parametrize(("width", "columns"), [(200, 4), (100, 2), (30, 1)])
def test_attempts_stand_side_by_side_and_show_their_ends(width, columns):
    attempts = [attempt(index, ("model", "\n".join(f"{index}-{line}" for line in range(100)))) for index in range(4)]
    text = shown(lambda console: console.print(side_by_side(attempts, {1}, console)), width, 40)
    lines = [line for line in text.splitlines() if "-99" in line]
    assert len(lines) == 4 // columns
    assert len(text.splitlines()) <= 40
    assert "2: running" in text
    assert "1: eos" in text


def test_what_a_model_writes_cannot_command_the_terminal():
    text = shown(lambda console: show_attempt(console, attempt(0, ("model", "a\x1b[2Jb\x07\x9b2J"))))
    assert "\x1b[2J" not in text
    assert "\x07" not in text
    assert "\x9b" not in text
    assert "[2Jb" in text
