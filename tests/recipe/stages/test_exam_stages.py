"""How the exam stage wants problems asked, and what of that makes it another exam."""

import pytest

from podium.errors import InputError
from podium.recipe import stages  # noqa: F401 - registers the kinds
from podium.recipe.document import read_recipe
from podium.recipe.identity import identities

RECIPE = """\
name: r
stages:
  problems: {{kind: problems, tasks: {{gcd: {{}}}}, train: 4, exam: 2}}
  sat:
    kind: exam
    inputs: {{model: {model}, problems: problems}}
    attempts: 2
{more}"""


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "model").mkdir(exist_ok=True)
    (tmp_path / "model" / "config.json").write_text("{}")

    def written(more: str = "", *overrides: str):
        path = tmp_path / "r.yaml"
        path.write_text(RECIPE.format(model="./model", more="".join(f"    {line}\n" for line in more.splitlines())))
        return read_recipe(path, overrides)

    return written


def test_what_is_asked_otherwise_is_another_exam_and_a_default_written_out_is_not(recipe):
    plain = identities(recipe())["sat"]
    assert identities(recipe("prompt: plain\nsystem: ''\nrepetition_stop: true"))["sat"] == plain
    others = {
        identities(recipe(more))["sat"]
        for more in ("prompt: boxed", "system: Be brief.", "extract: [boxed, final]", "repetition_stop: false")
    }
    assert len(others) == 4
    assert plain not in others


def test_extract_may_be_written_as_in_a_command(recipe):
    assert identities(recipe("extract: boxed, Final"))["sat"] == identities(recipe("extract: [boxed, final]"))["sat"]
    assert recipe("", "sat.extract=boxed,number").stages["sat"].params.extract == ("boxed", "number")


def test_a_prompts_file_is_read_beside_the_recipe_and_hashed_by_what_it_says(recipe, tmp_path):
    (tmp_path / "asks").mkdir()
    file = tmp_path / "asks" / "mine.txt"
    file.write_text("Frage: {problem} \\boxed{}\n")
    read = recipe("prompt: asks/mine.txt")
    assert read.stages["sat"].params.overrides()["template"] == "Frage: {problem} \\boxed{}"
    before = identities(read)["sat"]
    (tmp_path / "again.yaml").write_text(read.as_yaml())
    assert identities(read_recipe(tmp_path / "again.yaml"))["sat"] == before
    assert identities(recipe('prompt: "Frage: {problem} \\\\boxed{}"'))["sat"] == before
    file.write_text("Question: {problem}\n")
    assert identities(recipe("prompt: asks/mine.txt"))["sat"] != before
    assert recipe("", "sat.prompt=boxed", "sat.system=Be brief.").stages["sat"].params.overrides() == {
        "prompt": "boxed",
        "system": "Be brief.",
        "repetition_stop": True,
    }


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("prompt: boxd", "no prompt style or file is called 'boxd'"),
        ("prompt: asks/none.txt", "no such file"),
        ("prompt: 'Solve {problem} in {language}'", "unknown placeholder {language}"),
        ("prompt: |\n  Solve it.\n  Please.", "no {problem} in the template"),
        ("extract: [boxes]", "'boxed'"),
        ("extract: boxed,boxes", "'boxed'"),
        ("extract: 5", "should be a valid list"),
    ],
)
def test_a_mistake_is_told_with_its_line(recipe, more, said):
    with pytest.raises(InputError) as error:
        recipe(more)
    assert "r.yaml:8" in error.value.message
    assert said in str(error.value)
    assert "Value error" not in str(error.value)
