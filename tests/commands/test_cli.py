"""The command line as a new user meets it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from podium.commands.cli import app


def podium(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "podium", *arguments], capture_output=True, text=True, timeout=120, env=None
    )


def every_command() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []

    def walk(command: object, path: tuple[str, ...]) -> None:
        if isinstance(command, TyperGroup):
            # As a shell would find them: some groups look a command up only when it is asked for.
            context = click_context(command)
            for name in command.list_commands(context):
                walk(command.get_command(context, name), (*path, name))
        else:
            found.append(path)

    walk(get_command(app), ())
    return found


def click_context(command: TyperGroup) -> Any:
    return command.make_context("podium", [], resilient_parsing=True)


@pytest.mark.parametrize("path", every_command(), ids=" ".join)
def test_every_command_shows_an_example_of_itself(path: tuple[str, ...]) -> None:
    command = get_command(app)
    for name in path:
        assert isinstance(command, TyperGroup)
        command = command.get_command(click_context(command), name)
    assert f"Example: podium {' '.join(path)}" in (command.help or "")


def test_help_needs_no_heavy_import() -> None:
    check = (
        "import sys; sys.argv = ['podium', '--help']\n"
        "from podium.commands.cli import app\n"
        "try: app()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'pydantic', 'numpy', 'sympy', 'reasoning_gym', 'pyarrow', 'httpx'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=60)
    assert "HEAVY []" in done.stdout


def test_unknown_command_is_a_usage_error() -> None:
    done = podium("pobrlems")
    assert done.returncode == 2
    assert "No such command" in done.stderr


def test_an_error_is_two_lines_and_exit_code_2() -> None:
    done = podium("problems", "jsonl:/does/not/exist.jsonl")
    assert done.returncode == 2
    assert done.stderr.startswith("error: /does/not/exist.jsonl: no such file")
    assert "cure:" in done.stderr
    assert "Traceback" not in done.stderr


def test_debug_keeps_the_traceback() -> None:
    done = podium("--debug", "problems", "jsonl:/does/not/exist.jsonl")
    assert done.returncode != 0
    assert "Traceback" in done.stderr
