"""A recipe file as a person writes it: YAML read with line numbers, checked, overridden, written back.

Knows stage kinds, but runs nothing and looks at no run folder. Every complaint names file:line and the field.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from podium.errors import InputError, nearest
from podium.folders import RUN_FILES
from podium.recipe.registry import RESERVED, StageKind, find_kind
from podium.storage import storage_errors

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
TOP = ("name", "seed", "stages")
# Names a stage folder would collide with inside the run folder.
TAKEN = RUN_FILES
LineMap = dict[tuple[str, ...], int]


@dataclass(frozen=True, slots=True)
class Input:
    """Where a stage's input comes from: another stage's folder (or a path inside it), or a path of the user's."""

    stage: str | None
    path: Path | None  # absolute for the user's paths; relative to the stage's folder otherwise

    def written(self) -> str:
        """As it stands in a recipe."""
        if self.stage is None:
            return str(self.path)
        return self.stage if self.path is None else f"{self.stage}/{self.path}"


@dataclass(frozen=True, slots=True)
class StageSpec:
    """One stage of a recipe, checked."""

    name: str
    kind: StageKind
    params: BaseModel
    inputs: dict[str, Input]


@dataclass(frozen=True, slots=True)
class Recipe:
    """A checked recipe; `stages` are in an order in which every stage comes after its inputs."""

    name: str
    seed: int
    stages: dict[str, StageSpec]

    def as_yaml(self) -> str:
        """The recipe as it ran: overrides and defaults written out, paths absolute. Reading it gives the same chain."""
        stages = {
            spec.name: {
                "kind": spec.kind.name,
                **({"inputs": {role: source.written() for role, source in spec.inputs.items()}} if spec.inputs else {}),
                **spec.params.model_dump(mode="json"),
            }
            for spec in self.stages.values()
        }
        return yaml.safe_dump(
            {"name": self.name, "seed": self.seed, "stages": stages}, sort_keys=False, allow_unicode=True, width=120
        )


def read_recipe(path: Path | str, overrides: Sequence[str] = ()) -> Recipe:
    """Read and check a recipe.

    Args:
        path: the YAML file. Input paths inside it are relative to its folder.
        overrides: `stage.key=value`, `stage.inputs.role=value`, `seed=value` or `name=value`; values are YAML.

    Raises:
        InputError: not YAML, unknown or missing key, stage, kind or input, wrong value, cycle; with file:line.
    """
    path = Path(path)
    with storage_errors(path, "reading"):
        data = path.read_bytes()
    try:
        value, lines = _parse(path, data.decode())
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start})", "a recipe is a YAML text file") from error
    if not isinstance(value, dict):
        raise InputError(f"{path}: not a recipe", "it needs `name:` and `stages:`")
    for key in value:
        if key not in TOP:
            raise InputError(f"{path}:{lines.get((str(key),), 1)}: unknown key {key!r}", nearest(str(key), TOP))
    stages = value.get("stages")
    if not isinstance(stages, dict) or not stages:
        raise InputError(
            f"{path}:{lines.get(('stages',), 1)}: field 'stages': a recipe needs at least one stage",
            "write `stages:` and below it NAME: {kind: …}",
        )
    value.setdefault("name", path.stem)
    for override in overrides:
        _override(value, override, lines)
    return _check(path, value, lines)


def _parse(path: Path, text: str) -> tuple[Any, LineMap]:
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        lines: LineMap = {}
        if node is not None:
            _note_lines(path, node, (), lines)
        return (loader.construct_document(node) if node is not None else None), lines
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or str(error)
        raise InputError(
            f"{where}: not YAML ({problem})", f"look at column {mark.column + 1}" if mark else "a recipe is text"
        ) from error
    finally:
        loader.dispose()


