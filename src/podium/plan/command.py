"""`podium plan …`: a table of subcommands, each loaded when it is asked for.

A subcommand is a function with typer annotations in a module of its own, so that one never pays for the others.
"""

from __future__ import annotations

import importlib
from typing import Any

import typer
from typer.core import TyperGroup

# name -> "module:function"; shown in this order.
COMMANDS: dict[str, str] = {
    "train": "podium.plan.command_train:train",
    "count": "podium.plan.command_count:count",
    "scale": "podium.plan.command_count:scale",
    "fit": "podium.plan.command_fit:fit",
    "memory": "podium.plan.command_memory:memory",
    "devices": "podium.plan.command_count:devices",
    "simulate": "podium.plan.command_simulate:simulate",
    "serve": "podium.plan.command_serve:serve",
    "budget": "podium.plan.command_budget:budget",
    "centre": "podium.plan.command_centre:centre",
    "validate": "podium.plan.command_validate:validate",
}


class PlanGroup(TyperGroup):
    """Subcommands out of COMMANDS."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        module, function = COMMANDS[cmd_name].split(":")
        single = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})
        single.command(name=cmd_name)(getattr(importlib.import_module(module), function))
        return typer.main.get_command(single)


app = typer.Typer(cls=PlanGroup, add_completion=False)
