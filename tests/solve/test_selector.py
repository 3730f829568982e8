"""What a selector is trained on: comparisons put together from graded attempts."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.errors import InputError
from podium.records import Attempt, ExamResult, Maker, Part, Problem, Verdict
from podium.solve.genselect import Candidate, Group, read_pick
from podium.solve.selector import TARGETS, GroupReport, comparison, selection_rows

PROBLEM = Problem(id="p", text="What is 3 + 4 + 5?", answer="12")
RIGHT = "3 + 4 = 7\n7 + 5 = 12\nThe answer is \\boxed{12}."
SLIP = "3 + 4 = 8\n8 + 5 = 13\nThe answer is \\boxed{13}."
END = "3 + 4 = 7\n7 + 5 = 11\nThe answer is \\boxed{11}."
SHORT = "3 + 4 = 7\nThe answer is \\boxed{12}."  # right, another way


def candidate(index: int, text: str) -> Candidate:
    answer = text.rpartition("{")[2].rstrip("}.")
    return Candidate(index, text, answer, answer == "12")


def attempt(problem: Problem, index: int, text: str) -> Attempt:
    answer = text.rpartition("{")[2].rstrip("}.")
    return Attempt(
        id=f"{problem.id}#{index}",
        problem_id=problem.id,
        style="cot",
        prompt=(),
        parts=(Part(role="model", text=text),),
        answer=answer,
        verdict=Verdict.CORRECT if answer == problem.answer else Verdict.WRONG,
        maker=Maker(model="m"),
        index=index,
        stop_reason="eos",
    )


def result(problem: Problem, texts: list[str]) -> ExamResult:
    attempts = tuple(attempt(problem, index, text) for index, text in enumerate(texts))
    return ExamResult(problem=problem, attempts=attempts, votes=(), answer=None, verdict=Verdict.NO_ANSWER)


def group(*texts: str) -> Group:
    return Group(PROBLEM, tuple(candidate(10 + place, text) for place, text in enumerate(texts)))


WORK = (
    Part(role="model", text="<tool_call>\nprint(3 + 4 + 5)\n</tool_call>"),
    Part(role="tool", text="\n```output\n12\n```\n"),
    Part(role="model", text="It is 12."),
)


def written(shown: Group, target, work=None) -> str:
    """What the model is to write."""
    return "".join(part.text for part in comparison(shown, target, work) if part.role == "model")


def test_each_target_says_what_it_promises():
    shown = group(SLIP, END, RIGHT, SHORT)
    assert written(shown, "pick") == "Judgment: 2"
    assert written(shown, "quote") == f"{RIGHT}\nJudgment: 2"
    assert written(shown, "check").splitlines() == [
        "0: 3 + 4 = 8",
        "1: 7 + 5 = 11",
        "2: right",
        "3: right",
        "Judgment: 2",
    ]
    parts = comparison(shown, "work", WORK)
    assert parts[:2] == WORK[:2]  # the code and what it printed stay what they were
    assert parts[2].text == "It is 12.\n0: 13 wrong\n1: 11 wrong\n2: 12 right\n3: 12 right\nJudgment: 2"


def test_a_wrong_solution_of_sound_lines_is_unfinished():
    wrong = Candidate(0, "3 + 4 = 7", "7", False)
    shown = Group(PROBLEM, (wrong, candidate(1, RIGHT)))
    assert written(shown, "check").splitlines()[0] == "0: unfinished"


@given(st.lists(st.sampled_from([RIGHT, SLIP, END, SHORT]), min_size=2, max_size=16), st.sampled_from(TARGETS))
def test_every_comparison_is_read_as_a_right_pick(texts, target):
    shown = group(*texts)
    if not shown.right:
        with pytest.raises(InputError, match="without a right solution"):
            comparison(shown, target, WORK)
        return
    place = read_pick(written(shown, target, WORK), len(texts))
    assert place is not None
    assert shown.candidates[place].answer == "12"
    assert place == min(shown.right)  # one right text for one prompt


def test_work_is_needed_where_it_is_the_target():
    with pytest.raises(InputError, match="nobody's work"):
        comparison(group(SLIP, RIGHT), "work")
    with pytest.raises(InputError, match="nobody's work"):
        comparison(group(SLIP, RIGHT), "work", WORK[:2])  # it breaks off after the code


def test_rows_of_mixed_problems_only():
    mixed, easy, hopeless = (PROBLEM.model_copy(update={"id": name}) for name in ("mixed", "easy", "hopeless"))
    results = [
        result(easy, [RIGHT] * 8),
        result(mixed, [RIGHT, SLIP, END, SHORT, SLIP, RIGHT]),
        result(hopeless, [SLIP] * 8),
    ]
    report = GroupReport()
    rows = list(selection_rows(results, "quote", report=report))
    assert {row.problem_id for row in rows} == {"mixed"}
    assert (report.problems, report.mixed, report.groups) == (3, 1, len(rows))
    assert 1 <= len(rows) <= 8
    assert len({row.id for row in rows}) == len(rows)
    for row in rows:
        assert row.answer == "12"
        place = read_pick(row.text, 16)
        assert f"Solution {place}:\n{row.text.rpartition(chr(10))[0]}" in row.prompt[0].content
    assert report.shown == sum(row.prompt[0].content.count("\nSolution ") for row in rows)
    assert rows == list(selection_rows(results, "quote"))
    assert rows != list(selection_rows(results, "quote", seed=1))


def test_groups_too_long_to_show_and_problems_without_work_are_left_out():
    draw = random.Random(0)
    results = [result(PROBLEM, [draw.choice([RIGHT, SLIP, END]) for _ in range(12)])]
    every = list(selection_rows(results, "pick"))
    lengths = sorted(len(row.prompt[0].content) for row in every)
    shorter = list(selection_rows(results, "pick", characters=lengths[len(lengths) // 2]))
    assert shorter  # further tries take the place of those left out
    assert max(len(row.prompt[0].content) for row in shorter) <= lengths[len(lengths) // 2]
    assert list(selection_rows(results, "pick", characters=100)) == []
    report = GroupReport()
    assert list(selection_rows(results, "work", work={"other": WORK}, report=report)) == []
    assert report.unworked == len(every)
    assert len(list(selection_rows(results, "work", work={"p": WORK}))) == len(every)
