"""The loop: it learns, and a run broken off anywhere ends as if it had not been."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch

from podium.errors import StorageError, TrainingError
from podium.models.families.family import Mixture
from podium.runlog import RunLog
from podium.train import (
    NextToken,
    OptimizerConfig,
    PackedSource,
    ScheduleConfig,
    TrainConfig,
    average_weights,
    train,
)

from .conftest import counting_documents, tiny_model


def config(**changes) -> TrainConfig:
    values = {
        "steps": 12,
        "optimizer": OptimizerConfig(lr=1e-2),
        "schedule": ScheduleConfig(warmup=2, final_ratio=0.1),
        "gemm_peak": 1e11,
    }
    return TrainConfig(**{**values, **changes})


def source(**changes) -> PackedSource:
    return PackedSource(counting_documents(60), **{"row_length": 64, "rows_per_batch": 2, **changes})


def run(folder, settings=None, *, model=None, objective=None, batches=None, **keywords):
    model = model or tiny_model()
    with RunLog(folder) as log:
        result = train(
            model,
            objective or NextToken(),
            batches or source(),
            settings or config(),
            folder,
            runlog=log,
            progress=False,
            **keywords,
        )
    return model, result


def same_weights(a, b) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def events(folder):
    lines = (folder / "run.log").read_text().splitlines()
    return [json.loads(line.removeprefix(":::MLLOG ")) for line in lines]


def curve(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


FAMILIES = {
    "llama": {},
    "mistral": {"kind": "mistral", "sliding_window": 6},
    "qwen3_moe": {"kind": "qwen3_moe", "mixture": Mixture(4, 2, 24)},
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_it_learns(tmp_path, name, family):
    settings = config(steps=60, optimizer=OptimizerConfig(name=name, lr=1e-2))
    model, result = run(tmp_path, settings, model=tiny_model(**FAMILIES[family]))
    losses = [line["loss"] for line in curve(tmp_path)]
    assert losses[0] > 3
    assert result.loss == losses[-1] < 0.3
    assert not model.training
    last = curve(tmp_path)[-1]
    assert last["step"] == 60
    assert {"loss", "lr", "grad_norm", "tokens_per_second", "mfu"} <= set(last)


def test_mfu_is_never_above_one(tmp_path):
    _, result = run(tmp_path, config(gemm_peak=1.0))
    assert result.mfu is not None
    assert 0 < result.mfu <= 1
    assert all(0 < line["mfu"] <= 1 for line in curve(tmp_path))


def test_same_seed_same_weights(tmp_path):
    a, _ = run(tmp_path / "a")
    b, _ = run(tmp_path / "b")
    assert same_weights(a, b)


class Interrupting:
    """A source that sends this process a signal while batch number `at` is being made."""

    def __init__(self, inner, at, number=signal.SIGINT):
        self.inner, self.at, self.number, self.served = inner, at, number, 0

    def next(self):
        self.served += 1
        if self.served == self.at:
            os.kill(os.getpid(), self.number)
        return self.inner.next()

    def state_dict(self):
        return self.inner.state_dict()

    def load_state_dict(self, state):
        self.inner.load_state_dict(state)


@pytest.mark.parametrize(
    ("at", "number", "name", "accumulation", "family"),
    [
        (1, signal.SIGINT, "adamw", 1, "llama"),
        (5, signal.SIGTERM, "muon", 1, "llama"),
        (11, signal.SIGINT, "sgd", 1, "llama"),
        (9, signal.SIGINT, "adamw", 2, "llama"),
        (5, signal.SIGINT, "muon", 1, "qwen3_moe"),
        (5, signal.SIGINT, "adamw", 2, "mistral"),
    ],
)
def test_interrupted_and_resumed_ends_like_undisturbed(tmp_path, at, number, name, accumulation, family):
    settings = config(optimizer=OptimizerConfig(name=name, lr=1e-2), accumulation=accumulation, average=3)
    sizes = FAMILIES[family]
    undisturbed, _ = run(tmp_path / "a", settings, model=tiny_model(**sizes))
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b", settings, model=tiny_model(**sizes), batches=Interrupting(source(), at, number))
    assert signal.getsignal(number) is before
    assert events(tmp_path / "b")[-1]["metadata"]["status"] == "aborted"
    # The weights handed in do not matter when a checkpoint is there.
    resumed, result = run(tmp_path / "b", settings, model=tiny_model(seed=9, **sizes))
    assert result.resumed_at == -(-at // accumulation)
    assert same_weights(undisturbed, resumed)
    assert events(tmp_path / "b")[-1]["metadata"]["status"] == "success"


CHILD = """
import sys, time, torch
sys.path.insert(0, {tests!r})
torch.set_num_threads(1)
from conftest import counting_documents, tiny_model
from podium.runlog import RunLog
from podium.train import NextToken, OptimizerConfig, PackedSource, TrainConfig, train

class Slow(PackedSource):
    def next(self):
        time.sleep(0.01)
        return super().next()

