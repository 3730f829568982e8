"""Why there are no answers, and the cure that works."""

import pytest

from podium.records import Attempt, Maker, Part, Problem, Usage
from podium.solve.missing import why_unanswered, without_reference

PROBLEM = Problem(id="p", text="?", answer="5")
CHOICE = PROBLEM.model_copy(update={"meta": {"rules": {"find": ["box", "final"]}}})


def attempt(text="", stop="eos", answer=None, tokens=50, prompt="plain", limit=100):
    return Attempt(
        id="p#0", problem_id="p", style="cot", prompt=(), parts=(Part(role="model", text=text),) if text else (),
        answer=answer, maker=Maker(model="m", prompt_version=prompt, sampling={"max_tokens": limit}), index=0,
        usage=Usage(completion_tokens=tokens), stop_reason=stop,
    )  # fmt: skip


def said(*attempts, problem=PROBLEM):
    return "\n".join(why_unanswered([(problem, each) for each in attempts]))


def test_where_most_have_an_answer_nothing_is_said():
    assert said() == ""
    assert said(attempt("\\boxed{5}", answer="5"), attempt("Hm.")) == ""
    assert said(attempt("Hm.", stop="cancelled"), attempt("\\boxed{5}", answer="5")) == ""


def test_problems_without_a_reference_answer_are_counted():
    bare = PROBLEM.model_copy(update={"answer": None})
    assert without_reference([PROBLEM, bare, bare.model_copy(update={"verifier": "gym"})]) == [
        "1 of 3 problems have no reference answer and cannot be right: give them an `answer`"
    ]
    assert without_reference([bare]) == [
        "1 of 1 problem has no reference answer and cannot be right: give it an `answer`"
    ]
    assert without_reference([PROBLEM]) == []


@pytest.mark.parametrize(
    ("attempts", "problem", "words"),
    [
        ([attempt("So the answer is 5.")] * 3, PROBLEM, ["3 of 3 attempts", "--extract boxed,final", "--prompt boxed"]),
        ([attempt("He has 5 apples left.")] * 3, PROBLEM, ["--extract boxed,number", "--prompt boxed"]),
        ([attempt("He has 5 apples left.")] * 3, CHOICE, ["--extract boxed,final,number"]),
        ([attempt("Surely (B)")] * 2, PROBLEM, ["--extract boxed,letter"]),
        ([attempt("I cannot say.")] * 2, PROBLEM, ["--prompt boxed"]),
        ([attempt("I cannot say.", prompt="template-12")], PROBLEM, ["1 of 1 attempt has no answer", "--prompt FILE"]),
        ([attempt("Well,", stop="length", tokens=100)] * 2, PROBLEM, ["token limit", "--max-tokens N (now 100)"]),
        ([attempt("Well,", stop="length", tokens=60)] * 2, PROBLEM, ["context is full after 60 tokens"]),
        ([attempt(stop="length", tokens=0)] * 2, PROBLEM, ["the prompt fills the context"]),
        ([attempt(tokens=0)] * 2, PROBLEM, ["wrote nothing at all", "chat template"]),
        (
            [attempt("Hm. Hm.", stop="repetition")] * 2,
            PROBLEM,
            ["2 ended for repeating the same text", "--temperature"],
        ),
        ([attempt("Hm.", stop="clock")] * 2, PROBLEM, ["cut off by the clock", "--budget"]),
        ([attempt("Hm.", stop="code_limit")] * 2, PROBLEM, ["--profile eval"]),
        ([attempt("Hm.", stop="error")] * 2, PROBLEM, ["error of the engine", "log"]),
    ],
)
def test_each_cause_has_its_cure(attempts, problem, words):
    text = said(*attempts, problem=problem)
    for each in words:
        assert each in text


def test_a_number_in_code_is_no_answer_elsewhere():
    assert "--extract" not in said(attempt("<tool_call>\nprint(5)\n</tool_call>I see."))


def test_causes_are_told_by_how_often_they_are():
    text = said(*[attempt("Hm.", stop="clock")] * 6, *[attempt("The answer is 5.")] * 3, attempt(stop="error"))
    assert "6 cut off by the clock, 3 ended without one, 1 lost to an error of the engine." in text
    assert "see the engine's" not in text  # too rare to explain anything
