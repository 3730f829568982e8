"""Dry runs: they log what a real run logs, the official checker takes it, and nothing counts it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from runs_on_paper import RULES, TOKEN, edit
from typer.testing import CliRunner

from podium.bench.check import check_file, check_folder
from podium.bench.ledger import Ledger
from podium.bench.rcp import reference_points
from podium.bench.registry import find_task
from podium.bench.rehearsal import MARK
from podium.bench.rules import load_ruleset
from podium.bench.run import Entrant, dry_entry, prepared, run_once
from podium.bench.runs import read_run
from podium.bench.score_folder import score_folder
from podium.bench.task import at_least
from podium.bench.tasks.dlrm import ClickLogs, DLRMTask, make_logs
from podium.bench.tensor_names import official_names, official_tensors
from podium.commands.bench import app
from podium.errors import InputError
from podium.models.dlrm import DLRMConfig

DLRM_TASK = find_task("dlrm")
KEYS = tuple(load_ruleset().benchmarks)
CLOSED = Entrant(division="closed", org="paper", platform="none")


def events(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line[len(TOKEN) :]) for line in log.read_text().splitlines()]


def without_one_tensor(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    place = next(number for number, event in enumerate(lines) if event["key"] == "weights_initialization")
    return lines[:place] + lines[place + 1 :]


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A dry run of each benchmark at full size, closed division."""
    out = tmp_path_factory.mktemp("dry")
    return {
        key: dry_entry(find_task(key), "full", out, runs=1, entrant=CLOSED, system={"system_name": "box"})[0]
        for key in KEYS
    }


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The compliance checker; it parses its YAML in pure Python for every log, and need not to say the same."""
    compliance = pytest.importorskip("mlperf_logging.compliance_checker.mlp_compliance")

    @lru_cache
    def parsed(name: str) -> Any:
        with open(name) as file:
            return yaml.load(file, Loader=yaml.BaseLoader)

    monkeypatch.setattr(
        compliance, "yaml", SimpleNamespace(BaseLoader=None, load=lambda stream, Loader: parsed(stream.name))
    )

    def judge(path: Path) -> bool:
        checker = compliance.make_checker("training", "1.1.0", True, False)
        compliance.enqueued_configs.clear()
        return compliance.main(str(path), "training_1.1.0/common.yaml", checker)[0]

    logging.disable(logging.CRITICAL)
    yield judge
    logging.disable(logging.NOTSET)


def test_the_official_checker_takes_all_eight(logs: dict[str, Path], official: Any, tmp_path: Path):
    assert {key for key, log in logs.items() if official(log)} == set(KEYS)
    # It looks: the same log without one tensor is refused.
    worse = tmp_path / "result_0.txt"
    for key, log in logs.items():
        worse.write_text(log.read_text())
        edit(worse, without_one_tensor)
        assert not official(worse), key


@pytest.mark.parametrize("key", KEYS)
def test_every_rule_is_kept_but_for_being_a_run(logs: dict[str, Path], key: str):
    checked = check_file(logs[key])
    assert [(v.rule, v.outcome) for v in checked.verdicts if v.outcome != "pass"] == [("dry run", "fail")]
    rules = {verdict.rule for verdict in checked.verdicts}
    assert {"tensors", "evaluation points", "target"} <= rules
    assert checked.benchmark == key


@pytest.mark.parametrize("key", [key for key in KEYS if RULES.benchmark(key).reference_convergence])
def test_the_target_is_reached_where_the_reference_reached_it(logs: dict[str, Path], key: str):
    run = read_run(logs[key], RULES)
    points = reference_points(RULES, key)
    means = [point.mean for point in points]
    assert run.epochs is not None
    assert run.epochs >= min(means) * 0.99
    assert run.epochs <= max(means) * 1.2


def test_dry_runs_count_nowhere(logs: dict[str, Path], tmp_path: Path):
    log = logs["ssd"]
    assert [event["value"] for event in events(log) if event["key"] == "dry_run"] == [MARK]
    assert events(log)[-1]["metadata"]["status"] == "success"
    assert not read_run(log, RULES).converged
    found = score_folder(log.parent)
    assert found.score.score is None
    assert found.to_json()["valid"] is False
    assert "result_0.txt is a dry run" in found.score.reasons
    # Slipped in among the logs of an entry that has a ledger.
    ledger = Ledger(tmp_path / "ledger.jsonl")
    declared = ledger.declare(benchmark="ssd", system="box", division="closed", size="full", ruleset="1.1.0", runs=5)
    launch = ledger.launch(declared, tmp_path / "results" / "box" / "ssd")
    launch.log.parent.mkdir(parents=True)
    launch.log.write_text(log.read_text())
    with pytest.raises(InputError, match="dry run"):
        ledger.end(launch)
    broken = {verdict.rule for verdict in check_folder(launch.log.parent).verdicts if verdict.outcome == "fail"}
    assert {"dry run", "logs in the ledger", "runs"} <= broken


class Official(DLRMTask):
    """The official task on a folder of few rows, with a target out of reach."""

    logs = ClickLogs((7, 6, 5) + (4,) * 23, train=1000, evaluation=100)
    presets = {  # noqa: RUF012
        "full": replace(
            DLRM_TASK.presets["full"],
            network=DLRMConfig(tables=logs.tables, bottom=(16, 8), top=(16, 8, 8)),
            data=logs,
            batch=100,
            samples=(1000, 100),
            train=DLRM_TASK.presets["full"].train.model_copy(update={"steps": 10, "evaluate_every": 2, "clip": 1.0}),
            target=at_least("auc", 0.9999),
        )
    }


def test_a_real_run_logs_the_same_events(tmp_path: Path):
    """Line for line, up to the end of the shorter one: kind, key, metadata and, of what is no result, the value."""
    folder = tmp_path / "clicks"
    folder.mkdir()
    for name, columns in make_logs(Official.logs).items():
        np.save(folder / f"{name}.npy", columns)
    task = Official()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    data = prepared(task, "full", folder)
    real, dry = tmp_path / "real.txt", tmp_path / "dry.txt"
    run_once(task, "full", real, seed=3, data=data, entrant=CLOSED, progress=False)
    torch.set_num_threads(threads)
    run_once(task, "full", dry, seed=3, data=None, entrant=CLOSED)

    def skeleton(log: Path) -> list[Any]:
        found = []
        for event in events(log):
            if event["key"] in ("run_stop", "dry_run", "dataset_sha256"):
                continue
            metadata = {k: v for k, v in event["metadata"].items() if k not in ("lineno", "file", "how")}
            value = None if event["key"] == "eval_accuracy" else event["value"]
            found.append((event["event_type"], event["key"], value, metadata))
        return found

    lines, others = skeleton(real), skeleton(dry)
    both = min(len(lines), len(others))
    assert sum(key == "eval_accuracy" for _, key, _, _ in lines[:both]) >= 2
    assert lines[:both] == others[:both]


def test_the_closed_division_wants_the_whole_dataset(tmp_path: Path):
    class Fewer(Official):
        presets = {"full": replace(Official.presets["full"], samples=(1000, 200))}  # noqa: RUF012

    for name, columns in make_logs(Official.logs).items():
        np.save(tmp_path / f"{name}.npy", columns)
    data = prepared(Fewer(), "full", tmp_path)
    with pytest.raises(InputError, match="100 to evaluate"):
        run_once(Fewer(), "full", tmp_path / "r.txt", seed=1, data=data, entrant=CLOSED, progress=False)
    assert events(tmp_path / "r.txt")[-1]["metadata"]["status"] == "aborted"


def test_the_command_says_what_it_is(tmp_path: Path):
    ask = lambda *words: CliRunner().invoke(app, ["run", *words, "--out", str(tmp_path)])  # noqa: E731
    done = ask("minigo", "--size", "full", "--division", "closed", "--dry-run", "--runs", "2")
    assert done.exit_code == 0, done.output
    assert "nothing was trained" in done.output
    assert len(list(tmp_path.glob("dry_run/*/minigo/result_[01].txt"))) == 2
    assert not (tmp_path / "ledger.jsonl").exists()
    assert not (tmp_path / "results").exists()
    again = ask("minigo", "--size", "full", "--division", "closed", "--dry-run")
    assert again.exit_code == 0
    assert len(list(tmp_path.glob("dry_run/*/minigo/*"))) == 3  # nothing is written over
    assert isinstance(ask("dlrm", "--size", "full", "--dry-run", "--data", str(tmp_path)).exception, InputError)
    with pytest.raises(InputError, match="no dry run"):
        dry_entry(find_task("dlrm"), "smoke", tmp_path, runs=1, entrant=Entrant(), system={})


@pytest.mark.parametrize("key", KEYS)
def test_every_tensor_of_the_rules_is_some_parameter_of_ours(key: str):
    task = find_task(key)
    with torch.device("meta"):
        model = task.build(task.presets["full"], 0)
    names = [name for name, _ in model.named_parameters()]
    found = official_tensors(key, names)
    assert sorted(found) == sorted(RULES.tensors(key))
    apart = official_names(key, names)
    untold = [name for name, official in apart.items() if not official]
    assert all(key == "maskrcnn" and name.startswith("backbone.") for name in untold)
    with pytest.raises(KeyError, match="no official name"):
        official_tensors(key, [*names, "something.else"])