def _note_lines(path: Path, node: yaml.Node, at: tuple[str, ...], lines: LineMap) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, child in node.value:
            name = str(key.value)
            if name in seen:
                raise InputError(f"{path}:{key.start_mark.line + 1}: {name!r} stands here twice", "keep one of them")
            seen.add(name)
            lines[*at, name] = key.start_mark.line + 1
            _note_lines(path, child, (*at, name), lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            lines[*at, str(index)] = child.start_mark.line + 1
            _note_lines(path, child, (*at, str(index)), lines)


def _override(value: dict[str, Any], override: str, lines: LineMap) -> None:
    where = f"--set {override}"
    key, equals, text = override.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts):
        raise InputError(f"{where}: not of the form stage.key=value", "for example --set train.steps=200")
    try:
        new = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{where}: the value is not YAML", "quote it, or write a plain number or word") from error
    if parts in (["seed"], ["name"]):
        value[parts[0]] = new if parts[0] == "seed" else text
        return
    stages = value["stages"]
    # A stage name may itself hold dots.
    name = next((n for i in range(len(parts), 0, -1) if (n := ".".join(parts[:i])) in stages), None)
    if name is None:
        raise InputError(f"{where}: no stage {parts[0]!r}", nearest(parts[0], [*map(str, stages), "seed", "name"]))
    rest = parts[name.count(".") + 1 :]
    if not rest:
        raise InputError(f"{where}: says no key", f"write --set {name}.KEY=VALUE")
    target = stages[name]
    for depth, part in enumerate(rest[:-1]):
        if not isinstance(target, dict):
            raise InputError(f"{where}: {'.'.join([name, *rest[:depth]])} has no keys", "")
        target = target.setdefault(part, {})
    if not isinstance(target, dict):
        raise InputError(f"{where}: {'.'.join([name, *rest[:-1]])} has no keys", "override it as a whole")
    target[rest[-1]] = new
    # An error in the new value is an error of the option, not of a line of the file.
    lines["--set", "stages", name, *rest] = 0


def _where(path: Path, lines: LineMap, at: Sequence[str]) -> str:
    for end in range(len(at), 0, -1):
        if ("--set", *at[:end]) in lines:
            return "--set " + ".".join(at[1:])
        if tuple(at[:end]) in lines:
            return f"{path}:{lines[tuple(at[:end])]}"
    return str(path)


def _check(path: Path, value: dict[str, Any], lines: LineMap) -> Recipe:
    name, seed, stages = value["name"], value.get("seed", 0), value["stages"]
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise InputError(
            f"{_where(path, lines, ['name'])}: field 'name': {name!r} cannot name a folder", "letters, digits, _ . + -"
        )
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise InputError(f"{_where(path, lines, ['seed'])}: field 'seed': {seed!r}", "a whole number from 0 on")
    specs = {str(stage): _check_stage(path, str(stage), body, stages, lines) for stage, body in stages.items()}
    return Recipe(name, seed, _ordered(path, specs, lines))


def _check_stage(path: Path, name: str, body: Any, stages: dict[str, Any], lines: LineMap) -> StageSpec:
    at = ["stages", name]
    where = _where(path, lines, at)
    if not NAME.fullmatch(name) or name in TAKEN:
        raise InputError(f"{where}: {name!r} cannot name a stage", "letters, digits, _ . + -, and no file of the run")
    if not isinstance(body, dict) or not isinstance(body.get("kind"), str):
        raise InputError(f"{where}: stage {name!r} has no kind", f"write {name}: {{kind: …}}")
    kind = find_kind(body["kind"], _where(path, lines, [*at, "kind"]))
    params = {str(key): item for key, item in body.items() if key not in RESERVED}
    try:
        checked = kind.params.model_validate(params, context={"folder": path.parent.absolute()})
    except ValidationError as error:
        raise _explain(path, name, kind, error, lines) from error
    return StageSpec(name, kind, checked, _check_inputs(path, name, kind, body.get("inputs") or {}, stages, lines))


