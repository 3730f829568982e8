"""Sources of problems, against the facts a user can check: counts of the exams, names, errors with a cure."""

import json
from pathlib import Path

import pytest

from podium.errors import InputError
from podium.grading import find_answer, grade
from podium.problems import check_disjoint, drop_shared, load_problems, normalise_text, split_problems
from podium.problems.exams import EXAMS
from podium.problems.gym import decode, encode, make_dataset
from podium.records import Problem, Verdict
from podium.storage import write_rows
from tests.problems.written_exams import write_exams


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    folder = tmp_path_factory.mktemp("exams")
    return folder, write_exams(folder)


@pytest.mark.parametrize("name", EXAMS)
def test_exams_have_their_size_and_every_gold_answer(name: str, written: tuple[Path, dict[str, int]]) -> None:
    folder, sizes = written
    problems = load_problems(f"exam:{name}", data=folder)
    assert len(problems) == len({problem.id for problem in problems}) == sizes[name]
    for problem in problems:
        assert problem.answer
        assert grade(problem, problem.answer) is Verdict.CORRECT
        if problem.verifier == "integer":
            assert grade(problem, "-123456") is Verdict.WRONG


def test_gsm8k_answers_are_numbers_without_the_solution(written: tuple[Path, dict[str, int]]) -> None:
    answers = [problem.answer for problem in load_problems("exam:gsm8k", data=written[0])]
    assert answers == [f"{number * 37 % 1000:,}" for number in range(12)]


def test_exam_rows_of_an_own_folder(tmp_path: Path) -> None:
    rows = [{"question": "How many?", "answer": "so it is <<1+1=2>>2\n#### 1,002"}]
    (tmp_path / "gsm8k_test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (problem,) = load_problems("exam:gsm8k", data=tmp_path)
    assert (problem.answer, problem.text) == ("1,002", "How many?")
    assert grade(problem, "1002") is Verdict.CORRECT
    for text in ("I add.\n#### 1,002", "So the answer is 1002.", "**The answer is:** $1,002$.", "\\boxed{1002}"):
        answer = find_answer(problem, text)
        assert answer is not None, text
        assert grade(problem, answer) is Verdict.CORRECT, text
    assert find_answer(problem, "There are 1,002 of them.") is None  # `number` has to be asked for


def test_exam_row_without_answer_is_named(tmp_path: Path) -> None:
    (tmp_path / "amc23.jsonl").write_text('{"problem": "1+1", "answer": 2.0}\n{"problem": "2+2"}\n')
    with pytest.raises(InputError, match=r"amc23\.jsonl:2: no answer"):
        load_problems("exam:amc23", data=tmp_path)


@pytest.mark.parametrize(
    ("spec", "message", "cure"),
    [
        ("gym:chain_sums", "no such task", "chain_sum"),
        ("exam:aime26", "no such exam", "aime2"),
        ("chain_sum", "not a source", "gym:NAME"),
        ("jsonl:/nowhere/p.jsonl", "no such file", "path"),
    ],
)
def test_unknown_sources_get_a_cure(spec: str, message: str, cure: str) -> None:
    with pytest.raises(InputError) as caught:
        load_problems(spec)
    assert message in caught.value.message
    assert cure in caught.value.cure


def test_a_file_given_as_an_exam_is_told_how(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text("")
    with pytest.raises(InputError) as caught:
        load_problems(f"exam:{path}")
    assert f"jsonl:{path}" in caught.value.cure


def test_unknown_option_names_the_nearest() -> None:
    with pytest.raises(InputError) as caught:
        load_problems("gym:gcd", options={"max_valu": 9})
    assert "max_value" in caught.value.cure
    with pytest.raises(InputError, match="refused"):
        load_problems("gym:gcd", options={"min_value": 9, "max_value": 3})


def test_missing_exam_says_where_to_put_it(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_problems("exam:aimo2_reference", data=tmp_path)
    assert "aimo2_reference.jsonl" in caught.value.cure


def test_gym_problems_are_distinct_repeatable_and_keep_their_id() -> None:
    first = load_problems("gym:lcm", size=50, seed=4)
    assert first == load_problems("gym:lcm", size=50, seed=4)
    assert len({problem.id for problem in first}) == 50
    assert [p.id for p in load_problems("gym:lcm", size=10, seed=4)] == [p.id for p in first[:10]]
    # neighbouring seeds of reasoning-gym overlap in all but one problem; ours must not
    other = load_problems("gym:lcm", size=50, seed=5)
    assert len({p.id for p in first} & {p.id for p in other}) < 25


def test_a_small_task_gives_all_it_has() -> None:
    problems = load_problems("gym:prime_factorization", size=500, options={"min_value": 2, "max_value": 40})
    assert len(problems) == 39


def test_gym_meta_survives_json_and_scores_alike() -> None:
    for name in ("futoshiki", "knights_knaves", "complex_arithmetic", "puzzle24"):
        for problem in load_problems(f"gym:{name}", size=3):
            copy = Problem.model_validate_json(problem.model_dump_json())
            assert copy == problem
            dataset = make_dataset(name, {"seed": 1, "size": 1})
            entry = {"question": copy.text, "answer": copy.answer, "metadata": decode(copy.meta["metadata"])}
            assert dataset.score_answer(copy.answer, entry) == 1.0


def test_encode_keeps_tuples_and_keys() -> None:
    value = {"a": (1, [2.5, None]), "b": {3: ("x",), (1, 2): {4, 5}}}
    assert decode(json.loads(json.dumps(encode(value)))) == value


def make_problem(number: int, text: str) -> Problem:
    return Problem(id=f"p{number}", text=text, answer="1")


def test_disjoint_check_sees_through_typesetting_but_not_numbers() -> None:
    train = [make_problem(1, "Find  $x$ modulo 7."), make_problem(2, "Find x modulo 11")]
    exam = [make_problem(3, "find x modulo 7")]
    report = check_disjoint(train, exam)
    assert report.shared == (("p1", "p3"),)
    assert not report.disjoint
    assert [problem.id for problem in drop_shared(train, exam)] == ["p2"]
    assert normalise_text("x + 1") != normalise_text("x - 1")


def test_split_keeps_twins_on_one_side() -> None:
    problems = [make_problem(i, f"Question {i // 2}") for i in range(20)]
    train, exam, report = split_problems(problems, 3, seed=1)
    assert report.disjoint
    assert (len(exam), len(train)) == (3, 14)
    with pytest.raises(InputError, match="cannot take 10"):
        split_problems(problems, 10)


def test_jsonl_source_and_repeated_ids(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    write_rows(path, [make_problem(1, "a"), make_problem(2, "b")])
    assert [problem.text for problem in load_problems(f"jsonl:{path}", size=1)] == ["a"]
    write_rows(path, [make_problem(1, "a"), make_problem(1, "b")])
    with pytest.raises(InputError, match="occurs twice"):
        load_problems(f"jsonl:{path}")
