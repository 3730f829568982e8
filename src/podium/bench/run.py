"""Timed runs: data prepared, caches dropped, model built, then the clock, the one trainer and a strict log.

What is in the window and what is not follows the v1.1 rules: making and verifying the dataset and building the model
are not timed; from the first touch of the data to the evaluation that reaches the target everything is. Every run
that is launched gets a seed, a log of its own and two lines in the ledger, whatever becomes of it.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

import torch
from torch import nn

from podium.bench import dataset
from podium.bench.events import End, RunEvents, Status
from podium.bench.ledger import FILE, Launch, Ledger
from podium.bench.rehearsal import MARK, imagined_data, rehearse, weightless
from podium.bench.rules import DEFAULT_RULESET, Division
from podium.bench.task import Data, Preset, Size, Task
from podium.bench.tensor_names import official_tensors
from podium.bench.twins import Twin, broken
from podium.errors import InputError, TrainingError, nearest
from podium.storage import storage_errors, write_json
from podium.train.trainer import train


@dataclass(frozen=True, slots=True)
class Entrant:
    """Who runs, on what, under which rules: what the submission_* lines say."""

    division: Division = "open"
    org: str = "unnamed"
    platform: str = "unnamed"
    status: str = "research"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: `end` is what its log says, `curve` the step and the metrics of every evaluation."""

    log: Path
    seed: int
    end: End
    curve: tuple[tuple[int, dict[str, float]], ...]

    @property
    def status(self) -> Status:
        return self.end.status

    @property
    def minutes(self) -> float:
        """From run_start to run_stop."""
        return self.end.minutes

    @property
    def why(self) -> str:
        """The reason of an abort."""
        return self.end.why

    @property
    def steps(self) -> int:
        """The step of the last evaluation."""
        return self.curve[-1][0] if self.curve else 0

    @property
    def quality(self) -> dict[str, float]:
        """The metrics of the last evaluation."""
        return self.curve[-1][1] if self.curve else {}


def pick_preset(task: Task, size: Size) -> Preset:
    """Raises InputError: the task has no such size."""
    if size not in task.presets:
        raise InputError(f"task {task.key} has no size {size!r}", nearest(size, task.presets))
    return task.presets[size]


def prepared(task: Task, size: Size, source: Path | None = None) -> Path:
    """The dataset of a task at a size, verified against its manifest: made now if it is not there, or at `source`.

    An official dataset is compared with the checksums its makers published and sealed by a manifest of its own the
    first time it is seen; from then on every file must have the checksum it had.

    Raises:
        InputError: a file does not agree with its checksum; an official dataset is not named, or needlessly named.
    """
    preset = pick_preset(task, size)
    if preset.official:
        if source is None or not source.is_dir():
            raise InputError(
                f"{task.key} at full size needs {preset.dataset}" + (f", and {source} is no folder" if source else ""),
                "name its folder with --data; docs/bench_tasks.md says how it is laid out",
            )
        if not (source / dataset.MANIFEST).exists():
            dataset.compare(source, preset.published)
            dataset.seal(source, {"task": task.key, "dataset": preset.dataset})
        else:
            dataset.verify(source)
        return source
    if source is not None:
        raise InputError(f"{task.key} at size {size} makes its own data", "leave --data out, or use --size full")
    identity = {"task": task.key, "size": size, "dataset": preset.dataset, "data": _plain(preset.data)}
    mark = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:10]
    folder = dataset.cache_folder() / f"{task.key}-{size}-{mark}"
    return dataset.ensure(folder, identity, lambda fresh: task.prepare(preset, fresh))


def run_once(
    task: Task,
    size: Size,
    log: Path,
    *,
    seed: int,
    data: Path | None,
    entrant: Entrant | None = None,
    launch: Launch | None = None,
    device: str = "cpu",
    twin: Twin | None = None,
    progress: bool = True,
) -> Outcome:
    """One run of `task`, logged in `log`, trained until the target or the last step.

    Args:
        data: what `prepared` returned; None for a dry run, which logs the events of a run and makes none.
        launch: its entry in the ledger, which the log names.
        twin: train a negative control instead; the log says so.

    Raises:
        InputError: `log` exists.
        KeyboardInterrupt: stopped by the user; the run is on record as aborted.
    """
    preset, entrant = pick_preset(task, size), entrant or Entrant()
    events = RunEvents(
        log,
        benchmark=task.key,
        division=entrant.division,
        org=entrant.org,
        platform=entrant.platform,
        status=entrant.status,
        size=size,
        # The closed division has the target of its rules; the open one has none but what the task says.
        target=None if entrant.division == "closed" else preset.target.rule(),
    )
    curve: list[tuple[int, dict[str, float]]] = []
    try:
        with events:
            if launch:
                events.setting(ledger_entry=launch.hash)
            if twin:
                events.setting(negative_control=twin)
            if data is None:
                events.setting(dry_run=MARK)
            events.setting(dataset=preset.dataset, dataset_sha256=dataset.digest(data) if data else None)
            _run(task, preset, events, curve, seed, data, device, twin, progress)
    except TrainingError:
        pass  # a run that diverges is a run that did not converge; `events` has written why
    assert events.end is not None
    return Outcome(log, seed, events.end, tuple(curve))


