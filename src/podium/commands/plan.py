"""`podium plan …`: the table of its subcommands."""

from __future__ import annotations

from podium.commands.subcommands import group

COMMANDS: dict[str, str] = {
    "train": "podium.commands.plan_train:train",
    "count": "podium.commands.plan_count:count",
    "scale": "podium.commands.plan_count:scale",
    "fit": "podium.commands.plan_fit:fit",
    "memory": "podium.commands.plan_memory:memory",
    "devices": "podium.commands.plan_count:devices",
    "simulate": "podium.commands.plan_simulate:simulate",
    "serve": "podium.commands.plan_serve:serve",
    "budget": "podium.commands.plan_budget:budget",
    "centre": "podium.commands.plan_centre:centre",
    "validate": "podium.commands.plan_validate:validate",
}

app = group(COMMANDS)
