"""Finding a model: what a path must hold before anything of it is loaded, and what to do where it does not.

Knows file names; imports neither torch nor transformers, so that a mistake is told at once.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from podium.errors import InputError
from podium.models.config import TransformerConfig
from podium.models.config_json import read_config_json

SERVER = "or give the address of any server that runs it: http://HOST:PORT/v1#NAME"


def model_folder(path: Path | str) -> Path:
    """`path`, or `model` in it where it is the folder of a training stage; nothing else is checked."""
    folder = Path(path)
    inner = folder / "model"
    return inner if not (folder / "config.json").exists() and (inner / "config.json").exists() else folder


def find_model(path: Path | str) -> Path:
    """The folder of the model at `path`, as model_folder finds it, with a config.json whose family is known.

    Raises:
        InputError: as read_config and TransformerConfig.from_hf do.
    """
    folder = model_folder(path)
    read_shape(folder)
    return folder


def read_shape(folder: Path | str) -> TransformerConfig:
    """What config.json says of a model, in errors named by its path.

    Raises:
        InputError: as read_config and TransformerConfig.from_hf do.
    """
    values = read_config(folder)
    try:
        return TransformerConfig.from_hf(values)
    except InputError as error:
        about = error.message.removeprefix("config.json: ")
        cure = f"{SERVER.removeprefix('or ')}; {error.cure}" if "model_type" in about else error.cure
        raise InputError(f"{Path(folder) / 'config.json'}: {about}", cure) from error


def read_config(folder: Path | str) -> dict[str, Any]:
    """The dictionary in config.json.

    Raises:
        InputError: no such folder, a file in its place, no config.json, or not a JSON object; each with what lies there
            and the next step.
    """
    folder = Path(folder)
    if folder.is_file():
        raise InputError(*_of_a_file(folder))
    if not folder.is_dir():
        cure = f"check the path (an earlier stage may not have run), {SERVER}"
        if re.fullmatch(r"[\w.-]+:\d+(?:/.*)?", str(folder)):
            address = str(folder) if "/" in str(folder) else f"{folder}/v1"
            cure = f"the address of a server begins with http://: http://{address}"
        elif not folder.is_absolute() and len(folder.parts) == 2 and not folder.parent.exists():
            # It looks like a name on a hub, where nothing is fetched from.
            cure = f"check the path, download it first (hf download {folder} --local-dir {folder.name}), {SERVER}"
        raise InputError(f"{folder}: no such model folder", cure)
    path = folder / "config.json"
    if not path.exists():
        raise InputError(*_without_config(folder))
    return read_config_json(path)


def _of_a_file(path: Path) -> tuple[str, str]:
    if path.suffix == ".gguf" or _is_gguf(path):
        return (
            f"{path}: is a GGUF file, and Podium reads Hugging Face folders",
            f"get the model as a folder with *.safetensors, or serve the file (llama-server -m {path} --port 8080) and "
            "give http://localhost:8080/v1#NAME",
        )
    return f"{path}: is a file, not a model folder", f"name the folder: {path.parent}"


def _is_gguf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"GGUF"


def _without_config(folder: Path) -> tuple[str, str]:
    names = sorted(entry.name for entry in folder.iterdir())
    if not names:
        return (
            f"{folder}: is empty, there is no config.json",
            "copy a model's folder there (config.json, *.safetensors, tokenizer.json), or make one: "
            "podium run recipes/demo.yaml",
        )
    for name in names:
        if name.endswith(".gguf"):
            return _of_a_file(folder / name)
    inner = sorted(path.parent for pattern in ("*", "*/*", "*/*/*") for path in folder.glob(f"{pattern}/config.json"))
    if inner:
        return f"{folder}: no config.json, but there is one in {inner[0]}", f"name that folder: {inner[0]}"
    shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    return (
        f"{folder}: no config.json (it holds {shown})",
        "a model folder holds config.json, *.safetensors and tokenizer.json: copy what is missing",
    )
