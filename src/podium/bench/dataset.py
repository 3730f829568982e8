"""A prepared dataset on disk: made once, sealed by a manifest of sizes and checksums, verified before each run.

Knows files, not what is in them. Making and verifying are not timed (MLPerf Training rules: data may be reformatted
and stored beforehand); afterwards the operating system's cache of these files is dropped, so that a timed run reads
them from durable storage.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from podium.errors import InputError
from podium.storage import read_json, storage_errors, write_json

MANIFEST = "manifest.json"


def cache_folder() -> Path:
    """Where prepared datasets live: $PODIUM_BENCH_DATA, else ~/.cache/podium/bench."""
    named = os.environ.get("PODIUM_BENCH_DATA")
    return Path(named) if named else Path.home() / ".cache" / "podium" / "bench"


def ensure(folder: Path, identity: dict[str, Any], prepare: Callable[[Path], None]) -> Path:
    """`folder`, made by `prepare` unless it is there already; complete or absent, whenever it is broken off.

    Raises:
        InputError: a file in it does not have the size or checksum its manifest names, or it was made otherwise.
    """
    if not (folder / MANIFEST).exists():
        with storage_errors(folder, "preparing the dataset"):
            folder.parent.mkdir(parents=True, exist_ok=True)
            fresh = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
            try:
                prepare(fresh)
                seal(fresh, identity)
                if folder.exists():
                    shutil.rmtree(folder)
                fresh.rename(folder)
            finally:
                shutil.rmtree(fresh, ignore_errors=True)
        return folder
    verify(folder, identity)
    return folder


def seal(folder: Path, identity: dict[str, Any]) -> None:
    """Write the manifest of every file in `folder`: size (bytes) and sha256; `identity` says how it was made."""
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": _sha256(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }
    write_json(folder / MANIFEST, {"identity": identity, "files": files})


def compare(folder: Path, published: Mapping[str, str]) -> None:
    """Compare files with the MD5 sums that their makers published.

    Raises:
        InputError: a file is missing, or another one.
    """
    for name, wanted in published.items():
        path = folder / name
        if not path.is_file():
            raise InputError(f"{path}: missing", "docs/bench_tasks.md says how the dataset is laid out")
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "md5").hexdigest()
        if found != wanted:
            raise InputError(f"{path}: MD5 {found}, its makers published {wanted}", "download it again")


def verify(folder: Path, identity: dict[str, Any] | None = None) -> dict[str, Any]:
    """The manifest of `folder`, if every file agrees with it; `identity` of data that were made here, None of others'.

    Raises:
        InputError: naming the first file that does not agree, or that the manifest does not know; or the data were made
            by another definition.
    """
    manifest: dict[str, Any] = read_json(folder / MANIFEST)
    if identity is not None and manifest.get("identity") != json.loads(json.dumps(identity)):
        raise InputError(
            f"{folder / MANIFEST}: the data were prepared with other settings than this task has now",
            f"remove {folder}; it is made again at the next run",
        )
    cure = (
        f"restore the file, or remove {folder} to prepare the data again"
        if identity is not None
        else f"restore the file; if it is meant to have changed, remove {folder / MANIFEST}: a new one is made"
    )
    known = manifest.get("files", {})
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != MANIFEST and path.relative_to(folder).as_posix() not in known:
            raise InputError(f"{path}: not in the manifest of the dataset", cure.replace("restore", "take away"))
    for name, seal_ in known.items():
        path = folder / name
        if not path.is_file():
            raise InputError(f"{path}: named in the manifest and missing", cure)
        if path.stat().st_size != seal_["bytes"]:
            raise InputError(f"{path}: {path.stat().st_size} bytes, the manifest says {seal_['bytes']}", cure)
        if (found := _sha256(path)) != seal_["sha256"]:
            raise InputError(f"{path}: sha256 {found[:16]}…, the manifest says {seal_['sha256'][:16]}…", cure)
    return manifest


def digest(folder: Path) -> str:
    """One sha256 for the whole dataset: of its manifest's list of files."""
    files = read_json(folder / MANIFEST)["files"]
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def drop_cached(folder: Path) -> list[str]:
    """Ask the kernel to forget what it holds of the files in `folder`; returns what was done (for the log).

    Dirty pages are written out first: only clean ones can be dropped. Where the process may, everything is dropped.
    """
    done = []
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)
    done.append("fadvise")
    try:
        with open("/proc/sys/vm/drop_caches", "w") as switch:
            switch.write("1")
        done.append("drop_caches")
    except OSError:
        pass  # needs root; the files of the dataset were dropped above
    return done


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