def _run(
    task: Task,
    preset: Preset,
    events: RunEvents,
    curve: list[tuple[int, dict[str, float]]],
    seed: int,
    folder: Path | None,
    device: str,
    twin: Twin | None,
    progress: bool,
) -> None:
    config = preset.train.model_copy(update={"seed": seed, "device": device})
    events.seed(seed)
    events.cache_clear(cleared=True, how=dataset.drop_cached(folder) if folder else [])
    events.init_start()
    torch.manual_seed(seed)
    model = task.build(preset, seed).to(device) if folder else weightless(task, preset, seed)
    names = [name for name, _ in model.named_parameters()]
    events.tensor_initialised(*(official_tensors(task.key, names) if events.division == "closed" else names))
    objective = task.objective(preset)
    events.init_stop()

    events.run_start()
    data = task.open(preset, folder, model, seed) if folder else imagined_data(preset)
    if events.division == "closed":
        _check_samples(preset, data, folder)
    events.samples(train=data.train_samples, evaluation=data.eval_samples)
    events.setting(**hyper_parameters(preset))
    batches = data.batches
    if twin:
        objective, batches, config = broken(twin, objective, batches, config)
    window = _Window(events, preset, data, curve)
    if not folder:
        rehearse(task.key, preset, window)
    else:
        # Nothing of a run is kept but its log: no folder.
        train(
            model,
            objective,
            batches,
            config,
            None,
            runlog=window,
            evaluate=window.evaluate,
            stop=lambda _step, _values: window.over,
            progress=progress,
        )
    if not window.over:
        step, values = curve[-1]
        wanted = preset.target if events.division == "open" else events.target.words()
        events.run_stop("aborted", reason=f"target not reached in {step} steps: {_show(values)}, wanted {wanted}")


def _check_samples(preset: Preset, data: Data, folder: Path | None) -> None:
    """Raises InputError: the data are not as many as those of the closed division, to within a batch."""
    train, evaluation = preset.samples or (data.train_samples, data.eval_samples)
    batch = preset.batch * preset.train.accumulation
    if abs(data.train_samples - train) > batch or data.eval_samples != evaluation:
        raise InputError(
            f"{folder}: {data.train_samples} samples to train and {data.eval_samples} to evaluate with",
            f"the closed division has {train} and {evaluation}; take the whole dataset, or --division open",
        )


def hyper_parameters(preset: Preset) -> dict[str, Any]:
    """What a log says of the optimiser and the batch, by official keys."""
    config = preset.train
    return {
        "global_batch_size": preset.batch * config.accumulation,
        "gradient_accumulation_steps": config.accumulation,
        "opt_name": config.optimizer.name,
        "opt_base_learning_rate": config.optimizer.lr,
        "opt_learning_rate_warmup_steps": config.schedule.warmup_steps(config.steps),
        **preset.settings,
    }


