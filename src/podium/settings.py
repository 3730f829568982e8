"""Which settings make a result what it is, and which only how it is made: the one rule of every identity.

A setting that cannot change what comes out (threads, how often a state is saved, requests in flight) is marked where it
is declared, `threads: Annotated[int | None, NOT_IDENTITY] = …`; every identity leaves out just those that are marked.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel


class _NotIdentity:
    """The type of the one mark; pydantic keeps it among a field's metadata."""

    def __repr__(self) -> str:
        return "NOT_IDENTITY"


NOT_IDENTITY: Final = _NotIdentity()
"""Marks a field, inside `Annotated`, whose value cannot change the result."""


def is_identity(model: type[BaseModel], name: str) -> bool:
    """Whether the field `name` of a settings model is part of the identity of what is made with it."""
    return not any(isinstance(mark, _NotIdentity) for mark in model.model_fields[name].metadata)


def identity_of(settings: BaseModel, mode: Literal["json", "python"] = "json") -> dict[str, Any]:
    """The settings that a result depends on: those that are not marked, at every depth.

    Args:
        mode: the form of the values, as JSON holds them or as Python does.
    """
    return settings.model_dump(mode=mode, exclude=_marked(settings))


def free_of(settings: BaseModel) -> dict[str, Any]:
    """The settings that `identity_of` leaves out, as JSON holds them, by dotted names."""
    return flat(settings.model_dump(mode="json", include=_marked(settings)))


def flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """Nested JSON values by dotted names: `{"inner": {"threads": 1}}` gives `inner.threads`."""
    items = enumerate(values) if isinstance(values, list) else values.items()
    found: dict[str, Any] = {}
    for key, value in items:
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict | list) else {f"{prefix}{key}": value}
    return found


def _marked(value: Any) -> dict[Any, Any]:
    """The marked fields of a settings model and of all inside it, in the shape of pydantic's `exclude`."""
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        inner = {name: True if not is_identity(type(value), name) else _marked(getattr(value, name)) for name in fields}
    elif isinstance(value, dict):
        inner = {key: _marked(item) for key, item in value.items()}
    elif isinstance(value, list | tuple):
        inner = {index: _marked(item) for index, item in enumerate(value)}
    else:
        return {}
    return {key: found for key, found in inner.items() if found}
