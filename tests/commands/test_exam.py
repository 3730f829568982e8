"""`podium exam sit`, as a person calls it."""

import json
import re
import subprocess
import sys

import pytest

from tests.commands.exams import call, rows, sit


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["exam", "replay", "no/such/folder"], "no such file"),
        (["exam", "replay", "simulated:many"], "how many problems"),
        (["exam", "replay", "simulated:5", "--policy", "winer"], "did you mean 'winner'"),
        (["exam", "replay", "simulated:5", "--budget", "soon"], "is no time"),
        (["exam", "replay", "simulated:4", "--optimise"], "folds"),
        (["exam", "rehearse", "no_entry.py", "--set", "aime24", "--rules", "imo"], "no contest is called"),
        (["exam", "no_model", "--set", "aime24", "--policy", "paperr"], "did you mean 'paper'"),
    ],
)
def test_mistakes_are_said_in_two_lines(words, said):
    done = call(*words)
    assert done.exit_code == 2
    assert said in done.output
    assert "Traceback" not in done.output


def test_exam_without_a_subcommand_sits_one():
    assert "--set" in call("exam", "sit", "--help").output
    assert "replay" in call("exam", "--help").output
    done = call("exam", "some_model")
    assert done.exit_code == 2
    assert "--set NAME" in done.output


