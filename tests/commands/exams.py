"""What several tests of commands do: call one, sit a small exam, and make one that was sat."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from click.testing import Result
from typer.testing import CliRunner

from podium.commands.cli import app
from podium.records import Attempt, ExamResult, Maker, Problem, Verdict, VoteClass
from podium.storage import write_rows

SMALL = ("-n", "2", "--no-code", "--max-tokens", "12")


def call(*words: object) -> Result:
    """A command in this process, so that monkeypatches reach it."""
    return CliRunner().invoke(app, list(map(str, words)))


def sit(model: Path, sums: str, out: Path, *words: object) -> Result:
    """`podium exam` with few attempts and tokens."""
    return call("exam", model, "--set", sums, "--out", out, *SMALL, *words)


def rows(folder: Path) -> list[dict[str, Any]]:
    """The results of an exam that was sat."""
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def exam(folder: Path, skill: float, seed: int) -> Path:
    """A folder with the results of an exam whose attempts are right with probability `skill`."""
    draw = random.Random(seed)
    rows = []
    for number in range(12):
        problem = Problem(id=f"p{number}", text=f"Problem {number}?", answer="1")
        answers = ["1" if draw.random() < skill else "2" for _ in range(4)]
        attempts = tuple(
            Attempt(
                id=f"p{number}#{index}",
                problem_id=problem.id,
                style="cot",
                prompt=(),
                parts=(),
                answer=answer,
                verdict=Verdict.CORRECT if answer == "1" else Verdict.WRONG,
                maker=Maker(model="m"),
                index=index,
                stop_reason="eos",
            )
            for index, answer in enumerate(answers)
        )
        votes = tuple(
            VoteClass(answer=value, count=len(where), weight=len(where) / 4, attempts=where)
            for value in sorted(set(answers), key=answers.count, reverse=True)
            if (where := tuple(i for i, answer in enumerate(answers) if answer == value))
        )
        verdict = Verdict.CORRECT if votes[0].answer == "1" else Verdict.WRONG
        rows.append(
            ExamResult(problem=problem, attempts=attempts, votes=votes, answer=votes[0].answer, verdict=verdict)
        )
    write_rows(folder / "results.jsonl", rows)
    return folder
