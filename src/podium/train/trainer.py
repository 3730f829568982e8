"""The training loop. Knows steps, not what is learnt in them.

A step is: micro-batches forward and backward, sums divided once, the guard, clipping, the optimiser. Everything the
next step depends on is in the checkpoint, so that a run broken off anywhere ends with the weights of an undisturbed
one, bit for bit, on the same machine with the same number of threads.
"""

from __future__ import annotations

import math
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from podium import interrupts
from podium.errors import TrainingError
from podium.models.finite import all_finite
from podium.settings import NOT_IDENTITY, identity_of
from podium.train.checkpoint import (
    average_weights,
    check_same,
    load_newest,
    prune,
    save_checkpoint,
    save_weights,
)
from podium.train.guard import Guard
from podium.train.objective import Batch, Objective
from podium.train.optim import OptimizerConfig, Optimizers, make_optimizer
from podium.train.progress import TrainingProgress
from podium.train.schedule import ScheduleConfig
from podium.train.throughput import Peak


class BatchSource(Protocol):
    """Batches without end, from a position that can be saved."""

    def next(self) -> Any: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class EventLog(Protocol):
    """Where events and curves go; a RunLog, or what a benchmark puts in its place."""

    def point(self, key: str, value: Any = None, **metadata: Any) -> None: ...
    def start(self, key: str, value: Any = None, **metadata: Any) -> None: ...
    def end(self, key: str, value: Any = None, **metadata: Any) -> None: ...
    def metrics(self, step: int, **values: float) -> None: ...


