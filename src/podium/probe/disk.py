"""How fast a folder's storage takes and gives bytes. Knows files, not what is kept in them."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from podium.storage import storage_errors

CHUNK = 1 << 22


def disk_speed(folder: Path, size: int = 1 << 27) -> dict[str, float]:
    """Bytes/s of writing `size` bytes until they are synced, and of reading them back with the page cache dropped.

    What the system does not let go of is read from memory: on tmpfs, say, `read` is the memory's.

    Raises:
        InputError: there is no such folder.
        StorageError: it cannot be written, or is full.
    """
    data = os.urandom(CHUNK)  # storage that compresses shall not shine
    with storage_errors(folder, "measuring the disk"), tempfile.NamedTemporaryFile(dir=folder, buffering=0) as file:
        begun = time.perf_counter()
        for _ in range(size // CHUNK):
            file.write(data)
        os.fsync(file.fileno())
        write = time.perf_counter() - begun
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        file.seek(0)
        buffer = bytearray(CHUNK)
        begun = time.perf_counter()
        while file.readinto(buffer):
            pass
        read = time.perf_counter() - begun
    whole = size // CHUNK * CHUNK
    return {"write": whole / max(write, 1e-9), "read": whole / max(read, 1e-9)}
