"""What a recipe may say, written out from the code: every stage kind with its inputs and fields, and the rows it reads.

`podium stages` prints it and docs/stages.md is it, so that neither can say what the code does not do. Runs nothing.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from podium.recipe.registry import StageKind, find_kind, kinds
from podium.settings import is_identity
from podium.toolcode import CLOSE_TAG, OPEN_TAG

CHANGES_NOTHING = " (not in the identity)"

CHANGES_NOTHING = " (not in the identity)"

HEAD = """# Stages

A recipe names stages; this page lists every kind of stage with its inputs and its fields. It is made from the code:
`podium stages --markdown > docs/stages.md` writes it anew, and `podium stages KIND` prints one kind in the terminal.
How a recipe is written and run stands in [recipe.md](recipe.md), and there too what it means that a field is not in the
identity.
"""

ROWS = """## Rows

Wherever a stage or a command reads problems or solutions (`jsonl:PATH`, an input that is a file of yours, `--data` of
`podium draft`), each row may have any of these forms, in `.jsonl`, `.jsonl.zst` or `.parquet`. A bad row is reported
with its file and line before a model is loaded.
"""

LEARNT = f"""
A model learns to write what the assistant says: every turn of a chat (a turn with `"weight": 0` is left out), the
solution of a problem, or its answer where there is no solution. A problem's answer is the answer field, or the last
`\\boxed{{…}}` of its solution. In a solution, the text between `{OPEN_TAG}` and `{CLOSE_TAG}` is a call of Python;
an output in its fence right behind the closing tag was printed by the code, so that a model reads it and does not learn
to write it.
Solutions that were graded and are not correct are left out of training and counted.
"""


@dataclass(frozen=True, slots=True)
class FieldLine:
    """One field of a stage: its name in a recipe (`shape.layers` for one inside another), type, default, meaning."""

    name: str
    type: str
    default: str
    meaning: str


def field_lines(model: type[BaseModel], prefix: str = "") -> Iterator[FieldLine]:
    """The fields of a parameter model, those that it inherits at the end, those of nested models after their own."""
    inherited = {name for base in model.__mro__[1:] for name in getattr(base, "model_fields", ())}
    for name, field in sorted(model.model_fields.items(), key=lambda item: item[0] in inherited):
        meaning = (field.description or "") + ("" if is_identity(model, name) else CHANGES_NOTHING)
        yield FieldLine(f"{prefix}{name}", _type(field), _default(field), meaning)
        inner = _inner_model(field.annotation)
        if inner is not None:
            key = "NAME." if get_origin(field.annotation) is dict else ""
            yield from field_lines(inner, f"{prefix}{name}.{key}")


def inputs_line(kind: StageKind) -> str:
    """Which inputs a kind takes; where any name is taken, the kind's own text says which have a meaning."""
    if kind.inputs is None:
        return "any names"
    needed = ", ".join(kind.inputs) or "none"
    return f"{needed} (may be given: {', '.join(kind.optional)})" if kind.optional else needed


def markdown(of: Sequence[StageKind]) -> str:
    """The whole reference of these kinds; docs/stages.md holds that of the kinds that Podium ships."""
    parts = [HEAD]
    for kind in of:
        parts.append(f"## {kind.name}\n\n{_doc(kind)}\n\nInputs: {inputs_line(kind)}.\n")
        parts.append(_table(("field", "type", "default", "meaning"), _cells(kind)))
    from podium.problems.rows import FORMS

    parts += [ROWS, _table(("form", "fields needed", "fields that may be there"), FORMS), LEARNT]
    return "\n".join(parts)


def print_stages(name: str | None) -> None:
    """Print one kind with its fields, or a line for each kind.

    Raises:
        InputError: there is no kind of that name.
    """
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False)
    if name is None:
        for title in ("kind", "inputs", "what it makes"):
            table.add_column(title, overflow="fold")
        for kind in kinds():
            table.add_row(kind.name, inputs_line(kind), _doc(kind).partition("\n")[0])
        console.print(table, markup=False)
        console.print("\npodium stages KIND shows its fields; docs/stages.md has all, and the rows that are read")
        return
    kind = find_kind(name, "podium stages")
    console.print(f"{kind.name} (version {kind.version})", style="bold", markup=False)
    console.print(_doc(kind), markup=False)
    console.print(f"\ninputs: {inputs_line(kind)}\n", markup=False)
    for title in ("field", "type", "default", "meaning"):
        table.add_column(title, overflow="fold")
    for row in _cells(kind):
        table.add_row(*(_escaped(cell) for cell in row))
    console.print(table)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _cells(kind: StageKind) -> list[tuple[str, ...]]:
    return [(line.name, line.type, line.default, line.meaning) for line in field_lines(kind.params)]


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _doc(kind: StageKind) -> str:
    own = inspect.cleandoc(kind.params.__doc__ or "") if "__doc__" in vars(kind.params) else ""
    return "\n\n".join(text for text in (inspect.cleandoc(kind.run.__doc__ or ""), own) if text)


def _type(field: FieldInfo) -> str:
    bounds = [
        f"{sign} {value:g}" if isinstance(value, int | float) else f"{sign} {value}"
        for rule in field.metadata
        for sign, value in (
            (">=", getattr(rule, "ge", None)),
            (">", getattr(rule, "gt", None)),
            ("<=", getattr(rule, "le", None)),
            ("<", getattr(rule, "lt", None)),
        )
        if value is not None
    ]
    name = _type_name(field.annotation)
    return f"{name}, {' and '.join(bounds)}" if bounds else name


def _type_name(annotation: Any) -> str:
    origin = get_origin(annotation)
    if annotation is type(None):
        return "null"
    if origin is Annotated:
        return _type_name(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return " or ".join(_type_name(part) for part in get_args(annotation))
    if origin is Literal:
        return ", ".join(str(value) for value in get_args(annotation))
    if origin in (list, tuple):
        return f"list of {_type_name(get_args(annotation)[0])}"
    if origin is dict:
        return f"{_type_name(get_args(annotation)[1])} by name"
    if _inner_model(annotation) is not None:
        return "fields below"
    names = {int: "whole number", float: "number", str: "text", bool: "true or false", Any: "anything"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _inner_model(annotation: Any) -> type[BaseModel] | None:
    """The parameter model in an annotation such as `Shape | None` or `dict[str, Task]`."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _inner_model(part)) is not None), None)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "must be given"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "null"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict | tuple | list):
        return ", ".join(map(str, value)) or "empty"
    return str(value) if value != "" else "empty"