class TrainConfig(BaseModel):
    """How to train. Whatever changes the resulting weights must stay the same when a run is resumed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(gt=0)
    seed: int = 0
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    accumulation: int = Field(default=1, gt=0, description="micro-batches per step")
    clip: float = Field(default=1.0, ge=0, description="largest gradient norm; 0: no clipping")
    precision: Literal["float32", "bfloat16"] = Field(default="float32", description="of matrix products (autocast)")
    threads: Annotated[int | None, NOT_IDENTITY] = Field(
        default=None, gt=0, description="CPU threads; None: torch's own number"
    )
    device: str = "cpu"
    average: int = Field(
        default=0, ge=0, description="end with the mean of this many equally spaced states; 0: the last state"
    )
    guard_sigmas: float = Field(default=6.0, ge=0, description="skip a step this far above the recent mean; 0: never")
    guard_window: int = Field(default=128, ge=4, description="steps the guard remembers")
    patience: int = Field(default=5, gt=0, description="give up after this many steps in a row that are not finite")

    checkpoint_every: Annotated[int, NOT_IDENTITY] = Field(
        default=0, ge=0, description="steps; 0: only at the end and when stopped"
    )
    keep_checkpoints: Annotated[int, NOT_IDENTITY] = Field(default=2, gt=0)
    evaluate_every: Annotated[int, NOT_IDENTITY] = Field(
        default=0, ge=0, description="steps; 0: only after the last one"
    )
    gemm_peak: Annotated[float | None, NOT_IDENTITY] = Field(
        default=None, gt=0, description="FLOP/s that MFU is measured against; None: measure"
    )

    def identity(self) -> dict[str, Any]:
        """What the weights depend on (podium.settings), flattened: name -> value."""
        return {
            name if inner is None else f"{name}.{inner}": value
            for name, outer in identity_of(self, "python").items()
            for inner, value in (outer.items() if isinstance(outer, dict) else [(None, outer)])
        }


@dataclass(slots=True)
class TrainResult:
    """What came out. Throughput is of this process, over steps only (evaluation and checkpoints not counted)."""

    steps: int
    loss: float  # of the last step taken, per trained item
    count: int  # items (tokens) seen over the whole run, resumed parts included
    skipped: int  # outliers
    not_finite: int
    resumed_at: int | None
    stopped_early: bool
    seconds: float
    count_per_second: float
    mfu: float | None
    evaluations: list[tuple[int, dict[str, float]]] = field(default_factory=list)


@dataclass(slots=True)
class _Progressing:
    """The counters that belong to the state of a run."""

    step: int = 0
    count: int = 0
    skipped: int = 0
    not_finite: int = 0
    not_finite_in_a_row: int = 0
    loss: float = math.nan
    evaluations: list[Any] = field(default_factory=list)
    stopped_early: bool = False


def train(
    model: nn.Module,
    objective: Objective,
    batches: BatchSource,
    config: TrainConfig,
    folder: Path | str | None,
    *,
    runlog: EventLog,
    evaluate: Callable[[nn.Module], dict[str, float]] | None = None,
    stop: Callable[[int, dict[str, float]], bool] | None = None,
    progress: bool = True,
) -> TrainResult:
    """Train `model` in place for `config.steps` steps, going on from the newest whole checkpoint in `folder`.

    Args:
        folder: where checkpoints are kept; None keeps none, for a run that is timed and never resumed.
        evaluate: called after every `evaluate_every` steps and the last one, with the model in eval mode; what it
            draws from torch's random state does not change the training.
        stop: called with the step and the result of each evaluation; True ends the run there.

    Raises:
        TrainingError: loss not finite `patience` times in a row; a checkpoint of another run in `folder`; weights
            that are not finite to begin with; a mean of states (`average`) without a folder to keep them in.
        StorageError: the disk is full or not writable; earlier checkpoints are kept.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after the step under way was finished and saved.
    """
    return _Run(
        model, objective, batches, config, Path(folder) if folder else None, runlog, evaluate, stop, progress
    ).run()


class _Run:
    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        batches: BatchSource,
        config: TrainConfig,
        folder: Path | None,
        runlog: EventLog,
        evaluate: Callable[[nn.Module], dict[str, float]] | None,
        stop: Callable[[int, dict[str, float]], bool] | None,
        progress: bool,
    ) -> None:
        self.device = torch.device(config.device)
        self.model = model.to(self.device)
        self.objective, self.batches, self.config, self.folder = objective, batches, config, folder
        self.runlog, self.evaluate, self.stop, self.shown = runlog, evaluate, stop, progress
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimizer: Optimizers = make_optimizer(model, config.optimizer)
        self.guard = Guard(config.guard_sigmas, config.guard_window)
        self.at = _Progressing()
        self.snapshot_steps = (
            {round(i * config.steps / config.average) for i in range(1, config.average + 1)}
            if config.average
            else set()
        )
        if self.folder is None and self.snapshot_steps:
            raise TrainingError("a mean of several states needs a folder to keep them in", "name one, or average: 0")
        self.saved_at = -1

    # -- the whole run -------------------------------------------------------------------------------------------

    def run(self) -> TrainResult:
        with _threads(self.config.threads):
            resumed_at = self.resume()
            if resumed_at is None:
                self.check_weights()
                _seed_everything(self.config.seed)
            self.announce(resumed_at)
            try:
                return self.loop(resumed_at)
            except BaseException:
                self.runlog.end("run_stop", None, status="aborted", step=self.at.step)
                raise

    def loop(self, resumed_at: int | None) -> TrainResult:
        began, counted, busy, flops = self.at.step, self.at.count, 0.0, 0.0
        peak = Peak(self.device, self.compute_dtype(), self.config.gemm_peak)
        unit = "items"
        with (
            _interruptible() as interrupted,
            TrainingProgress(self.config.steps, self.at.step, shown=self.shown) as shown,
        ):
            if resumed_at is not None:
                shown.line(f"resuming after step {resumed_at}")
            self.model.train()
            while self.at.step < self.config.steps and not self.at.stopped_early:
                started = time.perf_counter()
                micro = [self.batches.next().to(self.device) for _ in range(self.config.accumulation)]
                numbers = self.step(micro)
                seconds = time.perf_counter() - started
                count, unit = sum(batch.count for batch in micro), micro[0].unit
                work = sum(self.objective.flops(self.model, batch) for batch in micro)
                busy, flops = busy + seconds, flops + work
                self.at.count += count
                mfu = peak.share(work, seconds)
                self.log_step(numbers, f"{unit}_per_second", count / seconds, mfu)
                shown.step(
                    self.at.step,
                    loss=numbers["loss"],
                    **{f"{unit}/s": (self.at.count - counted) / busy},
                    mfu=peak.share(flops, busy),
                )
                if numbers["verdict"] != "ok":
                    shown.line(self.describe_skip(numbers))
                self.after_step(shown)
                if interrupted():
                    self.save()
                    raise KeyboardInterrupt
            self.save()
        self.finish()
        return TrainResult(
            steps=self.at.step,
            loss=self.at.loss,
            count=self.at.count,
            skipped=self.at.skipped,
            not_finite=self.at.not_finite,
            resumed_at=resumed_at,
            stopped_early=self.at.stopped_early,
            seconds=busy,
            count_per_second=(self.at.count - counted) / busy if self.at.step > began else 0.0,
            mfu=peak.share(flops, busy),
            evaluations=[(step, values) for step, values in self.at.evaluations],
        )

    # -- one step ------------------------------------------------------------------------------------------------

    def step(self, micro: list[Batch]) -> dict[str, Any]:
        """Forward, backward, guard, clip, update. Returns loss, lr, grad_norm, verdict and the objective's metrics."""
        config = self.config
        losses = []
        total = weight = 0.0
        metrics: dict[str, float] = {}
        for batch in micro:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
                loss = self.objective(self.model, batch)
            loss.total.backward()
            losses.append(loss.total.detach())
            weight += loss.weight
            for name, value in loss.metrics.items():
                metrics[name] = metrics.get(name, 0.0) + value
        gradients: list[Tensor] = [p.grad for p in self.parameters if p.grad is not None]
        if not gradients or weight <= 0:
            raise TrainingError(
                f"step {self.at.step + 1}: nothing to learn from (weight {weight:g}, {len(gradients)} gradients)",
                "check that the batches have trained items and the model has trainable parameters",
            )
        # One wait for the device: loss and norm together.
        norm = nn.utils.get_total_norm(gradients)
        *sums, norm_sum = torch.stack([*losses, norm]).double().tolist()
        total = sum(sums)
        mean, grad_norm = total / weight, norm_sum / weight
        factor = config.schedule.factor(self.at.step, config.steps)
        verdict = self.guard.judge(mean, grad_norm)
        if verdict == "ok":
            clip = min(1.0, config.clip / (grad_norm + 1e-6)) if config.clip else 1.0
            for gradient in gradients:
                gradient.mul_(clip / weight)
            self.optimizer.set_rate(factor)
            self.optimizer.step()
            self.at.loss = mean
        self.optimizer.zero_grad()
        self.at.step += 1
        self.count_verdict(verdict, mean, grad_norm)
        return {
            "loss": mean,
            "lr": config.optimizer.lr * factor,
            "grad_norm": grad_norm,
            "verdict": verdict,
            **{name: value / weight for name, value in metrics.items()},
        }

    def count_verdict(self, verdict: str, loss: float, grad_norm: float) -> None:
        at = self.at
        if verdict == "ok":
            at.not_finite_in_a_row = 0
            return
        self.runlog.point("step_skipped", verdict, step=at.step, loss=_loggable(loss), grad_norm=_loggable(grad_norm))
        if verdict == "outlier":
            at.skipped += 1
            at.not_finite_in_a_row = 0
            return
        at.not_finite += 1
        at.not_finite_in_a_row += 1
        if at.not_finite_in_a_row >= self.config.patience:
            raise TrainingError(
                f"the loss or its gradient was not finite in {at.not_finite_in_a_row} steps in a row "
                f"(up to step {at.step}: loss {loss:g}, gradient norm {grad_norm:g}); no such step was taken",
                "lower the learning rate or lengthen the warm-up; the last checkpoint is from before",
            )

    # -- between steps -------------------------------------------------------------------------------------------

    def after_step(self, shown: TrainingProgress) -> None:
        config, at = self.config, self.at
        last = at.step == config.steps
        if self.evaluate and (last or (config.evaluate_every and at.step % config.evaluate_every == 0)):
            values = self.run_evaluation(self.evaluate)
            shown.line(f"step {at.step}: " + "  ".join(f"{k} {v:.4g}" for k, v in values.items()))
            at.evaluations.append([at.step, values])
            at.stopped_early = bool(self.stop and self.stop(at.step, values)) and not last
        if at.step in self.snapshot_steps:
            save_weights(self.snapshot_path(at.step), _state_on_cpu(self.model))
        if config.checkpoint_every and at.step % config.checkpoint_every == 0:
            self.save()

    def run_evaluation(self, evaluate: Callable[[nn.Module], dict[str, float]]) -> dict[str, float]:
        self.runlog.end("block_stop", None, step=self.at.step)
        self.runlog.start("eval_start", None, step=self.at.step)
        state = _random_state()
        self.model.eval()
        with torch.no_grad():
            values = evaluate(self.model)
        self.model.train()
        _restore_random_state(state)
        for name, value in values.items():
            self.runlog.point(f"eval_{name}", value, step=self.at.step)
        self.runlog.end("eval_stop", None, step=self.at.step)
        if self.at.step < self.config.steps:
            self.runlog.start("block_start", None, step=self.at.step)
        return values

    def log_step(self, numbers: dict[str, Any], rate_name: str, rate: float, mfu: float | None) -> None:
        values = {name: value for name, value in numbers.items() if name != "verdict"}
        values[rate_name] = rate
        if mfu is not None:
            values["mfu"] = mfu
        # JSON has no infinity: a number that is not finite is left out of the curve; step_skipped tells of it.
        self.runlog.metrics(self.at.step, **{k: v for k, v in values.items() if math.isfinite(v)})

    def describe_skip(self, numbers: dict[str, Any]) -> str:
        why = "not finite" if numbers["verdict"] == "not_finite" else f"{self.config.guard_sigmas:g} sigma above recent"
        return f"step {self.at.step} skipped: loss {numbers['loss']:.4g}, grad norm {numbers['grad_norm']:.4g} ({why})"

    def announce(self, resumed_at: int | None) -> None:
        config, log = self.config, self.runlog
        if resumed_at is not None:
            log.point("run_resumed", None, step=resumed_at)
            return
        log.start("run_start", None)
        log.point("seed", config.seed)
        log.point("opt_name", config.optimizer.name)
        log.point("opt_base_learning_rate", config.optimizer.lr)
        log.point("opt_learning_rate_warmup_steps", config.schedule.warmup_steps(config.steps))
        log.point("gradient_accumulation_steps", config.accumulation)
        log.start("block_start", None, step=0)

    def finish(self) -> None:
        if self.config.average and not self.at.stopped_early:
            average = average_weights([self.snapshot_path(step) for step in sorted(self.snapshot_steps)])
            self.model.load_state_dict(average)
        self.model.eval()
        if not self.evaluate:
            self.runlog.end("block_stop", None, step=self.at.step)
        self.runlog.end("run_stop", None, status="success", step=self.at.step)

    # -- state ---------------------------------------------------------------------------------------------------

    def save(self) -> None:
        if self.folder is None or self.saved_at == self.at.step:
            return
        at = self.at
        save_checkpoint(
            self.checkpoints,
            at.step,
            {
                "config": self.config.identity(),
                "shapes": self.shapes(),
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "batches": self.batches.state_dict(),
                "guard": self.guard.state_dict(),
                "random": _random_state(),
                "at": {name: getattr(at, name) for name in _Progressing.__slots__},
            },
        )
        self.saved_at = at.step
        prune(self.checkpoints, self.config.keep_checkpoints)

    def resume(self) -> int | None:
        """Load the newest whole checkpoint, if any; returns its step."""
        if self.folder is None:
            return None
        state, damaged = load_newest(self.checkpoints)
        for step in damaged:
            self.runlog.point("checkpoint_damaged", None, step=step)
        if state is None:
            return None
        check_same("setting", state["config"], self.config.identity(), self.folder)
        check_same("shape of", state["shapes"], self.shapes(), self.folder)
        self.batches.load_state_dict(state["batches"])
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.guard.load_state_dict(state["guard"])
        _restore_random_state(state["random"])
        self.at = _Progressing(**state["at"])
        self.saved_at = self.at.step
        return self.at.step

    @property
    def checkpoints(self) -> Path:
        assert self.folder is not None
        return self.folder / "checkpoints"

    def snapshot_path(self, step: int) -> Path:
        assert self.folder is not None
        return self.folder / "snapshots" / f"step-{step:08d}.pt"

    def shapes(self) -> dict[str, list[int]]:
        return {name: list(value.shape) for name, value in self.model.state_dict().items()}

    def check_weights(self) -> None:
        for name, value in self.model.named_parameters():
            if not all_finite(value):
                raise TrainingError(
                    f"the weights of {name} are not finite before the first step",
                    "the model folder may be damaged; load or make the model again",
                )

    def compute_dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.config.precision == "bfloat16" else torch.float32


def _state_on_cpu(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().cpu() for name, value in model.state_dict().items()}


def _seed_everything(seed: int) -> None:
    random.seed(seed)
    torch.manual_seed(seed)


def _random_state() -> dict[str, Any]:
    state: dict[str, Any] = {"torch": torch.get_rng_state(), "python": random.getstate()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def _restore_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    random.setstate(state["python"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])


def _loggable(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Within, the first SIGINT or SIGTERM is remembered instead of acted on; a second one acts as usual."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    before = {number: signal.getsignal(number) for number in _STOP_SIGNALS}

    def remember(number: int, _frame: Any) -> None:
        asked.set()
        interrupts.note(number)
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in before:
        signal.signal(number, remember)
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
