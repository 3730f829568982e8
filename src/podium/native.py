"""The C sources of a folder as one loaded library, compiled by the machine's own compiler at first use.

Knows how to compile, cache and load, not what the sources compute. Nothing here raises for want of a compiler: the
caller gets no library and the reason, and takes its torch path. The cache lies in $XDG_CACHE_HOME/podium/native (or
~/.cache), one file per hash of sources, flags and compiler; a file appears there by rename alone, so any number of
processes may build at once.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# No contraction: which products are fused with their sum is written in the sources, so that rows do not change with
# a compiler's taste.
FLAGS = ("-O3", "-std=gnu11", "-ffp-contract=off", "-fPIC", "-pthread")
COMPILE_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Native:
    """`library`, or None and the `reason` why there is none."""

    library: ctypes.CDLL | None
    reason: str = ""


@functools.cache
def library_of(folder: Path) -> Native:
    """The library of all C sources in `folder`, loaded once per process; PODIUM_NATIVE=0 forbids it."""
    if os.environ.get("PODIUM_NATIVE") == "0":
        return Native(None, "PODIUM_NATIVE=0 is set")
    return build(sorted(folder.glob("*.c")))


def build(sources: Sequence[Path]) -> Native:
    """Compiles `sources` (their headers are the *.h beside them) unless the cache has them, and loads the result."""
    compiler = find_compiler()
    if compiler is None:
        return Native(None, "no C compiler found (looked for $CC, gcc, cc, clang)")
    try:
        key = cache_key(sources, compiler)
    except (OSError, subprocess.SubprocessError) as error:
        return Native(None, f"the C compiler {compiler} does not run: {error}")
    cached = cache_folder() / f"{key}.so"
    try:
        if not cached.exists():
            with tempfile.TemporaryDirectory(prefix="podium-native-") as scratch:
                built = compile_sources(sources, compiler, Path(scratch))
                try:
                    publish(built, cached)
                except OSError:  # a cache that cannot be written costs a compilation per process, no more
                    return Native(ctypes.CDLL(str(built)))
        return Native(ctypes.CDLL(str(cached)))
    except (OSError, subprocess.SubprocessError, CompilationFailed) as error:
        return Native(None, f"the C kernels could not be built or loaded: {error}")


class CompilationFailed(Exception):
    pass


def find_compiler() -> str | None:
    names = [os.environ.get("CC", ""), "gcc", "cc", "clang"]  # gcc's register tiles are the faster ones
    return next((found for name in names if name and (found := shutil.which(name))), None)


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "podium" / "native"


def cache_key(sources: Sequence[Path], compiler: str) -> str:
    """Hash of all that decides the library's bytes. The code picks its instruction set at run time, so the machine's
    architecture is part of it and the processor's model is not."""
    version = subprocess.run([compiler, "--version"], capture_output=True, check=True, timeout=30).stdout
    digest = hashlib.sha256(version + " ".join((compiler, platform.machine(), *FLAGS)).encode())
    headers = {header for source in sources for header in source.parent.glob("*.h")}
    for file in sorted({*sources, *headers}):
        digest.update(f"{file.name}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()[:32]


def compile_sources(sources: Sequence[Path], compiler: str, scratch: Path) -> Path:
    """One compiler process per source, all at once, and a link; returns the library's path in `scratch`."""
    objects = [scratch / f"{source.stem}.o" for source in sources]
    jobs = [
        subprocess.Popen(
            [compiler, *FLAGS, "-c", str(source), "-o", str(target)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for source, target in zip(sources, objects, strict=True)
    ]
    failures = []
    try:
        for source, job in zip(sources, jobs, strict=True):
            _, said = job.communicate(timeout=COMPILE_SECONDS)
            if job.returncode:
                failures.append(f"{source.name}: {said.decode(errors='replace').strip()[-500:]}")
    finally:
        for job in jobs:
            if job.poll() is None:
                job.kill()
                job.communicate()
    if failures:
        raise CompilationFailed("; ".join(failures))
    library = scratch / "native.so"
    linked = subprocess.run(
        [compiler, "-shared", "-pthread", *map(str, objects), "-lm", "-o", str(library)],
        capture_output=True,
        timeout=COMPILE_SECONDS,
    )
    if linked.returncode:
        raise CompilationFailed(linked.stderr.decode(errors="replace").strip()[-500:])
    return library


def publish(built: Path, cached: Path) -> None:
    """Puts a finished library in the cache at one stroke."""
    cached.parent.mkdir(parents=True, exist_ok=True)
    descriptor, partial = tempfile.mkstemp(dir=cached.parent, suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(built.read_bytes())
        os.replace(partial, cached)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
