"""The stage `draft`: a head from answers that are there, and from answers that the model gives first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from podium.commands.run import run as run_recipe
from podium.compress import load_draft
from podium.errors import InputError
from podium.models import load_model
from podium.records import Attempt
from podium.storage import read_rows

CHAIN = """\
name: drafts
stages:
  problems: {kind: problems, tasks: {chain_sum: {}, gcd: {}}, train: 60, exam: 2}
  teach: {kind: teach, inputs: {problems: problems}, style: cot}
  tokenizer: {kind: tokenizer, inputs: {cot: teach}, vocab_size: 300}
  train:
    kind: train
    inputs: {solutions: teach, tokenizer: tokenizer}
    shape: {layers: 1, hidden: 32, heads: 1, head_dim: 32}
    steps: 10
    rows_per_batch: 4
    validation: 0
  taught:
    kind: draft
    inputs: {model: train, answers: teach}
    row_length: 256
    validation: 8
  own:
    kind: draft
    inputs: {model: train, problems: problems}
    generate: 5
    code: false
    row_length: 256
    validation: 0
    depth: 2
    vocabulary: 50
    format: fp32
    memory_gb: 0.1
"""


def test_heads_from_given_and_from_own_answers(write, tmp_path: Path) -> None:
    run_recipe(write(CHAIN), runs=tmp_path / "runs")
    folder = tmp_path / "runs" / "drafts"
    target, _ = load_model(folder / "train" / "model")
    taught, own = (load_draft(folder / stage / "draft", target) for stage in ("taught", "own"))
    assert (taught.config.depth, own.config.depth) == (3, 2)
    assert len(own.config.vocabulary) <= 50
    answers = read_rows(folder / "own" / "attempts.jsonl", Attempt)
    assert len({answer.problem_id for answer in answers}) == 5
    assert all(answer.maker.model.endswith("+fp32") for answer in answers)
    figures = json.loads((folder / "taught" / "done.json").read_text())["metrics"]
    assert {"steps", "vocabulary", "top1_1", "top1_2", "top1_3"} <= set(figures)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"{model: train, answers: teach}": "{answers: teach}"}, "no input 'model'"),
        ({"{model: train, answers: teach}": "{model: train}"}, "no answers to learn from"),
        ({"    generate: 5\n": ""}, "'problems' and the parameter 'generate' go together"),
    ],
)
def test_what_is_missing_is_told(write, tmp_path: Path, change: dict[str, str], message: str) -> None:
    text = CHAIN
    for old, new in change.items():
        assert old in text
        text = text.replace(old, new)
    with pytest.raises(InputError, match=message):
        run_recipe(write(text), runs=tmp_path / "runs")
