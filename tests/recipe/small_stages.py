"""Small real stages: they journal, checkpoint and derive, so that kills and changes have something to break."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from podium.errors import InputError
from podium.recipe import Estimate, Params, StageContext, StageReport, stage
from podium.records import Problem
from podium.settings import NOT_IDENTITY
from podium.storage import Journal, iterate_rows, read_json, read_rows, write_json, write_rows, write_text


def trace(text: str) -> None:
    """Tell the test what was really computed: one line, whole or not at all."""
    if place := os.environ.get("PODIUM_TEST_TRACE"):
        descriptor = os.open(place, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, f"{text}\n".encode())
        os.close(descriptor)


class Difficulty(BaseModel):
    model_config = ConfigDict(extra="forbid")

    terms: int = 2


class NumbersParams(Params):
    rows: int = Field(8, ge=1)
    pause: float = 0.0
    difficulty: Difficulty = Difficulty()


@stage(
    "numbers", version=1, inputs=(), estimate=lambda params, _: Estimate(rows=params.rows, seconds=params.rows * 0.5)
)
def numbers(context: StageContext, params: NumbersParams, inputs: dict[str, Path]) -> StageReport:
    """Journals rows one by one and goes on after the last one it finds."""
    path = context.folder / "numbers.jsonl"
    done = len(read_rows(path, Problem)) if path.exists() else 0
    with Journal(path, Problem) as journal:
        for number in range(done, params.rows):
            time.sleep(params.pause)
            answer = hashlib.sha256(f"{context.seed}/{number}/{params.difficulty.terms}".encode()).hexdigest()
            trace(f"{context.name} row {number}")
            journal.append(Problem(id=str(number), text=f"number {number}", answer=answer))
            context.progress(number + 1, params.rows, "counting", found=number)
            context.runlog.metrics(number, value=number)
    return StageReport({"rows": params.rows})


class FoldParams(Params):
    steps: int = Field(10, ge=1)
    every: Annotated[int, NOT_IDENTITY] = 3
    pause: float = 0.0


@stage(
    "fold",
    version=1,
    inputs=("data",),
    optional=("more",),
    estimate=lambda p, i: Estimate(rows=i["data"].rows, flops=2e12),
)
def fold(context: StageContext, params: FoldParams, inputs: dict[str, Path]) -> StageReport:
    """Runs over its rows again and again, with checkpoints in its scratch, as training does."""
    source = inputs["data"] if inputs["data"].is_file() else inputs["data"] / "numbers.jsonl"
    rows = list(iterate_rows(source, Problem))
    checkpoint = context.state / "checkpoint.json"
    at = read_json(checkpoint) if checkpoint.exists() else {"step": 0, "digest": str(context.seed)}
    for step in range(at["step"], params.steps):
        time.sleep(params.pause)
        trace(f"{context.name} step {step}")
        row = rows[step % len(rows)]
        at = {"step": step + 1, "digest": hashlib.sha256(f"{at['digest']}{row.answer}".encode()).hexdigest()}
        if (step + 1) % params.every == 0:
            write_json(checkpoint, at)
    write_text(context.folder / "sub" / "digest.txt", at["digest"])
    return StageReport({"steps": params.steps, "digest": at["digest"][:8]})


class CollectParams(Params):
    upper: bool = False


@stage("collect", version=1)
def collect(context: StageContext, params: CollectParams, inputs: dict[str, Path]) -> StageReport:
    """Takes any inputs and writes what it read."""
    trace(f"{context.name} once 0")
    found = {}
    for role, path in sorted(inputs.items()):
        files = [path] if path.is_file() else sorted(path.rglob("*.txt"))
        found[role] = "".join(file.read_text() for file in files)
    text = json.dumps(found, sort_keys=True)
    write_rows(context.folder / "rows.jsonl.zst", [Problem(id=role, text=value) for role, value in found.items()])
    write_text(context.folder / "all.txt", text.upper() if params.upper else text)
    return StageReport()


class FailParams(Params):
    how: str = "input"


@stage("fail", version=1, inputs=(), optional=("after",))
def fail(context: StageContext, params: FailParams, inputs: dict[str, Path]) -> StageReport:
    """Fails in the way it is told to."""
    write_text(context.folder / "begun.txt", "half")
    if params.how == "input":
        raise InputError("the sky is green", "look again")
    if params.how == "interrupt":
        raise KeyboardInterrupt
    if params.how == "full disk":
        raise OSError(28, "No space left on device")
    raise ZeroDivisionError("a defect")
