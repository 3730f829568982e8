"""docs/extending.md is true: the package that it shows adds one of each kind, without a change in Podium."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from podium.answering import Sampling
from podium.answering.prompts import PROMPTS
from podium.errors import InputError
from podium.generate import Engine
from podium.generate.drafters import DRAFTERS
from podium.grading import VERIFIERS, classes, equivalent, grade
from podium.models import save_model
from podium.recipe.registry import KINDS
from podium.records import Problem, Verdict
from podium.solve import PROFILES, get_profile, parse_policy
from podium.solve.rules import RULES, Plan
from podium.storage import read_rows
from podium.text import train_tokenizer
from tests.generate.conftest import TEXTS, random_model
from tests.packages import install, shown_files

REGISTRIES = (VERIFIERS, RULES, DRAFTERS, PROMPTS, PROFILES, KINDS)


@pytest.fixture(autouse=True)
def package(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch):
    """The package of the page, where this process finds it; forgotten afterwards."""
    files = shown_files("A package with one of each")
    site = install(tmp_path_factory.mktemp("site"), files)
    monkeypatch.syspath_prepend(str(site))
    with ExitStack() as stack:
        for registry in REGISTRIES:
            stack.enter_context(registry.isolated())
        yield site
    for name in [name for name in sys.modules if name.split(".")[0] == "podium_extras"]:
        del sys.modules[name]


def test_the_package_is_listed_and_not_imported() -> None:
    names = ("roman", "lead", "lookup", "brief", "quick", "shorten")
    assert all(name in registry for name, registry in zip(names, REGISTRIES, strict=True))
    assert not any(name.startswith("podium_extras") for name in sys.modules)


def test_a_verifier_grades_and_a_vote_puts_its_answers_together() -> None:
    problem = Problem(id="moon", text="When?", answer="MCMLXIX", source="here", verifier="roman")
    verdicts = [grade(problem, answer) for answer in ("mcmlxix", "1969", "MCMLXX", "soon", "")]
    assert verdicts == [Verdict.CORRECT, Verdict.CORRECT, Verdict.WRONG, Verdict.WRONG, Verdict.NO_ANSWER]
    assert grade(problem.model_copy(update={"answer": None}), "V") is Verdict.UNDECIDED
    assert classes(problem, ["IV", "4", "V", " iv ", "?"]) == [[0, 1, 3], [2], [4]]
    assert equivalent(problem, "IV", "4") is True
    with pytest.raises(InputError, match="unknown verifier 'rooman'") as caught:
        grade(problem.model_copy(update={"verifier": "rooman"}), "V")
    assert "roman" in caught.value.cure


class Seen:
    def __init__(self, first: int, second: int) -> None:
        self.votes = first, second

    def leading(self) -> tuple[int, int]:
        return self.votes


@pytest.mark.parametrize("written", ["lead:3", "lead:votes=3", "all+lead:3"])
def test_a_stopping_rule_is_written_like_podiums_own(written: str) -> None:
    (rule,) = parse_policy(written).rules
    assert [rule.fires(Seen(*votes), Plan(16)) for votes in ((2, 0), (3, 0), (5, 3), (6, 3))] == [
        False,
        True,
        False,
        True,
    ]
    assert parse_policy(rule.name).rules == (rule,)  # what an exam records can be read again
    assert rule.name == "lead:votes=3"


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("lead", "votes is missing"),
        ("lead:x", "votes is 'x'"),
        ("lead:2,3", "takes 1"),
        ("lead:vote=2", "no parameter"),
    ],
)
def test_a_stopping_rule_that_is_written_wrong_is_told_so(written: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_policy(written)


def test_a_policy_file_names_the_rule(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("name: mine\nrules:\n  - lead: 2\n  - m_of_n: {m: 10}\n")
    assert [rule.name for rule in parse_policy(str(file)).rules] == ["lead:votes=2", "m_of_n:10"]


def test_a_drafter_guesses_and_answers_stay_what_they_are(tmp_path: Path) -> None:
    """A model that repeats itself: guesses are right, so that there are fewer steps, and the text is the same."""
    tokenizer = train_tokenizer(TEXTS * 3, 400)
    save_model(tmp_path / "model", random_model(tokenizer), tokenizer)
    said, steps = {}, {}
    for name in ("none", "lookup"):
        engine = Engine.load(tmp_path / "model", drafter=name, format="fp32", memory_bytes=1 << 22, threads=1)

        async def answer(engine: Engine = engine) -> list[int]:
            completion = await engine.start("1 2 1 2 1 2 1", Sampling(max_tokens=200, ignore_eos=True))
            return [token async for piece in completion for token in piece.tokens]

        said[name] = asyncio.run(answer())
        steps[name] = engine.stats().steps
        if name == "lookup":
            assert engine.stats().draft_tokens > 0
        asyncio.run(engine.close())
    assert said["lookup"] == said["none"]
    assert steps["lookup"] <= steps["none"]
    with pytest.raises(InputError, match="there is no drafter 'lokup'") as caught:
        Engine.load(tmp_path / "model", drafter="lokup")
    assert "lookup" in caught.value.cure


def test_a_profile_asks_in_a_style_of_its_own() -> None:
    problem = Problem(id="one", text="1 + 1?", source="here")
    profile = get_profile("quick", max_tokens=50)
    assert (profile.code_calls, profile.max_tokens, profile.prompt_version) == (1, 50, "brief")
    assert profile.messages(problem)[0].content == "1 + 1?\n\nAnswer in one line; put the answer in \\boxed{}."
    assert get_profile("kaggle", prompt="brief").messages(problem) == profile.messages(problem)
    with pytest.raises(InputError, match="no profile is called 'quik'") as caught:
        get_profile("quik")
    assert "quick" in caught.value.cure


def test_a_stage_kind_is_part_of_a_recipe(tmp_path: Path) -> None:
    from rich.console import Console

    from podium.recipe.document import read_recipe
    from podium.recipe.execute import execute
    from podium.recipe.view import View
    from podium.records import Solution

    rows = [{"problem": f"{n}?", "answer": "1", "solution": "so " * n + "\\boxed{1}"} for n in (1, 50, 3, 400)]
    (tmp_path / "solutions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "name: mine\nstages:\n  short: {kind: shorten, inputs: {solutions: solutions.jsonl}, most: 100}\n"
    )
    execute(read_recipe(recipe), tmp_path, view=View(Console(quiet=True)))
    kept = read_rows(tmp_path / "mine" / "short" / "solutions.jsonl", Solution)
    assert [len(row.text) < 100 for row in kept] == [True, True]
    recipe.write_text(recipe.read_text().replace("most: 100", "most: 0"))
    with pytest.raises(InputError, match="most"):
        read_recipe(recipe)
