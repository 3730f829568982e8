"""`podium run` as a person meets it."""

from __future__ import annotations

from pathlib import Path

import pytest

from podium.commands.run import run as run_recipe
from podium.errors import InputError
from tests.recipe.conftest import podium

CHAIN = "name: run\nstages:\n  sums: {kind: numbers, rows: 3}\n  train: {kind: fold, inputs: {data: sums}}\n"


def said(*arguments: object) -> tuple[int, str]:
    process = podium(*arguments)
    text, _ = process.communicate(timeout=60)
    return process.returncode, text


def test_run_then_run_the_folder_again(write, tmp_path: Path) -> None:
    recipe = write(CHAIN)
    code, text = said("run", recipe, "--runs", tmp_path / "runs", "--set", "sums.rows=4")
    assert code == 0, text
    assert "figures" in text
    # The folder remembers the override.
    code, text = said("run", tmp_path / "runs" / "run")
    assert code == 0, text
    assert text.count("done before") == 2
    (tmp_path / "runs/run").rename(tmp_path / "runs/renamed")
    code, text = said("run", tmp_path / "runs" / "renamed")
    assert text.count("done before") == 2, text
    assert not (tmp_path / "runs/run").exists()


def test_a_dry_run_prints_the_chain_and_writes_nothing(write, tmp_path: Path) -> None:
    code, text = said("run", write(CHAIN), "--runs", tmp_path / "runs", "--dry-run")
    assert code == 0
    assert "nothing was run" in text
    assert "data: sums" in text
    assert not (tmp_path / "runs").exists()


def test_errors_are_two_lines_and_exit_code_2(write, tmp_path: Path) -> None:
    recipe = write(CHAIN.replace("rows", "rwos"))
    code, text = said("run", recipe, "--runs", tmp_path / "runs")
    assert code == 2
    assert text.splitlines() == [f"error: {recipe}:3: unknown key 'sums.rwos'", "  cure: did you mean 'rows'?"]
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_is_no_run_is_explained(tmp_path: Path) -> None:
    code, text = said("run", tmp_path)
    assert code == 2
    assert "no recipe.yaml in this folder" in text


def test_a_missing_recipe_names_the_one_that_was_meant(write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")

    def cure(recipe: Path) -> str:
        with pytest.raises(InputError, match="no such recipe") as caught:
            run_recipe(recipe, runs=tmp_path / "runs")
        return caught.value.cure

    recipe = write(CHAIN, "sums.yaml")
    assert cure(tmp_path / "sumss.yaml") == f"did you mean {recipe}?"
    assert cure(tmp_path / "other.yaml") == f"recipes here: {recipe}"
    (tmp_path / "runs" / "first").mkdir(parents=True)
    (tmp_path / "runs" / "first" / "recipe.yaml").write_text(CHAIN)
    assert cure(Path("frist")) == f"did you mean {tmp_path / 'runs/first'}?"
    assert "`podium stages` lists them" in cure(Path("other"))
