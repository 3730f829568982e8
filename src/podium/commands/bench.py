"""`podium bench …`: the table of its subcommands."""

from __future__ import annotations

from podium.commands.subcommands import group

COMMANDS: dict[str, str] = {
    "check": "podium.commands.bench_check:check",
    "score": "podium.commands.bench_score:score",
    "init": "podium.commands.bench_init:init",
    "board": "podium.commands.bench_board:board",
    "run": "podium.commands.bench_run:run",
    "tasks": "podium.commands.bench_tasks:tasks",
}
app = group(COMMANDS, no_args_is_help=True)