class _Window:
    """Stands where the trainer's log is, and writes the events of the rules in its place.

    The evaluation that reaches the target stops the clock, before the trainer tidies up; what the trainer says
    afterwards is not part of the run.
    """

    def __init__(
        self, events: RunEvents, preset: Preset, data: Data, curve: list[tuple[int, dict[str, float]]]
    ) -> None:
        self.events, self.preset, self.data, self.curve = events, preset, data, curve
        self.values: dict[str, float] = {}  # of the evaluation under way
        self.offset = 1 if preset.epoch == "from one" else 0

    @property
    def over(self) -> bool:
        return self.events.end is not None

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """What the task says of the model; it is logged when the trainer says that the evaluation is over."""
        self.values = self.data.evaluate(model)
        return self.values

    def start(self, key: str, value: Any = None, **metadata: Any) -> None:
        if self.over:
            return
        step = metadata.get("step", 0)
        if key == "block_start":
            self.events.block_start(int(self.passes(step)) + 1, self.passes(self.next_evaluation(step) - step))
        elif key == "eval_start":
            self.events.eval_start(self.epoch(step))

    def end(self, key: str, value: Any = None, **metadata: Any) -> None:
        if self.over:
            return
        if key == "block_stop":
            self.events.block_stop()
        elif key == "eval_stop":
            self.curve.append((metadata["step"], self.values))
            if self.events.eval_stop(self.preset.target.logged(self.values)):
                self.events.run_stop("success")

    def point(self, key: str, value: Any = None, **metadata: Any) -> None:
        pass

    def metrics(self, step: int, **values: float) -> None:
        pass

    def epoch(self, steps: int) -> float:
        """Passes over the data after so many steps, or samples, as the preset has it."""
        return self.offset + self.passes(steps)

    def passes(self, steps: int) -> float:
        batches = steps * self.preset.train.accumulation
        if self.preset.epoch == "samples":
            return batches * self.preset.batch
        # What does not fill a batch at the end of a pass is left out of it.
        number = batches / max(1, self.data.train_samples // self.preset.batch)
        return int(number) if number == int(number) else round(number, 4)

    def next_evaluation(self, step: int) -> int:
        every = self.preset.train.evaluate_every or self.preset.train.steps
        return min(self.preset.train.steps, (step // every + 1) * every)


def run_entry(
    task: Task,
    size: Size,
    out: Path,
    *,
    runs: int,
    entrant: Entrant,
    system: Mapping[str, Any],
    source: Path | None = None,
    device: str = "cpu",
    report: Callable[[int, Outcome], None] = lambda number, outcome: None,
) -> list[Outcome]:
    """`runs` runs in launch order, in the folder layout of a submission: `out`/systems/<system>.json and
    `out`/results/<system>/<benchmark>/result_<i>.txt, and `out`/ledger.jsonl beside them.

    The number of runs is declared in the ledger before the first of them, every run before it starts.

    Raises:
        InputError: closed division at a size other than full (its rules fix data, model and target).
    """
    pick_preset(task, size)
    if entrant.division == "closed" and size != "full":
        raise InputError(
            f"the closed division has no size {size!r}: its rules fix the dataset, the model and the target",
            "use --division open, or --size full with the official dataset",
        )
    data = prepared(task, size, source)
    name = _file_name(str(system.get("system_name") or entrant.platform))
    results = out / "results" / name / task.key
    with storage_errors(out, "making the folder of results"):
        results.mkdir(parents=True, exist_ok=True)
        (out / "systems").mkdir(exist_ok=True)
    write_json(out / "systems" / f"{name}.json", dict(system))
    ledger = Ledger(out / FILE)
    declared = ledger.declare(
        benchmark=task.key, system=name, division=entrant.division, size=size, ruleset=DEFAULT_RULESET, runs=runs
    )
    outcomes = []
    for _ in range(runs):
        launch = ledger.launch(declared, results)
        try:
            outcome = run_once(
                task, size, launch.log, seed=launch.seed, data=data, entrant=entrant, launch=launch, device=device
            )
        finally:
            ledger.end(launch)  # as the log says, whatever became of the run
        outcomes.append(outcome)
        report(launch.number, outcome)
    return outcomes


def dry_entry(
    task: Task,
    size: Size,
    out: Path,
    *,
    runs: int,
    entrant: Entrant,
    system: Mapping[str, Any],
) -> list[Path]:
    """The events of `runs` runs of `size` that did not take place, in logs in `out`/dry_run/<system>/<benchmark>.

    No ledger knows of them, and no score counts them.

    Raises:
        InputError: a size that is made, not official: run it.
    """
    preset = pick_preset(task, size)
    if not preset.official:
        raise InputError(
            f"{task.key} at size {size} has no dry run: it needs nothing but minutes", "run it, or use --size full"
        )
    name = _file_name(str(system.get("system_name") or entrant.platform))
    folder = out / "dry_run" / name / task.key
    with storage_errors(out, "making the folder of logs"):
        folder.mkdir(parents=True, exist_ok=True)
    free = (path for number in count() if not (path := folder / f"result_{number}.txt").exists())
    logs = list(islice(free, runs))
    for log in logs:
        run_once(task, size, log, seed=secrets.randbelow(2**31), data=None, entrant=entrant)
    return logs


def _file_name(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


def _show(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items()) or "no evaluation"
