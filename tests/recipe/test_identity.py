"""Every parameter of every stage kind is judged: it makes another stage, or it is known to change no result."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from podium.recipe import stages  # noqa: F401 - registers the kinds
from podium.recipe.document import Recipe, StageSpec, read_recipe
from podium.recipe.identity import identities
from podium.recipe.registry import find_kind, kinds
from podium.recipe.stages.data_stages import Task
from podium.recipe.stages.model_stages import Shape
from podium.solve import ExamConfig
from podium.solve.exam import exam_identity
from podium.train import TrainConfig

# Whoever adds a parameter adds it here, if no value of it can change a byte of what the stage makes.
FREE = {
    "teach": {"concurrency"},
    "train": {"threads", "checkpoint_every", "evaluate_every"},
    "draft": {"threads", "replicas", "drafter", "checkpoint_every"},
    "exam": {"threads", "replicas", "drafter", "concurrency"},
    "select": {"threads", "replicas", "drafter"},
}
GIVEN: dict[str, dict[str, Any]] = {
    "problems": {"tasks": {"gcd": Task.model_validate({})}},
    "teach": {"style": "cot"},
    "train": {"shape": Shape.model_validate({})},
    "merge": {"weights": {"a": 1.0}},
}
SHIPPED = [kind.name for kind in kinds() if kind.run.__module__.startswith("podium.")]  # other tests register some too
DEMO = Path(__file__).parents[2] / "recipes" / "demo.yaml"


def settings(kind: str) -> BaseModel:
    return find_kind(kind, "test").params.model_validate(GIVEN.get(kind, {}))


def other(value: Any) -> Any:
    """Another value of the same kind; where there is none yet, a number."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return f"{value}x"
        case tuple() | list():
            return type(value)([*value, "x"])
        case dict():
            return {**value, "x": 1.0}
    return 1


def leaves(model: BaseModel) -> Iterator[tuple[str, BaseModel]]:
    """The name of every field, those of nested models too, and the model with another value in that field."""
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            for inner, changed in leaves(value):
                yield f"{name}.{inner}", model.model_copy(update={name: changed})
            continue
        if isinstance(value, dict):
            for key, item in value.items():
                for inner, changed in leaves(item) if isinstance(item, BaseModel) else ():
                    yield f"{name}.{key}.{inner}", model.model_copy(update={name: {**value, key: changed}})
        yield name, model.model_copy(update={name: other(value)})


def identity(kind: str, params: BaseModel) -> str:
    return identities(Recipe("r", 0, {"s": StageSpec("s", find_kind(kind, "test"), params, {})}))["s"]


CASES = [(kind, name, changed) for kind in SHIPPED for name, changed in leaves(settings(kind))]


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # `other` knows no ranges and choices
@pytest.mark.parametrize(("kind", "name", "changed"), CASES, ids=[f"{kind}.{name}" for kind, name, _ in CASES])
def test_a_parameter_makes_another_stage_unless_it_can_change_no_result(
    kind: str, name: str, changed: BaseModel
) -> None:
    same = identity(kind, changed) == identity(kind, settings(kind))
    assert same == (name in FREE.get(kind, set()))


def test_every_judged_parameter_is_there() -> None:
    cases = {(kind, name) for kind, name, _ in CASES}
    assert {(kind, name) for kind, names in FREE.items() for name in names} <= cases


def test_threads_make_nothing_of_the_demo_again() -> None:
    plain = identities(read_recipe(DEMO))
    changed = ["cot.threads=1", "cot.checkpoint_every=7", "tir.evaluate_every=3", "exam_cot.threads=2"]

    assert identities(read_recipe(DEMO, changed)) == plain
    assert identities(read_recipe(DEMO, ["cot.steps=7"])) != plain


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_training_and_exams_follow_the_same_mark() -> None:
    config = TrainConfig(steps=3)
    free = {name for name, changed in leaves(config) if changed.identity() == config.identity()}  # type: ignore[attr-defined]
    assert free == {"threads", "checkpoint_every", "keep_checkpoints", "evaluate_every", "gemm_peak"}
    exam = ExamConfig.model_validate({})
    known = exam_identity([], "m", exam, code=True)
    free = {
        name
        for name, changed in leaves(exam)
        if exam_identity([], "m", changed, code=True) == known  # type: ignore[arg-type]
    }
    assert free == {"concurrency"}
