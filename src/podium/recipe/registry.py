"""What a stage is: a typed function from named input folders to one output folder, under a name.

Knows neither recipes nor the order of stages. A stage kind is registered once, with a version that its author raises
whenever the same parameters and inputs would give something else; the version is part of the stage's identity.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict

from podium.errors import InputError, PodiumError, nearest
from podium.registry import Registry, place

if TYPE_CHECKING:
    from rich.console import Console

    from podium.runlog import RunLog

RESERVED = frozenset({"kind", "inputs"})
TOKENS_PER_SOLUTION = 100  # roughly, for estimates


class Params(BaseModel):
    """Base of every stage's parameter model: unknown keys are errors, defaults are checked like given values."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def checked(value: str, check: Callable[[], object]) -> str:
    """`value`, once `check` accepts it: a wrong name is told of before the first stage runs, not in the last one.

    Raises:
        ValueError: what `check` had against it, for pydantic to report with the field's place.
    """
    try:
        check()
    except PodiumError as error:
        raise ValueError(f"{error.message}; {error.cure}") from error
    return value


@dataclass(frozen=True, slots=True)
class StageReport:
    """What a stage has to say when it is finished: named figures, JSON values only."""

    metrics: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a stage will cost, from its parameters alone: rows written, FLOPs, seconds. None: nobody can say.

    `sizes` are named numbers for the estimates of later stages, such as the parameters of the model it makes.
    """

    rows: int | None = None
    flops: float | None = None
    seconds: float | None = None
    note: str = ""
    sizes: Mapping[str, float] = field(default_factory=dict)


class Progress(Protocol):
    """Where a stage says how far it is. May be called as often as is convenient; the view decides what to draw."""

    def __call__(self, done: float, total: float | None = None, note: str = "", **metrics: float | str) -> None: ...


@dataclass(frozen=True, slots=True)
class StageContext:
    """What a stage is given besides parameters and inputs.

    Attributes:
        name: the stage's name in the recipe.
        folder: where its outputs go. Files of an interrupted run of the same identity may be there already.
        state: scratch for what resuming needs (journals, checkpoints); emptied once the stage is finished.
        run_folder: the folder of the whole run; other stages' folders are to be reached through inputs alone.
        seed: the recipe's seed.
        runlog: run.log and metrics.jsonl inside `folder`; appended to over interruptions.
        progress: `progress(done, total, note, loss=…)`.
        console: rich console; what is printed there appears above the live line.
        resumed: an earlier run of the same identity was interrupted in this folder.
    """

    name: str
    folder: Path
    state: Path
    run_folder: Path
    seed: int
    runlog: RunLog
    progress: Progress
    console: Console
    resumed: bool


RunFunction = Callable[[StageContext, Any, dict[str, Path]], StageReport]
EstimateFunction = Callable[[Any, Mapping[str, Estimate]], Estimate]
RunT = TypeVar("RunT", bound=RunFunction)


@dataclass(frozen=True, slots=True)
class StageKind:
    """A registered stage function. `inputs` None: any roles are taken."""

    name: str
    version: str
    params: type[BaseModel]
    run: RunFunction
    inputs: tuple[str, ...] | None
    optional: tuple[str, ...]
    estimate: EstimateFunction | None


KINDS: Registry[StageKind] = Registry("stage kind", "podium.stage_kinds")


def stage(
    kind: str,
    *,
    version: str | int,
    inputs: Sequence[str] | None = None,
    optional: Sequence[str] = (),
    estimate: EstimateFunction | None = None,
) -> Callable[[RunT], RunT]:
    """Register `run(context, params, inputs) -> StageReport` as a stage kind.

    Args:
        kind: the name recipes use.
        version: raise it whenever equal parameters and inputs would give other outputs.
        inputs: roles that must be given; None takes any roles.
        optional: roles that may be given too.
        estimate: `estimate(params, {role: Estimate of what is behind it})` for the dry run; a path's is empty.

    Raises:
        TypeError: the function's `params` is not annotated with a pydantic model.
        InputError: another function has that name.
    """

    def register(run: RunT) -> RunT:
        model = get_type_hints(run).get("params")
        if not (inspect.isclass(model) and issubclass(model, BaseModel)):
            raise TypeError(f"stage {kind!r}: annotate its `params` with a pydantic model")
        if clash := RESERVED & set(model.model_fields):
            raise TypeError(f"stage {kind!r}: parameters may not be called {', '.join(sorted(clash))}")
        roles = None if inputs is None else tuple(inputs)
        KINDS.add(kind, StageKind(kind, str(version), model, run, roles, tuple(optional), estimate), place(run))
        return run

    return register


def kinds() -> list[StageKind]:
    """Every stage kind that a recipe can name: Podium's own in the order in which they were registered, then those
    of installed packages.

    Raises:
        InputError: a package that offers one cannot be imported.
    """
    return [KINDS[kind] for kind in KINDS]


def find_kind(kind: str, where: str) -> StageKind:
    """The stage kind of that name.

    Raises:
        InputError: there is none; names the nearest. Or the package that offers it cannot be imported.
    """
    if kind not in KINDS:
        raise InputError(f"{where}: unknown stage kind {kind!r}", nearest(kind, KINDS))
    return KINDS[kind]
