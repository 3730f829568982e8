"""`podium exam …`: one thin function per command, no logic. Imports its rooms inside the commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from podium.commands.cli_options import (
    DataOption,
    ExtractOption,
    FreshOption,
    GenerationConfigOption,
    JsonOption,
    JudgeOption,
    PromptOption,
    RepetitionOption,
    ReplicasOption,
    SystemOption,
    ThinkingOption,
    VerifierOption,
    VoteOption,
)


class SitByDefault(TyperGroup):
    """`podium exam MODEL …` sits an exam: what is no subcommand is an argument of `sit`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["sit", *args]
        return super().parse_args(ctx, args)


exam_app = typer.Typer(
    cls=SitByDefault,
    help="Sit exams against the clock, replay them under other policies, rehearse a contest.",
    no_args_is_help=True,
)


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
    prompt: PromptOption = None,
    system: SystemOption = None,
    extract: ExtractOption = None,
    max_tokens: Annotated[
        int | None, typer.Option(help="Tokens per attempt (default: the profile's, or what the clock allows).")
    ] = None,
    repetition_stop: RepetitionOption = True,
    temperature: Annotated[
        float | None, typer.Option(help="Sampling temperature (default: the model's, then the profile's).")
    ] = None,
    generation_config: GenerationConfigOption = "auto",
    limit: Annotated[int | None, typer.Option(help="Only the first so many problems.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of every attempt.")] = 0,
    replicas: ReplicasOption = 1,
    concurrency: Annotated[int, typer.Option(min=1, help="Problems at the same time; only without a budget.")] = 1,
    fallback: Annotated[str | None, typer.Option(help="The answer where no attempt has boxed one.")] = None,
    data: DataOption = None,
    out: Annotated[Path | None, typer.Option(help="Result folder (default: runs/exams/MODEL-SET).")] = None,
    fresh: FreshOption = False,
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
        from podium.commands.contests import check_command

        raise typer.Exit(check_command(check, context=context, json_=json_))
    if model is None or set_ is None:
        raise typer.BadParameter("give a model and --set NAME, or --check URL")
    from podium.commands.exams import exam_command
    from podium.commands.single import Asking

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
        generation_config=generation_config,
        asking=Asking(prompt, system, extract, repetition_stop),
        fresh=fresh,
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
    from podium.commands.revoting import revote_command

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
    from podium.commands.replaying import replay_command

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
    fresh: FreshOption = False,
) -> None:
    """GenSelect: let a model choose among the attempts of an exam, beside the vote.

    Example: podium exam select runs/exams/demo-aime24 http://localhost:8000/v1#qwq --repeats 8
    """
    from podium.commands.exams import select_command

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
        fresh=fresh,
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
    from podium.commands.contests import rehearse_command

    code = rehearse_command(entry, set_, rules=rules, budget=budget, split=split, seed=seed, data=data, out=out)
    raise typer.Exit(code)
