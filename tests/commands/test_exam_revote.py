"""`podium exam revote` as a person meets it."""

import json

from podium.records import ExamResult
from podium.storage import read_rows, write_json
from tests.commands.exams import exam


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
