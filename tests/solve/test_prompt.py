"""How a problem is asked: templates that leave LaTeX alone, and names of places where answers stand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.answering.prompts import EXAM_PROMPTS, fill
from podium.errors import InputError
from podium.records import Message, Problem
from podium.solve import get_profile
from podium.solve.prompt import check_template, prompt_fields, read_extraction, version_of

LATEX = "If \\frac{a}{b} = x^{ab} and \\sqrt[3]{xy} \\in \\{1, 2\\}, what is \\text{problem}? {problem} {{x}} {0} %s"


def test_the_styles_are_what_they_were():
    """Exams that were sat are only comparable while these words stay."""
    problem = Problem(id="p", text=LATEX)
    texts = {name: get_profile("kaggle", prompt=name).messages(problem) for name in EXAM_PROMPTS}
    assert texts["plain"] == (Message(role="user", content=LATEX),)
    assert texts["boxed"][0].content == (
        "Solve this problem. Think step by step and put the final answer, alone, in \\boxed{}.\n\n" + LATEX
    )
    assert texts["code"][0].content.endswith("Put the final answer, alone, in \\boxed{}.\n\n" + LATEX)


TEXT = st.lists(st.sampled_from(["{", "}", "{problem}", "{{", "\\", "\\boxed{", "problem", "%s", " "])).map("".join)


@given(TEXT, TEXT, TEXT)
def test_only_the_placeholder_is_replaced(before, after, problem):
    template = f"{before}{{problem}}{after}"
    if template.count("{problem}") == 1:
        assert fill(template, problem) == before + problem + after


@pytest.mark.parametrize(
    "template",
    [
        "{problem}",
        "Q: {problem}\nPut it in \\boxed{}.",
        "Put it in \\boxed{answer}. {problem}",
        "\\frac{num}{den}, x^{max}, a_{min}, \\left\\{abc\\right\\}, {n}, {a, b}, {x > 0}: {problem}",
        'Reply with {"answer": 5} or {answer: 5}.\n{problem}',
        "{problem}\n\nAgain: {problem}",
        "Nothing in {}: {problem}",
    ],
)
def test_braces_of_latex_and_json_stay(template):
    assert check_template(template, "here") == template
    assert fill(template, "X") == template.replace("{problem}", "X")


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("Solve it.", "no {problem} in the template"),
        ("", "no {problem} in the template"),
        ("Solve {question}.", "no {problem} in the template; there is {question}"),
        ("Solve { problem }.", "there is { problem }"),
        ("Solve {Problem}.", "there is {Problem}"),
        ("{problem}\nin {language}", "line 2: unknown placeholder {language}"),
        ("{{problem}}", "unknown placeholder {{problem}}"),
        ("{problem} {{ question }}", "unknown placeholder {{ question }}"),
        ("{problem} {problem!r}", "unknown placeholder {problem!r}"),
        ("{problem} {row.answer}", "unknown placeholder {row.answer}"),
    ],
)
def test_what_is_no_template_is_told(template, said):
    with pytest.raises(InputError) as error:
        check_template(template, "prompt.txt")
    assert error.value.message.startswith("prompt.txt: ")
    assert said in error.value.message


def test_a_prompt_is_a_style_or_a_file(tmp_path):
    file = tmp_path / "mine.txt"
    file.write_bytes("\ufeffFrage: {problem}\r\nDanke \\boxed{}.\r\n".encode())
    assert prompt_fields("boxed") == {"prompt": "boxed"}
    assert prompt_fields(str(file)) == {"template": "Frage: {problem}\nDanke \\boxed{}."}
    assert prompt_fields("mine.txt", tmp_path) == prompt_fields(str(file))
    for given_, said in (
        ("boxd", "no prompt style or file is called 'boxd'"),
        ("no/such.txt", "no such file"),
        ("such.txt", "no such file"),
        ("", "the prompt is empty"),
        (str(tmp_path), "is a folder"),
    ):
        with pytest.raises(InputError, match=said):
            prompt_fields(given_)
    file.write_bytes(b"{problem}\xff")
    with pytest.raises(InputError, match=r"mine.txt: not UTF-8 text \(byte 9\)"):
        prompt_fields(str(file))


def test_a_system_message_comes_first_and_names_the_prompt():
    profile = get_profile("kaggle", template="Q: {problem}", system="Be brief.")
    asked = profile.messages(Problem(id="p", text="1 + 1?"))
    assert [(m.role, m.content) for m in asked] == [("system", "Be brief."), ("user", "Q: 1 + 1?")]
    names = {
        version_of("plain", "", ""), version_of("boxed", "", ""), version_of("plain", "Q: {problem}", ""),
        version_of("plain", "R: {problem}", ""), version_of("plain", "", "Be brief."), profile.prompt_version,
    }  # fmt: skip
    assert len(names) == 6
    assert version_of("plain", "", "") == "plain"
    with pytest.raises(InputError, match=r"no \{problem\}"):
        get_profile("kaggle", template="Q:")


def test_places_of_an_answer():
    assert read_extraction("boxed") == ("box",)
    assert read_extraction(" Final, number,box,boxed") == ("final", "number", "box")
    for text, said in (("", "nowhere"), ("boxes", "did you mean 'box"), ("last", "not looked for in 'last'")):
        with pytest.raises(InputError) as error:
            read_extraction(text)
        assert said in str(error.value)
