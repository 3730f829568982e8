"""TFRecord files and the tf.train.Example in them.

A record is its length (eight bytes), a checksum of the length, the bytes and a checksum of the bytes. The checksum of
the length is verified; the bytes are covered by the manifest of the dataset.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np

from podium.bench.formats.protobuf import WireError, fields, packed_varints
from podium.errors import InputError

Feature = np.ndarray | list[bytes]


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _crc_table()


def masked_crc(data: bytes) -> int:
    """CRC-32C (Castagnoli), rotated and shifted as TensorFlow stores it."""
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ _TABLE[(value ^ byte) & 0xFF]
    value ^= 0xFFFFFFFF
    return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF


def read_records(path: Path) -> Iterator[bytes]:
    """The records of a file in their order; `.zz` files are zlib streams as a whole.

    Raises:
        InputError: missing, cut off, or no TFRecord file.
    """
    try:
        if path.suffix == ".zz":
            yield from _records(BytesIO(zlib.decompress(path.read_bytes())), path)
        else:
            with open(path, "rb") as file:
                yield from _records(file, path)
    except (OSError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({error})", "restore the file") from None


def _records(file: BinaryIO, path: Path) -> Iterator[bytes]:
    number = 0
    while head := file.read(12):
        number += 1
        if len(head) < 12:
            raise InputError(f"{path}: record {number} is cut off", "restore the file")
        length, check = struct.unpack("<QI", head)
        if masked_crc(head[:8]) != check:
            raise InputError(f"{path}: no TFRecord file (record {number})", "restore the file")
        data = file.read(length)
        if len(data) < length or len(file.read(4)) < 4:
            raise InputError(f"{path}: record {number} is cut off", "restore the file")
        yield data


def parse_example(data: bytes) -> dict[str, Feature]:
    """The features of a serialised tf.train.Example: int64 and float32 arrays, lists of bytes.

    Raises:
        WireError: not an Example.
    """
    found: dict[str, Feature] = {}
    for number, features in fields(data):
        if number != 1 or isinstance(features, int):
            raise WireError("no tf.train.Example")
        for _, entry in fields(features):
            if isinstance(entry, int):
                raise WireError("no tf.train.Example")
            parts = dict(fields(entry))
            key, value = parts.get(1), parts.get(2)
            if isinstance(key, int) or isinstance(value, int) or key is None:
                raise WireError("no tf.train.Example")
            found[bytes(key).decode("utf-8", "replace")] = _feature(value) if value is not None else []
    return found


def _feature(data: memoryview) -> Feature:
    for kind, content in fields(data):
        if isinstance(content, int):
            raise WireError("no tf.train.Feature")
        values = list(fields(content))
        if kind == 1:
            return [bytes(value) for _, value in values if not isinstance(value, int)]
        if kind == 2:
            raw = b"".join(bytes(value) for _, value in values if not isinstance(value, int))
            if len(raw) % 4:
                raise WireError("half a number")
            return np.frombuffer(raw, "<f4")
        if kind == 3:
            # Packed, or one field per number.
            packed = [packed_varints(value) for _, value in values if not isinstance(value, int)]
            single = [value for _, value in values if isinstance(value, int)]
            return np.concatenate([*packed, np.array(single, np.uint64).view(np.int64)])
    return []
