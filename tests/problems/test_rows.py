"""Rows in the forms that public data sets use, as problems and as solutions to learn from."""

import json
from pathlib import Path
from typing import Any

import pytest

from podium.errors import InputError
from podium.problems import iterate_solutions, load_problems, read_problems
from podium.problems.rows import problem_of, solutions_of
from podium.records import Problem, Solution
from podium.storage import write_rows
from podium.text import train_tokenizer

CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is 2 + 3?"},
    {"role": "assistant", "content": "It is \\boxed{5}."},
]


def lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("row", "text", "answer"),
    [
        ({"question": "2 + 3?", "answer": "5"}, "2 + 3?", "5"),
        ({"question": "2 + 3?", "answer": "Two and three make 5.\n#### 5"}, "2 + 3?", "5"),
        ({"problem": "2 + 3?", "answer": 5}, "2 + 3?", "5"),
        ({"problem": "2 + 3?", "expected_answer": 5.0, "generated_solution": "five"}, "2 + 3?", "5"),
        ({"problem": "2 + 3?", "solution": "It is \\boxed{5}, not \\boxed{6}. No: \\boxed{5}."}, "2 + 3?", "5"),
        ({"problem": "2 + 3?"}, "2 + 3?", None),
        ({"question": "2 + 3?", "answer": "5", "meta": {"page": 3}}, "2 + 3?", "5"),
        ({"id": "a", "text": "2 + 3?", "answer": "5", "meta": {"page": 3}, "page": 3}, "2 + 3?", "5"),
        ({"text": " 2 + 3? ", "answer": "5", "level": 2}, "2 + 3?", "5"),
        ({"instruction": "2 + 3?", "output": "\\boxed{5}"}, "2 + 3?", "5"),
        ({"prompt": "2 + 3?", "completion": "\\boxed{5}"}, "2 + 3?", "5"),
        ({"messages": CHAT}, "What is 2 + 3?", "5"),
        ({"messages": CHAT[:2], "answer": "5"}, "What is 2 + 3?", "5"),
        ({"conversations": [{"from": "human", "value": "2 + 3?"}, {"from": "gpt", "value": "5"}]}, "2 + 3?", None),
        ({"prompt": CHAT[:2], "completion": CHAT[2:]}, "What is 2 + 3?", "5"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "2 + 3?"}]}]}, "2 + 3?", None),
    ],
)
def test_a_problem_in_every_form(row: dict[str, Any], text: str, answer: str | None) -> None:
    problem = problem_of(row, "f:1", "f-1")
    assert (problem.text, problem.answer, problem.id) == (text, answer, row.get("id", "f-1"))


@pytest.mark.parametrize(
    ("row", "asked", "written"),
    [
        ({"question": "2 + 3?", "answer": "2 + 3 = 5\n#### 5"}, ["2 + 3?"], "2 + 3 = 5\n#### 5"),
        ({"problem": "2 + 3?", "answer": 5}, ["2 + 3?"], "5"),
        ({"problem": "2 + 3?", "solution": "\\boxed{5}", "answer": "5"}, ["2 + 3?"], "\\boxed{5}"),
        ({"problem": "2 + 3?", "generated_solution": "five", "expected_answer": "5"}, ["2 + 3?"], "five"),
        ({"instruction": "Add.", "input": "2 and 3", "output": "5"}, ["Add.\n\n2 and 3"], "5"),
        ({"instruction": "Add 2 and 3.", "input": "", "output": "5"}, ["Add 2 and 3."], "5"),
        ({"messages": CHAT}, ["Be brief.", "What is 2 + 3?"], "It is \\boxed{5}."),
        ({"prompt": CHAT[:2], "completion": CHAT[2:]}, ["Be brief.", "What is 2 + 3?"], "It is \\boxed{5}."),
    ],
)
def test_a_solution_in_every_form(row: dict[str, Any], asked: list[str], written: str) -> None:
    (solution,) = solutions_of(row, "f:1", "f-1")
    assert [message.content for message in solution.prompt] == asked
    assert solution.text == written


