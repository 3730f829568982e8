"""The sampling that a model's makers recommend: what counts where a request or a command line names nothing.

Knows the file generation_config.json and the names of Sampling; no model and no request. The rule is that of vLLM 0.33:
every value in the file counts as it stands there, whatever `do_sample` says, and `max_new_tokens` limits an answer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from podium.answering.reach import is_server
from podium.errors import InputError
from podium.models.place import model_folder
from podium.storage import storage_errors

Number: TypeAlias = int | float

OFF = ("none", "vllm")
"""Choices that leave the model's values out; the second one is vLLM's word for it."""

# Key of the file -> field of Sampling, whether it is a whole number, what is allowed, in words.
_KEYS: dict[str, tuple[str, bool, Callable[[Number], bool], str]] = {
    "temperature": ("temperature", False, lambda value: value >= 0, "0 (greedy) or more"),
    "top_p": ("top_p", False, lambda value: 0 < value <= 1, "above 0 and at most 1"),
    "top_k": ("top_k", True, lambda value: value >= -1, "a whole number, 0 (off) or more"),
    "min_p": ("min_p", False, lambda value: 0 <= value < 1, "from 0 (off) to below 1"),
    "repetition_penalty": ("repetition_penalty", False, lambda value: value > 0, "above 0"),
    "presence_penalty": ("presence_penalty", False, lambda value: -2 <= value <= 2, "from -2 to 2"),
    "frequency_penalty": ("frequency_penalty", False, lambda value: -2 <= value <= 2, "from -2 to 2"),
    "max_new_tokens": ("max_tokens", True, lambda value: value >= 1, "a whole number, at least 1"),
}


@dataclass(frozen=True, slots=True)
class SamplingDefaults:
    """`values`: field of Sampling -> value, only what the file says. `source`: the file; empty where there is none."""

    values: Mapping[str, Number] = field(default_factory=dict)
    source: str = ""

    def get(self, name: str, otherwise: Number) -> Number:
        return self.values.get(name, otherwise)

    def line(self, named: Mapping[str, Any] | None = None) -> str | None:
        """One line that says which values of the file count; None where none does.

        Args:
            named: what the user has named, which goes first (fields of Sampling; None: not named).
        """
        shown = [f"{name} {value:g}" for name, value in self.values.items() if (named or {}).get(name) is None]
        if not shown:
            return None
        return (
            f"sampling where nothing else is named: {', '.join(shown)} (from {self.source}; "
            "--generation-config none leaves it out)"
        )


def read_defaults(model: Path | str, choice: str = "auto") -> SamplingDefaults:
    """The recommended sampling of the model folder `model`.

    Args:
        model: a Hugging Face folder, or the folder of a stage that holds one as `model`. The URL of a server has no
            defaults here: they are the server's own business.
        choice: "auto" for the model's own generation_config.json, "none" or "vllm" for nothing, else the folder or file
            to read instead.

    Raises:
        InputError: no such folder or file, a file that is no JSON object, or a value that means nothing.
    """
    if choice in OFF:
        return SamplingDefaults()
    if choice != "auto":
        path = Path(choice)
        file = path / "generation_config.json" if path.is_dir() else path
        if not file.is_file():
            raise InputError(
                f"--generation-config {choice}: no file {file}",
                "auto (the model's own), none, or a folder with generation_config.json",
            )
        return _read(file)
    if is_server(model):
        return SamplingDefaults()
    file = model_folder(model) / "generation_config.json"
    return _read(file) if file.is_file() else SamplingDefaults()


def _read(file: Path) -> SamplingDefaults:
    with storage_errors(file, "reading"):
        text = file.read_text(encoding="utf-8", errors="replace")
    try:
        said = json.loads(text)
    except ValueError as error:
        raise InputError(f"{file}: not JSON ({error})", "mend it, or use --generation-config none") from error
    if not isinstance(said, dict):
        raise InputError(f"{file}: not a JSON object", "mend it, or use --generation-config none")
    values = {}
    for key, (name, whole, fine, wanted) in _KEYS.items():
        value = said.get(key)
        if value is None:
            continue
        if not _is_number(value, whole) or not fine(value):
            raise InputError(
                f"{file}: {key} is {json.dumps(value)[:60]}, it must be {wanted}",
                "mend the file, or use --generation-config none",
            )
        values[name] = max(0, int(value)) if whole else float(value)
    return SamplingDefaults(values, str(file) if values else "")


def _is_number(value: object, whole: bool) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    return not whole or value == int(value)
