"""The files of the folders that Podium writes: their names stand in one place, and what is finished is told rightly."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import podium
from podium import folders, runlog
from podium.answering.scripted import ScriptedCompleter
from podium.errors import CompleterError, InputError
from podium.folders import ChoicesFolder, ExamFolder
from podium.records import Problem
from podium.solve import ExamConfig, sit_exam
from podium.solve.selecting import SelectConfig, choose_all
from podium.solve.trace import read_traces

SOURCE = Path(podium.__file__).parent
PROBLEMS = [Problem(id=str(number), text=f"Say {number}.", answer=str(number)) for number in range(3)]
EXAM = ExamFolder(Path("e"))
CHOICES = ChoicesFolder(Path("c"))
NAMES = {
    *(place.name for place in (*EXAM.marks, EXAM.traces, EXAM.attempts, EXAM.summary, EXAM.budgets, EXAM.choices)),
    *(place.name for place in (*CHOICES.marks, CHOICES.scores)),
    *folders.RUN_FILES,
    folders.BEGUN,
    folders.DONE,
    folders.INSPECT,
}


def test_no_other_file_spells_these_names() -> None:
    homes = {Path(folders.__file__), Path(runlog.__file__)}
    wrong = []
    for file in sorted(set(SOURCE.rglob("*.py")) - homes):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and NAMES & set(node.value.split("/")):
                wrong.append(f"{file.relative_to(SOURCE)}:{node.lineno} spells {node.value!r}")
    # The word is also what choosing is called in a label of the report.
    assert [line for line in wrong if not line.endswith("'genselect'")] == []
    assert len(NAMES) == 18


def answer(prompt, sampling):
    yield f"\\boxed{{{prompt[-1].content[4:-1]}}}"


async def test_an_exam_is_there_then_begun_then_finished(tmp_path: Path) -> None:
    def gone(prompt, sampling):
        if "2" in prompt[-1].content:
            raise OSError("gone")
        yield from answer(prompt, sampling)

    sat = ExamFolder(tmp_path / "exam")
    assert (sat.is_there(), sat.is_begun(), sat.is_finished()) == (False, False, False)
    assert sat.resume_results() == []
    assert sat.read_claim() == {}
    config = ExamConfig.model_validate({"attempts": 2})
    with pytest.raises(CompleterError):
        await sit_exam(PROBLEMS, ScriptedCompleter("m", gone), None, config, sat.path)
    assert (sat.is_there(), sat.is_begun(), sat.is_finished()) == (True, True, False)
    assert [result.problem.id for result in sat.read_results()] == ["0", "1"]
    assert sat.read_claim()["model"] == "m"
    with open(sat.results, "a") as file:
        file.write('{"torn": ')
    assert [result.problem.id for result in sat.resume_results()] == ["0", "1"]
    await sit_exam(PROBLEMS, ScriptedCompleter("m", answer), None, config, sat.path)
    assert sat.is_finished()
    assert [result.problem.id for result in sat.read_results()] == ["0", "1", "2"]
    assert [trace.problem_id for trace in read_traces([sat.path])] == ["0", "1", "2"]
    assert len(sat.attempts.read_text().splitlines()) == 6
    assert ExamFolder.at(sat.path) == ExamFolder.at(sat.results) == sat


async def test_an_exam_of_which_nothing_is_finished_is_not_begun(tmp_path: Path) -> None:
    def gone(prompt, sampling):
        raise OSError("gone")
        yield ""

    config = ExamConfig.model_validate({"attempts": 1})
    with pytest.raises(CompleterError):
        await sit_exam(PROBLEMS, ScriptedCompleter("m", gone), None, config, tmp_path)
    sat = ExamFolder(tmp_path)
    assert (sat.is_there(), sat.is_begun(), sat.is_finished()) == (True, False, False)
    assert any(mark.exists() for mark in sat.marks)


async def test_choices_are_begun_then_finished(tmp_path: Path) -> None:
    def wrong_now_and_then(prompt, sampling):
        yield f"\\boxed{{{sampling.seed % 2}}}"

    config = ExamConfig.model_validate({"attempts": 6})
    exam = ExamFolder(tmp_path)
    await sit_exam(PROBLEMS, ScriptedCompleter("m", wrong_now_and_then), None, config, exam.path)
    made = ChoicesFolder(exam.choices / "judge")
    assert (made.is_begun(), made.is_finished()) == (False, False)
    choosing = SelectConfig.model_validate({"repeats": 1})

    def pick(prompt, sampling):
        yield "Judgment: 0"

    await choose_all(exam.read_results(), ScriptedCompleter("judge", pick), choosing, made.path)
    assert (made.is_begun(), made.is_finished()) == (True, True)
    made.scores.unlink()
    assert (made.is_begun(), made.is_finished()) == (True, False)


@pytest.mark.parametrize("text", ["{", '{"a": 1', "\xff"])
def test_a_damaged_claim_is_told(tmp_path: Path, text: str) -> None:
    ExamFolder(tmp_path).claim.write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=r"exam\.json"):
        ExamFolder(tmp_path).read_claim()


def test_a_missing_exam_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        ExamFolder(tmp_path).read_results()
