"""How a run ends is said once: by its log. Ledger, outcome, check and score say the same, whatever fails and when."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from runs_on_paper import edit, stretch, write_entry, write_run
from torch import Tensor, nn

from podium.bench.check import check_folder
from podium.bench.ledger import Launch, Ledger, declarations, entry_hash, read_ledger
from podium.bench.mllog import read_log, run_end
from podium.bench.registry import benchmark_task
from podium.bench.run import Entrant, prepared, run_entry, run_once
from podium.bench.score_folder import score_folder
from podium.bench.shuffled import Shuffled
from podium.bench.task import Data, Preset, Samples, Task, at_least
from podium.errors import InputError, StorageError, TrainingError
from podium.train.objective import Loss
from podium.train.optim import OptimizerConfig
from podium.train.trainer import TrainConfig, train

STEPS = 6


class Network(nn.Module):
    """One weight. `fails_at` names the moment at which the disk is full."""

    def __init__(self, fails_at: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.fails_at, self.evaluations = fails_at, 0

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x

    def eval(self) -> Network:
        # The trainer's last act is to leave the model in evaluation mode.
        if self.fails_at == "after the end" and self.evaluations == 3:
            raise StorageError("the disk is full")
        return super().eval()


class Slope:
    def __call__(self, model: Network, batch: Samples) -> Loss:
        loss = (model(batch.inputs[0]) - batch.labels[0]).square().sum()
        return Loss(loss * (float("nan") if model.fails_at == "diverging" else 1.0), batch.count)

    def flops(self, model: Network, batch: Samples) -> float:
        return 0.0


class SlopeTask(Task):
    """y = 3 x. The third evaluation, that of the last step, reaches the target, or none does."""

    key = "test-slope"
    area = "straight lines"

    def __init__(self, fails_at: str = "", target: float = 3.0) -> None:
        self.fails_at = fails_at
        optimizer = OptimizerConfig(name="sgd", lr=0.01)
        config = TrainConfig(steps=STEPS, optimizer=optimizer, evaluate_every=2, guard_sigmas=0)
        self.presets = {
            "smoke": Preset(
                network=None, data=None, batch=4, train=config, target=at_least("third", target), dataset="y"
            )
        }

    def prepare(self, preset: Preset, folder: Path) -> None:
        (folder / "x.txt").write_text("1 2 3 4 5 6 7 8")

    def build(self, preset: Preset, seed: int) -> Network:
        return Network(self.fails_at)

    def objective(self, preset: Preset) -> Slope:
        return Slope()

    def open(self, preset: Preset, folder: Path, model: nn.Module, seed: int) -> Data:
        x = torch.tensor([float(word) for word in (folder / "x.txt").read_text().split()])
        assert isinstance(model, Network)
        if self.fails_at == "opening the data":
            raise OSError("no such device")

        def make(chosen: Tensor, generator: torch.Generator) -> Samples:
            return Samples((x[chosen],), (3 * x[chosen],))

        def evaluate(_: nn.Module) -> dict[str, float]:
            model.evaluations += 1
            if self.fails_at == "evaluating":
                raise KeyboardInterrupt
            return {"third": float(model.evaluations)}

        return Data(Shuffled(len(x), 4, seed, make), evaluate, len(x), len(x))


benchmark_task(SlopeTask)


@pytest.fixture(autouse=True)
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODIUM_BENCH_DATA", str(tmp_path / "data"))


def only_run(out: Path) -> tuple[str | None, float | None, str, float | None]:
    """Status and minutes of the one run by the ledger, and by its log."""
    entries, faults = read_ledger(out / "ledger.jsonl")
    assert not faults
    (declared,) = declarations(entries)
    (run,) = declared.launched
    return (run.status, run.minutes, *run_end(read_log(out / run.log)))


def verdicts(folder: Path) -> dict[str, str]:
    return {verdict.rule: verdict.outcome for verdict in check_folder(folder).verdicts}


@pytest.mark.parametrize(
    ("fails_at", "error", "status"),
    [
        ("", None, "success"),
        ("after the end", StorageError, "success"),
        ("evaluating", KeyboardInterrupt, "aborted"),
        ("opening the data", OSError, "aborted"),
        ("diverging", None, "aborted"),
    ],
)
def test_ledger_and_log_agree_whatever_fails(
    tmp_path: Path, fails_at: str, error: type[BaseException] | None, status: str
) -> None:
    keywords = {"runs": 1, "entrant": Entrant(), "system": {"system_name": "box"}}
    if error:
        with pytest.raises(error):
            run_entry(SlopeTask(fails_at), "smoke", tmp_path, **keywords)
    else:
        (outcome,) = run_entry(SlopeTask(fails_at), "smoke", tmp_path, **keywords)
        assert outcome.status == status
        assert outcome.why == "" if status == "success" else "not finite" in outcome.why
    recorded, minutes, said, logged = only_run(tmp_path)
    assert recorded == said == status
    assert minutes == (logged if status == "success" else None)
    assert verdicts(tmp_path / "results" / "box" / "test-slope")["ends of runs"] == "pass"


def test_the_outcome_has_the_minutes_and_metrics_of_the_log(tmp_path: Path) -> None:
    task = SlopeTask()
    log = tmp_path / "result_0.txt"
    outcome = run_once(task, "smoke", log, seed=1, data=prepared(task, "smoke"), progress=False)
    assert (outcome.status, outcome.minutes) == run_end(read_log(log))
    assert outcome.curve == ((2, {"third": 1.0}), (4, {"third": 2.0}), (6, {"third": 3.0}))
    assert (outcome.steps, outcome.quality) == (6, {"third": 3.0})
    short = run_once(
        SlopeTask(target=4.0), "smoke", tmp_path / "s.txt", seed=1, data=prepared(task, "smoke"), progress=False
    )
    assert short.why == "target not reached in 6 steps: third 3, wanted third >= 4"
    assert read_log(short.log).first("run_stop").metadata["reason"] == short.why  # type: ignore[union-attr]


def test_a_metric_that_the_task_does_not_return_is_named(tmp_path: Path) -> None:
    task = SlopeTask()
    task.presets = {"smoke": Preset(**{**preset_fields(task), "target": at_least("thrid", 1.0)})}
    with pytest.raises(InputError, match="no 'thrid'") as error:
        run_once(task, "smoke", tmp_path / "r.txt", seed=1, data=prepared(task, "smoke"), progress=False)
    assert "'third'" in error.value.cure


def preset_fields(task: Task) -> dict:
    return {name: getattr(task.presets["smoke"], name) for name in Preset.__slots__}


@contextmanager
def files_no_larger_than(most: int) -> Iterator[None]:
    """Writing beyond so many bytes of a file really fails, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_log_that_cannot_be_written_to_its_end_is_aborted_in_both(tmp_path: Path) -> None:
    """The ledger is the smaller file, so that it can be written where the log cannot."""
    keywords = {"runs": 1, "entrant": Entrant(), "system": {"system_name": "box"}}
    run_entry(SlopeTask(), "smoke", tmp_path / "whole", **keywords)
    (log,) = (tmp_path / "whole").glob("results/box/test-slope/*.txt")
    content = log.read_bytes()
    stop = content.rindex(b":::MLLOG")
    # In the middle of the last line, and in the middle of the evaluation that reached the target.
    for number, most in enumerate((stop + 40, content.rindex(b":::MLLOG", 0, stop) + 40)):
        out = tmp_path / f"full{number}"
        with pytest.raises(StorageError), files_no_larger_than(most):
            run_entry(SlopeTask(), "smoke", out, **keywords)
        recorded, minutes, said, _ = only_run(out)
        assert (recorded, minutes) == ("aborted", None)
        assert said != "success"


