"""The command line: the commands, each of a file of its own, put together.

Imports nothing heavy: `podium --help` must answer before a person notices, so every command imports its rooms itself.
A PodiumError is printed as message and cure, exit code 2; Ctrl-C leaves with 130 and SIGTERM with 143, told alike;
anything else is a defect and keeps its traceback.
"""

from __future__ import annotations

import importlib
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from podium import __version__, interrupts
from podium.commands.compare import compare
from podium.commands.draft import draft
from podium.commands.exam import sit
from podium.commands.exam_rehearse import exam_rehearse
from podium.commands.exam_replay import exam_replay
from podium.commands.exam_revote import exam_revote
from podium.commands.exam_select import exam_select
from podium.commands.export import export
from podium.commands.generate import generate
from podium.commands.grade import grade
from podium.commands.merge import merge
from podium.commands.probe import probe
from podium.commands.problems import problems
from podium.commands.report import report
from podium.commands.run import run
from podium.commands.sandbox_check import sandbox_check
from podium.commands.sandbox_run import sandbox_run
from podium.commands.serve import serve
from podium.commands.solve import solve
from podium.commands.stages import stages
from podium.commands.system import system
from podium.errors import PodiumError


class ErrorsInTwoLines(TyperGroup):
    """Errors a person can mend become two lines on standard error."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with interrupts.sigterm_like_ctrl_c():
                return super().invoke(ctx)
        except PodiumError as error:
            if ctx.params.get("debug"):
                raise
            typer.secho(f"error: {error.message}", fg="red", err=True)
            if error.cure:
                typer.secho(f"  cure: {error.cure}", err=True)
            raise typer.Exit(2) from error
        except KeyboardInterrupt as stop:
            typer.echo("stopped; what was finished is kept, the same command continues", err=True)
            raise typer.Exit(interrupts.exit_code()) from stop


class SitByDefault(TyperGroup):
    """`podium exam MODEL …` sits an exam: what is no subcommand is an argument of `sit`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["sit", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    name="podium",
    cls=ErrorsInTwoLines,
    help="Build reasoning models, make them fast, and race them against the clock.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def room(source: str) -> type[TyperGroup]:
    """A group whose commands are those of the typer app at `module:name`, which is loaded when one is asked for."""

    class Room(TyperGroup):
        def list_commands(self, ctx: Any) -> list[str]:
            return self._group().list_commands(ctx)

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            return self._group().get_command(ctx, cmd_name)

        def _group(self) -> TyperGroup:
            module, _, name = source.partition(":")
            return typer.main.get_group(getattr(importlib.import_module(module), name))

    return Room


bench_app = typer.Typer(
    cls=room("podium.commands.bench:app"),
    help="Time to quality under fixed rules: run, check, score, compare.",
    no_args_is_help=True,
)
app.add_typer(bench_app, name="bench")
sandbox_app = typer.Typer(help="Run model-written Python in isolation.", no_args_is_help=True)
app.add_typer(sandbox_app, name="sandbox")
exam_app = typer.Typer(
    cls=SitByDefault,
    help="Sit exams against the clock, replay them under other policies, rehearse a contest.",
    no_args_is_help=True,
)
app.add_typer(exam_app, name="exam")
plan_app = typer.Typer(
    cls=room("podium.commands.plan:app"),
    help="Plan a training: FLOPs, layouts, memory, days, cost.",
    no_args_is_help=True,
)
app.add_typer(plan_app, name="plan")


def show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"podium {__version__}")
        raise typer.Exit


@app.callback()
def root(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show it.")] = False,
) -> None:
    """Build reasoning models, make them fast, and race them against the clock."""


# In the order in which --help shows them.
for command in (
    run, stages, solve, generate, grade, compare, export, serve, problems, merge, draft, report, system, probe,
):  # fmt: skip
    app.command(command.__name__)(command)
for name, command in (
    ("sit", sit),
    ("revote", exam_revote),
    ("replay", exam_replay),
    ("select", exam_select),
    ("rehearse", exam_rehearse),
):
    exam_app.command(name)(command)
sandbox_app.command("check")(sandbox_check)
sandbox_app.command("run")(sandbox_run)

main = app
