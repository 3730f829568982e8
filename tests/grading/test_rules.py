"""The exam's rules: where an answer stands, which integers are answers, what goes wrong when they are misspelt."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podium.errors import InputError
from podium.grading import Rules, classes, extract_answer, find_answer, grade, make_rules, rules_of
from podium.records import Problem, Verdict


def problem(verifier: str = "integer", answer: str = "73", **rules: object) -> Problem:
    return Problem(id="p", text="?", answer=answer, verifier=verifier, meta={"rules": rules} if rules else {})


@pytest.mark.parametrize(
    ("find", "text", "answer"),
    [
        (("box",), "Final Answer: 5", None),
        (("box", "final"), "**Final Answer**: 5.", "5"),
        (("box", "final"), r"Final Answer: \boxed{7}", "7"),
        (("final",), "The answer is 12\nThe answer is **13**.", "13"),
        (("final",), "The correct answer is (B)", "(B)"),
        (("final",), "3 + 4 = 7\n#### 7", "7"),
        (("final",), "Answer: \\frac{1}{2}", "\\frac{1}{2}"),
        (("final",), "the answers vary", None),
        (("letter",), r"so \boxed{\text{(C)}}", "C"),
        (("letter",), "A long story. The answer is (D) 12 apples", "D"),
        (("letter",), "It cannot be (A), so it is (B).", "B"),
        (("letter",), "I think A man did it", None),
        (("letter",), r"\boxed{E}", "E"),
        (("number",), "first 1,234.5 and then -7.", "-7"),
        (("number",), "no number", None),
        (("all",), "  x+1 \n", "x+1"),
        (("box", "number"), r"\boxed{} but 9", "9"),
    ],
)
def test_where_an_answer_is_found(find: tuple[str, ...], text: str, answer: str | None) -> None:
    assert extract_answer(text, make_rules({"find": find})) == answer


@pytest.mark.parametrize(
    ("rules", "text", "answer"),
    [
        (Rules(low=0, high=999), r"\boxed{73} check \boxed{x+1}", "73"),
        (Rules(low=0, high=999), r"\boxed{73} no, \boxed{1000}", "73"),
        (Rules(low=0, high=999), r"\boxed{-5}", None),
        (Rules(low=0, high=99_999), r"\boxed{1000}", "1000"),
        (Rules(modulo=1000), r"\boxed{1073}", "1073"),
        (Rules(low=0, high=999), r"\boxed{\boxed{73}}", r"\boxed{73}"),
        (Rules(low=0, high=999), r"\boxed{}", None),
    ],
)
def test_the_last_admitted_integer_is_the_answer(rules: Rules, text: str, answer: str | None) -> None:
    assert extract_answer(text, rules) == answer


def test_the_rules_of_a_problem_reach_extraction_grading_and_voting() -> None:
    task = problem(low=0, high=999)
    assert find_answer(task, r"\boxed{73} \boxed{7300}") == "73"
    assert grade(task, "0073") is Verdict.CORRECT
    assert grade(task, "1073") is Verdict.WRONG
    modular = problem(modulo=1000)
    assert grade(modular, "1073") is Verdict.CORRECT
    assert classes(modular, ["73", "1073", "74"]) == [[0, 1], [2]]
    strict = problem("math", "50\\%", percent="strict")
    assert grade(strict, "50") is Verdict.WRONG
    assert classes(strict, ["50\\%", "1/2", "50"]) == [[0, 1], [2]]


def test_option_letters_are_compared_as_letters() -> None:
    task = problem("letter", "\\text{(B)}")
    assert grade(task, "B") is Verdict.CORRECT
    assert grade(task, "(B) 12") is Verdict.CORRECT
    assert grade(task, "(C)") is Verdict.WRONG
    assert grade(task, "12") is Verdict.WRONG
    assert classes(task, ["B", "(B) 12", "C"]) == [[0, 1], [2]]
    with pytest.raises(InputError, match="no option"):
        grade(problem("letter", "12"), "B")


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"unit": "strict"}, "did you mean 'units'"),
        ({"units": "lenient"}, "units"),
        ({"rounding": -1}, "rounding"),
        ({"modulo": 0}, "modulo"),
        ({"find": ["boxes"]}, "find"),
        ({"low": "x"}, "low"),
    ],
)
def test_a_misspelt_rule_is_named(rules: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_rules(rules)
    with pytest.raises(InputError, match="problem p: "):
        rules_of(problem(**rules))


@settings(deadline=None)
@given(st.integers(0, 999), st.text(max_size=40), st.text(max_size=40))
def test_a_box_with_an_admitted_integer_is_found_in_any_text(value: int, before: str, after: str) -> None:
    text = f"{before} \\boxed{{{value}}} {after}"
    if "\\" in before or "{" in before + after or "}" in before + after or "\\" in after:
        return
    assert extract_answer(text, Rules(low=0, high=999)) == str(value)


@settings(deadline=None)
@given(st.text(max_size=300))
def test_no_finder_fails_on_any_text(text: str) -> None:
    for finder in ("box", "final", "letter", "number", "all"):
        found = extract_answer(text, make_rules({"find": (finder,)}))
        assert found is None or found.strip()