def test_a_run_needs_no_room_for_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but the log is kept: neither a folder for temporary files nor a final checkpoint is needed."""
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.setenv(name, str(tmp_path / "nowhere"))
    before = set(Path.cwd().iterdir())
    task = SlopeTask()
    data = prepared(task, "smoke")
    written = {path for path in tmp_path.rglob("*") if path.is_file()}
    outcome = run_once(task, "smoke", tmp_path / "r.txt", seed=1, data=data, progress=False)
    assert outcome.status == "success"
    assert {path for path in tmp_path.rglob("*") if path.is_file()} - written == {tmp_path / "r.txt"}
    assert set(Path.cwd().iterdir()) == before


def test_training_without_a_folder_ends_with_the_same_weights(tmp_path: Path) -> None:
    def weight(folder: Path | None) -> float:
        task = SlopeTask()
        model = Network("")
        data = task.open(task.presets["smoke"], prepared(task, "smoke"), model, 5)
        train(model, Slope(), data.batches, task.presets["smoke"].train, folder, runlog=Quiet(), progress=False)
        return model.weight.item()

    assert weight(None) == weight(tmp_path / "kept") > 0
    config = TrainConfig(steps=2, average=2)
    with pytest.raises(TrainingError, match="needs a folder"):
        train(Network(""), Slope(), None, config, None, runlog=Quiet(), progress=False)  # type: ignore[arg-type]


class Quiet:
    def point(self, key: str, value: object = None, **metadata: object) -> None: ...
    def start(self, key: str, value: object = None, **metadata: object) -> None: ...
    def end(self, key: str, value: object = None, **metadata: object) -> None: ...
    def metrics(self, step: int, **values: float) -> None: ...


def launched(folder: Path) -> tuple[Ledger, Launch]:
    ledger = Ledger(folder / "ledger.jsonl")
    common = {"benchmark": "resnet", "system": "none", "division": "open", "size": "smoke", "ruleset": "1.1.0"}
    return ledger, ledger.launch(ledger.declare(**common, runs=1), folder / "results" / "none" / "resnet")


@pytest.mark.parametrize("end", ["success", "aborted", "cut off", "no stop", "no log", "backwards"])
def test_the_ledger_takes_the_end_from_the_log(tmp_path: Path, end: str) -> None:
    ledger, launch = launched(tmp_path)
    if end != "no log":
        write_run(launch.log, size="smoke", target={"at_least": 0.7}, tie=launch.hash, succeeds=end != "aborted")
        stretch(launch.log, 2.5)
    if end == "cut off":
        launch.log.write_bytes(launch.log.read_bytes()[:-20])
    if end == "no stop":
        edit(launch.log, lambda events: events[:-1])
    if end == "backwards":
        edit(launch.log, lambda events: [*events[:-1], {**events[-1], "time_ms": 0}])
    body = ledger.end(launch).body
    assert (body["status"], body["minutes"]) == (("success", 2.5) if end == "success" else ("aborted", None))
    assert (body["sha256"] is None) == (end == "no log")


def forge(path: Path, number: int, **body: object) -> None:
    """Change an entry of the ledger and all hashes behind it, in the ledger alone."""
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    entries[number]["body"].update(body)
    for index, entry in enumerate(entries):
        entry["previous"] = entries[index - 1]["hash"] if index else entry["previous"]
        entry["hash"] = entry_hash(entry)
    path.write_text("".join(json.dumps(entry, sort_keys=True, separators=(",", ":")) + "\n" for entry in entries))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"status": "aborted", "minutes": None}, "run 5: the ledger says aborted, the log success"),
        ({"minutes": 1.0}, "run 5: the ledger says 1.000 minutes, the log 14.000"),
    ],
)
def test_an_end_in_the_ledger_that_is_not_that_of_the_log_shows(tmp_path: Path, body: dict, words: str) -> None:
    folder = write_entry(tmp_path)
    assert verdicts(folder)["ends of runs"] == "pass"
    forge(tmp_path / "ledger.jsonl", -1, **body)
    found = {verdict.rule: verdict for verdict in check_folder(folder).verdicts}
    assert "ledger" in found
    assert found["ledger"].outcome == "pass"
    assert found["ends of runs"].outcome == "fail"
    assert found["ends of runs"].message == words


def test_a_success_that_is_not_on_record_counts_as_failed(tmp_path: Path) -> None:
    """The last entries of the ledger could not be written, whatever the logs say."""
    folder = write_entry(tmp_path)
    path = tmp_path / "ledger.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    score = score_folder(folder).score
    assert (score.runs, score.converged) == (5, 4)
    found = {verdict.rule: verdict for verdict in check_folder(folder).verdicts}
    assert found["launched runs"].outcome == "warn"
    assert found["success"].message.startswith("1 of 5 runs without success")
