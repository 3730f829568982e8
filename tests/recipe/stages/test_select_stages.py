"""The stages `groups` and `select`, with the one trainer between them, and `podium exam select`."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from podium.commands.run import run as run_recipe
from podium.errors import InputError
from podium.folders import ChoicesFolder
from podium.models import load_model
from podium.records import Attempt, ExamResult, Maker, Part, Problem, Solution, Verdict
from podium.solve.genselect import read_pick
from podium.solve.selecting import Choice
from podium.storage import read_rows, write_rows

CHAIN = """\
name: choosing
stages:
  problems: {kind: problems, tasks: {chain_sum: {}}, train: 60, exam: 2}
  teach: {kind: teach, inputs: {problems: problems}, style: cot}
  tokenizer: {kind: tokenizer, inputs: {cot: teach}, vocab_size: 300}
  groups: {kind: groups, inputs: {attempts: mixed.jsonl}, target: check}
  selector:
    kind: train
    inputs: {groups: groups, solutions: teach, tokenizer: tokenizer}
    shape: {layers: 1, hidden: 32, heads: 1, head_dim: 32, context: 256}
    steps: 3
    rows_per_batch: 2
    row_length: 1024
    validation: 0
  select:
    kind: select
    inputs: {exam: alike.jsonl, model: selector}
    n: [2, 4]
    repeats: 2
    max_tokens: 4
"""


def results(path: Path, alike: bool) -> Path:
    """Four problems with eight attempts each: all of one answer, or right and wrong ones."""
    draw = random.Random(0)
    rows = []
    for number in range(4):
        problem = Problem(id=f"p{number}", text=f"What is {number} + 1?", answer=str(number + 1))
        answers = [str(number + 1) if alike or index % 2 else str(draw.randrange(50, 99)) for index in range(8)]
        attempts = tuple(
            Attempt(
                id=f"p{number}#{index}",
                problem_id=problem.id,
                style="cot",
                prompt=(),
                parts=(Part(role="model", text=f"{number} + 1 = {answer}\nThe answer is \\boxed{{{answer}}}."),),
                answer=answer,
                verdict=Verdict.CORRECT if answer == problem.answer else Verdict.WRONG,
                maker=Maker(model="m"),
                index=index,
                stop_reason="eos",
            )
            for index, answer in enumerate(answers)
        )
        rows.append(ExamResult(problem=problem, attempts=attempts, votes=(), answer=None, verdict=Verdict.NO_ANSWER))
    write_rows(path, rows)
    return path


@pytest.fixture
def chain(write, tmp_path: Path):
    results(tmp_path / "mixed.jsonl", alike=False)
    results(tmp_path / "alike.jsonl", alike=True)

    def run(changes: dict[str, str] | None = None) -> Path:
        text = CHAIN
        for old, new in (changes or {}).items():
            assert old in text
            text = text.replace(old, new)
        run_recipe(write(text), runs=tmp_path / "runs")
        return tmp_path / "runs" / "choosing"

    return run


@pytest.mark.slow
def test_from_attempts_to_a_selector_that_is_asked(chain, tmp_path: Path, podium) -> None:
    folder = chain()
    rows = read_rows(folder / "groups" / "solutions.jsonl", Solution)
    assert {row.style for row in rows} == {"select"}
    assert {row.problem_id for row in rows} == {"p0", "p1", "p2", "p3"}
    assert all(read_pick(row.text, 16) is not None for row in rows)
    model, _ = load_model(folder / "selector" / "model")
    assert model.config.max_position_embeddings == 1024  # as long as the rows it was trained on
    choices = read_rows(ChoicesFolder(folder / "select").choices, Choice)
    assert [choice.n for choice in choices].count(2) == 16
    assert all((choice.asked, choice.score, choice.vote_score) == (0, 1.0, 1.0) for choice in choices)
    figures = json.loads((folder / "select" / "done.json").read_text())["metrics"]
    assert figures == {f"{name}@{n}": 1.0 for n in (2, 4) for name in ("maj", "select", "pass")}

    exam = tmp_path / "exam"
    exam.mkdir()
    (tmp_path / "alike.jsonl").rename(exam / "results.jsonl")
    told = podium("exam", "select", exam, folder / "selector", "--n", "8", "--n", "2", "--repeats", "1")
    assert told.code == 0, told.error
    assert "100.0" in told.out
    (found,) = exam.glob("genselect/*/choices.jsonl")
    assert len(read_rows(found, Choice)) == 4 * (1 + 4)
    refused = podium("exam", "select", exam, folder / "selector", "--n", "16")
    assert refused.code == 2
    misnamed = podium("exam", "select", exam, folder / "selector", "--named", "answers")
    assert misnamed.code == 2
    assert "answer" in misnamed.error
    assert "choosing among 16 attempts, but a problem of this exam has 8" in refused.error


def test_a_model_that_names_no_solution_is_told_of(chain) -> None:
    # `Judgment: 0` does not fit into four tokens of this vocabulary.
    with pytest.raises(InputError, match="selector named no solution in"):
        chain({"exam: alike.jsonl": "exam: mixed.jsonl"})


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ("inputs: {attempts: alike.jsonl}", "no group from 4 problems: a problem needs 4 attempts"),
        ("inputs: {attempts: mixed.jsonl}, characters: 50", "in 50 characters"),
        ("inputs: {attempts: mixed.jsonl}, target: work", "'solutions' and the target 'work' go together"),
        ("inputs: {attempts: mixed.jsonl, solutions: others.jsonl}", "go together"),
        ("inputs: {attempts: mixed.jsonl, solutions: others.jsonl}, target: work", "and a known solution"),
        ("inputs: {attempts: torn.jsonl}", "torn.jsonl:2: not JSON"),
        ("inputs: {attempts: mixed.jsonl}, target: praise", "target"),
    ],
)
def test_what_gives_no_groups_is_told(write, tmp_path: Path, groups: str, message: str) -> None:
    whole = results(tmp_path / "mixed.jsonl", alike=False).read_text()
    results(tmp_path / "alike.jsonl", alike=True)
    (tmp_path / "torn.jsonl").write_text(whole[: whole.index("\n") + 40])
    maker = Maker(model="m")
    parts = (Part(role="model", text="It is \\boxed{1}."),)
    write_rows(
        tmp_path / "others.jsonl",
        [Solution(id="s", problem_id="another", style="cot", prompt=(), parts=parts, maker=maker)],
    )
    recipe = write(f"name: none\nstages:\n  groups: {{kind: groups, {groups}}}\n")
    with pytest.raises(InputError, match=message):
        run_recipe(recipe, runs=tmp_path / "runs")
