"""Reading a Hugging Face config.json: the file, the text model of several towers, and field by field.

Models and planner read through it, so that both find the same faults in the same words and a field that is left out or
null means the same to both. Knows files and dictionaries, no family.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from podium.errors import InputError

NAME = "config.json"


def read_config_json(path: Path) -> dict[str, Any]:
    """The dictionary in a config.json file.

    Raises:
        InputError: no such file, a folder, truncated or no JSON, not a JSON object.
    """
    from podium.storage import read_json  # it needs pydantic, which planning does without

    if not path.is_file():
        why = "a folder" if path.is_dir() else "no such file"
        raise InputError(f"{path}: cannot be read ({why})", "give a model folder or its config.json")
    values = read_json(path)
    if not isinstance(values, dict):
        raise InputError(f"{path}: not a JSON object", "it must hold the fields of a Hugging Face config")
    return values


def text_model(values: Mapping[str, Any], towers: Mapping[str, str]) -> Mapping[str, Any] | None:
    """The config of the text model in one with several towers (its `text_config`); None where there is but one.

    The inner dictionary may leave out its model_type, which `towers` then gives by that of the whole, and whether the
    embeddings are tied, which the whole says.
    """
    inner = values.get("text_config")
    if not isinstance(inner, Mapping):
        return None
    outer = str(values.get("model_type"))
    tied = {name: values[name] for name in ("tie_word_embeddings",) if name in values}
    return {**tied, **inner, "model_type": inner.get("model_type") or towers.get(outer, outer)}


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

    def first(self, *names: str) -> str:
        """Of several names of one field the one that is used: that has a value, else that is null, else a default."""
        for known in ({name for name in names if self.values.get(name) is not None}, self.values, self.defaults):
            for name in names:
                if name in known:
                    return name
        return names[0]

    def whole(self, name: str, unset: int | None = None) -> int:
        """A whole number, 0 or more. Raises InputError where it is something else, or unset without a value for it."""
        value = self.get(name)
        value = unset if value is None else value
        if value is None:
            raise self.error(f"{name} is missing", "it must be a whole number: give the file the model was saved with")
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise self.error(f"{name} is {value!r}", "it must be a whole number, 0 or more")
        return value

    def number(self, name: str, unset: float) -> float:
        """A number. Raises InputError where it is something else."""
        value = self.get(name)
        value = unset if value is None else value
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self.error(f"{name} is {value!r}", "it must be a number")
        return float(value)

    def flag(self, name: str, unset: bool = False) -> bool:
        """True or false. Raises InputError where it is something else, such as a word that Python takes for true."""
        value = self.get(name)
        if value is None:
            return unset
        if value not in (True, False):
            raise self.error(f"{name} is {value!r}", "it must be true or false")
        return bool(value)

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