def _explain(path: Path, name: str, kind: StageKind, error: ValidationError, lines: LineMap) -> InputError:
    first = error.errors(include_url=False)[0]
    at = ["stages", name, *map(str, first["loc"])]
    field = ".".join([name, *map(str, first["loc"])])
    if first["type"] == "extra_forbidden":
        known: Any = kind.params
        for part in first["loc"][:-1]:
            known = known.model_fields[part].annotation if part in getattr(known, "model_fields", {}) else None
        names = list(getattr(known, "model_fields", {})) + (["inputs"] if len(first["loc"]) == 1 else [])
        unknown = str(first["loc"][-1])
        return InputError(f"{_where(path, lines, at)}: unknown key {field!r}", nearest(unknown, names))
    if first["type"] == "missing":
        return InputError(f"{_where(path, lines, at)}: field {field!r} is missing", f"stage kind {kind.name} needs it")
    given = f" (given: {first['input']!r})" if first["loc"] else ""
    return InputError(f"{_where(path, lines, at)}: field {field!r}: {_said(first['msg'])}{given}", "correct the value")


def _said(message: str) -> str:
    """A message of pydantic's in words of YAML, not of Python."""
    message = message.removeprefix("Value error, ")
    return message.replace("valid tuple", "valid list").replace("valid dictionary", "mapping of names to values")


def _check_inputs(
    path: Path, name: str, kind: StageKind, inputs: Any, stages: dict[str, Any], lines: LineMap
) -> dict[str, Input]:
    at = ["stages", name, "inputs"]
    if not isinstance(inputs, dict):
        raise InputError(f"{_where(path, lines, at)}: inputs of {name!r}: not a mapping", "write {role: stage}")
    if kind.inputs is not None:
        known = {*kind.inputs, *kind.optional}
        for role in inputs:
            if role not in known:
                raise InputError(
                    f"{_where(path, lines, [*at, str(role)])}: {name!r} ({kind.name}) takes no input {role!r}",
                    nearest(str(role), known) if known else "it takes none",
                )
        for role in kind.inputs:
            if role not in inputs:
                raise InputError(
                    f"{_where(path, lines, at)}: {name!r} ({kind.name}) lacks the input {role!r}",
                    f"write inputs: {{{role}: STAGE or PATH}}",
                )
    return {
        str(role): _source(source, stages, path, _where(path, lines, [*at, str(role)]))
        for role, source in inputs.items()
    }


def _source(source: Any, stages: dict[str, Any], path: Path, where: str) -> Input:
    if not isinstance(source, str) or not source.strip():
        raise InputError(f"{where}: an input is the name of a stage or a path, not {source!r}", "")
    if source in stages:
        return Input(source, None)
    head, slash, rest = source.partition("/")
    if slash and head in stages:
        if ".." in Path(rest).parts:
            raise InputError(f"{where}: {source!r} leaves the folder of stage {head!r}", "name a file inside it")
        return Input(head, Path(rest))
    file = Path(source).expanduser()
    file = file if file.is_absolute() else path.parent.absolute() / file
    if not file.exists():
        if "/" not in source and "." not in source:
            raise InputError(f"{where}: no stage {source!r}", nearest(source, map(str, stages)))
        raise InputError(
            f"{where}: no such input file: {file}", "input paths are relative to the recipe's folder; check the path"
        )
    return Input(None, file)


def _ordered(path: Path, specs: dict[str, StageSpec], lines: LineMap) -> dict[str, StageSpec]:
    """Every stage after its inputs; otherwise in the order of the file."""
    ordered: dict[str, StageSpec] = {}
    trail: list[str] = []

    def visit(name: str) -> None:
        if name in ordered:
            return
        if name in trail:
            circle = " -> ".join([*trail[trail.index(name) :], name])
            raise InputError(
                f"{_where(path, lines, ['stages', name])}: the stages go round in a circle: {circle}",
                "take one of these inputs away",
            )
        trail.append(name)
        for source in specs[name].inputs.values():
            if source.stage is not None:
                visit(source.stage)
        trail.pop()
        ordered[name] = specs[name]

    for name in specs:
        visit(name)
    return ordered
