"""The command line: one thin function per command, no logic.

Imports nothing heavy: `podium --help` must answer before a person notices, so every command imports its room itself.
A PodiumError is printed as message and cure, exit code 2; Ctrl-C leaves with 130 and SIGTERM with 143, told alike;
anything else is a defect and keeps its traceback.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from podium import __version__, interrupts
from podium.commands.cli_exam import exam_app
from podium.commands.cli_options import (
    DataOption,
    DeviceOption,
    ExtractOption,
    FormatOption,
    GenerationConfigOption,
    JsonOption,
    JudgeOption,
    PromptOption,
    RepetitionOption,
    ReplicasOption,
    SystemOption,
)
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


@app.command()
def run(
    recipe: Annotated[Path, typer.Argument(help="A recipe file, or the folder of an earlier run.")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Change a parameter: stage.key=value.", metavar="S.K=V")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Stop after this stage.")] = None,
    fresh: Annotated[bool, typer.Option(help="Start over; the old run is moved aside.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the chain with sizes and times, run nothing.")
    ] = False,
    runs: Annotated[Path, typer.Option(help="Folder that holds the runs.")] = Path("runs"),
) -> None:
    """Run a recipe from problems to report. Finished stages are skipped, broken ones resume.

    Example: podium run recipes/demo.yaml --set exam_merged.attempts=16
    """
    from podium.commands.run import run_recipe_command

    run_recipe_command(recipe, set_ or [], until=until, fresh=fresh, dry_run=dry_run, runs=runs)


@app.command()
def stages(
    kind: Annotated[str | None, typer.Argument(help="A stage kind, to see its fields.")] = None,
    markdown: Annotated[bool, typer.Option(help="Print the whole reference, as docs/stages.md holds it.")] = False,
) -> None:
    """Show what a recipe may say: the kinds of stages, their inputs, fields and defaults.

    Example: podium stages train
    """
    importlib.import_module("podium.recipe.stages")  # registers the stage kinds
    from podium.commands import stage_kinds as reference
    from podium.recipe import registry

    if markdown:
        typer.echo(reference.markdown(registry.kinds()), nl=False)
    else:
        reference.print_stages(kind)


@app.command()
def solve(
    model: Annotated[str, typer.Argument(help="A model folder, or the URL of an OpenAI-compatible server.")],
    problem: Annotated[str, typer.Argument(help="The problem, or - to read it from standard input.")],
    attempts: Annotated[int, typer.Option("-n", "--attempts", min=1, help="Attempts.")] = 1,
    prompt: PromptOption = None,
    system: SystemOption = None,
    extract: ExtractOption = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Tokens per attempt (default: the profile's).")] = None,
    repetition_stop: RepetitionOption = True,
    profile: Annotated[str, typer.Option(help="Tool limits: kaggle, notebook or eval.")] = "kaggle",
    temperature: Annotated[
        float | None, typer.Option(help="Sampling temperature (default: the model's, then the profile's).")
    ] = None,
    generation_config: GenerationConfigOption = "auto",
    seed: Annotated[int, typer.Option(help="Seed of the attempts.")] = 0,
    replicas: ReplicasOption = 1,
    device: DeviceOption = "cpu",
    format_: FormatOption = None,
) -> None:
    """Watch a model solve one problem, code and outputs included.

    Example: podium solve runs/demo/merge/model "Solve the following multiplication: 83 * 47."
    """
    from podium.commands.single import Asking, solve_command

    solve_command(
        model,
        problem,
        attempts=attempts,
        profile=profile,
        max_tokens=max_tokens,
        temperature=temperature,
        generation_config=generation_config,
        seed=seed,
        asking=Asking(prompt, system, extract, repetition_stop),
        replicas=replicas,
        device=device,
        format=format_,
    )


@app.command()
def generate(
    model: Annotated[str, typer.Argument(help="A model folder, or the URL of an OpenAI-compatible server.")],
    prompt: Annotated[str, typer.Argument(help="What the user says, or - to read it from standard input.")],
    attempts: Annotated[int, typer.Option("-n", "--attempts", help="Answers, side by side.")] = 1,
    tools: Annotated[bool, typer.Option("--tools", help="Run the Python the model writes, in the sandbox.")] = False,
    max_tokens: Annotated[int | None, typer.Option(help="Tokens per answer (default: the model's, then 1024).")] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Sampling temperature; 0 is greedy (default: the model's, then 0.7).")
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(help="Share of the probability that is drawn from (default: the model's, then 0.95)."),
    ] = None,
    generation_config: GenerationConfigOption = "auto",
    seed: Annotated[int, typer.Option(help="Seed of the first answer; the others follow.")] = 0,
    device: DeviceOption = "cpu",
    format_: FormatOption = None,
) -> None:
    """Watch a model write answers side by side, code and outputs highlighted.

    Example: podium generate runs/demo/merge/model "What is 83 * 47?" -n 12 --tools
    """
    from podium.commands.attempts import generate_command

    code = generate_command(
        model,
        prompt,
        attempts=attempts,
        tools=tools,
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=top_p,
        generation_config=generation_config,
        seed=seed,
        device=device,
        format=format_,
    )
    raise typer.Exit(code)


@app.command()
def grade(
    pairs: Annotated[Path, typer.Argument(help="Rows with gold, answer (or solution) and perhaps equivalent.")],
    rule: Annotated[
        list[str] | None,
        typer.Option("--rule", help="What is forgiven: units, percent, degrees, case, rounding, …", metavar="R=V"),
    ] = None,
    judge: JudgeOption = None,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Grade pairs of answers: equal, different or undecided, and how far that agrees with a person.

    Example: podium grade pairs.jsonl --rule units=strict
    """
    from podium.commands.grade import grade_command

    grade_command(pairs, rules=rule or [], judge=judge, as_json=json_)


