"""`podium compare` as a person meets it."""

import json
import re

from podium.records import ExamResult, Maker
from podium.storage import read_rows, write_json, write_rows
from tests.commands.exams import exam


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
