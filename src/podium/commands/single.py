"""One command, one job: what `podium solve`, `problems`, `merge`, `draft` do between the words and the rooms.

Puts rooms together; does no work of its own.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from podium.curate.dataset import draft_documents
from podium.errors import InputError
from podium.models.place import find_model, read_shape
from podium.opening import model_sampling, open_table
from podium.recipe.own_answers import own_answers
from podium.records import Problem
from podium.solve.profile import profile_overrides
from podium.storage import write_rows

if TYPE_CHECKING:
    from podium.records import Attempt


@dataclass(frozen=True, slots=True)
class Asking:
    """How a command line wants problems asked and answers found; see podium.solve.prompt."""

    prompt: str | None = None  # a style, or a template's file
    system: str | None = None
    extract: str | None = None
    repetition_stop: bool = True

    def overrides(self) -> dict[str, Any]:
        """Fields of a tool profile.

        Raises:
            InputError: no such style or file, or no template in it.
        """
        from podium.solve.prompt import prompt_fields

        return {
            **({} if self.prompt is None else prompt_fields(self.prompt)),
            **({"system": self.system} if self.system else {}),
            **({"repetition_stop": True} if self.repetition_stop else {}),
        }

    def places(self) -> tuple[Any, ...] | None:
        """Where answers are looked for; None: where the exam's own rules say.

        Raises:
            InputError: nowhere, or an unknown place.
        """
        from podium.solve.prompt import read_extraction

        return None if self.extract is None else read_extraction(self.extract)


def solve_command(
    model: str,
    problem: str,
    *,
    attempts: int,
    profile: str,
    max_tokens: int | None = None,
    temperature: float | None,
    seed: int,
    asking: Asking | None = None,
    replicas: int = 1,
    device: str = "cpu",
    format: str | None = None,
    generation_config: str = "auto",
) -> None:
    """Show every attempt at one problem with its code and outputs, then the vote.

    Raises:
        InputError: an empty problem, no attempts, settings that do not fit, a model that is not there.
        KeyboardInterrupt: after what was written until then was shown.
    """
    import sys

    from rich.console import Console

    from podium.commands.attempts import show_attempt, side_by_side
    from podium.commands.watching import Metered, Watch
    from podium.solve import ballots, get_profile, majority
    from podium.solve.exam import with_extraction
    from podium.solve.missing import why_unanswered
    from podium.solve.toolloop import AttemptRun

    asking = asking or Asking()
    text = sys.stdin.read().strip() if problem == "-" else problem
    if not text.strip():
        raise InputError("the problem is empty", "give it as an argument, or on standard input with -")
    if attempts < 1:
        raise InputError(f"-n is {attempts}", "at least one attempt")
    row = with_extraction(Problem(id="command-line", text=text, source="command line"), asking.places())
    named = profile_overrides(True, max_tokens, temperature)
    chosen = get_profile(profile, **model_sampling(model, generation_config, named), **asking.overrides())
    console = Console(highlight=False)
    watch = Watch(console)
    runs: list[AttemptRun] = []
    done: dict[int, Attempt] = {}

    def so_far() -> list[Attempt]:
        return [done.get(run.index) or run.record("cancelled") for run in runs]

    async def finish(run: AttemptRun) -> None:
        done[run.index] = await run.run()

    async def attempt_all() -> None:
        watch.doing(f"loading {model}")
        async with open_table(model, attempts, True, replicas, device=device, format=format) as (completer, sandbox):
            metered = Metered(completer, watch.meter)
            runs.extend(
                AttemptRun(
                    row,
                    metered,
                    sandbox,
                    chosen,
                    index=index,
                    seed=seed + index,
                    sink=lambda i, e: watch.saw(row, i, e),
                )
                for index in range(attempts)
            )
            watch.doing("")
            watch.body = lambda: side_by_side(so_far(), {run.index for run in runs} - done.keys(), console)
            tasks = [asyncio.create_task(finish(run)) for run in runs]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    try:
        with watch:
            asyncio.run(attempt_all())
    finally:
        for each in so_far():
            show_attempt(console, each)
    vote = majority(row, ballots(so_far()))
    console.rule(align="left")
    for line in why_unanswered([(row, each) for each in so_far()]):
        console.print(line, style="yellow", markup=False, soft_wrap=True)
    console.print(f"answer: {vote.answer if vote.answer is not None else 'none'}", style="bold", markup=False)


def problems_command(
    spec: str, *, size: int | None, seed: int, options: list[str], data: Path | None, out: Path | None
) -> None:
    """Show problems, or write them as rows."""
    from rich.console import Console

    from podium.problems import load_problems

    given: dict[str, Any] = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not equals or not key:
            raise InputError(f"--option {option}: not of the form KEY=VALUE", "for example --option max_terms=4")
        given[key] = yaml.safe_load(value)
    rows = load_problems(spec, size=size if size or out else 5, seed=seed, data=data, options=given or None)
    console = Console(highlight=False)
    if out is not None:
        console.print(f"{write_rows(out, rows)} problems: {out}", markup=False, soft_wrap=True)
        return
    for row in rows:
        console.rule(row.id, align="left")
        console.print(row.text, markup=False)
        console.print(f"answer: {row.answer}", style="green", markup=False)


def merge_command(models: list[Path], weights: str, out: Path) -> None:
    """Linear merge of model folders."""
    for model in models:
        read_shape(model)  # before anything heavy is imported

    from podium.compress import merge_linear

    try:
        numbers = [float(weight) for weight in weights.split(",")]
    except ValueError as error:
        raise InputError(f"--weights {weights}: not numbers", "for example --weights 0.3,0.7") from error
    merge_linear(models, numbers, out)
    print(f"merged: {out}")


def draft_command(
    model: Path,
    data: list[Path],
    out: Path | None,
    *,
    generate: int,
    profile: str,
    code: bool,
    seed: int,
    settings: dict[str, Any],
) -> None:
    """Train a draft head for a model, on answers that are there or that the model gives first."""
    import shutil

    from rich.console import Console

    from podium.compress import DraftTraining, save_draft, train_draft
    from podium.models import load_model
    from podium.problems import read_problems
    from podium.runlog import RunLog

    folder = find_model(model)
    target, tokenizer = load_model(folder)
    if tokenizer is None:
        raise InputError(f"{folder}: no tokenizer.json", "put the model's tokenizer files beside its weights")
    out = out or folder / "draft"
    state = out / ".training"
    if generate:
        problems = [row for file in data for row in read_problems(file)][:generate]
        answers = state / "answers.jsonl"
        asyncio.run(own_answers(str(folder), problems, answers, profile=profile, code=code, seed=seed))
        data = [answers]
    documents = draft_documents(data, tokenizer, target.config.context)
    with RunLog(out) as log:
        head, result = train_draft(target, documents, DraftTraining(**settings), state, seed=seed, runlog=log)
    save_draft(out, head)
    shutil.rmtree(state)
    console = Console(highlight=False)
    for name, value in result.evaluations[-1][1].items() if result.evaluations else ():
        console.print(f"{name:8} {value:.3f}", markup=False)
    console.print(f"draft head: {out}", markup=False, soft_wrap=True)
