"""`podium grade` as a person meets it."""

import json
import socket

from tests.commands.exams import call


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


def test_a_judge_is_computed_as_the_options_say(tmp_path, model, described):
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"gold": "5", "answer": "a handful"}\n')
    done = call("grade", path, "--judge", model, "--format", "bf16", "--memory", "64m", "--json")
    assert done.exit_code == 0, done.output
    assert described == ["native, bf16 weights"]
