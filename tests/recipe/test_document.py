"""A recipe with a mistake in it says what, where, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from podium.errors import InputError
from podium.recipe.document import read_recipe

GOOD = """\
name: demo
seed: 7
stages:
  sums:
    kind: numbers
    rows: 4
    difficulty:
      terms: 3
  train:
    kind: fold
    inputs: {data: sums}
    steps: 5
  all:
    kind: collect
    inputs: {a: train, b: train/sub/digest.txt}
"""


def test_a_good_recipe_is_read(write) -> None:
    recipe = read_recipe(write(GOOD))
    assert (recipe.name, recipe.seed, list(recipe.stages)) == ("demo", 7, ["sums", "train", "all"])
    assert recipe.stages["sums"].params.model_dump() == {"rows": 4, "pause": 0.0, "difficulty": {"terms": 3}}
    assert recipe.stages["all"].inputs["b"].written() == "train/sub/digest.txt"


def test_the_name_of_the_file_is_the_name_of_the_run(write) -> None:
    assert read_recipe(write("stages: {a: {kind: numbers}}", "mine.yaml")).name == "mine"


def test_stages_come_after_their_inputs_whatever_the_order_of_the_file(write) -> None:
    recipe = read_recipe(
        write("stages:\n  b: {kind: fold, inputs: {data: a}}\n  c: {kind: collect}\n  a: {kind: numbers}\n")
    )
    assert list(recipe.stages) == ["a", "b", "c"]


def test_what_is_written_back_reads_as_the_same_chain(write, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows.jsonl").write_text("{}")
    text = GOOD + "  own: {kind: fold, inputs: {data: data/rows.jsonl}}\n"
    recipe = read_recipe(write(text), ["train.steps=9", "sums.difficulty.terms=5"])
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "recipe.yaml").write_text(recipe.as_yaml())
    assert read_recipe(tmp_path / "elsewhere" / "recipe.yaml") == recipe


def test_numbers_written_as_powers_are_numbers(write) -> None:
    recipe = read_recipe(write("stages: {a: {kind: numbers, pause: 1e-3}}"))
    assert recipe.stages["a"].params.model_dump()["pause"] == 0.001


@pytest.mark.parametrize(
    ("text", "line", "message", "cure"),
    [
        (GOOD.replace("steps: 5", "stesp: 5"), 12, "unknown key 'train.stesp'", "did you mean 'steps'?"),
        (GOOD.replace("terms: 3", "term: 3"), 8, "unknown key 'sums.difficulty.term'", "did you mean 'terms'?"),
        (GOOD.replace("rows: 4", "rows: many"), 6, "field 'sums.rows'", "correct"),
        (GOOD.replace("rows: 4", "rows: 0"), 6, "field 'sums.rows'", "correct"),
        (GOOD.replace("kind: fold", "kind: fodl"), 10, "unknown stage kind 'fodl'", "did you mean 'fold'?"),
        (GOOD.replace("    kind: fold\n", ""), 9, "stage 'train' has no kind", "kind"),
        (GOOD.replace("{data: sums}", "{data: smus}"), 11, "no stage 'smus'", "did you mean 'sums'?"),
        (GOOD.replace("{data: sums}", "{dat: sums}"), 11, "takes no input 'dat'", "did you mean 'data'?"),
        (GOOD.replace("{data: sums}", "{more: sums}"), 11, "lacks the input 'data'", "data: STAGE or PATH"),
        (GOOD.replace("{data: sums}", "{data: rows/x.jsonl}"), 11, "no such input file", "relative to the recipe"),
        (GOOD.replace("{data: sums}", "{data: [sums]}"), 11, "an input is the name of a stage", ""),
        (GOOD.replace("{data: sums}", "sums"), 11, "not a mapping", "role"),
        (GOOD.replace("b: train/sub", "b: train/../sub"), 15, "leaves the folder", ""),
        (GOOD.replace("{data: sums}", "{data: all}"), 9, "circle: train -> all -> train", "take one"),
        (GOOD.replace("seed: 7", "sed: 7"), 2, "unknown key 'sed'", "did you mean 'seed'?"),
        (GOOD.replace("seed: 7", "seed: -1"), 2, "field 'seed'", "whole number"),
        (GOOD.replace("name: demo", "name: a/b"), 1, "field 'name'", "letters"),
        (GOOD.replace("  sums:", "  run.log:"), 4, "cannot name a stage", ""),
        (GOOD.replace("  sums:", "  sums: {kind: [}"), 4, "not YAML", "column"),
        (GOOD + "  sums: {kind: numbers}\n", 16, "'sums' stands here twice", "keep one"),
        ("name: x\nstages: {}\n", 2, "at least one stage", "stages:"),
        ("name: x\n", 1, "at least one stage", "stages:"),
    ],
)
def test_every_mistake_is_named_with_its_line(write, text: str, line: int, message: str, cure: str) -> None:
    path = write(text)
    with pytest.raises(InputError) as caught:
        read_recipe(path)
    assert caught.value.message.startswith(f"{path}:{line}: "), caught.value.message
    assert message in caught.value.message
    assert cure in caught.value.cure


@pytest.mark.parametrize(("data", "message"), [(b"", "not a recipe"), (b"- a\n", "not a recipe"), (b"\xff", "UTF-8")])
def test_a_file_that_is_no_recipe_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "r.yaml").write_bytes(data)
    with pytest.raises(InputError, match=message):
        read_recipe(tmp_path / "r.yaml")


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.yaml: no such file"):
        read_recipe(tmp_path / "none.yaml")


def test_overrides_are_typed_by_the_stage(write) -> None:
    recipe = read_recipe(write(GOOD), ["train.steps=40", "all.upper=true", "sums.difficulty.terms=9", "seed=3"])
    assert recipe.stages["train"].params.model_dump()["steps"] == 40
    assert recipe.stages["all"].params.model_dump()["upper"] is True
    assert recipe.stages["sums"].params.model_dump()["difficulty"]["terms"] == 9
    assert recipe.seed == 3
    assert read_recipe(write(GOOD), ["name=other", "train.inputs.data=sums"]).name == "other"


@pytest.mark.parametrize(
    ("override", "message", "cure"),
    [
        ("train.steps=few", "--set train.steps: field 'train.steps'", "correct"),
        ("train.stesp=4", "--set train.stesp: unknown key 'train.stesp'", "did you mean 'steps'?"),
        ("trian.steps=4", "--set trian.steps=4: no stage 'trian'", "did you mean 'train'?"),
        ("train.steps", "not of the form", "--set train.steps=200"),
        ("train=4", "says no key", "train.KEY"),
        ("train.steps.x=4", "has no keys", ""),
        ("train.steps=[", "not YAML", "quote"),
        ("train.inputs.data=smus", "no stage 'smus'", "did you mean 'sums'?"),
        ("seed=x", "field 'seed'", "whole number"),
    ],
)
def test_a_wrong_override_is_an_error_of_the_option(write, override: str, message: str, cure: str) -> None:
    with pytest.raises(InputError) as caught:
        read_recipe(write(GOOD), [override])
    assert message in caught.value.message
    assert cure in caught.value.cure
