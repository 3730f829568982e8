"""`podium draft`: a draft head for a model, trained on answers that are there or that the model gives first."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from podium.commands.cli_options import EngineOptions, with_groups
from podium.errors import InputError


@with_groups
def draft(
    model: Annotated[Path, typer.Argument(help="The model folder whose tokens are to be guessed.")],
    *,
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
    seed: Annotated[int, typer.Option(help="Seed of answers and training.")] = 0,
    engine: EngineOptions,
) -> None:
    """Train a draft head (ReDrafter): the model then says the same, several tokens a step.

    Device and threads are those of the training, too.

    Example: podium draft runs/demo/merge/model --data runs/demo/exam_merged/attempts.jsonl
    """
    import asyncio

    spec = engine.spec(model)
    from podium.models.place import find_model

    folder = find_model(model)  # before anything heavy is imported
    import shutil

    from rich.console import Console

    from podium.compress import DraftTraining, save_draft, train_draft
    from podium.curate.dataset import draft_documents
    from podium.models import load_model
    from podium.problems import read_problems
    from podium.recipe.own_answers import own_answers
    from podium.runlog import RunLog

    settings = DraftTraining.model_validate(
        {
            "vocabulary": vocabulary,
            "depth": depth,
            "taps": taps,
            "epochs": epochs,
            "lr": lr,
            "rows_per_batch": batch,
            "row_length": row_length,
            "device": engine.device,
            "threads": engine.threads,
        }
    )
    target, tokenizer = load_model(folder)
    if tokenizer is None:
        raise InputError(f"{folder}: no tokenizer.json", "put the model's tokenizer files beside its weights")
    out = out or folder / "draft"
    state = out / ".training"
    if generate:
        problems = [row for file in data for row in read_problems(file)][:generate]
        answers = state / "answers.jsonl"
        asyncio.run(own_answers(spec, problems, answers, profile=profile, code=code, seed=seed))
        data = [answers]
    documents = draft_documents(data, tokenizer, target.config.context)
    with RunLog(out) as log:
        head, result = train_draft(target, documents, settings, state, seed=seed, runlog=log)
    save_draft(out, head)
    shutil.rmtree(state)
    console = Console(highlight=False)
    for name, value in result.evaluations[-1][1].items() if result.evaluations else ():
        console.print(f"{name:8} {value:.3f}", markup=False)
    console.print(f"draft head: {out}", markup=False, soft_wrap=True)
