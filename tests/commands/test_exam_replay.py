"""`podium exam replay`: recorded exams under other policies."""

import json

from podium.solve import parse_policy
from tests.commands.exams import call


def test_replay_compares_policies_and_draws_the_frontier(tmp_path):
    plot = tmp_path / "frontier.html"
    done = call(
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
    done = call(
        "exam", "replay", "simulated:20", "--n", "4", "--policy", "first_k_agree:3", "--budget", "20m", "--problems",
        "10", "--exams", "10", "--optimise", "--out", str(out),
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "held out" in done.output
    policy = parse_policy(str(out))
    policy.check(4)
    assert policy.rules
