"""What the writer writes passes the official checker; what the rules forbid it does not write."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from mlperf_logging.compliance_checker import mlp_compliance
from runs_on_paper import GOOD, write_run

from podium.bench.events import OutOfOrder, RunEvents, State
from podium.bench.mllog import read_log
from podium.errors import InputError


def official_verdict(path: Path) -> bool:
    """mlperf-logging, rule set 1.1.0; what it says is logged at WARNING."""
    checker = mlp_compliance.make_checker("training", "1.1.0", False, False)
    mlp_compliance.enqueued_configs.clear()
    return mlp_compliance.main(str(path), "training_1.1.0/common.yaml", checker)[0]


@pytest.mark.parametrize("benchmark", sorted(GOOD))
@pytest.mark.parametrize("division", ["open", "closed"])
def test_every_benchmark_passes_the_official_checker(
    benchmark: str, division: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Closed: the events of a full-size run, with every hyper-parameter and tensor the rules ask for."""
    path = write_run(tmp_path / "result_0.txt", benchmark, division=division)
    with caplog.at_level(logging.WARNING):
        assert official_verdict(path), caplog.text


@pytest.mark.parametrize("optimizer", ["lars", "sgd"])
def test_both_optimisers_of_resnet_pass(optimizer: str, tmp_path: Path) -> None:
    assert official_verdict(write_run(tmp_path / "result_0.txt", division="closed", optimizer=optimizer))


def test_the_official_checker_refuses_what_we_would(tmp_path: Path) -> None:
    """The oracle can say no: a run that only failed, and one without its hyper-parameters."""
    assert not official_verdict(write_run(tmp_path / "a.txt", division="closed", succeeds=False))
    path = write_run(tmp_path / "b.txt", division="closed")
    path.write_text("".join(line for line in path.open() if "lars_" not in line and "sgd_" not in line))
    assert not official_verdict(path)


def test_an_aborted_small_run_is_on_record_and_passes_the_open_rules(tmp_path: Path) -> None:
    path = write_run(tmp_path / "r.txt", size="smoke", target={"at_least": 0.7}, succeeds=False)
    log = read_log(path)
    assert log.first("run_stop").metadata["status"] == "aborted"  # type: ignore[union-attr]
    assert log.value("benchmark_size") == "smoke"
    assert log.value("quality_target") == {"at_least": 0.7}
    assert official_verdict(path)


def opened(path: Path, division: str = "open") -> RunEvents:
    return RunEvents(path, benchmark="resnet", division=division, org="o", platform="p")  # type: ignore[arg-type]


def start(events: RunEvents) -> RunEvents:
    events.cache_clear()
    events.init_start()
    events.seed(1)
    events.init_stop()
    events.run_start()
    return events


BEFORE_INIT: dict[str, Callable[[RunEvents], object]] = {
    "init_stop": RunEvents.init_stop,
    "run_start": RunEvents.run_start,
    "block": lambda e: e.block_start(0),
    "evaluation": lambda e: e.eval_start(1),
    "tensor": lambda e: e.tensor_initialised("w"),
    "run_stop": lambda e: e.run_stop("aborted"),
}
RUNNING: dict[str, Callable[[RunEvents], object]] = {
    "init again": RunEvents.init_start,
    "init_stop again": RunEvents.init_stop,
    "run_start again": RunEvents.run_start,
    "cache": lambda e: e.cache_clear(),
    "seed": lambda e: e.seed(2),
    "tensor": lambda e: e.tensor_initialised("w"),
    "block_stop": RunEvents.block_stop,
    "epoch in block": lambda e: (e.block_start(0), e.epoch_start(0)),
    "block twice": lambda e: (e.block_start(0), e.block_start(1)),
    "epoch_stop for block": lambda e: (e.block_start(0), e.epoch_stop()),
    "result without evaluation": lambda e: e.eval_stop(0.5),
    "evaluation twice": lambda e: (e.eval_start(1), e.eval_start(1)),
    "success without target": lambda e: e.run_stop("success"),
    "setting twice": lambda e: (e.setting(a=1), e.setting(a=1)),
}


@pytest.mark.parametrize("name", BEFORE_INIT)
def test_nothing_before_its_time(name: str, tmp_path: Path) -> None:
    with opened(tmp_path / "r.txt") as events, pytest.raises(OutOfOrder):
        BEFORE_INIT[name](events)


@pytest.mark.parametrize("name", RUNNING)
def test_nothing_out_of_place_while_the_clock_runs(name: str, tmp_path: Path) -> None:
    with start(opened(tmp_path / "r.txt")) as events, pytest.raises(OutOfOrder):
        RUNNING[name](events)


def test_between_init_stop_and_run_start_nothing_is_logged(tmp_path: Path) -> None:
    with opened(tmp_path / "r.txt") as events:
        events.cache_clear()
        events.init_start()
        events.init_stop()
        with pytest.raises(OutOfOrder, match="cache_clear and seed"):
            events.run_start()
        with pytest.raises(OutOfOrder):
            events.setting(a=1)


def test_success_needs_every_key_of_the_division(tmp_path: Path) -> None:
    with start(opened(tmp_path / "r.txt", "closed")) as events:
        events.block_start(0)
        events.eval_start(1)
        assert events.eval_stop(0.76)
        events.block_stop()
        missing = events.missing()
        assert {"train_samples", "global_batch_size", "opt_name", "weights_initialization"} <= set(missing)
        with pytest.raises(OutOfOrder, match="train_samples"):
            events.run_stop("success")


def test_a_run_that_breaks_off_is_aborted_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "r.txt"
    with pytest.raises(ValueError, match="boom"), start(opened(path)) as events:
        raise ValueError("boom")
    assert events.state is State.STOPPED
    stop = read_log(path).first("run_stop")
    assert stop is not None
    assert stop.metadata["status"] == "aborted"
    assert stop.metadata["reason"] == "ValueError: boom"


def test_a_log_is_never_written_twice_and_names_are_checked(tmp_path: Path) -> None:
    opened(tmp_path / "r.txt")
    with pytest.raises(InputError, match="exists already"):
        opened(tmp_path / "r.txt")
    with pytest.raises(InputError, match="not in rule set"):
        RunEvents(tmp_path / "x", benchmark="gpt3", division="open", org="o", platform="p")
    with pytest.raises(InputError, match="submission_org"):
        RunEvents(tmp_path / "x", benchmark="resnet", division="open", org="", platform="p")
    with pytest.raises(InputError, match="submission_status"):
        RunEvents(tmp_path / "x", benchmark="resnet", division="open", org="o", platform="p", status="sold out")
    assert not (tmp_path / "x").exists()
