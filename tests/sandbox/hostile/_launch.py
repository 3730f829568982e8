"""Run a program as an unprivileged user with the very interpreter of the tests, although that may live in a private
home: `python _launch.py UID program arguments…`, started as root.

In a mount namespace of its own, every folder that the user could not pass is covered by an empty one in which only
the wanted trees are mounted again at their old place. Nothing of the machine itself is changed.
"""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from pathlib import Path

CLONE_NEWNS, MS_BIND, MS_MOVE, MS_REC, MS_PRIVATE = 0x20000, 4096, 8192, 16384, 1 << 18
libc = ctypes.CDLL(None, use_errno=True)


def call(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    raw = [None if text is None else text.encode() for text in (source, target, kind, data)]
    call(libc.mount(raw[0], raw[1], raw[2], ctypes.c_ulong(flags), raw[3]), f"mount {source} on {target}")


def private_ancestor(path: Path) -> Path | None:
    """The highest folder on the way to `path` that strangers may not pass."""
    return next((p for p in reversed(path.parents) if not p.stat().st_mode & 0o001), None)


def open_the_way(paths: list[Path]) -> None:
    """Make `paths` reachable for everybody within this process's mount namespace."""
    covered: dict[Path, list[Path]] = {}
    for path in paths:
        if (ancestor := private_ancestor(path)) is not None:
            covered.setdefault(ancestor, []).append(path)
    if not covered:
        return
    call(libc.unshare(CLONE_NEWNS), "unshare(CLONE_NEWNS)")
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    stash = Path(tempfile.mkdtemp(prefix="podium-stash-"))
    mount("none", str(stash), "tmpfs", 0)
    for ancestor, inside in covered.items():
        kept = []
        for number, path in enumerate(inside):
            if any(other in path.parents for other in inside):
                continue
            place = stash / str(number)
            place.mkdir()
            mount(str(path), str(place), None, MS_BIND | MS_REC)
            kept.append((place, path))
        mount("none", str(ancestor), "tmpfs", 0, "mode=755")
        for place, path in kept:
            path.mkdir(parents=True)
            mount(str(place), str(path), None, MS_MOVE)
    call(libc.umount2(str(stash).encode(), 0), "umount")
    stash.rmdir()


def main() -> None:
    uid, command = int(sys.argv[1]), sys.argv[2:]
    source = Path(__file__).resolve().parents[3]
    open_the_way(sorted({Path(p).resolve() for p in (sys.base_prefix, sys.prefix)} | {source}))
    os.chdir("/")
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
