"""Checkpoints of TensorFlow (PREFIX.index and PREFIX.data-00000-of-00001), read as arrays mapped into memory.

The index is a sorted table in the format of LevelDB: blocks of prefix-compressed keys with a footer that says where
the block of blocks is. Each value says the type, the shape and the place of one tensor in a data file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from podium.bench.formats.protobuf import WireError, fields, varint
from podium.errors import InputError

MAGIC = 0xDB4775248B80FB57
# DT_FLOAT, DT_DOUBLE, DT_INT32, DT_INT64, DT_HALF of tensorflow/core/framework/types.proto.
TYPES = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8", 19: "<f2"}


def read_checkpoint(prefix: Path) -> dict[str, np.ndarray]:
    """Name -> tensor, mapped read-only; tensors of other types than numbers are left out.

    Raises:
        InputError: a file is missing, cut off or no checkpoint.
    """
    path = prefix.with_name(prefix.name + ".index")
    try:
        table = path.read_bytes()
        entries = dict(_entries(table))
        shards = next((int(v) for n, v in fields(entries.pop(b"", b"")) if n == 1 and isinstance(v, int)), 1)
        return {
            name.decode(): tensor
            for name, entry in entries.items()
            if (tensor := _tensor(prefix, entry, shards)) is not None
        }
    except FileNotFoundError as error:
        raise InputError(f"{error.filename}: missing", "a checkpoint is an .index file and its .data file") from None
    except (WireError, struct.error, IndexError, ValueError) as error:
        raise InputError(f"{path}: no TensorFlow checkpoint, or one that is cut off ({error})", "restore it") from None


def _entries(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    (magic,) = struct.unpack("<Q", table[-8:])
    if magic != MAGIC:
        raise WireError("the last bytes are not those of a table")
    footer = table[-48:]
    _, at = varint(footer, 0)
    _, at = varint(footer, at)
    offset, at = varint(footer, at)
    size, _ = varint(footer, at)
    for _, handle in _block(table, offset, size):
        start, after = varint(handle, 0)
        length, _ = varint(handle, after)
        yield from _block(table, start, length)


def _block(table: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    block = table[offset : offset + size]
    if table[offset + size] != 0:
        raise WireError("a compressed table")
    (restarts,) = struct.unpack("<I", block[-4:])
    end = len(block) - 4 * (restarts + 1)
    at, key = 0, b""
    while at < end:
        shared, at = varint(block, at)
        fresh, at = varint(block, at)
        length, at = varint(block, at)
        key = key[:shared] + block[at : at + fresh]
        at += fresh
        yield key, block[at : at + length]
        at += length


def _tensor(prefix: Path, entry: bytes, shards: int) -> np.ndarray | None:
    kind = shard = offset = 0
    shape: list[int] = []
    for number, value in fields(entry):
        if isinstance(value, int):
            kind = value if number == 1 else kind
            shard = value if number == 3 else shard
            offset = value if number == 4 else offset
        elif number == 2:
            for part, dimension in fields(value):
                if part == 2 and not isinstance(dimension, int):
                    shape.append(next((int(s) for n, s in fields(dimension) if n == 1 and isinstance(s, int)), 0))
    if kind not in TYPES:
        return None
    path = prefix.with_name(f"{prefix.name}.data-{shard:05d}-of-{shards:05d}")
    if not shape:  # a map of no dimensions does not exist
        with open(path, "rb") as file:
            file.seek(offset)
            return np.frombuffer(file.read(np.dtype(TYPES[kind]).itemsize), TYPES[kind]).reshape(())
    return np.memmap(path, TYPES[kind], "r", offset, tuple(shape))