def test_check_says_that_nobody_is_there():
    done = call("exam", "--check", "http://127.0.0.1:9/v1", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["findings"][0]["name"] == "server"


def test_an_exam_says_first_why_there_are_no_answers(model, sums, tmp_path):
    done = sit(model, sums, tmp_path / "e")
    assert done.exit_code == 0, done.output
    told = done.stdout.index("6 of 6 attempts have no answer")
    assert told < done.stdout.index("maj@2")
    assert "--max-tokens N (now 12)" in done.stdout
    assert "all: 2 attempts per problem; no clock" in done.stdout
    page = (tmp_path / "e" / "report.html").read_text()
    assert page.index("6 of 6 attempts have no answer") < page.index('id="result"')
    summary = json.loads((tmp_path / "e" / "summary.json").read_text())
    assert summary["scores"]["no_answer"] == 6


def test_prompt_system_and_places_reach_the_attempts(model, sums, tmp_path):
    prompt = tmp_path / "mine.txt"
    prompt.write_text("Frage {problem} in \\boxed{}\n")
    done = sit(
        model, sums, tmp_path / "e", "--prompt", str(prompt), "--system", "Be brief.", "--extract", "boxed,number"
    )
    assert done.exit_code == 0, done.output
    for row in rows(tmp_path / "e"):
        assert row["problem"]["meta"]["rules"]["find"] == ["box", "number"]
        for attempt in row["attempts"]:
            assert [turn["content"] for turn in attempt["prompt"]] == [
                "Be brief.",
                f"Frage {row['problem']['text']} in \\boxed{{}}",
            ]
            assert attempt["maker"]["prompt_version"].startswith("template-")
    prompt.write_text("Frage {problem}")  # the same file, another prompt
    other = sit(
        model, sums, tmp_path / "e", "--prompt", str(prompt), "--system", "Be brief.", "--extract", "boxed,number"
    )
    assert other.exit_code == 2
    assert "template was Frage {problem} in \\boxed{}, is Frage {problem} now" in other.stderr


def test_another_exam_is_told_before_a_model_is_loaded(model, sums, tmp_path, monkeypatch):
    assert sit(model, sums, tmp_path / "e").exit_code == 0
    before = (tmp_path / "e" / "results.jsonl").read_bytes()

    def load(*_, **__):
        raise AssertionError("a model is loaded")

    monkeypatch.setattr("podium.opening.open_model", load)
    for words, said in (
        (("-n", "3"), "attempts was 2, is 3 now"),
        (("--max-tokens", "13"), "max_tokens was 12, is 13 now"),
        (("--limit", "2"), "the problems were 3, are 2 now"),
        (("--prompt", "boxed"), "prompt was not set, is boxed now"),
        (("--no-repetition-stop",), "repetition_stop was on, is not set now"),
        (("--budget", "1h"), "budget_seconds was not set, is 3600 now"),
        (("--policy", "m_of_n:1"), "policy was all, is m_of_n:1 now"),
        (("--concurrency", "2", "--budget", "1h"), "concurrency 2 under a clock"),
        (("--vote", "loud"), "no vote weight"),
        (("--prompt", "cott"), "no prompt style or file is called 'cott'"),
        (("--prompt", "code"), "promises Python"),
        (("--extract", "boxes"), "did you mean 'box"),
        (("--policy", "first_k_agree:9"), "9"),
    ):
        wrong = sit(model, sums, tmp_path / "e", *words)
        assert (wrong.exit_code, said in wrong.stderr) == (2, True), wrong.output
    assert (tmp_path / "e" / "results.jsonl").read_bytes() == before


def test_a_finished_exam_is_shown_again_without_loading_its_model(model, sums, tmp_path, monkeypatch):
    first = sit(model, sums, tmp_path / "e")

    def load(*_, **__):
        raise AssertionError("a model is loaded")

    monkeypatch.setattr("podium.opening.open_model", load)
    (tmp_path / "e" / "report.html").unlink()
    again = sit(model, sums, tmp_path / "e")
    assert again.exit_code == 0, again.output
    assert (tmp_path / "e" / "report.html").exists()
    table = first.stdout[first.stdout.index("exam ") :]
    assert table in again.stdout


def test_fresh_starts_anew_and_keeps_the_old_exam_aside(model, sums, tmp_path):
    folder = tmp_path / "e"
    assert sit(model, sums, folder).exit_code == 0
    old = rows(folder)
    again = sit(model, sums, folder)
    assert "all problems were finished before" in again.stdout
    assert rows(folder) == old
    (tmp_path / "e.old-1").mkdir()
    done = sit(model, sums, folder, "--fresh", "--seed", "1")
    assert done.exit_code == 0, done.output
    assert f"moved the earlier exam to {folder}.old-2" in done.stderr
    assert rows(tmp_path / "e.old-2") == old
    assert len(rows(folder)) == 3
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("Dear")
    wrong = sit(model, sums, tmp_path / "mine", "--fresh")
    assert (wrong.exit_code, "holds no exam" in wrong.stderr) == (2, True)
    assert (tmp_path / "mine" / "letter.txt").exists()


def test_whoever_comes_second_is_told_the_number_of_the_first(model, sums, tmp_path):
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom podium.lock import locked_folder\n"
        "with locked_folder(Path(sys.argv[1]), ''), locked_folder(Path(sys.argv[2]), ''), locked_folder("
        "Path(sys.argv[3]), ''):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    folder = tmp_path / "e"
    assert sit(model, sums, folder).exit_code == 0
    before = (folder / "results.jsonl").read_bytes()
    held = [str(folder), str(folder / "genselect" / "chooser"), str(tmp_path / "anew")]
    with subprocess.Popen([sys.executable, "-c", code, *held], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        for done in (
            sit(model, sums, folder),
            sit(model, sums, folder, "--fresh"),
            call("exam", "select", held[0], str(model), "--out", held[1]),
            call("exam", "select", held[0], str(model), "--out", held[1], "--fresh"),
            call("exam", "revote", held[0], "--vote", "length", "--out", held[2]),
        ):
            assert done.exit_code == 2
            assert f"process {holder.pid} is working here" in done.stderr
            assert len(done.stderr.splitlines()) == 2
        holder.kill()
        holder.wait()
    assert (folder / "results.jsonl").read_bytes() == before


def test_a_format_is_computed_in_and_makes_another_exam(model, sums, tmp_path, described):
    """What is said of `exam`, its verifier and its judge in docs/solve.md."""
    done = sit(model, sums, tmp_path / "e", "--format", "fp32", "--threads", "1", "--memory", "64m")
    assert done.exit_code == 0, done.output
    assert described == ["native, fp32 weights"]
    assert {attempt["maker"]["model"][-5:] for row in rows(tmp_path / "e") for attempt in row["attempts"]} == {"+fp32"}
    for words, now in ((("--format", "int8"), "+int8 now"), ((), " now")):
        other = sit(model, sums, tmp_path / "e", *words)
        assert other.exit_code == 2
        assert re.search(rf"model was \S+@\w+\+fp32, is \S+@\w+{re.escape(now)}", other.stderr), other.stderr
    # Threads and memory change no answer: it is the same exam.
    again = sit(model, sums, tmp_path / "e", "--format", "fp32", "--threads", "2")
    assert "all problems were finished before" in again.stdout
    assert len(described) == 1


def test_an_exam_without_a_format_is_one_of_the_format_of_the_cpu(model, sums, tmp_path):
    first = sit(model, sums, tmp_path / "e", "--memory", "64m")
    assert first.exit_code == 0, first.output
    again = sit(model, sums, tmp_path / "e", "--format", "fp16", "--memory", "64m")
    assert "all problems were finished before" in again.stdout


def test_helpers_are_computed_in_the_format_of_the_model(model, sums, tmp_path, described):
    words = ("--verifier", model, "--judge", model, "--memory", "64m")
    done = sit(model, sums, tmp_path / "e", *words, "--format", "w8a16")
    assert done.exit_code == 0, done.output
    assert described == ["native, w8a16 weights"] * 3
    identity = json.loads((tmp_path / "e" / "exam.json").read_text())
    assert identity["model"] == identity["verifier"] == identity["judge"]
    assert identity["model"].endswith("+w8a16")


def test_a_verifier_and_a_judge_of_a_stored_exam_take_the_options_too(model, sums, tmp_path, described):
    assert sit(model, sums, tmp_path / "e", "--memory", "64m").exit_code == 0
    done = call(
        "exam", "revote", tmp_path / "e", "--verifier", model, "--judge", model, "--format", "fp32", "--memory", "64m"
    )
    assert done.exit_code == 0, done.output
    chosen = call("exam", "select", tmp_path / "e", model, "--format", "int8", "--memory", "64m", "--max-tokens", "4")
    assert "named no solution" in chosen.stderr or chosen.exit_code == 0, chosen.output
    assert described == ["native, fp16 weights", *["native, fp32 weights"] * 2, "native, int8 weights"]
