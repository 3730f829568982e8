"""The prompts that ask for a solution: their words stay while their version does."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.answering.prompts import EXAM_PROMPTS, PROBLEM, PROMPTS, TRAINING_PROMPTS, fill, make_prompt, problem_in
from podium.errors import InputError
from podium.records import Message, Problem
from podium.solve import get_profile

# name/version -> digest of the words. Whoever changes the words changes the version too, and adds a line here.
WORDS = {
    "plain/1": "b3e27e83",
    "cot/1": "881546fc",
    "tir/1": "a9e6f009",
    "boxed/1": "6444639d",
    "code/1": "674acb0d",
}


def test_other_words_are_another_version():
    said = {
        f"{name}/{style.version}": hashlib.sha256(style.template.encode()).hexdigest()[:8]
        for name, style in PROMPTS.items()
    }
    assert said == WORDS


@pytest.mark.parametrize("name", TRAINING_PROMPTS)
def test_every_prompt_shows_the_problem_once_and_says_its_version(name):
    problem = Problem(id="p", text="If \\frac{a}{b} = {problem}, what is a?")
    messages, version = make_prompt(problem, name)
    assert messages == (Message(role="user", content=messages[0].content),)
    assert messages[0].content.count(problem.text) == 1
    assert version == f"{name}/{PROMPTS[name].version}"
    assert PROMPTS[name].template.count(PROBLEM) == 1


def test_an_unknown_prompt_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="no prompt 'tirr'") as caught:
        make_prompt(Problem(id="p", text="1 + 1?"), "tirr")
    assert "tir" in caught.value.cure


def test_every_prompt_has_its_use_and_each_refuses_the_others():
    assert (TRAINING_PROMPTS, EXAM_PROMPTS) == (("plain", "cot", "tir"), ("plain", "boxed", "code"))
    assert set(TRAINING_PROMPTS) | set(EXAM_PROMPTS) == set(PROMPTS)
    with pytest.raises(InputError, match="no prompt 'boxed'"):
        make_prompt(Problem(id="p", text="1 + 1?"), "boxed")
    for name in ("cot", "tir"):
        with pytest.raises(InputError, match=f"no prompt style is called '{name}'"):
            get_profile("eval", prompt=name)


@given(st.sampled_from(sorted(PROMPTS)), st.text(min_size=1, max_size=30))
def test_the_problem_comes_back_from_its_question(name, text):
    question = fill(PROMPTS[name].template, text)
    assert problem_in(question) == text