@app.command()
def compare(
    exam_a: Annotated[Path, typer.Argument(help="Folder of an exam.")],
    exam_b: Annotated[Path, typer.Argument(help="Folder of another one over the same problems.")],
    seed: Annotated[int, typer.Option(help="Seed of the resampling.")] = 0,
    html: Annotated[Path | None, typer.Option(help="Also write the comparison as a page to this file.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object instead of tables.")] = False,
) -> None:
    """Compare two exams problem by problem: differences with intervals, p, and what could have been seen.

    Example: podium compare runs/exams/cot-gsm8k runs/exams/tir-gsm8k
    """
    from podium.commands.compare import compare_command

    compare_command(exam_a, exam_b, as_json=json_, seed=seed, html=html)


@app.command()
def export(
    exam_: Annotated[Path, typer.Argument(metavar="EXAM", help="Folder of an exam.")],
    out: Annotated[Path | None, typer.Option(help="A .eval or .json file (default: EXAM/inspect.eval).")] = None,
) -> None:
    """Write an exam as an Inspect log, for `inspect view` and `inspect_ai.log.read_eval_log`.

    Example: podium export runs/exams/cot-gsm8k --out cot.eval
    """
    from podium.commands.compare import export_command

    export_command(exam_, out)


@app.command()
def serve(
    model: Annotated[Path, typer.Argument(help="A model folder.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0 for any free one.")] = 8000,
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 for every network.")] = "127.0.0.1",
    name: Annotated[str | None, typer.Option(help="What requests call the model (default: as given).")] = None,
    rows: Annotated[int, typer.Option(help="Completions computed side by side.")] = 48,
    replicas: ReplicasOption = 1,
    max_queue: Annotated[int, typer.Option(help="Completions that may wait; more are refused with 429.")] = 1024,
    max_body: Annotated[int, typer.Option(help="Bytes of a request; larger ones are refused with 413.")] = 16 << 20,
    grace: Annotated[float, typer.Option(help="Seconds that running answers may take to finish at the end.")] = 30.0,
    generation_config: GenerationConfigOption = "auto",
    api_key: Annotated[
        str | None,
        typer.Option(help="Key that requests must carry as a bearer token.", envvar="PODIUM_API_KEY", show_envvar=True),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(help="Origin whose pages may call the server from a browser; * for all.", metavar="ORIGIN"),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Name that requests may be sent to, for example a proxy's; * for all.", metavar="NAME"),
    ] = None,
    device: DeviceOption = "cpu",
    format_: FormatOption = None,
) -> None:
    """Serve a model with the OpenAI HTTP API.

    Example: podium serve runs/demo/merge/model --port 8000
    """
    from podium.commands.serving import serve_command

    serve_command(
        model,
        host=host,
        port=port,
        name=name,
        rows=rows,
        replicas=replicas,
        max_queue=max_queue,
        max_body=max_body,
        grace=grace,
        device=device,
        format=format_,
        generation_config=generation_config,
        api_key=api_key,
        allow_origin=allow_origin or [],
        allow_host=allow_host or [],
    )


@app.command()
def problems(
    spec: Annotated[str, typer.Argument(help="gym:NAME, exam:NAME or jsonl:PATH.")],
    size: Annotated[int | None, typer.Option(help="How many.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of a gym.")] = 0,
    option: Annotated[list[str] | None, typer.Option(help="Difficulty option of a gym.", metavar="KEY=VALUE")] = None,
    data: DataOption = None,
    out: Annotated[Path | None, typer.Option(help="Write rows here instead of showing them.")] = None,
) -> None:
    """Show or save problems: any reasoning-gym task, an exam, or your own file.

    Example: podium problems gym:chain_sum --size 3 --option max_terms=4
    """
    from podium.commands.single import problems_command

    problems_command(spec, size=size, seed=seed, options=option or [], data=data, out=out)


