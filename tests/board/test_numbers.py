"""Intervals, votes over time and effects, against counting by hand and known distributions."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import exam_rows

from podium.board.effects import find_effects
from podium.board.exam import Exam, label_of, score_by_time, scores_by_task, task_of
from podium.board.run_folder import read_curve
from podium.board.statistics import vote_score
from podium.records import Verdict
from podium.solve.statistics import paired_bootstrap


def exam(name: str, skill: float, calls: float, code: bool, seed: int = 0, problems: int = 60, n: int = 8) -> Exam:
    return Exam(name, label_of(name), tuple(exam_rows(problems, n, skill, calls, code, seed)))


def test_the_interval_covers_the_truth_about_95_times_in_100() -> None:
    draw = random.Random(0)
    hits = 0
    for trial in range(100):
        differences = [float(draw.random() < 0.6) - float(draw.random() < 0.4) for _ in range(80)]
        found = paired_bootstrap(differences, seed=trial)
        hits += found.low <= 0.2 <= found.high
    assert 88 <= hits <= 100


def test_the_interval_agrees_with_the_normal_one_for_many_problems() -> None:
    draw = random.Random(1)
    values = [draw.gauss(0.3, 1.0) for _ in range(2000)]
    mean = sum(values) / len(values)
    error = (sum((v - mean) ** 2 for v in values) / len(values)) ** 0.5 / len(values) ** 0.5
    found = paired_bootstrap(values)
    assert found.low == pytest.approx(mean - 1.96 * error, abs=0.005)
    assert found.high == pytest.approx(mean + 1.96 * error, abs=0.005)


def test_equal_results_are_no_certainty() -> None:
    found = paired_bootstrap([0.0] * 10)
    assert found.low < -0.2
    assert found.high > 0.2
    assert paired_bootstrap([0.0] * 1000).high < 0.01
    with pytest.raises(ValueError):
        paired_bootstrap([1.0])


@given(st.lists(st.sampled_from("abc"), max_size=9))
def test_a_vote_is_the_share_of_right_classes_among_the_leaders(answers: list[str]) -> None:
    counts = {answer: answers.count(answer) for answer in set(answers)}
    leaders = [answer for answer, count in counts.items() if count == max(counts.values())]
    expected = leaders.count("a") / len(leaders) if leaders else 0.0
    assert vote_score([(answer, answer == "a") for answer in answers]) == expected


def test_score_against_time_starts_at_nothing_and_ends_at_the_vote() -> None:
    one = exam("exam_tir", 0.7, 1.0, True)
    curve = score_by_time(one)
    assert curve[0] == (0.0, 0.0)
    assert [time for time, _ in curve] == sorted(time for time, _ in curve)
    assert curve[-1][1] == pytest.approx(one.scores.majority_n.value)


def test_tasks_count_every_problem_once() -> None:
    exams = [exam("a", 0.5, 0, False), exam("b", 0.9, 1, True, seed=1)]
    table = scores_by_task(exams)
    for column, one in enumerate(exams):
        assert sum(cells[column][1] for cells in table.values()) == len(one.results)
        for task, cells in table.items():
            rows = [row for row in one.results if task_of(row) == task]
            assert cells[column] == (sum(row.verdict == Verdict.CORRECT for row in rows), len(rows))


def outcomes(*exams: Exam) -> list[tuple[str, str]]:
    return [(effect.claim, effect.outcome) for effect in find_effects(exams)]


def test_strong_effects_show() -> None:
    cot = exam("exam_cot", 0.35, 0, False, 1)
    tir = exam("exam_tir", 0.9, 1.4, True, 2)
    merged = exam("exam_merged", 0.9, 0.5, True, 3)
    found = outcomes(cot, tir, merged)
    assert found.count(("Code beats mental arithmetic", "showed")) == 2
    assert ("A merge needs fewer code calls", "showed") in found
    sentences = " ".join(effect.sentence for effect in find_effects([cot, tir, merged]))
    assert "Code helped." in sentences


def test_no_difference_does_not_show() -> None:
    cot = exam("exam_cot", 0.6, 0, False, 1)
    same = Exam("exam_tir", "TIR", tuple(exam("exam_tir", 0.6, 1, True, 1).results))
    both = [e for e in find_effects([cot, same]) if e.claim == "Code beats mental arithmetic"]
    assert [effect.outcome for effect in both] == ["did not show"]
    assert "did not show on these problems" in both[0].sentence


def test_the_opposite_is_said_too() -> None:
    cot = exam("exam_cot", 0.95, 0, False, 1)
    tir = exam("exam_tir", 0.2, 1, True, 2)
    assert ("Code beats mental arithmetic", "opposite") in outcomes(cot, tir)
    merged = exam("exam_merged", 0.2, 1.9, True, 3)
    better = exam("exam_tir", 0.95, 0.5, True, 4)
    assert ("A merge needs fewer code calls", "opposite") in outcomes(better, merged)
    assert ("A merge keeps the accuracy", "opposite") in outcomes(better, merged)


def test_exams_over_other_problems_are_not_compared() -> None:
    tir = exam("exam_tir", 0.9, 1, True)
    moved = [
        row.model_copy(update={"problem": row.problem.model_copy(update={"id": f"x{row.problem.id}"})})
        for row in exam("exam_cot", 0.1, 0, False).results
    ]
    cot = Exam("exam_cot", "CoT", tuple(moved))
    assert all(claim == "A vote beats one attempt" for claim, _ in outcomes(cot, tir))


def test_a_curve_with_torn_repeated_and_infinite_lines_is_read(tmp_path: Path) -> None:
    lines = [
        json.dumps({"step": 1, "loss": 3.0}),
        json.dumps({"step": 2, "loss": 9.0}),
        '{"step": 3, "lo',
        json.dumps({"step": 2, "loss": 2.0, "lr": float("nan")}),
        json.dumps({"step": 2, "eval_loss": 2.5}),
    ]
    (tmp_path / "m.jsonl").write_text("\n".join(lines))
    assert read_curve(tmp_path / "m.jsonl") == [
        {"step": 1, "loss": 3.0},
        {"step": 2, "loss": 2.0, "eval_loss": 2.5},
    ]


@pytest.mark.parametrize(
    ("name", "label"), [("exam_cot", "CoT"), ("tir-exam", "TIR"), ("exam_merged_37", "merged 37"), ("exam", "exam")]
)
def test_stage_names_become_labels(name: str, label: str) -> None:
    assert label_of(name) == label
