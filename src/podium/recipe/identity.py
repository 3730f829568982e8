"""What makes a stage the same stage: content hashes, and the marks a stage folder carries.

A stage's identity is the hash of its kind, code version, parameters, seed and input identities (for a stage: its
identity; for a path: the hash of its bytes). Parameters that cannot change the result (podium.settings) are left out.
A folder carries two marks: `stage.json`, written before the stage runs, says whose folder it is; `done.json`, written
last, says that it is finished and what its outputs are.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from podium.errors import InputError
from podium.folders import BEGUN, DONE, LOGS
from podium.recipe.document import Recipe
from podium.settings import identity_of
from podium.storage import PARTIAL, read_json, storage_errors

STATE = ".state"
# Logs say when something happened, so they are no part of what a stage made.
NOT_OUTPUTS = frozenset({BEGUN, DONE}) | LOGS


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with storage_errors(path, "reading"), open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_path(path: Path) -> str:
    """Identity of a user's input: of a file its bytes; of a folder its files' relative names and bytes."""
    if not path.is_dir():
        return hash_file(path)
    digest = hashlib.sha256(b"folder")
    for file in sorted(path.rglob("*")):
        if file.is_file():
            digest.update(f"{file.relative_to(path)}\0{hash_file(file)}\n".encode())
    return digest.hexdigest()


def identities(recipe: Recipe) -> dict[str, str]:
    """Stage name -> identity, in hex, for a whole recipe."""
    found: dict[str, str] = {}
    paths: dict[Path, str] = {}
    for spec in recipe.stages.values():
        inputs: dict[str, Any] = {}
        for role, source in spec.inputs.items():
            if source.stage is not None:
                inputs[role] = [found[source.stage], str(source.path or "")]
            elif source.path is not None:
                if source.path not in paths:
                    paths[source.path] = hash_path(source.path)
                inputs[role] = paths[source.path]
        text = json.dumps(
            {
                "kind": spec.kind.name,
                "version": spec.kind.version,
                "params": identity_of(spec.params),
                "seed": recipe.seed,
                "inputs": inputs,
            },
            sort_keys=True,
        )
        found[spec.name] = hashlib.sha256(text.encode()).hexdigest()
    return found


def outputs(folder: Path) -> dict[str, dict[str, Any]]:
    """Relative name -> bytes, sha256, mtime_ns of every file a stage made."""
    found: dict[str, dict[str, Any]] = {}
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder)
        if name.parts[0] == STATE or str(name) in NOT_OUTPUTS or PARTIAL.fullmatch(file.name) or not file.is_file():
            continue
        status = file.stat()
        found[str(name)] = {"bytes": status.st_size, "sha256": hash_file(file), "mtime_ns": status.st_mtime_ns}
    return found


@dataclass(frozen=True, slots=True)
class Marks:
    """What a stage folder says of itself."""

    identity: str | None  # None: no readable mark
    done: dict[str, Any] | None
    params: dict[str, Any] = field(default_factory=dict)  # as they were when it was begun, or last gone on with


def read_marks(folder: Path) -> Marks:
    """The marks of a stage folder; a folder without them belongs to nobody."""
    begun = folder / BEGUN
    if not begun.is_file():
        return Marks(None, None)
    try:
        mark = read_json(begun)
        identity = mark["identity"]
        done = read_json(folder / DONE) if (folder / DONE).is_file() else None
    except (InputError, KeyError, TypeError):
        # Both files are written atomically: an unreadable one was changed by somebody else, so nothing is relied on.
        return Marks(None, None)
    if done is not None and (not isinstance(done, dict) or done.get("identity") != identity):
        return Marks(None, None)
    params = mark.get("params")
    return Marks(identity, done, params if isinstance(params, dict) else {})


def changed_output(folder: Path, done: dict[str, Any]) -> str | None:
    """The first output that is not as it was when the stage finished, if any.

    A file is hashed again only where its size is right and its time of change is not.
    """
    for name, was in done["outputs"].items():
        file = folder / name
        if not file.is_file():
            return f"{name} is missing"
        status = file.stat()
        if status.st_size != was["bytes"]:
            return f"{name} has {status.st_size} bytes instead of {was['bytes']}"
        if status.st_mtime_ns != was["mtime_ns"] and hash_file(file) != was["sha256"]:
            return f"{name} has changed"
    return None
