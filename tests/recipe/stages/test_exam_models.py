"""The stage `exam`: how its model is computed, who helps it, and that it goes on where it was stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from podium.commands.run import run as run_recipe
from podium.errors import InputError
from podium.generate.engine import Engine
from podium.records import ExamResult
from podium.storage import read_rows
from tests.small_model import save_small_model

CHAIN = """\
name: sat
stages:
  exam:
    kind: exam
    inputs: {{model: {model}, problems: {problems}}}
    attempts: 2
    max_tokens: 12
    code: false
    memory_gb: 0.05
    budget_seconds: null
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_model(tmp_path_factory.mktemp("given") / "model")


@pytest.fixture
def recipe(write, model: Path, tmp_path: Path) -> Path:
    problems = tmp_path / "sums.jsonl"
    rows = [{"id": f"s{i}", "text": f"What is {i} + 1?", "answer": str(i + 1)} for i in range(3)]
    problems.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return write(CHAIN.format(model=model, problems=problems))


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, Any]]:
    """(name, description, threads) of every engine that is loaded meanwhile, in this order."""
    made: list[tuple[str, str, Any]] = []
    load = Engine.load.__func__  # type: ignore[attr-defined]

    def watched(cls: type[Engine], *arguments: Any, **options: Any) -> Engine:
        engine = load(cls, *arguments, **options)
        made.append((engine.name, engine.description, options["threads"]))
        return engine

    monkeypatch.setattr(Engine, "load", classmethod(watched))
    return made


def results(folder: Path) -> list[ExamResult]:
    return read_rows(folder / "results.jsonl", ExamResult)


def words(folder: Path) -> list[list[str]]:
    return [["".join(part.text for part in attempt.parts) for attempt in row.attempts] for row in results(folder)]


def test_a_stage_computes_in_its_format_and_goes_on_in_it(recipe: Path, tmp_path: Path, engines) -> None:
    runs = tmp_path / "runs"
    given = ["exam.format=int8", "exam.threads=1"]
    run_recipe(recipe, given, runs=runs)
    folder = runs / "sat" / "exam"
    whole = words(folder)
    assert len(whole) == 3
    # As a stage that was killed after two problems leaves it.
    (folder / "done.json").unlink()
    rows = (folder / "results.jsonl").read_text().splitlines(keepends=True)
    (folder / "results.jsonl").write_text("".join(rows[:2]))
    run_recipe(recipe, given, runs=runs)
    assert words(folder) == whole
    assert engines == [("model", "native, int8 weights", 1)] * 2
    run_recipe(recipe, given, runs=runs)
    assert len(engines) == 2, "a finished stage is not run again"
    run_recipe(recipe, ["exam.format=fp32", "exam.threads=1"], runs=runs)
    assert engines[2:] == [("model", "native, fp32 weights", 1)]


def test_helpers_are_inputs_and_computed_as_the_model(recipe: Path, model: Path, tmp_path: Path, engines) -> None:
    helpers = [f"exam.inputs.verifier={model}", f"exam.inputs.judge={model}"]
    run_recipe(recipe, [*helpers, "exam.fallback=7", "exam.format=bf16", "exam.concurrency=2"], runs=tmp_path / "runs")
    folder = tmp_path / "runs" / "sat" / "exam"
    assert [description for _, description, _ in engines] == ["native, bf16 weights"] * 3
    verifier, judge, own = (name for name, *_ in engines)
    assert own == "model"
    assert verifier == judge
    assert verifier.endswith("+bf16")
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["verifier"], summary["judge"]) == (verifier, judge)
    assert summary["config"]["vote"] == "verifier"
    assert summary["config"]["concurrency"] == 2
    assert {result.answer for result in results(folder)} == {"7"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("exam.format=int9", "did you mean 'int8'"),
        ("exam.device=tpu", "device 'tpu' is not known"),
        ("exam.replicas=0", "replicas"),
        ("exam.vote=loud", "no vote weight"),
        ("exam.judge=runs/model", "not the address of a server; a stage or folder is named in `inputs: {judge: …}`"),
        ("exam.verifier=model", "not the address of a server"),
    ],
)
def test_what_does_not_fit_is_told_when_the_recipe_is_read(
    recipe: Path, tmp_path: Path, change: str, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        run_recipe(recipe, [change], runs=tmp_path / "runs")
    assert message in str(caught.value)
    assert "exam." in caught.value.message
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["exam.device=cuda", "exam.format=w4a16"], "weights on a GPU cannot be held in it"),
        (["exam.device=cuda", "exam.replicas=2"], "several replicas do not share a GPU"),
        (["exam.concurrency=2", "exam.budget_seconds=10"], "one problem at a time"),
    ],
)
def test_what_does_not_go_together_is_told_when_the_recipe_is_read(
    recipe: Path, tmp_path: Path, changes: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        run_recipe(recipe, changes, runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_helper_is_an_input_or_a_server(recipe: Path, model: Path, tmp_path: Path) -> None:
    both = [f"exam.inputs.judge={model}", "exam.judge=http://localhost:1#m"]
    with pytest.raises(InputError, match="'judge' is an input and a server"):
        run_recipe(recipe, both, runs=tmp_path / "runs")