folder, model = sys.argv[1], tiny_model()
settings = TrainConfig(steps=60, checkpoint_every=3, gemm_peak=1e11, optimizer=OptimizerConfig(name="muon"))
with RunLog(folder) as log:
    batches = Slow(counting_documents(60), row_length=64, rows_per_batch=2)
    train(model, NextToken(), batches, settings, folder, runlog=log, progress=False)
torch.save(model.state_dict(), folder + "/final.pt")
"""


def test_kill_9_of_a_real_process_loses_nothing_but_time(tmp_path, monkeypatch):
    child = textwrap.dedent(CHILD).format(tests=str(Path(__file__).parent))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def start(folder):
        return subprocess.Popen([sys.executable, "-c", child, str(folder)], env=environment)

    folder = tmp_path / "killed"
    for wanted in (2, 35):
        process = start(folder)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and curve_step(folder / "metrics.jsonl") < wanted:
            time.sleep(0.005)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert start(folder).wait(120) == 0
    threads = torch.get_num_threads()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "argv", ["", str(tmp_path / "whole")])
        patched.setattr(sys, "path", [*sys.path])
        exec(child, {})  # undisturbed, in this process, which has imported everything
    torch.set_num_threads(threads)
    ours, theirs = (torch.load(f / "final.pt") for f in (folder, tmp_path / "whole"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert any(event["key"] == "run_resumed" for event in events(folder))
    assert not list((folder / "checkpoints").glob(".*"))


def curve_step(path: Path) -> int:
    """The last step in a metrics file that is being written."""
    whole = path.read_text().rpartition("\n")[0].rpartition("\n")[2] if path.exists() else ""
    return json.loads(whole)["step"] if whole else 0


@pytest.mark.parametrize("damage", ["truncate", "flip", "no-seal"])
def test_a_torn_checkpoint_is_passed_over(tmp_path, damage):
    undisturbed, _ = run(tmp_path / "a")
    settings = config(checkpoint_every=4, keep_checkpoints=3)
    run(tmp_path / "b", settings)
    newest = tmp_path / "b/checkpoints/step-00000012.pt"
    if damage == "truncate":
        os.truncate(newest, newest.stat().st_size // 2)
    elif damage == "flip":
        data = bytearray(newest.read_bytes())
        data[len(data) // 2] ^= 1
        newest.write_bytes(data)
    else:
        newest.with_suffix(".json").unlink()
    resumed, result = run(tmp_path / "b", settings)
    assert result.resumed_at == 8
    assert same_weights(undisturbed, resumed)


def test_the_newest_checkpoints_are_kept(tmp_path):
    run(tmp_path, config(checkpoint_every=2, keep_checkpoints=3))
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == [f"step-{step:08d}.{end}" for step in (8, 10, 12) for end in ("json", "pt")]


def test_a_finished_run_is_not_trained_again(tmp_path):
    first, _ = run(tmp_path)
    second, result = run(tmp_path, model=tiny_model(seed=3))
    assert same_weights(first, second)
    assert (result.resumed_at, result.seconds) == (12, 0.0)


@pytest.mark.parametrize(
    ("changes", "model", "names"),
    [
        ({"steps": 13}, {}, "steps"),
        ({"optimizer": OptimizerConfig(lr=2e-2)}, {}, r"optimizer\.lr"),
        ({}, {"hidden_size": 16}, r"embedding\.weight"),
    ],
)
def test_resuming_something_else_names_the_difference(tmp_path, changes, model, names):
    run(tmp_path)
    with pytest.raises(TrainingError, match=names) as caught:
        run(tmp_path, config(**changes), model=tiny_model(**model))
    assert "another folder" in caught.value.cure


def test_any_accumulation_gives_the_same_training(tmp_path):
    whole, whole_result = run(tmp_path / "a", batches=source(rows_per_batch=4))
    parts, parts_result = run(tmp_path / "b", config(accumulation=4), batches=source(rows_per_batch=1))
    assert whole_result.count == parts_result.count
    assert whole_result.loss == pytest.approx(parts_result.loss, rel=1e-4)
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_the_average_is_the_mean_of_equally_spaced_states(tmp_path):
    model, _ = run(tmp_path, config(average=3))
    paths = sorted((tmp_path / "snapshots").iterdir())
    assert [path.name for path in paths] == [f"step-{step:08d}.pt" for step in (4, 8, 12)]
    states = [torch.load(path) for path in paths]
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, sum(state[name] for state in states) / 3)
    assert all(torch.equal(model.state_dict()[n], v) for n, v in average_weights(paths).items())


class Poisoned(NextToken):
    """Multiplies the loss of some steps."""

    def __init__(self, steps, factor):
        super().__init__()
        self.steps, self.factor, self.calls = steps, factor, 0

    def __call__(self, model, batch):
        self.calls += 1
        loss = super().__call__(model, batch)
        if self.calls in self.steps:
            loss.total = loss.total * self.factor
        return loss


def test_a_step_that_is_not_finite_is_not_taken(tmp_path):
    model, result = run(tmp_path, objective=Poisoned({4, 7}, float("nan")))
    assert result.not_finite == 2
    assert all(torch.isfinite(p).all() for p in model.parameters())
    skipped = [event for event in events(tmp_path) if event["key"] == "step_skipped"]
    assert [event["metadata"]["step"] for event in skipped] == [4, 7]
    assert all("NaN" not in line for line in (tmp_path / "run.log").read_text().splitlines())


def test_a_lasting_nan_stops_the_run_and_leaves_the_last_good_checkpoint(tmp_path):
    settings = config(steps=40, patience=3, checkpoint_every=5)
    with pytest.raises(TrainingError, match="3 steps in a row") as caught:
        run(tmp_path, settings, objective=Poisoned(range(8, 99), float("nan")))
    assert "learning rate" in caught.value.cure
    assert (tmp_path / "checkpoints/step-00000005.pt").exists()
    assert events(tmp_path)[-1]["metadata"]["status"] == "aborted"
    _, result = run(tmp_path, settings)
    assert result.resumed_at == 5


def test_an_outlier_is_skipped_and_counted(tmp_path):
    settings = config(steps=30, guard_window=16, optimizer=OptimizerConfig(lr=1e-4))
    _, result = run(tmp_path, settings, objective=Poisoned({25}, 1e4))
    assert (result.skipped, result.not_finite) == (1, 0)


def test_weights_that_are_not_finite_are_found_before_the_first_step(tmp_path):
    model = tiny_model()
    model.layers[1].feed_forward.down.weight.data[3, 2] = float("nan")
    with pytest.raises(TrainingError, match=r"layers\.1\.feed_forward\.down\.weight"):
        run(tmp_path, model=model)


def test_a_vocabulary_that_is_too_small_is_said(tmp_path):
    with pytest.raises(TrainingError, match="token id 39, the model's vocabulary ends at 19"):
        run(tmp_path, model=tiny_model(vocab_size=20))


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path, monkeypatch):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    settings = config(checkpoint_every=4)
    undisturbed, _ = run(tmp_path / "a")
    import builtins

    real_open = builtins.open

    def nearly_full(path, mode="r", *rest, **more):
        # From step 8 on, everything written into the folder goes to the kernel's full device.
        if "w" in mode and "step-00000008" in str(path):
            real_open(path, mode).close()
            return real_open("/dev/full", mode)
        return real_open(path, mode, *rest, **more)

    monkeypatch.setattr(builtins, "open", nearly_full)
    with pytest.raises(StorageError, match="no space left") as caught:
        run(tmp_path / "b", settings)
    assert caught.value.__cause__.errno == errno.ENOSPC
    monkeypatch.undo()
    assert sorted(p.name for p in (tmp_path / "b/checkpoints").iterdir()) == ["step-00000004.json", "step-00000004.pt"]
    resumed, result = run(tmp_path / "b", settings)
    assert result.resumed_at == 4
    assert same_weights(undisturbed, resumed)


def test_evaluation_is_logged_and_does_not_change_the_training(tmp_path):
    plain, _ = run(tmp_path / "a")
    steps = []

    def evaluate(model):
        assert not model.training
        torch.rand(7)  # draws from the random state of the run
        steps.append(1)
        return {"accuracy": len(steps) / 10}

    evaluated, result = run(tmp_path / "b", config(evaluate_every=5), evaluate=evaluate)
    assert same_weights(plain, evaluated)
    assert result.evaluations == [(5, {"accuracy": 0.1}), (10, {"accuracy": 0.2}), (12, {"accuracy": 0.3})]
    keys = [event["key"] for event in events(tmp_path / "b")]
    assert keys[0] == "run_start"
    block = ["block_start", "block_stop", "eval_start", "eval_accuracy", "eval_stop"]
    assert [key for key in keys if key in block] == block * 3
    assert keys[-1] == "run_stop"


def test_a_stop_predicate_ends_the_run_early(tmp_path):
    _, result = run(
        tmp_path,
        config(evaluate_every=3),
        evaluate=lambda model: {"accuracy": 0.9},
        stop=lambda step, values: step >= 6 and values["accuracy"] > 0.5,
    )
    assert (result.steps, result.stopped_early) == (6, True)
    _, again = run(tmp_path, config(evaluate_every=3))
    assert (again.steps, again.stopped_early, again.seconds) == (6, True, 0.0)


def test_the_official_parser_reads_the_log(tmp_path):
    pytest.importorskip("mlperf_logging")
    from mlperf_logging.compliance_checker.mlp_parser import parse_file

    run(tmp_path, config(evaluate_every=6), evaluate=lambda model: {"accuracy": 0.5})
    lines, failed = parse_file(str(tmp_path / "run.log"), ruleset="5.1.0")
    assert not failed
    assert {"run_start", "eval_accuracy", "run_stop"} <= {line.key for line in lines}


def test_bfloat16_products_train_too(tmp_path):
    _, result = run(tmp_path, config(precision="bfloat16"))
    assert result.loss < 3.5
