"""Groups of subcommands: one function each, loaded when it is asked for, torch only when a benchmark runs."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from podium.commands import bench, plan
from podium.commands.cli import app
from podium.commands.subcommands import group

CASES = [
    (name, words, place) for name, room in (("bench", bench), ("plan", plan)) for words, place in room.COMMANDS.items()
]


@pytest.mark.parametrize(("room", "name", "place"), CASES, ids=[f"{room} {name}" for room, name, _ in CASES])
def test_a_command_is_one_function_and_its_help_begins_with_what_it_says(room: str, name: str, place: str) -> None:
    module, _, function = place.partition(":")
    assert module.startswith(f"podium.commands.{room}_")
    command = getattr(importlib.import_module(module), function)
    said = CliRunner().invoke(app, [room, name, "--help"], env={"COLUMNS": "300"})
    assert said.exit_code == 0
    assert command.__doc__.splitlines()[0] in said.output


def test_the_help_of_the_rooms_needs_no_torch() -> None:
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from podium.commands.cli import app\n"
        "codes = [CliRunner().invoke(app, [room, '--help']).exit_code for room in ('bench', 'plan')]\n"
        "codes += [CliRunner().invoke(app, ['bench', 'run', '--help']).exit_code]\n"
        "print(codes, [m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert said.strip() == "[0, 0, 0] []"


def test_only_the_command_that_is_asked_for_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "good_one.py").write_text("def say(word: str) -> None:\n    print(word * 2)\n")
    (tmp_path / "bad_one.py").write_text("raise RuntimeError('loaded')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    made = typer.main.get_command(group({"say": "good_one:say", "break": "bad_one:say"}))
    with pytest.raises(SystemExit) as left:
        made(["say", "ab"])
    assert left.value.code == 0
    assert capsys.readouterr().out == "abab\n"
    with pytest.raises(RuntimeError, match="loaded"):
        made(["break", "ab"])
