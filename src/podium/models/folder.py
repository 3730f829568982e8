"""Model folders on disk: whole or absent, and safetensors read one tensor at a time.

Knows file names and safetensors, no architecture. Used for loading and saving, and for merging.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from podium.errors import InputError
from podium.models.finite import all_finite
from podium.storage import read_json, storage_errors, sync_folder

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
_DTYPE_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
}
_DTYPES = {name: dtype for dtype, name in _DTYPE_NAMES.items()}
# Files of an earlier model in the same folder that must not outlive it.
_STALE = (
    "config.json",
    "generation_config.json",
    "*.safetensors",
    INDEX,
    "tokenizer*",
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
)


@contextmanager
def atomic_folder(folder: Path | str) -> Iterator[Path]:
    """Write a model folder all at once: yields an empty folder beside it, which takes its place on success.

    A new or empty folder appears by one rename. In one that holds other files, those stay; config.json goes first and
    comes last, so that a reader finds a whole model or none.
    """
    folder = Path(folder)
    partial = folder.with_name(f".{folder.name}.partial")
    with storage_errors(folder, "writing"):
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder}: is a file, not a folder", "name a new folder")
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            yield partial
            for path in partial.iterdir():
                _sync_file(path)
            sync_folder(partial)
            if folder.exists() and any(folder.iterdir()):
                _move_into(partial, folder)
            else:
                os.replace(partial, folder)
            sync_folder(folder.parent)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


def _move_into(partial: Path, folder: Path) -> None:
    (folder / "config.json").unlink(missing_ok=True)
    sync_folder(folder)
    for pattern in _STALE:
        for path in folder.glob(pattern):
            path.unlink()
    for path in sorted(partial.iterdir(), key=lambda path: path.name == "config.json"):
        os.replace(path, folder / path.name)
    sync_folder(folder)
    partial.rmdir()


def _sync_file(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


class Weights:
    """The tensors of a model folder by name, from one safetensors file or from shards with an index.

    Only headers are read at first; `weights[name]` reads one tensor.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self._files: dict[str, Any] = {}
        self._homes: dict[str, str] = {}
        for name in self._shards():
            path = self.folder / name
            with storage_errors(path, "reading"):
                try:
                    file = safe_open(path, framework="pt")
                except SafetensorError as error:
                    raise InputError(
                        f"{path}: not a whole safetensors file ({error})",
                        "it is truncated or damaged: copy or download it again",
                    ) from error
            self._files[name] = file
            self._homes.update(dict.fromkeys(file.keys(), name))

    def _shards(self) -> list[str]:
        index = self.folder / INDEX
        if (self.folder / SINGLE).exists():
            return [SINGLE]
        if not index.exists():
            raise InputError(
                f"{self.folder}: no {SINGLE} and no {INDEX}", "only safetensors weights are read: convert other formats"
            )
        value = read_json(index)
        homes = value.get("weight_map") if isinstance(value, dict) else None
        if not isinstance(homes, dict) or not all(isinstance(name, str) for name in homes.values()):
            raise InputError(f"{index}: no weight_map", "it must map tensor names to files")
        shards = sorted(set(homes.values()))
        for name in shards:
            if Path(name).name != name:
                raise InputError(f"{index}: {name!r} is not a file name", "shards lie in the same folder")
            if not (self.folder / name).exists():
                raise InputError(f"{self.folder / name}: shard is missing", f"{INDEX} names it: copy it there")
        return shards

    def dtype(self, name: str) -> torch.dtype:
        written = self._files[self._homes[name]].get_slice(name).get_dtype()
        if written not in _DTYPES:
            raise InputError(
                f"{self.folder}: tensor {name} is stored as {written}", f"plain weights are {', '.join(_DTYPES)}"
            )
        return _DTYPES[written]

    def check(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Every tensor of `shapes` is there, in that shape and in a floating-point type; others are ignored.

        Raises:
            InputError: naming the first tensor for which that does not hold.
        """
        for name, expected in shapes.items():
            if name not in self._homes:
                raise InputError(f"{self.folder}: tensor {name} is missing", "the folder is incomplete: copy it again")
            self.dtype(name)
            found = tuple(self._files[self._homes[name]].get_slice(name).get_shape())
            if found != expected:
                raise InputError(
                    f"{self.folder}: tensor {name} has shape {list(found)}, config.json asks for {list(expected)}",
                    "config.json and the weights belong to different models",
                )

    def __getitem__(self, name: str) -> Tensor:
        """One tensor, on the CPU.

        Raises:
            InputError: it holds NaN or infinity.
        """
        tensor = self._files[self._homes[name]].get_tensor(name)
        if not all_finite(tensor):
            raise InputError(
                f"{self.folder / self._homes[name]}: tensor {name} holds NaN or infinity",
                "the training that wrote it diverged or the file is damaged: use an earlier checkpoint",
            )
        return tensor


def write_weights(
    folder: Path,
    layout: Mapping[str, tuple[torch.dtype, tuple[int, ...]]],
    tensors: Iterable[tuple[str, Tensor]],
    max_shard_bytes: int,
) -> None:
    """Write tensors as model.safetensors, or as shards of at most `max_shard_bytes` with an index.

    `layout` gives dtype and shape of every tensor in the order in which `tensors` yields them, so that headers are
    written first and one tensor is in memory at a time. A tensor larger than a shard gets its own.
    Format: https://github.com/huggingface/safetensors#format.
    """
    sizes = {name: math.prod(shape) * dtype.itemsize for name, (dtype, shape) in layout.items()}
    shards: list[list[str]] = [[]]
    used = 0
    for name, size in sizes.items():
        if shards[-1] and used + size > max_shard_bytes:
            shards.append([])
            used = 0
        shards[-1].append(name)
        used += size
    files = (
        [SINGLE]
        if len(shards) == 1
        else [f"model-{number:05d}-of-{len(shards):05d}.safetensors" for number in range(1, len(shards) + 1)]
    )
    pairs = iter(tensors)
    for file_name, shard in zip(files, shards, strict=True):
        with open(folder / file_name, "wb") as file:
            file.write(_header({name: layout[name] for name in shard}))
            for expected in shard:
                name, tensor = next(pairs)
                if name != expected or (tensor.dtype, tuple(tensor.shape)) != layout[name]:
                    raise ValueError(f"expected tensor {expected} as {layout[expected]}, got {name}")
                file.write(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    if len(shards) > 1:
        index = {
            "metadata": {"total_size": sum(sizes.values())},
            "weight_map": {name: file for file, shard in zip(files, shards, strict=True) for name in shard},
        }
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n")


def _header(layout: Mapping[str, tuple[torch.dtype, tuple[int, ...]]]) -> bytes:
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name, (dtype, shape) in layout.items():
        end = start + math.prod(shape) * dtype.itemsize
        entries[name] = {"dtype": _DTYPE_NAMES[dtype], "shape": list(shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # keeps the data aligned
    return len(text).to_bytes(8, "little") + text
