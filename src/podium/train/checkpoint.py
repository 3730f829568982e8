"""Checkpoints: whole or absent. Knows files and dictionaries of tensors, not what is trained.

`<folder>/step-00000100.pt` holds the state; beside it `step-00000100.json` holds its step, size and BLAKE2 digest and
is written last. Both are written under another name, fsynced and renamed. A checkpoint counts only if its .json
is there and the digest agrees, so that a torn or damaged one is passed over for the one before it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from podium.errors import InputError, TrainingError
from podium.storage import atomic_file, storage_errors, write_json

_NAME = re.compile(r"step-(\d+)\.json")


def save_checkpoint(folder: Path, step: int, state: Mapping[str, Any]) -> Path:
    """Write the state of `step` durably; returns its path.

    Raises StorageError (disk full, no permission): what was saved before is untouched.
    """
    path = folder / f"step-{step:08d}.pt"
    with atomic_file(path) as file:
        digested = _Digesting(file)
        _save(state, digested)
    write_json(
        path.with_suffix(".json"), {"step": step, "bytes": digested.size, "blake2b": digested.digest.hexdigest()}
    )
    return path


def saved_steps(folder: Path) -> list[int]:
    """Steps that have a checkpoint, ascending; whether each is whole is found out by loading it."""
    if not folder.is_dir():
        return []
    return sorted(int(match[1]) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name)))


def load_checkpoint(folder: Path, step: int) -> dict[str, Any] | None:
    """The state of `step`, on the CPU; None when it is damaged."""
    path = folder / f"step-{step:08d}.pt"
    try:
        seal = json.loads(path.with_suffix(".json").read_bytes())
        with open(path, "rb") as file:
            whole = hashlib.file_digest(file, _new_digest).hexdigest() == seal["blake2b"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return torch.load(path, map_location="cpu", weights_only=True) if whole else None


def load_newest(folder: Path) -> tuple[dict[str, Any] | None, list[int]]:
    """The newest whole checkpoint (None: there is none), and the steps of the damaged ones passed over."""
    damaged = []
    for step in reversed(saved_steps(folder)):
        state = load_checkpoint(folder, step)
        if state is not None:
            return state, damaged
        damaged.append(step)
    return None, damaged


def prune(folder: Path, keep: int) -> None:
    """Remove all but the newest `keep` checkpoints, and what interrupted writers left behind."""
    with storage_errors(folder, "removing old checkpoints"):
        for step in saved_steps(folder)[:-keep]:
            # The seal goes first: without it the rest counts as absent.
            (folder / f"step-{step:08d}.json").unlink()
            (folder / f"step-{step:08d}.pt").unlink(missing_ok=True)
        for leftover in folder.glob(".*.partial"):
            leftover.unlink(missing_ok=True)


def average_weights(paths: Sequence[Path]) -> dict[str, Tensor]:
    """Mean, computed in fp64, of the weights saved in `paths` (files of save_weights), in their own dtype.

    Raises:
        InputError: no files, or files of different models.
    """
    if not paths:
        raise InputError("no weights to average", "name at least one snapshot")
    total: dict[str, Tensor] = {}
    dtypes: dict[str, torch.dtype] = {}
    for path in paths:
        with storage_errors(path, "reading"):
            weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        if not total:
            dtypes = {name: value.dtype for name, value in weights.items()}
            total = {name: value.double() for name, value in weights.items()}
            continue
        if {n: v.shape for n, v in weights.items()} != {n: v.shape for n, v in total.items()}:
            raise InputError(f"{path}: not the same model as {paths[0]}", "average snapshots of one run")
        for name, value in weights.items():
            total[name] += value
    return {name: (value / len(paths)).to(dtypes[name]) for name, value in total.items()}


def save_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Weights alone, for averaging; written whole or not at all."""
    with atomic_file(path) as file:
        _save(weights, _Digesting(file))


def check_same(kind: str, saved: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """Raise TrainingError naming the first entry in which `saved` and `now` differ."""
    for name in (*now, *(n for n in saved if n not in now)):
        before, after = saved.get(name, "nothing"), now.get(name, "nothing")
        if before != after:
            raise TrainingError(
                f"{folder}: its checkpoint has {kind} {name} = {before}, but this run has {after}",
                f"restore {name}, or train in another folder",
            )


def _save(state: Mapping[str, Any], file: _Digesting) -> None:
    target: Any = file
    try:
        torch.save(dict(state), target)
    except RuntimeError:
        # A write that failed in the middle of the archive surfaces as a complaint about the archive's end.
        if file.failure is not None:
            raise file.failure from None
        raise


def _new_digest() -> Any:
    return hashlib.blake2b(digest_size=16)


class _Digesting:
    """A file to write to that hashes and counts what passes, and remembers why a write failed."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.digest = _new_digest()
        self.size = 0
        self.failure: OSError | None = None

    def write(self, data: Any) -> int:
        self.digest.update(data)
        self.size += memoryview(data).nbytes
        try:
            return self._file.write(data)
        except OSError as error:
            self.failure = error
            raise

    def flush(self) -> None:
        self._file.flush()
