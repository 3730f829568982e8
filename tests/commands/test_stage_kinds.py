"""`podium stages` and docs/stages.md: what they say is what the code accepts."""

import importlib
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError
from typer.testing import CliRunner

from podium.commands.cli import app
from podium.commands.stage_kinds import field_lines, markdown
from podium.problems.rows import FORMS
from podium.recipe.registry import StageKind, find_kind, kinds

importlib.import_module("podium.recipe.stages")
ROOT = Path(__file__).parents[2]
SHIPPED = [kind for kind in kinds() if kind.run.__module__.startswith("podium.")]  # other tests register some too


def test_the_page_is_what_the_code_says() -> None:
    assert (ROOT / "docs" / "stages.md").read_text() == markdown(SHIPPED), "podium stages --markdown > docs/stages.md"


@pytest.mark.parametrize("recipe", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_field_of_the_shipped_recipes_is_listed(recipe: Path) -> None:
    for stage in yaml.safe_load(recipe.read_text())["stages"].values():
        listed = {line.name for line in field_lines(find_kind(stage["kind"], "test").params)}
        assert set(stage) - {"kind", "inputs"} <= listed


def test_every_field_says_what_it_means() -> None:
    for kind in SHIPPED:
        for line in field_lines(kind.params):
            assert line.meaning or line.type == "fields below", f"{kind.name}.{line.name} has no description"


@pytest.mark.parametrize("kind", SHIPPED, ids=lambda kind: kind.name)
def test_just_the_fields_that_must_be_given_are_missed(kind: StageKind) -> None:
    needed = {line.name for line in field_lines(kind.params) if line.default == "must be given"}
    missed: set[str] = set()
    try:
        kind.params()
    except ValidationError as error:
        missed = {".".join(map(str, each["loc"])) for each in error.errors()}
    assert missed == needed


def test_a_kind_is_shown_with_its_fields_and_a_wrong_one_is_corrected() -> None:
    shown = CliRunner().invoke(app, ["stages", "train"], env={"COLUMNS": "200"}).output
    assert "shape.layers" in shown
    assert "whole number, >= 1" in shown
    wrong = CliRunner().invoke(app, ["stages", "trian"])
    assert wrong.exit_code == 2
    assert "did you mean 'train'" in wrong.output
    every = CliRunner().invoke(app, ["stages"], env={"COLUMNS": "200"}).output
    assert all(kind.name in every for kind in SHIPPED)


def test_the_page_names_every_form_of_rows() -> None:
    page = markdown(SHIPPED)
    assert all(name in page for name, _, _ in FORMS)
