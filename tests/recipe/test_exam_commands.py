"""`podium grade`, `compare` and `export` as a person meets them."""

import json
import random
from pathlib import Path

from podium.records import Attempt, ExamResult, Maker, Problem, Verdict, VoteClass, write_rows


def exam(folder: Path, skill: float, seed: int) -> Path:
    """A folder with the results of an exam whose attempts are right with probability `skill`."""
    draw = random.Random(seed)
    rows = []
    for number in range(12):
        problem = Problem(id=f"p{number}", text=f"Problem {number}?", answer="1")
        answers = ["1" if draw.random() < skill else "2" for _ in range(4)]
        attempts = tuple(
            Attempt(
                id=f"p{number}#{index}",
                problem_id=problem.id,
                style="cot",
                prompt=(),
                parts=(),
                answer=answer,
                verdict=Verdict.CORRECT if answer == "1" else Verdict.WRONG,
                maker=Maker(model="m"),
                index=index,
                stop_reason="eos",
            )
            for index, answer in enumerate(answers)
        )
        votes = tuple(
            VoteClass(answer=value, count=len(where), weight=len(where) / 4, attempts=where)
            for value in sorted(set(answers), key=answers.count, reverse=True)
            if (where := tuple(i for i, answer in enumerate(answers) if answer == value))
        )
        verdict = Verdict.CORRECT if votes[0].answer == "1" else Verdict.WRONG
        rows.append(
            ExamResult(problem=problem, attempts=attempts, votes=votes, answer=votes[0].answer, verdict=verdict)
        )
    write_rows(folder / "results.jsonl", rows)
    return folder


def test_grade_prints_verdicts_and_agreement(tmp_path, podium) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(
        '{"gold": "1/2", "answer": "0.5", "equivalent": true}\n'
        '{"gold": "5 \\\\text{ m}", "answer": "5", "equivalent": false, "note": "strict"}\n'
        '{"gold": "7", "answer": "\\ud800 \\u001b[2J", "equivalent": false}\n'
    )
    said = podium("grade", path)
    assert said.code == 0
    assert "3 pairs: agree 1 of 3, undecided 1" in said.out
    assert "\x1b[2J" not in said.out
    strict = podium("grade", path, "--rule", "units=strict", "--json")
    found = json.loads(strict.out)
    assert (found["n"], found["agree"], found["undecided"]) == (3, 2, 1)
    assert found["slowest_s"] >= max(row["seconds"] for row in found["rows"]) - 0.001
    assert [row["verdict"] for row in found["rows"]] == ["equal", "different", "undecided(parse)"]
    assert found["rows"][1]["note"] == "strict"


def test_grade_names_what_is_wrong(tmp_path, podium) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"gold": "1", "answer": "1"}\n{"gold": "1", "answer": ["1"]}\n')
    for arguments, message in (
        ((path,), "pairs.jsonl:2: field 'answer'"),
        ((tmp_path / "no.jsonl",), "no such file"),
        ((path, "--rule", "units"), "not a rule"),
        ((path, "--rule", "unit=strict"), "no grading rule"),
    ):
        said = podium("grade", *arguments)
        assert said.code == 2
        assert message in said.error
        assert "Traceback" not in said.error


def test_compare_shows_differences_and_what_goes_with_them(tmp_path, podium) -> None:
    a, b = exam(tmp_path / "good", 0.9, 1), exam(tmp_path / "poor", 0.2, 2)
    said = podium("compare", a, b)
    assert said.code == 0, said.error
    for words in ("12 shared problems", "pass@1", "maj@4", "detectable", "truncated", "right only in A"):
        assert words in said.out
    found = json.loads(podium("compare", a, b / "results.jsonl", "--json").out)
    rows = {row["measure"]: row for row in found["contrasts"]}
    assert rows["pass@1"]["difference"]["value"] > 0.4
    assert rows["pass@1"]["p"] < 0.01
    other = podium("compare", a, tmp_path / "nowhere")
    assert (other.code, "no exam here" in other.error) == (2, True)


def test_export_writes_a_log_beside_the_rows(tmp_path, podium) -> None:
    folder = exam(tmp_path / "sat", 0.9, 1)
    said = podium("export", folder)
    assert said.code == 0, said.error
    assert "48 samples" in said.out
    assert (folder / "inspect.eval").read_bytes()[:4] == b"PK\x03\x04"
    wrong = podium("export", folder, "--out", tmp_path / "log.txt")
    assert (wrong.code, "unknown ending" in wrong.error) == (2, True)
