"""The command line: one thin function per command, no logic.

Imports nothing heavy: `podium --help` must answer before a person notices, so every command imports its room itself.
A PodiumError is printed as message and cure, exit code 2; Ctrl-C leaves with 130; anything else is a defect and keeps
its traceback.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from podium import __version__
from podium.errors import PodiumError


class ErrorsInTwoLines(TyperGroup):
    """Errors a person can mend become two lines on standard error."""

    def invoke(self, ctx: Any) -> Any:
        try:
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
            raise typer.Exit(130) from stop


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


class BenchCommands(TyperGroup):
    """The commands of `podium bench`, which the room defines itself and nothing else needs to load."""

    @property
    def commands(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        from podium.bench.command import app as bench

        return typer.main.get_command(bench).commands  # pyright: ignore[reportAttributeAccessIssue]

    @commands.setter
    def commands(self, value: Any) -> None:
        """Typer sets the commands it knows of: none."""


bench_app = typer.Typer(
    cls=BenchCommands, help="Time to quality under fixed rules: run, check, score, compare.", no_args_is_help=True
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


class LazyPlan(TyperGroup):
    """`podium plan`: its commands are looked up in podium.plan.command when one is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        return self._group().list_commands(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return self._group().get_command(ctx, cmd_name)

    def _group(self) -> Any:
        from podium.plan.command import PlanGroup

        return PlanGroup()


plan_app = typer.Typer(cls=LazyPlan, help="Plan a training: FLOPs, layouts, memory, days, cost.", no_args_is_help=True)
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


DataOption = Annotated[
    Path | None,
    typer.Option("--data", help="Folder with exam files (default: $PODIUM_DATA).", envvar="PODIUM_DATA"),
]
ReplicasOption = Annotated[
    int, typer.Option(min=1, help="Engines side by side, each in a process of its own; they share the processors.")
]
VoteOption = Annotated[
    str | None,
    typer.Option(help="An attempt's weight: uniform (or as recorded), length, logprob, entropy or verifier."),
]
VerifierOption = Annotated[
    str | None, typer.Option(help="Model folder or URL#NAME that reads each attempt and scores it for the vote.")
]
ThinkingOption = Annotated[
    int, typer.Option("--verifier-tokens", min=0, help="Tokens the verifier may think before its word.")
]
JudgeOption = Annotated[
    str | None, typer.Option(help="Model folder or URL#NAME that decides what grading leaves undecided.")
]
DeviceOption = Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")]
FormatOption = Annotated[
    str | None,
    typer.Option(
        "--format",
        help="Of weights. CPU: fp16 (default), fp32, bf16, int8, w8a16, w4a16, fp8; GPU: bf16 (default), fp16, fp8.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object per line instead of a table.")]


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
    from podium.recipe.command import run_recipe_command

    run_recipe_command(recipe, set_ or [], until=until, fresh=fresh, dry_run=dry_run, runs=runs)


@exam_app.command("sit")
def exam(
    model: Annotated[
        str | None, typer.Argument(help="A model folder, or the URL of an OpenAI-compatible server.")
    ] = None,
    set_: Annotated[
        str | None, typer.Option("--set", help="exam:NAME, gym:NAME or jsonl:PATH; a bare NAME is an exam.")
    ] = None,
    attempts: Annotated[
        int | None, typer.Option("-n", "--n", "--attempts", min=1, help="Attempts per problem (default: the policy's).")
    ] = None,
    profile: Annotated[str, typer.Option(help="Tool limits: kaggle, notebook or eval.")] = "kaggle",
    policy: Annotated[
        str, typer.Option(help="winner, runner-up, notebook, a policy file, or rules like first_k_agree:4+m_of_n:10.")
    ] = "all",
    vote: VoteOption = None,
    verifier: VerifierOption = None,
    thinking: ThinkingOption = 0,
    judge: JudgeOption = None,
    budget: Annotated[
        str | None, typer.Option(help="Time for the whole exam: 5h, 90m, 600; the policy's clock is scaled to it.")
    ] = None,
    code: Annotated[bool, typer.Option("--code/--no-code", help="Let the model run Python.")] = True,
    max_tokens: Annotated[int | None, typer.Option(help="Tokens per attempt (default: the profile's).")] = None,
    temperature: Annotated[float | None, typer.Option(help="Sampling temperature (default: the profile's).")] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first so many problems.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of every attempt.")] = 0,
    replicas: ReplicasOption = 1,
    concurrency: Annotated[int, typer.Option(min=1, help="Problems at the same time; only without a budget.")] = 1,
    fallback: Annotated[str | None, typer.Option(help="The answer where no attempt has boxed one.")] = None,
    data: DataOption = None,
    out: Annotated[Path | None, typer.Option(help="Result folder (default: runs/exams/MODEL-SET).")] = None,
    check: Annotated[
        str | None, typer.Option("--check", metavar="URL", help="Only say what is wrong with a server, within 10 s.")
    ] = None,
    context: Annotated[int, typer.Option(help="With --check: tokens that prompt and answer will need.")] = 8192,
    json_: JsonOption = False,
) -> None:
    """Let a model sit an exam against the clock, and write a report. (`podium exam MODEL` is short for this.)

    Example: podium exam sit runs/demo/merge/model --set gsm8k --n 12 --policy winner --budget 5h
    """
    if check is not None:
        from podium.recipe.contests import check_command

        raise typer.Exit(check_command(check, context=context, json_=json_))
    if model is None or set_ is None:
        raise typer.BadParameter("give a model and --set NAME, or --check URL")
    from podium.recipe.exams import exam_command

    exam_command(
        model,
        set_,
        attempts=attempts,
        profile=profile,
        policy=policy,
        budget=budget,
        code=code,
        max_tokens=max_tokens,
        temperature=temperature,
        limit=limit,
        seed=seed,
        data=data,
        out=out,
        replicas=replicas,
        concurrency=concurrency,
        fallback=fallback,
        vote=vote,
        verifier=verifier,
        thinking=thinking,
        judge=judge,
    )


@exam_app.command("revote")
def exam_revote(
    folder: Annotated[Path, typer.Argument(help="The folder of an exam that was sat.")],
    vote: VoteOption = None,
    verifier: VerifierOption = None,
    thinking: ThinkingOption = 0,
    judge: JudgeOption = None,
    out: Annotated[Path | None, typer.Option(help="Write the exam as --vote decides it here (a new folder).")] = None,
    json_: JsonOption = False,
) -> None:
    """Count the votes of an exam anew under every weight, without sitting it again.

    Example: podium exam revote runs/exams/demo-aime24 --vote entropy --out runs/exams/demo-aime24-entropy
    """
    from podium.recipe.revoting import revote_command

    revote_command(folder, vote=vote, verifier=verifier, thinking=thinking, judge=judge, out=out, json_=json_)


@exam_app.command("replay")
def exam_replay(
    traces: Annotated[list[str], typer.Argument(help="Exam folders, traces.jsonl files, or simulated:500.")],
    policy: Annotated[list[str] | None, typer.Option(help="As for an exam; the first one is compared with.")] = None,
    attempts: Annotated[int | None, typer.Option("-n", "--n", min=1, help="Attempts (default: all recorded).")] = None,
    budget: Annotated[str | None, typer.Option(help="Time per exam (default: what was recorded).")] = None,
    problems: Annotated[int | None, typer.Option(min=1, help="Problems per exam (default: all recorded).")] = None,
    exams: Annotated[int, typer.Option(min=1, help="Exams drawn per policy.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 0,
    plot: Annotated[Path | None, typer.Option(help="Write score against time as a page (.html).")] = None,
    optimise: Annotated[bool, typer.Option("--optimise", help="Find better policies, judged on held-out problems.")] = (
        False
    ),
    out: Annotated[Path | None, typer.Option(help="With --optimise: write the best policy here (.yaml).")] = None,
    vote: VoteOption = None,
    json_: JsonOption = False,
) -> None:
    """Ask what other policies would have made of a recorded exam.

    Example: podium exam replay runs/exams/demo-aime24 --policy winner --policy runner-up --optimise --out mine.yaml
    """
    from podium.recipe.replaying import replay_command

    replay_command(
        traces,
        policy or [],
        attempts=attempts,
        budget=budget,
        problems=problems,
        exams=exams,
        seed=seed,
        plot=plot,
        optimised=optimise,
        out=out,
        json_=json_,
        vote=vote,
    )


@exam_app.command("select")
def exam_select(
    folder: Annotated[Path, typer.Argument(help="The folder of an exam that was sat.")],
    model: Annotated[str, typer.Argument(help="Who chooses: a model folder, or the URL of a server.")],
    n: Annotated[
        list[int] | None, typer.Option(min=1, help="Attempts per problem to choose among; may be given again.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Choices per problem; the majority of the picks counts.")] = 8,
    most: Annotated[int, typer.Option(min=2, help="Solutions shown at a time.")] = 16,
    named: Annotated[
        str, typer.Option(help="What names a pick: index (Judgment: IDX) or answer (in a box).")
    ] = "index",
    code: Annotated[bool, typer.Option(help="Run the code that the selector writes.")] = False,
    characters: Annotated[
        int, typer.Option(min=1, help="Longest prompt; fewer solutions are shown above it.")
    ] = 100_000,
    max_tokens: Annotated[int, typer.Option(min=1, help="Tokens of one choice.")] = 2048,
    temperature: Annotated[float, typer.Option(min=0.0, help="Sampling temperature.")] = 0.7,
    seed: Annotated[int, typer.Option(help="Seed of groups and choices.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the choices (default: genselect/MODEL in the exam's).")
    ] = None,
) -> None:
    """GenSelect: let a model choose among the attempts of an exam, beside the vote.

    Example: podium exam select runs/exams/demo-aime24 http://localhost:8000/v1#qwq --repeats 8
    """
    from podium.recipe.exams import select_command

    select_command(
        folder,
        model,
        n=n or [],
        repeats=repeats,
        named=named,
        most=most,
        code=code,
        characters=characters,
        max_tokens=max_tokens,
        temperature=temperature,
        seed=seed,
        out=out,
    )


@exam_app.command("rehearse")
def exam_rehearse(
    entry: Annotated[Path, typer.Argument(help="A contest entry: a script with predict(id_, question).")],
    set_: Annotated[str, typer.Option("--set", help="Problems with integer answers: an exam or jsonl:PATH.")],
    rules: Annotated[str, typer.Option(help="aimo2 or aimo3.")] = "aimo2",
    budget: Annotated[
        str | None, typer.Option(help="Time of one submission (default: 5h); other limits shrink with it.")
    ] = None,
    split: Annotated[str, typer.Option(help="public, private or both.")] = "both",
    seed: Annotated[int, typer.Option(help="Deals the problems and their order.")] = 0,
    data: DataOption = None,
    out: Annotated[Path | None, typer.Option(help="Result folder (default: runs/rehearsals/ENTRY).")] = None,
) -> None:
    """Rehearse a contest: your entry is called as the organiser would, one problem at a time.

    Example: podium exam rehearse entry.py --set aime_1983_2023 --rules aimo2 --budget 20m
    """
    from podium.recipe.contests import rehearse_command

    code = rehearse_command(entry, set_, rules=rules, budget=budget, split=split, seed=seed, data=data, out=out)
    raise typer.Exit(code)


@app.command()
def solve(
    model: Annotated[str, typer.Argument(help="A model folder, or the URL of an OpenAI-compatible server.")],
    problem: Annotated[str, typer.Argument(help="The problem, or - to read it from standard input.")],
    attempts: Annotated[int, typer.Option("-n", "--attempts", help="Attempts.")] = 1,
    profile: Annotated[str, typer.Option(help="Tool limits: kaggle, notebook or eval.")] = "kaggle",
    temperature: Annotated[float | None, typer.Option(help="Sampling temperature (default: the profile's).")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the attempts.")] = 0,
    replicas: ReplicasOption = 1,
    device: DeviceOption = "cpu",
    format_: FormatOption = None,
) -> None:
    """Watch a model solve one problem, code and outputs included.

    Example: podium solve runs/demo/merge/model "Solve the following multiplication: 83 * 47."
    """
    from podium.recipe.single import solve_command

    solve_command(
        model,
        problem,
        attempts=attempts,
        profile=profile,
        temperature=temperature,
        seed=seed,
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
    max_tokens: Annotated[int, typer.Option(help="Tokens per answer.")] = 1024,
    temperature: Annotated[float, typer.Option(help="Sampling temperature; 0 is greedy.")] = 0.7,
    top_p: Annotated[float, typer.Option(help="Share of the probability that is drawn from.")] = 0.95,
    seed: Annotated[int, typer.Option(help="Seed of the first answer; the others follow.")] = 0,
    device: DeviceOption = "cpu",
    format_: FormatOption = None,
) -> None:
    """Watch a model write answers side by side, code and outputs highlighted.

    Example: podium generate runs/demo/merge/model "What is 83 * 47?" -n 12 --tools
    """
    from podium.recipe.attempts import generate_command

    code = generate_command(
        model,
        prompt,
        attempts=attempts,
        tools=tools,
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=top_p,
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
    from podium.recipe.grade import grade_command

    grade_command(pairs, rules=rule or [], judge=judge, as_json=json_)


@app.command()
def compare(
    exam_a: Annotated[Path, typer.Argument(help="Folder of an exam.")],
    exam_b: Annotated[Path, typer.Argument(help="Folder of another one over the same problems.")],
    seed: Annotated[int, typer.Option(help="Seed of the resampling.")] = 0,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object instead of tables.")] = False,
) -> None:
    """Compare two exams problem by problem: differences with intervals, p, and what could have been seen.

    Example: podium compare runs/exams/cot-gsm8k runs/exams/tir-gsm8k
    """
    from podium.recipe.compare import compare_command

    compare_command(exam_a, exam_b, as_json=json_, seed=seed)


@app.command()
def export(
    exam_: Annotated[Path, typer.Argument(metavar="EXAM", help="Folder of an exam.")],
    out: Annotated[Path | None, typer.Option(help="A .eval or .json file (default: EXAM/inspect.eval).")] = None,
) -> None:
    """Write an exam as an Inspect log, for `inspect view` and `inspect_ai.log.read_eval_log`.

    Example: podium export runs/exams/cot-gsm8k --out cot.eval
    """
    from podium.recipe.compare import export_command

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
    device: DeviceOption = "cpu",
    format_: FormatOption = None,
) -> None:
    """Serve a model with the OpenAI HTTP API.

    Example: podium serve runs/demo/merge/model --port 8000
    """
    from podium.recipe.serving import serve_command

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
    from podium.recipe.single import problems_command

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
    from podium.recipe.single import merge_command

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
    from podium.recipe.single import draft_command

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
    folder: Annotated[Path, typer.Argument(help="A run folder, or the folder of one exam.")],
    out: Annotated[Path | None, typer.Option(help="File to write (default: FOLDER/report.html).")] = None,
) -> None:
    """Write the self-contained report of a run again.

    Example: podium report runs/demo
    """
    from podium.board import write_report

    path = out or folder / "report.html"
    write_report(folder, path)
    typer.echo(f"report: {path}")


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
    from podium.probe.command import probe_command

    probe_command(folder, out, json_)


@sandbox_app.command("check")
def sandbox_check(json_: JsonOption = False) -> None:
    """Try every isolation tier with a real canary session; say what failed and the cure.

    Example: podium sandbox check
    """
    from podium.sandbox.show import show_check

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
    from podium.sandbox.show import show_run

    raise typer.Exit(show_run(file, profile, json_))


main = app
