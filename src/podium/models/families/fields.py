"""The fields of a config.json, read one by one with an error that names the field.

Knows dictionaries, no family.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from podium.errors import InputError


class Fields:
    """The dictionary of a config.json.

    A field that is left out has the value in `defaults`, those of transformers' own configuration class. A field that
    is null is unset: it has the value that the reader gives for that case.
    """

    def __init__(self, values: Mapping[str, Any], defaults: Mapping[str, Any], where: str = "config.json") -> None:
        self.values, self.defaults, self.where = values, defaults, where

    def get(self, name: str) -> Any:
        """The value as it was written, or its default; None where there is neither."""
        return self.values[name] if name in self.values else self.defaults.get(name)

    def whole(self, name: str, unset: int | None = None) -> int:
        """A whole number. Raises InputError where it is something else, or unset without a value for that case."""
        value = self.get(name)
        value = unset if value is None else value
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.error(f"{name} is {'missing' if value is None else repr(value)}", "it must be a whole number")
        return value

    def number(self, name: str, unset: float) -> float:
        """A number. Raises InputError where it is something else."""
        value = self.get(name)
        value = unset if value is None else value
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self.error(f"{name} is {value!r}", "it must be a number")
        return float(value)

    def flag(self, name: str) -> bool:
        """True or false; false where it is unset."""
        return bool(self.get(name))

    def layers(self, name: str) -> tuple[int, ...]:
        """Numbers of layers, in order; none where it is unset. Raises InputError for anything but a list of such."""
        value = self.get(name) or []
        whole = isinstance(value, list | tuple) and all(isinstance(one, int) for one in value)
        if not whole or any(isinstance(one, bool) for one in value):
            raise self.error(f"{name} is {value!r}", "it must be a list of whole numbers, or missing")
        return tuple(sorted(set(value)))

    def layer_types(self, layers: int) -> list[str] | None:
        """What `layer_types` says of each of `layers` layers, or None where it says nothing.

        Raises:
            InputError: another number of types, or one that is neither full_attention nor sliding_attention.
        """
        types = self.get("layer_types")
        if types is None:
            return None
        if not isinstance(types, list | tuple) or len(types) != layers:
            raise self.error(f"layer_types is {types!r}", f"it must be a list, one type for each of {layers} layers")
        for name in types:
            if name not in ("full_attention", "sliding_attention"):
                raise self.error(
                    f"layer_types has {name!r}, which is not supported", "known: full_attention, sliding_attention"
                )
        return list(types)

    def error(self, message: str, cure: str) -> InputError:
        """An error about this config.json."""
        return InputError(f"{self.where}: {message}", cure)
