"""What one timed run logs, and when: a writer that refuses to log anything out of order.

A run passes through five states:

    declared -> initialising -> ready -> running -> stopped
      init_start     init_stop   run_start    run_stop

| state        | what may be logged                                                                        |
|--------------|-------------------------------------------------------------------------------------------|
| declared     | submission_* (written on opening), seed, hyper-parameters, cache_clear                     |
| initialising | the same, and weights_initialization; no data is touched                                   |
| ready        | nothing but run_start: the clock starts before any data is touched                         |
| running      | blocks, epochs, evaluations, hyper-parameters known late, train_samples, eval_samples      |
| stopped      | nothing                                                                                    |

Leaving the `with` block without `stop` writes run_stop with status aborted, so that a run that broke off is on record.
A run that is stopped with success must have logged every key its rules ask for and have reached its target: otherwise
the log would be worth nothing, and the harness is told so at once. Knows rules and lines; not what is trained.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from podium.bench.registry import with_benchmark
from podium.bench.rules import DEFAULT_RULESET, Condition, Ruleset, load_ruleset
from podium.errors import InputError, PodiumError
from podium.runlog import EventFile

Status = Literal["success", "aborted"]
Unit = Literal["block", "epoch"]


class State(StrEnum):
    DECLARED = "declared"
    INITIALISING = "initialising"
    READY = "ready"
    RUNNING = "running"
    STOPPED = "stopped"


class OutOfOrder(RuntimeError):
    """An event was logged where the rules do not allow it: a defect of the harness, never of its user."""


@dataclass(frozen=True, slots=True)
class End:
    """How a run ended: what its run_stop line says.

    `minutes` lie between the time_ms of run_start and run_stop; NaN where one of the two lines is missing. `why` is the
    reason of an abort.
    """

    status: Status
    minutes: float
    why: str = ""


class RunEvents:
    """The events of one run, appended to a fresh `result_<i>.txt`. `end` is None until the run has ended.

    Args:
        path: the file; it must not exist, since a run has one log and a log has one run.
        benchmark, division, org, platform, status: what the submission_* events say (status: cloud, onprem, preview
            or research).
        size: smoke, small or full; named in the log, so that a small run cannot pass for a full one.
        target: the target of a small run, or of an open one; without it the rule set's own counts.

    Raises:
        InputError: unknown benchmark, division, status or rule set; the file exists.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        benchmark: str,
        division: Literal["closed", "open"],
        org: str,
        platform: str,
        status: str = "research",
        size: str = "full",
        target: Condition | None = None,
        ruleset: str = DEFAULT_RULESET,
    ) -> None:
        self.path = Path(path)
        self.rules: Ruleset = with_benchmark(load_ruleset(ruleset), benchmark)
        self.benchmark, self.division, self.size = benchmark, division, size
        given = {
            "submission_benchmark": benchmark,
            "submission_division": division,
            "submission_org": org,
            "submission_platform": platform,
            "submission_status": status,
        }
        for rule in self.rules.key_rules(benchmark, division):
            if rule.key in given and (why := rule.value.fault(given[rule.key])):
                raise InputError(f"{rule.key}: {given[rule.key]!r} {why}", "see docs/bench_rules.md for the values")
        if self.path.exists():
            raise InputError(f"{self.path}: exists already", "a run gets a log of its own; take the next number")
        self.state = State.DECLARED
        self.seen: dict[str, list[Any]] = {}
        self.reached = False
        self.end: End | None = None
        self.started_ms: int | None = None
        self.open_unit: tuple[Unit, float] | None = None
        self.evaluating: float | None = None
        self._file = EventFile(self.path)
        for key, value in given.items():
            self._point(key, value)
        # Keys that no rule set knows; official readers ignore them.
        self._point("benchmark_ruleset", ruleset)
        self._point("benchmark_size", size)
        self.target = target or self.rules.target(benchmark, division)
        if target:
            self._point("quality_target", target.model_dump(exclude_defaults=True))

    # -- before the clock ----------------------------------------------------------------------------------------

    def cache_clear(self, *, cleared: bool = True, **metadata: Any) -> None:
        """The caches of the machine were dropped (or why not: metadata)."""
        self._allow("cache_clear", State.DECLARED, State.INITIALISING)
        self._point("cache_clear", cleared, **metadata)

    def init_start(self) -> None:
        """The model begins to be built; this time is not scored, up to the limit of the rules."""
        self._allow("init_start", State.DECLARED)
        self.state = State.INITIALISING
        self._event("INTERVAL_START", "init_start", None, {})

    def seed(self, seed: int) -> None:
        """The seed of this run; one per run, different in every run of an entry."""
        self._allow("seed", State.DECLARED, State.INITIALISING)
        self._point("seed", seed)

    def tensor_initialised(self, *names: str) -> None:
        """The weights of these tensors have their first values."""
        self._allow("weights_initialization", State.INITIALISING)
        for name in names:
            self._event("POINT_IN_TIME", "weights_initialization", None, {"tensor": name})

    def setting(self, **values: Any) -> None:
        """Hyper-parameters and other facts by their official keys (global_batch_size, opt_name …); each once."""
        self._allow("setting", State.DECLARED, State.INITIALISING, State.RUNNING)
        for key, value in values.items():
            if key in self.seen:
                raise OutOfOrder(f"{key} was logged before")
            self._point(key, value)

    def samples(self, *, train: int, evaluation: int) -> None:
        """How many samples the training and the evaluation set hold."""
        self.setting(train_samples=train, eval_samples=evaluation)

    def init_stop(self) -> None:
        self._allow("init_stop", State.INITIALISING)
        self.state = State.READY
        self._event("INTERVAL_END", "init_stop", None, {})

    # -- on the clock --------------------------------------------------------------------------------------------

    def run_start(self) -> None:
        """The clock starts; from here on data may be touched."""
        self._allow("run_start", State.READY)
        if "cache_clear" not in self.seen or "seed" not in self.seen:
            raise OutOfOrder("cache_clear and seed are logged before run_start")
        self.state = State.RUNNING
        self.started_ms = self._event("INTERVAL_START", "run_start", None, {})

    def block_start(self, first_epoch: float, epochs: float = 1) -> None:
        """Training of `epochs` epochs from `first_epoch` on, without an evaluation in between."""
        self._open("block", first_epoch, {"first_epoch_num": first_epoch, "epoch_count": epochs})

    def block_stop(self) -> None:
        number = self._close("block")
        self._event("INTERVAL_END", "block_stop", None, {"first_epoch_num": number})

    def epoch_start(self, epoch: float) -> None:
        self._open("epoch", epoch, {"epoch_num": epoch})

    def epoch_stop(self) -> None:
        number = self._close("epoch")
        self._event("INTERVAL_END", "epoch_stop", None, {"epoch_num": number})

    def eval_start(self, epoch: float) -> None:
        """An evaluation after `epoch` epochs (bert: samples; dlrm: 1 + k/20)."""
        self._allow("eval_start", State.RUNNING)
        if self.evaluating is not None:
            raise OutOfOrder("an evaluation is under way")
        self.evaluating = epoch
        self._event("INTERVAL_START", "eval_start", None, {"epoch_num": epoch})

    def eval_stop(self, quality: float | Mapping[str, float], **metadata: Any) -> bool:
        """The result of the evaluation under way: a number, or BBOX and SEGM of maskrcnn. Is the target reached?"""
        self._allow("eval_accuracy", State.RUNNING)
        if self.evaluating is None:
            raise OutOfOrder("no evaluation is under way")
        epoch, self.evaluating = self.evaluating, None
        self._event("INTERVAL_END", "eval_stop", None, {"epoch_num": epoch})
        value = dict(quality) if isinstance(quality, Mapping) else quality
        self._event("POINT_IN_TIME", "eval_accuracy", value, {"epoch_num": epoch, **metadata})
        reached = self.target.holds(value)
        self.reached = self.reached or reached
        return reached

    def run_stop(self, status: Status, **metadata: Any) -> None:
        """The clock stops; `success` needs the target reached and every key of the rules logged."""
        self._allow("run_stop", State.RUNNING)
        if status == "success":
            if not self.reached:
                raise OutOfOrder("success without an evaluation that reached the target")
            if self.evaluating is not None or self.open_unit is not None:
                raise OutOfOrder("success in the middle of a block, an epoch or an evaluation")
            if missing := self.missing():
                raise OutOfOrder("success without " + ", ".join(missing))
        self._stop(status, metadata)

    def missing(self) -> list[str]:
        """Keys that the rules ask for and that were not logged so far (run_stop apart)."""
        optimizer = self.seen.get("opt_name", [None])[0]
        rules = self.rules.key_rules(self.benchmark, self.division, optimizer)
        return sorted(
            {
                rule.key
                for rule in rules
                if rule.count != "any"
                and rule.key != "run_stop"
                and not any(key in self.seen for key in (rule.key, *rule.alternatives))
            }
        )

    # -- the with block ------------------------------------------------------------------------------------------

    def __enter__(self) -> RunEvents:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        # What happens after run_stop changes nothing: the line is written, and it is the line that counts.
        reason = "left without run_stop"
        if kind:
            reason = error.message if isinstance(error, PodiumError) else f"{kind.__name__}: {error}"
        try:
            if self.state is State.RUNNING:
                self._stop("aborted", {"reason": reason[:500]})
        finally:
            if self.end is None:
                self.end = End("aborted", math.nan, reason)
            self._file.close()

    # -- inside --------------------------------------------------------------------------------------------------

    def _stop(self, status: Status, metadata: dict[str, Any]) -> None:
        """Write run_stop. The one place where a run ends: whoever asks how it ended asks `end`, or the line itself."""
        # A second line is never tried: the first may stand in the file although writing it was reported as failed.
        self.state = State.STOPPED
        stopped_ms = self._event("INTERVAL_END", "run_stop", None, {"status": status, **metadata}, depth=4)
        assert self.started_ms is not None
        self.end = End(status, (stopped_ms - self.started_ms) / 60_000, str(metadata.get("reason", "")))

    def _allow(self, what: str, *states: State) -> None:
        if self.state not in states:
            raise OutOfOrder(f"{what} while the run is {self.state}; allowed: {', '.join(states)}")

    def _open(self, unit: Unit, number: float, metadata: dict[str, Any]) -> None:
        self._allow(f"{unit}_start", State.RUNNING)
        if self.open_unit is not None:
            raise OutOfOrder(f"{unit}_start inside of {self.open_unit[0]} {self.open_unit[1]}")
        self.open_unit = (unit, number)
        self._event("INTERVAL_START", f"{unit}_start", None, metadata, depth=4)

    def _close(self, unit: Unit) -> float:
        if self.open_unit is None or self.open_unit[0] != unit:
            raise OutOfOrder(f"{unit}_stop without {unit}_start")
        number, self.open_unit = self.open_unit[1], None
        return number

    def _point(self, key: str, value: Any, **metadata: Any) -> None:
        self._event("POINT_IN_TIME", key, value, metadata, depth=4)

    def _event(self, kind: str, key: str, value: Any, metadata: dict[str, Any], *, depth: int = 3) -> int:
        time_ms = self._file.event(kind, key, value, metadata, depth=depth)
        self.seen.setdefault(key, []).append(value)
        return time_ms