@app.command()
def merge(
    models: Annotated[list[Path], typer.Argument(help="Model folders of one architecture.")],
    weights: Annotated[str, typer.Option(help="Comma-separated, one per model.")],
    out: Annotated[Path, typer.Option(help="Folder of the merged model.")],
) -> None:
    """Merge models linearly, tensor by tensor.

    Example: podium merge runs/demo/cot/model runs/demo/tir/model --weights 0.3,0.7 --out merged
    """
    from podium.commands.single import merge_command

    merge_command(models, weights, out)


@app.command()
def draft(
    model: Annotated[Path, typer.Argument(help="The model folder whose tokens are to be guessed.")],
    data: Annotated[list[Path], typer.Option("--data", help="Its own answers; with --generate: problems.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the draft head (default: MODEL/draft).")] = None,
    generate: Annotated[int, typer.Option(help="Let the model answer the first so many problems of --data.")] = 0,
    profile: Annotated[str, typer.Option(help="Tool limits of these answers: kaggle, notebook or eval.")] = "kaggle",
    code: Annotated[bool, typer.Option("--code/--no-code", help="Let the model run Python meanwhile.")] = True,
    vocabulary: Annotated[int, typer.Option(help="Ids that can be guessed: the most frequent ones.")] = 4096,
    depth: Annotated[int, typer.Option(help="Tokens guessed in a row.")] = 3,
    taps: Annotated[int, typer.Option(help="Layers below the last that the head reads as well.")] = 3,
    epochs: Annotated[float, typer.Option(help="How often the answers are gone through.")] = 1.0,
    lr: Annotated[float, typer.Option(help="Learning rate.")] = 1e-3,
    batch: Annotated[int, typer.Option(help="Rows per step.")] = 4,
    row_length: Annotated[int, typer.Option(help="Tokens per row.")] = 2048,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    seed: Annotated[int, typer.Option(help="Seed of answers and training.")] = 0,
) -> None:
    """Train a draft head (ReDrafter): the model then says the same, several tokens a step.

    Example: podium draft runs/demo/merge/model --data runs/demo/exam_merged/attempts.jsonl
    """
    from podium.commands.single import draft_command

    draft_command(
        model,
        data,
        out,
        generate=generate,
        profile=profile,
        code=code,
        seed=seed,
        settings={
            "vocabulary": vocabulary,
            "depth": depth,
            "taps": taps,
            "epochs": epochs,
            "lr": lr,
            "rows_per_batch": batch,
            "row_length": row_length,
            "device": device,
        },
    )


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="A run folder, the folder of one exam, or a folder of runs.")],
    out: Annotated[
        Path | None, typer.Option(help="File to write (default: report.html, or index.html, in the folder).")
    ] = None,
) -> None:
    """Write the self-contained report of a run again; of a folder of runs, the index of all that is in it.

    Example: podium report runs/demo
    """
    from podium.board import report_or_index

    what, path = report_or_index(folder, out)
    typer.echo(f"{what}: {path}")


@app.command()
def system() -> None:
    """Describe this machine the way every run records it.

    Example: podium system
    """
    from podium.runlog import system_description

    typer.echo(json.dumps(system_description(), indent=2))


@app.command()
def probe(
    folder: Annotated[Path, typer.Option(help="Whose disk is measured (128 MB are written and removed).")] = Path("."),
    out: Annotated[Path | None, typer.Option(help="Write the record here (default: where plans look for it).")] = None,
    json_: Annotated[bool, typer.Option("--json", help="The record as JSON instead of a table.")] = False,
) -> None:
    """Measure this machine: matrix products by format, memory, disk; `podium plan … --gpus 1xthis` reads it.

    Example: podium probe --folder runs
    """
    from podium.commands.probe import probe_command

    probe_command(folder, out, json_)


@sandbox_app.command("check")
def sandbox_check(json_: JsonOption = False) -> None:
    """Try every isolation tier with a real canary session; say what failed and the cure.

    Example: podium sandbox check
    """
    from podium.commands.sandbox_show import show_check

    raise typer.Exit(show_check(json_))


@sandbox_app.command("run")
def sandbox_run(
    file: Annotated[Path, typer.Argument(help="Python blocks separated by lines that start with # %%.")],
    profile: Annotated[str, typer.Option(help="Limits: kaggle, notebook or eval.")] = "kaggle",
    json_: JsonOption = False,
) -> None:
    """Run a file block by block in one isolated session. Exit code 0 when the session ran, whatever the blocks did.

    Example: podium sandbox run blocks.py --profile kaggle --json
    """
    from podium.commands.sandbox_show import show_run

    raise typer.Exit(show_run(file, profile, json_))


main = app
