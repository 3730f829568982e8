"""Timed runs through the real trainer: what is logged, when the clock stops, what the ledger holds, what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from podium.bench import dataset
from podium.bench.go.games import Rules
from podium.bench.ledger import declarations, read_ledger
from podium.bench.registry import find_task
from podium.bench.rules import load_ruleset
from podium.bench.run import Entrant, prepared, run_entry, run_once
from podium.bench.shuffled import Shuffled
from podium.bench.task import MetricBound, Target, at_least, at_most
from podium.bench.tasks.dlrm import ClickLogs, DLRMTask, make_logs
from podium.bench.twins import TWINS
from podium.errors import InputError

DLRM_TASK = find_task("dlrm")
KEYS = tuple(load_ruleset().benchmarks)


class Quick(DLRMTask):
    """The task with less data and a target reached in a second from any seed: the harness draws a new one each run."""

    presets = {  # noqa: RUF012
        "smoke": replace(
            DLRM_TASK.presets["smoke"],
            data=replace(DLRM_TASK.presets["smoke"].data, train=8_000, evaluation=2_000),
            train=DLRM_TASK.presets["smoke"].train.model_copy(update={"steps": 150, "evaluate_every": 15}),
            target=at_least("auc", 0.60),
        )
    }


@pytest.fixture(autouse=True)
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PODIUM_BENCH_DATA", str(tmp_path / "data"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def events(log: Path) -> list[dict]:
    return [json.loads(line.split(":::MLLOG ")[1]) for line in log.read_text().splitlines()]


def test_targets_have_directions_and_are_met_at_the_bound():
    def reached(target: Target, **values: float) -> bool:
        return target.rule().holds(target.logged(values))

    both = Target((MetricBound("box_ap", "max", 0.4, "BBOX"), MetricBound("mask_ap", "max", 0.3, "SEGM")))
    assert reached(both, box_ap=0.4, mask_ap=0.3, loss=9.0)
    assert not reached(both, box_ap=0.9, mask_ap=0.29)
    assert reached(at_most("wer", 0.1), wer=0.1)
    assert not reached(at_most("wer", 0.1), wer=float("nan"))
    assert not reached(at_least("auc", 0.1), auc=float("nan"))
    assert both.rule().model_dump(exclude_defaults=True) == {
        "fields": {"BBOX": {"at_least": 0.4}, "SEGM": {"at_least": 0.3}}
    }
    assert at_most("wer", 0.1).rule().model_dump(exclude_defaults=True) == {"at_most": 0.1}
    with pytest.raises(InputError, match="no 'mask_ap'") as error:
        both.logged({"box_ap": 1.0, "mask_AP": 1.0})
    assert "mask_AP" in error.value.cure


def test_a_run_is_logged_so_that_the_official_checker_accepts_it(tmp_path: Path):
    pytest.importorskip("mlperf_logging")
    task = Quick()
    log = tmp_path / "result_0.txt"
    outcome = run_once(task, "smoke", log, seed=3, data=prepared(task, "smoke"), progress=False)
    assert outcome.status == "success", outcome.why
    lines = events(log)
    keys = [line["key"] for line in lines]
    assert keys.index("cache_clear") < keys.index("init_start") < keys.index("init_stop") < keys.index("run_start")
    assert keys.index("run_start") < keys.index("train_samples")  # the data are opened on the clock
    assert keys[-1] == "run_stop"  # nothing is logged after the target is reached
    assert keys[-2] == "eval_accuracy"
    assert lines[-1]["metadata"]["status"] == "success"
    times = {line["key"]: line["time_ms"] for line in lines if line["key"] in ("run_start", "run_stop")}
    assert outcome.minutes * 60_000 == pytest.approx(times["run_stop"] - times["run_start"], abs=50)
    accuracies = [line["value"] for line in lines if line["key"] == "eval_accuracy"]
    assert accuracies == [values["auc"] for _, values in outcome.curve]
    assert all(value < 0.6 for value in accuracies[:-1])
    checker = [sys.executable, "-m", "mlperf_logging.compliance_checker", "--usage", "training", "--ruleset", "1.1.0"]
    done = subprocess.run(
        [*checker, "--log_output", str(tmp_path / "c.log"), str(log)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout + done.stderr


def test_the_same_seed_gives_the_same_run_and_another_one_another(tmp_path: Path):
    task = Quick()
    data = prepared(task, "smoke")
    curves = [
        run_once(task, "smoke", tmp_path / f"result_{i}.txt", seed=seed, data=data, progress=False).curve
        for i, seed in enumerate((5, 5, 6))
    ]
    assert curves[0] == curves[1]
    assert curves[0] != curves[2]


def test_an_entry_is_declared_launched_and_ended_in_the_ledger(tmp_path: Path):
    out = tmp_path / "out"
    system = {"system_name": "two cores"}
    outcomes = run_entry(Quick(), "smoke", out, runs=2, entrant=Entrant(platform="two cores"), system=system)
    assert [outcome.log for outcome in outcomes] == [
        out / "results" / "two_cores" / "dlrm" / f"result_{i}.txt" for i in range(2)
    ]
    entries, faults = read_ledger(out / "ledger.jsonl")
    assert not faults
    (declared,) = declarations(entries)
    assert (declared.runs, declared.size, declared.benchmark) == (2, "smoke", "dlrm")
    assert [run.seed for run in declared.launched] == [outcome.seed for outcome in outcomes]
    assert len({outcome.seed for outcome in outcomes}) == 2
    for run, outcome in zip(declared.launched, outcomes, strict=True):
        assert run.status == outcome.status == "success"
        named = [line["value"] for line in events(outcome.log) if line["key"] == "ledger_entry"]
        assert named == [run.hash]
    assert json.loads((out / "systems" / "two_cores.json").read_text()) == system


def test_a_run_that_falls_short_is_aborted_and_on_record(tmp_path: Path):
    class Short(Quick):
        presets = {"smoke": replace(Quick.presets["smoke"], target=at_least("auc", 0.999))}  # noqa: RUF012

    (outcome,) = run_entry(Short(), "smoke", tmp_path, runs=1, entrant=Entrant(), system={})
    assert outcome.status == "aborted"
    assert "target not reached in 150 steps" in outcome.why
    assert events(outcome.log)[-1]["metadata"]["status"] == "aborted"
    (declared,) = declarations(read_ledger(tmp_path / "ledger.jsonl")[0])
    assert declared.launched[0].status == "aborted"
    assert declared.launched[0].minutes is None


def test_a_run_stopped_by_the_user_is_aborted_and_on_record(tmp_path: Path):
    class Stopped(Quick):
        def objective(self, preset):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_entry(Stopped(), "smoke", tmp_path, runs=3, entrant=Entrant(), system={})
    (declared,) = declarations(read_ledger(tmp_path / "ledger.jsonl")[0])
    assert declared.runs == 3
    assert [run.status for run in declared.launched] == ["aborted"]


@pytest.mark.parametrize("twin", TWINS)
def test_a_broken_twin_does_not_reach_the_target(tmp_path: Path, twin):
    task = Quick()
    log = tmp_path / "result_0.txt"
    outcome = run_once(task, "smoke", log, seed=1, data=prepared(task, "smoke"), twin=twin, progress=False)
    assert outcome.status == "aborted"
    assert [line["value"] for line in events(log) if line["key"] == "negative_control"] == [twin]


def test_frozen_weights_stay(tmp_path: Path):
    models = []

    class Watched(Quick):
        def build(self, preset, seed):
            models.append(super().build(preset, seed))
            return models[-1]

    task = Watched()
    run_once(
        task, "smoke", tmp_path / "r.txt", seed=1, data=prepared(task, "smoke"), twin="frozen weights", progress=False
    )
    untouched = super(Watched, task).build(task.presets["smoke"], 1)
    for name, parameter in models[0].named_parameters():
        assert torch.equal(parameter, untouched.get_parameter(name)), name


def test_closed_needs_the_full_size(tmp_path: Path):
    with pytest.raises(InputError, match="closed division"):
        run_entry(Quick(), "smoke", tmp_path, runs=1, entrant=Entrant(division="closed"), system={})
    assert not (tmp_path / "ledger.jsonl").exists()


@pytest.mark.parametrize("damage", ["changed", "shorter", "gone", "another"])
def test_damaged_data_are_found_before_the_run(damage: str):
    folder = prepared(Quick(), "smoke")
    path = folder / "counts.npy"
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    elif damage == "another":
        path.rename(folder / "counts2.npy")
        path.write_bytes(content)
    else:
        path.write_bytes(content[:-8] + b"\1" * 8 if damage == "changed" else content[:-8])
    with pytest.raises(InputError, match=r"counts2?\.npy"):
        prepared(Quick(), "smoke")


def test_preparing_that_breaks_off_leaves_nothing(tmp_path: Path):
    def broken(folder: Path) -> None:
        (folder / "half.npy").write_bytes(b"12")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dataset.ensure(tmp_path / "d" / "set", {}, broken)
    assert list((tmp_path / "d").iterdir()) == []


def test_shuffled_shows_every_sample_once_per_epoch_and_goes_on_where_it_was():
    make = lambda chosen, generator: (chosen.tolist(), torch.rand((), generator=generator).item())  # noqa: E731
    source = Shuffled(10, 3, seed=4, make=make)
    epochs = [[source.next() for _ in range(3)] for _ in range(2)]
    for epoch in epochs:
        seen = [sample for chosen, _ in epoch for sample in chosen]
        assert len(set(seen)) == 9
    assert [chosen for chosen, _ in epochs[0]] != [chosen for chosen, _ in epochs[1]]
    state = source.state_dict()
    expected = [source.next() for _ in range(5)]
    again = Shuffled(10, 3, seed=0, make=make)
    again.load_state_dict(state)
    assert [again.next() for _ in range(5)] == expected


def test_planted_structure_is_worth_more_than_the_columns_apart():
    """What is known of the click logs: the true probabilities beat the target, and the counts alone do not."""
    from podium.bench.quality.ranking import area_under_curve

    logs: ClickLogs = replace(DLRM_TASK.presets["smoke"].data, train=20_000, evaluation=10_000)
    made = make_logs(logs)
    target = DLRM_TASK.presets["smoke"].target.bounds[0].bound
    best = area_under_curve(made["probability"], made["clicks"])
    assert target + 0.02 < best < 0.95
    dense = np.log1p(made["counts"])
    weights, *_ = np.linalg.lstsq(np.c_[dense, np.ones(len(dense))], made["clicks"], rcond=None)
    assert area_under_curve(dense @ weights[:-1], made["clicks"]) < target - 0.1


def test_there_are_eight_tasks_and_a_wrong_name_is_answered():
    for key in KEYS:
        task = find_task(key)
        assert task.key == key
        assert "smoke" in task.presets
        assert task.presets["smoke"].train.evaluate_every > 0
    with pytest.raises(InputError, match="resnt") as error:
        find_task("resnt")
    assert "resnet" in error.value.cure


FEW = {
    "unet3d": {"train": 4, "evaluation": 4},
    "ssd": {"train": 8, "evaluation": 2},
    "maskrcnn": {"train": 4, "evaluation": 2},
    "bert": {"characters": 1_500_000, "evaluation": 100},
    "dlrm": {"train": 9_000, "evaluation": 1_000},
    "minigo": {"games": 2, "judged": 2, "rules": Rules(size=7, komi=4.5, rounds=2, longest=8, opening=2)},
}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("key", KEYS)
def test_small_takes_a_step_and_is_judged(tmp_path: Path, key: str):
    """Models, data and objectives of the size for one GPU fit together; on less data, for one step, on the CPU."""
    task = find_task(key)
    preset = task.presets["small"]
    data = preset.data
    if key == "rnnt":
        data = {**data, "speech": replace(data["speech"], train=4, evaluation=2)}
    elif key in FEW:
        data = replace(data, **FEW[key])
    config = preset.train.model_copy(update={"steps": 1, "evaluate_every": 1})
    fewer = replace(preset, data=data, batch=min(4, preset.batch), train=config)

    class Fewer(type(task)):
        presets = {"small": fewer}  # noqa: RUF012

    small = Fewer()
    outcome = run_once(small, "small", tmp_path / "r.txt", seed=1, data=prepared(small, "small"), progress=False)
    assert outcome.steps == 1, outcome.why
    assert set(outcome.quality) >= {bound.metric for bound in preset.target.bounds}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("key", KEYS)
def test_smoke_reaches_its_target_and_its_twin_does_not(tmp_path: Path, key: str):
    task = find_task(key)
    twin = task.control
    data = prepared(task, "smoke")
    honest = run_once(task, "smoke", tmp_path / "result_0.txt", seed=11, data=data, progress=False)
    assert honest.status == "success", honest.why
    broken = run_once(task, "smoke", tmp_path / "result_1.txt", seed=11, data=data, twin=twin, progress=False)
    assert broken.status == "aborted"
