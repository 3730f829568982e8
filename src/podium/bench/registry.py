"""Which benchmark tasks there are. Knows names and who answers to them; imports a task only when it is asked for.

A task is registered once, by `@benchmark_task` over its class. It is found by its name in two places:

- a file of `podium.bench.tasks`, which is called as its task is;
- an entry point of the group `podium.benchmark_tasks` in any installed package, whose name is the task's.

The rules of a task that is a benchmark of an MLPerf round are those of the round. Every other task is unofficial: it
runs in the open division, and `with_benchmark` makes its rules from what its class says.
"""

from __future__ import annotations

import pkgutil
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from podium.bench import tasks
from podium.bench.rules import BenchmarkRules, Condition, KeyRule, Ruleset, load_ruleset, ruleset_versions
from podium.errors import InputError, nearest
from podium.registry import Registry, place

if TYPE_CHECKING:
    from podium.bench.task import Task

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")
TaskT = TypeVar("TaskT", bound="type[Task]")


class _Tasks(Registry["Task"]):
    def accept(self, name: str, loaded: Any) -> None:
        benchmark_task(loaded)


TASKS = _Tasks(
    "task",
    "podium.benchmark_tasks",
    {module.name: f"{tasks.__name__}.{module.name}" for module in pkgutil.iter_modules(tasks.__path__)},
)


def benchmark_task(chosen: TaskT) -> TaskT:
    """Register a subclass of podium.bench.task.Task under its key; for use as a decorator.

    Raises:
        InputError: the class says too little, or its key belongs to another task or to a benchmark of MLPerf.
    """
    where = place(chosen)
    task = _instance(chosen, where)
    if not chosen.__module__.startswith(f"{tasks.__name__}.") and task.key in {*TASKS.homes, *_of_rounds()}:
        raise InputError(f"{where}: {task.key!r} is a benchmark of MLPerf", "give the task a name of its own")
    TASKS.add(task.key, task, where)
    return chosen


def task_names() -> list[str]:
    """The key of every task: those of the default rule set in its order, then the others. No task is imported."""
    known = set(TASKS)
    official = [name for name in load_ruleset().benchmarks if name in known]
    return official + sorted(known - set(official))


def find_task(key: str) -> Task:
    """The task called `key`.

    Raises:
        InputError: there is none, or the package that offers it cannot be imported or registers no such task.
    """
    return TASKS.find(key)


def with_benchmark(rules: Ruleset, name: str) -> Ruleset:
    """`rules` with a benchmark more, where `name` is an unofficial task; as they are in every other case.

    Raises:
        InputError: the package that offers the task cannot be imported.
    """
    if name in rules.benchmarks or name not in TASKS or name in TASKS.homes or name in _of_rounds():
        return rules
    return rules.model_copy(update={"benchmarks": {**rules.benchmarks, name: _unofficial_rules(find_task(name))}})


def _unofficial_rules(task: Task) -> BenchmarkRules:
    """What is asked of a run of an unofficial task: every common key, its own name, the open division, its target."""
    largest = list(task.presets.values())[-1]
    target = largest.target.rule()
    several = len(largest.target.bounds) > 1
    events = [
        KeyRule(key="submission_benchmark", count="exactly_one", value=Condition(equals=task.key)),
        KeyRule(key="submission_division", count="exactly_one", value=Condition(equals="open")),
    ]
    if several:
        fields = {name: Condition() for name in target.fields}
        shape = {"value": Condition(fields=fields), "metadata": {"epoch_num": Condition()}}
        events.append(KeyRule(key="eval_accuracy", count="at_least_one", **shape))
    return BenchmarkRules(
        area=task.area,
        dataset=largest.dataset,
        model=task.model or task.key,
        runs=5,
        drop=1,
        may_fail=1,
        metric=" and ".join(bound.metric for bound in largest.target.bounds),
        target=target,
        open_target=target,
        epoch_unit="samples" if largest.epoch == "samples" else "epochs",
        reference_convergence=False,
        unofficial=True,
        events=tuple(events),
    )


@lru_cache
def _of_rounds() -> frozenset[str]:
    """The benchmarks of every round that is shipped: none of these names is free."""
    return frozenset(name for version in ruleset_versions() for name in load_ruleset(version).benchmarks)


def _instance(chosen: Any, where: str) -> Task:
    """The task of a class, if the class says all that is asked of a task.

    Raises:
        InputError: what is missing or cannot be used, by name.
    """
    from podium.bench.task import SIZES, Preset, Task
    from podium.bench.twins import TWINS

    cure = "podium.bench.task.Task says what a task has; docs/extending.md shows one"
    if not (isinstance(chosen, type) and issubclass(chosen, Task)):
        raise InputError(f"{where}: a task is a subclass of podium.bench.task.Task", cure)
    if missing := sorted(getattr(chosen, "__abstractmethods__", ())):
        raise InputError(f"{where}: has no {', '.join(missing)}", cure)
    try:
        task = chosen()
    except TypeError as error:
        raise InputError(f"{where}: cannot be made without arguments ({error})", cure) from error
    for name in ("key", "area", "presets"):
        if not getattr(task, name, None):
            raise InputError(f"{where}: has no {name}", cure)
    if not isinstance(task.key, str) or not NAME.fullmatch(task.key):
        raise InputError(f"{where}: key {task.key!r} is no name", "use small letters, digits, and _ . -")
    for size, preset in task.presets.items():
        if size not in SIZES or not isinstance(preset, Preset):
            raise InputError(f"{where}: presets[{size!r}] is no size with its Preset", f"sizes: {', '.join(SIZES)}")
    if task.control not in TWINS:
        raise InputError(f"{where}: control {task.control!r} is no negative control", nearest(str(task.control), TWINS))
    return task
