"""One command from problems to a marked exam, as a user runs it: every stage, again, --until, --set, --dry-run."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path

import pytest

from podium.records import Attempt, ExamResult, Problem, Solution, Verdict
from podium.storage import read_rows

STAGES = ("problems", "teach_cot", "teach_tir", "tokenizer", "cot", "tir", "merge", "exam")


def files(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Relative name -> inode, time of change, content."""
    return {
        str(file.relative_to(folder)): (file.stat().st_ino, file.stat().st_mtime_ns, file.read_bytes())
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def of_stages(folder: Path, *names: str) -> dict[str, tuple[int, int, bytes]]:
    return {name: state for name, state in files(folder).items() if name.split("/")[0] in names}


def test_every_stage_is_done_and_told_of(finished) -> None:
    for number, stage in enumerate(STAGES, start=1):
        assert f"[{number}/8] {stage}" in finished.said.out
        done = json.loads((finished.folder / stage / "done.json").read_text())
        assert done["wall_seconds"] > 0
        assert not (finished.folder / stage / ".state").exists()
    assert "Traceback" not in finished.said.out + finished.said.error
    assert not list(finished.folder.rglob("*.partial"))
    events = [json.loads(line.partition(" ")[2]) for line in (finished.folder / "run.log").read_text().splitlines()]
    assert [event["value"] for event in events if event["key"] == "stage_stop"] == list(STAGES)
    assert events[-1]["value"] == "success"


def test_the_rows_of_all_stages_belong_together(finished) -> None:
    """Problem -> solution -> attempt -> result: ids, verdicts and counts agree from end to end."""
    train = read_rows(finished.folder / "problems/train.jsonl", Problem)
    exam = read_rows(finished.folder / "problems/exam.jsonl", Problem)
    assert (len(train), len(exam)) == (200, 4)
    assert not {problem.text for problem in train} & {problem.text for problem in exam}
    for style, size in (("cot", 200), ("tir", 100)):
        solutions = read_rows(finished.folder / f"teach_{style}/solutions.jsonl", Solution)
        assert [solution.problem_id for solution in solutions] == [problem.id for problem in train[:size]]
        assert {solution.verdict for solution in solutions} == {Verdict.CORRECT}
        assert all(("```output" in solution.text) == (style == "tir") for solution in solutions)
    results = read_rows(finished.folder / "exam/results.jsonl", ExamResult)
    assert [result.problem for result in results] == exam
    assert [len(result.attempts) for result in results] == [3] * 4
    attempts = read_rows(finished.folder / "exam/attempts.jsonl", Attempt)
    assert attempts == [attempt for result in results for attempt in result.attempts]
    assert not any(result.clock_hit for result in results)
    summary = json.loads((finished.folder / "exam/summary.json").read_text())
    assert summary["scores"]["problems"] == 4


def test_the_models_are_those_of_the_recipe(finished) -> None:
    import torch

    from podium.models import load_model

    models = {stage: load_model(finished.folder / stage / "model") for stage in ("cot", "tir", "merge")}
    (cot, text), (tir, _), (merged, _) = models.values()
    assert (cot.config.num_hidden_layers, cot.config.hidden_size) == (1, 64)
    assert text is not None
    assert text.vocab_size == 320
    for name, weight in merged.state_dict().items():
        expected = 0.3 * cot.state_dict()[name] + 0.7 * tir.state_dict()[name]
        torch.testing.assert_close(weight, expected)
    assert not torch.equal(cot.embedding.weight, tir.embedding.weight)


def test_the_report_tells_of_the_run(finished) -> None:
    page = (finished.folder / "report.html").read_text()
    for stage in STAGES:
        assert stage in page
    for problem in read_rows(finished.folder / "problems/exam.jsonl", Problem):
        assert escape(problem.text) in page
    assert "report.html" in finished.said.out


def test_a_second_run_skips_everything_and_changes_nothing(finished, tmp_path, podium, tiny) -> None:
    folder = finished.copy(tmp_path)
    before = files(folder)
    said = podium("run", tiny, "--runs", tmp_path)
    assert said.code == 0
    assert said.out.count("done before") == len(STAGES)
    after = files(folder)
    assert before.keys() == after.keys()
    assert of_stages(folder, *STAGES) == {name: before[name] for name in before if name.split("/")[0] in STAGES}
    assert before["recipe.yaml"][2] == after["recipe.yaml"][2]
    assert after["run.log"][2].startswith(before["run.log"][2])


def test_changing_a_late_stage_makes_it_alone_again_and_changing_it_back_nothing(
    finished, tmp_path, podium, tiny
) -> None:
    folder = finished.copy(tmp_path)
    before = of_stages(folder, *STAGES)
    said = podium("run", tiny, "--runs", tmp_path, "--set", "exam.attempts=2")
    assert said.code == 0, said.error
    assert said.out.count("done before") == len(STAGES) - 1
    assert [len(r.attempts) for r in read_rows(folder / "exam/results.jsonl", ExamResult)] == [2] * 4
    assert of_stages(folder, *STAGES[:-1]) == {n: s for n, s in before.items() if not n.startswith("exam/")}
    back = podium("run", tiny, "--runs", tmp_path)
    assert back.code == 0
    assert back.out.count("done before") == len(STAGES)
    assert of_stages(folder, *STAGES) == before


def test_until_stops_there_and_the_rest_can_follow(tmp_path, podium, tiny, finished) -> None:
    folder = tmp_path / "tiny"
    said = podium("run", tiny, "--runs", tmp_path, "--until", "teach_cot")
    assert said.code == 0, said.error
    assert {mark.parent.name for mark in folder.glob("*/done.json")} == {"problems", "teach_cot"}
    for name in ("problems/train.jsonl", "problems/exam.jsonl", "teach_cot/solutions.jsonl"):
        assert (folder / name).read_bytes() == (finished.folder / name).read_bytes(), "same seed, same rows"
    again = podium("run", tiny, "--runs", tmp_path, "--until", "tokenizer")
    assert again.code == 0, again.error
    assert again.out.count("done before") == 2
    assert (folder / "tokenizer/tokenizer.json").read_bytes() == (
        finished.folder / "tokenizer/tokenizer.json"
    ).read_bytes()


def test_a_dry_run_shows_the_chain_and_writes_nothing(tmp_path, podium, tiny) -> None:
    said = podium("run", tiny, "--runs", tmp_path / "runs", "--dry-run")
    assert said.code == 0, said.error
    for stage in STAGES:
        assert stage in said.out
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_over_a_finished_run_says_so_and_writes_nothing(finished, tmp_path, podium, tiny) -> None:
    folder = finished.copy(tmp_path, without=("exam",))
    before = files(tmp_path)
    said = podium("run", folder, "--dry-run", "--set", "merge.weights.cot=0.5")
    assert said.code == 0, said.error
    status = {line.split()[0]: line for line in said.out.splitlines() if line.split() and line.split()[0] in STAGES}
    assert all("done" in status[stage] for stage in STAGES[:6])
    assert "to do" in status["merge"]
    assert "to do" in status["exam"]
    assert files(tmp_path) == before


@pytest.mark.slow
def test_two_runs_from_nothing_make_the_same(finished, tmp_path, podium, tiny) -> None:
    said = podium("run", tiny, "--runs", tmp_path)
    assert said.code == 0, said.error
    for name in ("cot", "tir", "merge"):
        weights = f"{name}/model/model.safetensors"
        assert (tmp_path / "tiny" / weights).read_bytes() == (finished.folder / weights).read_bytes()
    texts = [
        [attempt.text for attempt in read_rows(folder / "exam/attempts.jsonl", Attempt)]
        for folder in (finished.folder, tmp_path / "tiny")
    ]
    assert texts[0] == texts[1]
