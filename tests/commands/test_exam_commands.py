"""`podium grade`, `compare` and `export` as a person meets them."""

import json
import random
import re
import socket
from pathlib import Path

from podium.records import Attempt, ExamResult, Maker, Problem, Verdict, VoteClass
from podium.storage import read_rows, write_json, write_rows


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
    bare = tmp_path / "bare.jsonl"
    bare.write_text('{"gold": "1", "answer": null}\n{"gold": "1", "anwser": "1"}\n')
    for arguments, message in (
        ((path,), "pairs.jsonl:2: field 'answer'"),
        ((bare,), "bare.jsonl:2: neither an answer nor a solution"),
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


def test_one_number_has_one_name_everywhere(tmp_path, podium) -> None:
    """In exams with ties the score and maj@n are two numbers: in the table, summary, report and comparison."""
    from io import StringIO

    from rich.console import Console

    from podium.board.exam import read_exam
    from podium.board.page import result as result_page
    from podium.board.summary import print_exams
    from podium.solve.scores import score_results

    folder = exam(tmp_path / "tied", 0.5, 5)
    write_json(folder / "exam.json", {"model": "m", "config": {"attempts": 6, "seed": 0}})  # two were never started
    read = read_exam(folder, "tied")
    scores = score_results(read.results, 6)
    assert scores.score.value != scores.majority_n.value
    numbers = [f"{100 * one.value:.0f}%" for one in (scores.score, scores.majority_n, scores.pass_1, scores.pass_n)]
    console = Console(file=StringIO(), width=160)
    print_exams([read], console)
    header, row = console.file.getvalue().splitlines()[:2]  # type: ignore[attr-defined]
    assert re.split(r"\s{2,}", header.strip())[:5] == ["exam", "score", "maj@6", "pass@1", "pass@6"]
    assert re.findall(r"\d+%", row) == numbers
    page = result_page([read], [])
    assert re.findall(r"<th[^>]*>([^<]+)</th>", page)[:5] == ["exam", "score", "maj@6", "pass@1", "pass@6"]
    assert re.findall(r'class="score">(\d+%)', page) == numbers
    found = json.loads(podium("compare", folder, folder, "--json").out)
    at_four = {row["measure"]: row["a"]["value"] for row in found["contrasts"]}
    assert at_four["score"] == scores.score.value
    assert at_four["maj@4"] == scores.majority_at[4].value == scores.majority_n.value


def test_compare_prints_no_python(tmp_path, podium) -> None:
    a, b = exam(tmp_path / "a", 0.9, 1), exam(tmp_path / "b", 0.2, 2)
    for folder, limits in ((a, (4_000,)), (b, (32_000, 1_000))):
        results = read_rows(folder / "results.jsonl", ExamResult)
        limited = [Maker(model="m", sampling={"max_tokens": limit}) for limit in limits]
        for number, result in enumerate(results):
            kept = result.attempts[: 3 if folder == b else 4]
            changed = tuple(each.model_copy(update={"maker": limited[each.index % len(limits)]}) for each in kept)
            results[number] = result.model_copy(update={"attempts": changed})
        write_rows(folder / "results.jsonl", results)
    said = podium("compare", a, b).out
    assert "token limits differ (A: 4,000; B: 1,000 and 32,000)" in said
    assert "attempts per problem differ (4 and 3): the score favours more" in said
    for python in ("(4000,)", "None", "True", "False", "Verdict.", "frozenset", "tuple", "{'", "['"):
        assert python not in said


def test_export_writes_a_log_beside_the_rows(tmp_path, podium) -> None:
    folder = exam(tmp_path / "sat", 0.9, 1)
    said = podium("export", folder)
    assert said.code == 0, said.error
    assert "48 samples" in said.out
    assert (folder / "inspect.eval").read_bytes()[:4] == b"PK\x03\x04"
    wrong = podium("export", folder, "--out", tmp_path / "log.txt")
    assert (wrong.code, "unknown ending" in wrong.error) == (2, True)


def test_revote_counts_a_stored_exam_under_every_weight(tmp_path, podium) -> None:
    folder = exam(tmp_path / "sat", 0.6, 3)
    write_json(folder / "exam.json", {"model": "m", "config": {"attempts": 4, "seed": 0}})
    said = podium("exam", "revote", folder)
    assert said.code == 0, said.error
    for words in ("uniform (recorded)", "entropy", "verifier", "12 problems"):
        assert words in said.out
    found = json.loads(podium("exam", "revote", folder, "--json").out)
    rows = {row["vote"]: row for row in found["votes"]}
    assert (rows["uniform"]["known"], rows["entropy"]["known"]) == (1.0, 0.0)
    assert rows["uniform"]["changed"] <= rows["uniform"]["ties"]  # the rows above break ties in another way
    written = podium("exam", "revote", folder, "--vote", "length", "--out", tmp_path / "anew")
    assert written.code == 0, written.error
    assert {row.vote for row in read_rows(tmp_path / "anew" / "results.jsonl", ExamResult)} == {"length"}
    assert "votes weighed by" in podium("compare", folder, tmp_path / "anew").out
    for arguments, message in (
        (("--vote", "loud"), "no vote weight"),
        (("--out", tmp_path / "x"), "decided by which vote"),
        (("--vote", "length", "--out", tmp_path / "anew"), "holds an exam already"),
        (("--verifier", tmp_path / "nothing"), "no such model folder"),
    ):
        wrong = podium("exam", "revote", folder, *arguments)
        assert (wrong.code, message in wrong.error) == (2, True), wrong.error
        assert "Traceback" not in wrong.error


def test_a_judge_that_is_not_there_leaves_pairs_undecided(tmp_path, podium) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"gold": "5", "answer": "a handful"}\n{"gold": "5", "answer": "6"}\n')
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # taken, and nobody listens
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/v1#model"
        said = podium("grade", path, "--judge", url, "--json")
    assert said.code == 0, said.error
    assert [row["verdict"] for row in json.loads(said.out)["rows"]] == ["undecided(parse)", "different"]
    assert "without a reply" in said.error
