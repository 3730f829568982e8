"""Groups of subcommands, each loaded when it is asked for, so that one never pays for the others."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import typer
from typer.core import TyperGroup


def group(commands: Mapping[str, str], **settings: Any) -> typer.Typer:
    """A typer app of `commands`: name -> `module:function` with typer annotations, shown in this order.

    `settings` are those of typer.Typer.
    """

    class Subcommands(TyperGroup):
        def list_commands(self, ctx: Any) -> list[str]:
            return list(commands)

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            if cmd_name not in commands:
                return None
            module, function = commands[cmd_name].split(":")
            single = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})
            single.command(name=cmd_name)(getattr(importlib.import_module(module), function))
            return typer.main.get_command(single)

    app = typer.Typer(cls=Subcommands, add_completion=False, **settings)
    app.callback()(_nothing)
    return app


def _nothing() -> None:
    # Typer takes an app without commands of its own for a group only where it has a callback.
    pass