def test_what_code_printed_is_read_and_not_learnt() -> None:
    """Public data sets such as OpenMathReasoning hold a solution as one text, its outputs included."""
    code, printed = "I run it.\n<tool_call>\nprint(2 + 3)\n</tool_call>", "\n```output\n5\n```\n"
    invented = "It would print\n```output\n6\n```\nSo it is \\boxed{5}."
    (solution,) = solutions_of({"problem": "What is 2 + 3?", "solution": code + printed + invented}, "f:1", "f-1")
    assert [(part.role, part.text) for part in solution.parts] == [
        ("model", code),
        ("tool", printed),
        ("model", invented),
    ]
    tokenizer = train_tokenizer([solution.text], 300)
    ids, learnt = tokenizer.encode_solution(solution.prompt, solution.parts)
    of_model = tokenizer.decode([token for token, mask in zip(ids, learnt, strict=True) if mask], special=False)
    assert of_model == code + invented
    assert (solution.style, solution.answer) == ("tir", "5")


def test_every_turn_of_the_assistant_is_learnt_with_what_came_before() -> None:
    turns = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
        {"role": "assistant", "content": "d", "weight": 0},
        {"role": "user", "content": "e"},
        {"role": "assistant", "content": "f"},
    ]
    first, last = solutions_of({"id": 7, "messages": turns}, "f:1", "f-1")
    assert (first.id, last.id) == ("7-1", "7-2")
    assert [message.content for message in last.prompt] == ["a", "b", "c", "d", "e"]
    assert (first.text, last.text) == ("b", "f")


def test_own_rows_come_back_whole_and_are_read_strictly(tmp_path: Path) -> None:
    problems = load_problems("gym:gcd", size=2)
    write_rows(tmp_path / "p.jsonl", problems)
    assert read_problems(tmp_path / "p.jsonl") == problems
    ruled = problem_of({"id": "1", "text": "x", "meta": {"rules": {"modulo": 10}}}, "f:1", "f-1")
    assert ruled.meta == {"rules": {"modulo": 10}}
    with pytest.raises(InputError, match=r"f:3: field 'verifyer'"):
        problem_of({"id": "1", "text": "x", "meta": {}, "verifyer": "math"}, "f:3", "f-3")
    (solution,) = solutions_of({"problem": "x", "solution": "y"}, "f:1", "f-1")
    write_rows(tmp_path / "s.parquet", [solution])
    assert list(iterate_solutions(tmp_path / "s.parquet")) == [solution]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([1], "not an object"),
        ({"frage": "?", "antwort": "!"}, "no problem text; the row's fields are: antwort, frage"),
        ({"question": "  "}, "no problem text"),
        ({"question": ["a"]}, "field 'question' holds list, not text"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "the role 'tool' is not read"),
        ({"messages": ["x"]}, r"field 'messages.0': not an object"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "the content is not text"),
    ],
)
def test_bad_rows_name_their_place_and_what_is_needed(row: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message) as of_problem:
        read_problems(lines(tmp_path / "rows.jsonl", {"question": "2 + 3?", "answer": "5"}, row))
    assert f"{tmp_path}/rows.jsonl:2" in of_problem.value.message
    with pytest.raises(InputError, match=message):
        list(iterate_solutions(tmp_path / "rows.jsonl"))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"problem": "x"}, "a problem without anything to learn to write"),
        ({"problem": "x", "solution": " "}, "the reply to learn is empty"),
        ({"messages": CHAT[:2]}, "no turn of the assistant"),
        ({"messages": [CHAT[2]]}, "has no turn before it"),
        ({"messages": [*CHAT[:2], {"role": "assistant", "content": ""}]}, "the reply to learn is empty"),
    ],
)
def test_nothing_to_learn_is_told(row: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        list(solutions_of(row, "f:1", "f-1"))
    assert "messages" in caught.value.cure
    assert "an id may be there" in caught.value.cure


def test_two_questions_are_no_single_problem() -> None:
    with pytest.raises(InputError, match="2 user turns"):
        problem_of({"messages": [CHAT[1], CHAT[1]]}, "f:1", "f-1")


def test_files_of_any_form_are_a_source_and_rows_without_ids_get_them(tmp_path: Path) -> None:
    path = lines(tmp_path / "mine.jsonl", {"question": "2 + 3?", "answer": "5"}, {"messages": CHAT, "id": 3})
    problems = load_problems(f"jsonl:{path}")
    assert [(problem.id, problem.answer) for problem in problems] == [("mine-1", "5"), ("3", "5")]
    assert all(isinstance(problem, Problem) for problem in problems)
    assert all(isinstance(solution, Solution) for solution in iterate_solutions([path, path]))
