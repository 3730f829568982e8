"""Commands and options that errors, helps and tables name are there."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

import podium
from podium.commands.cli import app

SOURCE = Path(podium.__file__).parent
# Options of programs that Podium is used with, or starts.
FOREIGN = {"--security-opt", "--max-model-len"}


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The command tree; typer brings its own click, so that a group is what lists commands."""
    yield path, group
    if hasattr(group, "list_commands"):
        for name in group.list_commands(None):
            yield from commands(group.get_command(None, name), (*path, name))


COMMANDS = dict(commands(typer.main.get_command(app)))
OPTIONS = {
    option for command in COMMANDS.values() for each in command.params for option in (*each.opts, *each.secondary_opts)
} | {"--help"}


def texts() -> Iterator[tuple[str, str]]:
    """Every text of the program that is no docstring: (file:line, text)."""
    for file in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(file.read_text())
        docs = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
                yield f"{file.relative_to(SOURCE)}:{node.lineno}", node.value


TEXTS = list(texts())


def told() -> Iterator[tuple[str, str]]:
    """What errors say: (file:line, text with … for what is filled in)."""
    for file in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "").endswith("Error"):
                for argument in node.args:
                    parts = [
                        each.value
                        for each in ast.walk(argument)
                        if isinstance(each, ast.Constant) and isinstance(each.value, str)
                    ]
                    yield f"{file.relative_to(SOURCE)}:{node.lineno}", "…".join(parts)


def test_every_command_that_is_named_exists():
    found = 0
    for where, text in TEXTS:
        for named in re.finditer(r"(?<![\w./-])podium ((?:[a-z]+ ?)+)", text):
            words = named[1].split()
            if (words[0],) not in COMMANDS:
                # "podium cannot" is a sentence; one that begins a command must name one.
                assert not re.search(rf"(?:run|with|:|`|first:|use) podium {words[0]}", text), f"{where}: {text!r}"
                continue
            found += 1
            if words[0] in ("bench", "plan", "sandbox") and len(words) > 1:
                assert tuple(words[:2]) in COMMANDS, f"{where}: {text!r}"
    assert found > 20


def test_every_option_that_an_error_names_exists():
    named = {(option, where) for where, text in told() for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", text)}
    assert len(named) > 40
    assert sorted((option, where) for option, where in named if option not in OPTIONS | FOREIGN) == []


def test_nothing_is_installed_by_a_name_that_no_index_has():
    assert [(where, text) for where, text in TEXTS if re.search(r"install '?podium\[", text)] == []
