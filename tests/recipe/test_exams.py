"""`podium exam` and its companions, as a person calls them."""

import json

import pytest
from typer.testing import CliRunner

from podium.cli import app
from podium.errors import InputError
from podium.recipe.exams import parse_seconds
from podium.solve import parse_policy


def podium(*words: str):
    return CliRunner().invoke(app, list(words))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5h", 18_000), ("90m", 5_400), ("1h30m", 5_400), ("45s", 45), ("300", 300), ("0.5h", 1_800), ("1h2m3s", 3_723)],
)
def test_times(text, seconds):
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5", "5 hours", "0", "h"])
def test_what_is_no_time(text):
    with pytest.raises(InputError, match="no time"):
        parse_seconds(text)


def test_replay_compares_policies_and_draws_the_frontier(tmp_path):
    plot = tmp_path / "frontier.html"
    done = podium(
        "exam", "replay", "simulated:24", "--policy", "winner", "--policy", "m_of_n:1", "--budget", "60m",
        "--problems", "20", "--exams", "30", "--plot", str(plot), "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout.splitlines()[-1])
    winner, first = result["policies"]
    assert (winner["policy"], first["policy"]) == ("winner", "m_of_n:1")
    assert winner["against_first"]["difference"] == 0.0
    assert first["seconds"] < winner["seconds"] <= 3600
    assert winner["low"] < winner["score"] < winner["high"]
    page = plot.read_text()
    assert page.count("<polyline") == 2 * 3  # in the wide and in the narrow chart
    assert "m_of_n:1" in page


def test_optimising_writes_a_policy_that_can_be_used(tmp_path):
    out = tmp_path / "mine.yaml"
    done = podium(
        "exam", "replay", "simulated:20", "--n", "4", "--policy", "first_k_agree:3", "--budget", "20m", "--problems",
        "10", "--exams", "10", "--optimise", "--out", str(out),
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "held out" in done.output
    policy = parse_policy(str(out))
    policy.check(4)
    assert policy.rules


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
    done = podium(*words)
    assert done.exit_code == 2
    assert said in done.output
    assert "Traceback" not in done.output


def test_exam_without_a_subcommand_sits_one():
    assert "--set" in podium("exam", "sit", "--help").output
    assert "replay" in podium("exam", "--help").output
    done = podium("exam", "some_model")
    assert done.exit_code == 2
    assert "--set NAME" in done.output


def test_check_says_that_nobody_is_there():
    done = podium("exam", "--check", "http://127.0.0.1:9/v1", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["findings"][0]["name"] == "server"
