"""The command line as a new user meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from podium.commands.cli import app


def podium(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "podium", *arguments], capture_output=True, text=True, timeout=120, env=None
    )


def every_command() -> dict[tuple[str, ...], Any]:
    """The commands by the words that call them."""
    found: dict[tuple[str, ...], Any] = {}

    def walk(command: object, path: tuple[str, ...]) -> None:
        if isinstance(command, TyperGroup):
            # As a shell would find them: some groups look a command up only when it is asked for.
            context = click_context(command)
            for name in command.list_commands(context):
                walk(command.get_command(context, name), (*path, name))
        else:
            found[path] = command

    walk(get_command(app), ())
    return found


def click_context(command: TyperGroup) -> Any:
    return command.make_context("podium", [], resilient_parsing=True)


COMMANDS = every_command()


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_shows_an_example_of_itself(path: tuple[str, ...]) -> None:
    assert f"Example: podium {' '.join(path)}" in (COMMANDS[path].help or "")


def test_no_option_of_a_command_is_ever_lost() -> None:
    """Scripts name them: options.json holds those that there have been, and more may come."""
    promised = json.loads((Path(__file__).parent / "options.json").read_text())
    assert set(promised) <= {" ".join(path) for path in COMMANDS}
    for name, options in promised.items():
        parameters = COMMANDS[tuple(name.split())].params
        there = {option for each in parameters for option in (*each.opts, *each.secondary_opts)}
        assert set(options) <= there, name


@pytest.mark.parametrize("words", [[], ["exam"], ["exam", "sit"], ["solve"], ["serve"], ["sandbox", "run"]])
def test_help_needs_no_heavy_import(words: list[str]) -> None:
    check = (
        f"import sys; sys.argv = ['podium', *{words}, '--help']\n"
        "from podium.commands.cli import app\n"
        "try: app()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'numpy', 'sympy', 'reasoning_gym', 'pyarrow', 'httpx', 'asyncio'}\n"
        "heavy |= {'podium.records', *(['pydantic'] if len(sys.argv) == 2 else [])}  # typer needs it for a command\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=60)
    assert "Usage" in done.stdout
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
