"""Bad input gets a clear verdict with its place, and the right exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runs_on_paper import TOKEN, edit, stretch, write_run
from typer.testing import CliRunner, Result

from podium.bench.check import check_folder
from podium.bench.verdict import Verdict
from podium.commands.cli import app

Events = list[dict[str, Any]]


def podium(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["bench", *map(str, arguments)])


def closed_entry(root: Path, benchmark: str = "resnet", runs: int = 5, **keywords: Any) -> Path:
    folder = root / "results" / "box" / benchmark
    for number in range(runs):
        path = write_run(folder / f"result_{number}.txt", benchmark, division="closed", seed=number, **keywords)
        stretch(path, 10.0 + number)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return closed_entry(tmp_path, epochs=range(2, 43, 4), global_batch_size=3264)


def verdicts(folder: Path) -> dict[str, Verdict]:
    return {verdict.rule: verdict for verdict in check_folder(folder).verdicts}


def line_of(path: Path, text: str) -> int:
    return next(number for number, line in enumerate(path.read_text().splitlines(), start=1) if text in line)


def test_a_clean_entry_passes(folder: Path) -> None:
    said = podium("check", folder)
    assert said.exit_code == 0, said.stdout
    assert "PASS  resnet closed" in said.stdout
    found = verdicts(folder)
    assert {verdict.rule for verdict in found.values() if verdict.outcome != "pass"} == {"system"}
    assert "exact" not in found["reference convergence"].message
    assert "mean 42 epochs" in found["reference convergence"].message


def of(key: str) -> Callable[[dict[str, Any]], bool]:
    return lambda event: event["key"] == key


def without(*keys: str) -> Callable[[Events], Events]:
    return lambda events: [event for event in events if event["key"] not in keys]


def changed(key: str, **fields: Any) -> Callable[[Events], Events]:
    return lambda events: [{**event, **fields} if event["key"] == key else event for event in events]


def moved(key: str, milliseconds: int) -> Callable[[Events], Events]:
    return lambda events: [
        {**event, "time_ms": event["time_ms"] + milliseconds} if event["key"] == key else event for event in events
    ]


def twice(key: str, value: Any) -> Callable[[Events], Events]:
    return lambda events: [
        copy for event in events for copy in ([event, {**event, "value": value}] if event["key"] == key else [event])
    ]


def swapped(first: str, second: str) -> Callable[[Events], Events]:
    def change(events: Events) -> Events:
        keys = [event["key"] for event in events]
        a, b = keys.index(first), keys.index(second)
        events[a]["key"], events[b]["key"] = second, first
        return events

    return change


BROKEN: dict[str, tuple[Callable[[Events], Events], str, str]] = {
    "no end": (without("run_stop"), "run_stop", "found none"),
    "no start": (without("run_start"), "run_start", "found none"),
    "no evaluation": (without("eval_accuracy", "eval_start", "eval_stop", "block_start"), "eval_accuracy", "at least"),
    "no cache clear": (without("cache_clear"), "cache_clear", "at least one"),
    "no hyper-parameter": (without("sgd_opt_momentum"), "sgd_opt_momentum", "exactly one"),
    "two values": (twice("global_batch_size", 64), "global_batch_size", "found 2"),
    "no status": (changed("run_stop", metadata={}), "run_stop", "metadata status"),
    "unknown benchmark": (changed("submission_benchmark", value="gpt3"), "one submission_benchmark", "gpt3"),
    "two benchmarks": (twice("submission_benchmark", "bert"), "one submission_benchmark", "'bert'"),
    "empty organisation": (changed("submission_org", value=""), "submission_org", "empty"),
    "optimizer": (changed("opt_name", value="adam"), "opt_name", "sgd, lars"),
    "pinned value": (changed("sgd_opt_end_learning_rate", value=0.1), "sgd_opt_end_learning_rate", "must be 0.0001"),
    "order": (swapped("init_stop", "run_start"), "run_start", "before init_stop"),
    "clock": (moved("run_stop", -3_600_000), "clock", "backwards: run_stop"),
    "clock inside": (moved("eval_stop", -120_000), "clock", "backwards by"),
    "slow start": (moved("init_start", -31 * 60000), "initialisation", "31.0 min"),
    "target": (changed("eval_accuracy", value=0.75), "target", "success without the target"),
    "no seed": (without("seed"), "seeds", "no seed"),
    "seed text": (changed("seed", value="lucky"), "seeds", "'lucky'"),
    "batch sizes": (changed("global_batch_size", value=99), "one global_batch_size", "99"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_log_fails_by_name_and_place(name: str, folder: Path) -> None:
    change, rule, words = BROKEN[name]
    edit(folder / "result_2.txt", change)
    found = verdicts(folder)
    assert found[rule].outcome == "fail"
    assert words in found[rule].message
    assert "result_2.txt" in found[rule].where
    said = podium("check", folder)
    assert said.exit_code == 1
    assert isinstance(said.exception, SystemExit)
    assert f"fail  {rule}" in said.stdout
    assert "FAIL" in said.stdout.splitlines()[-1]


def test_the_place_is_the_line(folder: Path) -> None:
    path = folder / "result_3.txt"
    edit(path, changed("sgd_opt_end_learning_rate", value=0.1))
    assert verdicts(folder)["sgd_opt_end_learning_rate"].where == f"{path}:{line_of(path, 'sgd_opt_end')}"


def test_a_truncated_log(folder: Path) -> None:
    path = folder / "result_1.txt"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4])
    lines = path.read_bytes().count(b"\n") + 1
    found = verdicts(folder)
    assert (found["lines"].outcome, found["lines"].where) == ("fail", f"{path}:{lines}")
    assert "cut off" in found["lines"].message
    assert podium("check", folder).exit_code == 1


def test_the_same_seed_twice(folder: Path) -> None:
    edit(folder / "result_4.txt", changed("seed", value=1))
    found = verdicts(folder)["seeds"]
    assert found.outcome == "fail"
    assert found.message == "result_4.txt has seed 1 as result_1.txt has"


def test_one_run_may_fail_and_two_may_not(folder: Path) -> None:
    aborted = changed("run_stop", metadata={"status": "aborted"})
    edit(folder / "result_0.txt", aborted)
    assert verdicts(folder)["success"].outcome == "warn"
    assert check_folder(folder).passed
    edit(folder / "result_1.txt", aborted)
    assert verdicts(folder)["success"].outcome == "fail"


def test_too_few_and_undeclared_too_many_runs(folder: Path) -> None:
    write_run(folder / "result_5.txt", division="closed", seed=9, epochs=range(2, 43, 4), global_batch_size=3264)
    assert verdicts(folder)["runs"].outcome == "fail"
    for number in (4, 5):
        (folder / f"result_{number}.txt").unlink()
    assert "4 of 5 runs" in verdicts(folder)["runs"].message


def test_too_few_evaluations_are_noted(tmp_path: Path) -> None:
    folder = closed_entry(tmp_path, epochs=(3, 7, 12), global_batch_size=3264)
    found = verdicts(folder)["evaluation points"]
    assert (found.outcome, found.message) == ("warn", "evaluated at 12 after 7: at most 4 apart")
    assert found.where == f"{folder / 'result_0.txt'}:{line_of(folder / 'result_0.txt', '0.76')}"


def test_suspiciously_fast_convergence(tmp_path: Path) -> None:
    folder = closed_entry(tmp_path, epochs=(4, 8), global_batch_size=3264)
    found = verdicts(folder)["reference convergence"]
    assert found.outcome == "fail"
    assert "mean 8 epochs, floor" in found.message


def test_an_unknown_rule_set(folder: Path) -> None:
    said = podium("check", folder, "--ruleset", "9.9.9")
    assert said.exit_code == 2
    assert "rule set '9.9.9' is unknown" in said.stderr
    edit(folder / "result_0.txt", changed("benchmark_ruleset", value="7.0"))
    assert "known: 1.1.0" in verdicts(folder)["ruleset"].message
    assert podium("check", folder).exit_code == 1


def test_an_empty_file_a_log_of_something_else_and_no_folder(tmp_path: Path) -> None:
    (tmp_path / "result_0.txt").write_text("")
    (tmp_path / "result_1.txt").write_bytes(b"\x00\xff\x80 nothing\n" * 50)
    said = podium("check", tmp_path)
    assert said.exit_code == 1
    assert "no MLLOG line" in said.stdout
    assert podium("score", tmp_path).exit_code == 2
    missing = podium("check", tmp_path / "nowhere")
    assert missing.exit_code == 2
    assert "no such folder" in missing.stderr
    (tmp_path / "empty").mkdir()
    assert "no result_<i>.txt" in podium("score", tmp_path / "empty").stderr


def test_several_benchmarks_in_a_folder_have_no_score(folder: Path) -> None:
    edit(folder / "result_2.txt", changed("submission_benchmark", value="bert"))
    said = podium("score", folder)
    assert said.exit_code == 2
    assert "'bert', 'resnet'" in said.stderr


def test_a_model_broken_on_purpose_is_no_entry(folder: Path) -> None:
    write_run(folder / "control.log", division="closed", epochs=(2, 6), negative_control="frozen weights")
    (folder / "control.log").replace(folder / "result_1.txt")
    found = verdicts(folder)
    assert "frozen weights" in found["negative control"].message
    assert "1 of 5 runs without success" in found["success"].message


def test_one_log_by_itself(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "any name.log"
    path.write_bytes((folder / "result_2.txt").read_bytes())
    assert podium("check", path).exit_code == 0
    edit(path, without("run_stop"))
    said = podium("check", path)
    assert said.exit_code == 1
    assert [line.split()[1] for line in said.stdout.splitlines() if line.startswith("fail")] == ["run_stop"]


def test_json_says_the_same(folder: Path) -> None:
    edit(folder / "result_2.txt", without("run_stop"))
    said = podium("check", folder, "--json")
    found = json.loads(said.stdout)
    assert said.exit_code == 1
    assert (found["passed"], found["benchmark"], found["runs"], found["converged"]) == (False, "resnet", 5, 4)
    broken = {verdict["rule"] for verdict in found["verdicts"] if verdict["outcome"] == "fail"}
    assert broken == {"run_stop"}


def test_lines_of_many_ranks(folder: Path) -> None:
    """The same value from every rank is a warning, init_start may repeat, a few milliseconds of disorder are noted."""
    path = folder / "result_0.txt"
    edit(
        path, lambda events: [copy for event in events for copy in ([event] * 2 if of("opt_name")(event) else [event])]
    )
    assert verdicts(folder)["opt_name"].outcome == "warn"
    edit(path, moved("sgd_opt_momentum", -5))
    assert verdicts(folder)["clock"].outcome == "warn"
    assert check_folder(folder).passed
    text = path.read_text()
    path.write_text("".join(f"[rank3] {line}\nstep 1 loss 2.0\n" for line in text.splitlines()))
    assert check_folder(folder).passed


def test_the_system_description(folder: Path) -> None:
    systems = folder.parents[2] / "systems"
    systems.mkdir()
    path = systems / "box.json"
    path.write_text("{")
    assert "not JSON" in verdicts(folder)["system"].message
    path.write_text(json.dumps({"division": "closed"}))
    assert "submitter is missing" in verdicts(folder)["system"].message
    podium("init", folder.parents[2] / "other", "--org", "me", "--system", "box", "--division", "closed")
    description = json.loads((folder.parents[2] / "other" / "systems" / "box.json").read_text())
    path.write_text(json.dumps({**description, "host_storage_type": ""}))
    assert verdicts(folder)["system"].outcome == "warn"
    path.write_text(json.dumps({**description, "division": "open"}))
    assert "the logs say 'closed'" in verdicts(folder)["system"].message


def test_borrowed_hyper_parameters(tmp_path: Path) -> None:
    # `before`, `after` and `lender` are entries of one benchmark.
    before = closed_entry(tmp_path / "before", runs=1, sgd_opt_base_learning_rate=0.1)
    lender = closed_entry(tmp_path / "lender", runs=1, sgd_opt_base_learning_rate=0.3, sgd_opt_weight_decay=2e-4)
    good = closed_entry(
        tmp_path / "good", runs=1, sgd_opt_base_learning_rate=0.3, sgd_opt_weight_decay=2e-4, global_batch_size=512
    )
    half = closed_entry(tmp_path / "half", runs=1, sgd_opt_base_learning_rate=0.3)

    def borrowing(folder: Path) -> str:
        said = podium("check", folder, "--borrowed-from", lender, "--original", before, "--json")
        found = {verdict["rule"]: verdict for verdict in json.loads(said.stdout)["verdicts"]}
        return found["borrowing: as a group"]["outcome"] + " " + found["borrowing: as a group"]["message"]

    assert borrowing(good).startswith("pass")
    assert "apart from global_batch_size" in borrowing(good)
    assert borrowing(half).startswith("fail sgd_opt_weight_decay")
    assert podium("check", good, "--original", before).exit_code == 2


def test_a_ledger_that_was_rewritten_does_not_know_the_old_head(tmp_path: Path) -> None:
    from runs_on_paper import write_entry

    from podium.bench.ledger import Ledger

    folder = write_entry(tmp_path / "one")
    head = Ledger(tmp_path / "one" / "ledger.jsonl").head()
    assert podium("check", folder, "--head", head).exit_code == 0
    other = write_entry(tmp_path / "two")
    said = podium("check", other, "--head", head)
    assert said.exit_code == 1
    assert "it was rewritten" in said.stdout


def test_an_entry_with_one_failed_run_passes_and_single_logs_are_no_entry(tmp_path: Path) -> None:
    entry = tmp_path / "a" / "results" / "box" / "resnet"
    for number in range(5):
        path = write_run(
            entry / f"result_{number}.txt", division="closed", seed=number, succeeds=number > 0, epochs=(4, 40)
        )
        stretch(path, 30.0)
    said = podium("check", entry)
    assert said.exit_code == 0, said.stdout
    assert "1 of 5 runs without success, 1 may be" in said.stdout
    for benchmark, division in (("bert", "open"), ("ssd", "closed"), ("dlrm", "closed")):
        write_run(tmp_path / "b" / "results" / "box" / benchmark / "result_0.txt", benchmark, division=division)
    both = podium("check", tmp_path)
    assert both.exit_code == 1
    failed = [line for line in both.stdout.splitlines() if line.startswith("fail")]
    assert all(line.startswith("fail  runs ") for line in failed), both.stdout
    assert len(failed) == 3


def test_tokens_are_as_written(folder: Path) -> None:
    assert (folder / "result_0.txt").read_text().startswith(TOKEN)
