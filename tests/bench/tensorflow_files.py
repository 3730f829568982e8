"""Small files in TensorFlow's formats, written by their definitions: records of examples, and checkpoints.

formats/test_tensorflow_files.py reads what TensorFlow itself wrote; these are for tests that need other contents.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from podium.bench.formats.checkpoint import MAGIC
from podium.bench.formats.tfrecord import masked_crc


def number(value: int) -> bytes:
    value &= (1 << 64) - 1
    made = bytearray()
    while value >= 0x80:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*made, value])


def sized(field: int, content: bytes) -> bytes:
    return number(field << 3 | 2) + number(len(content)) + content


def example(**features: Any) -> bytes:
    """A tf.train.Example: bytes, float arrays and integer arrays."""
    entries = b""
    for name, value in features.items():
        if isinstance(value, bytes):
            feature = sized(1, sized(1, value))
        elif np.asarray(value).dtype.kind == "f":
            feature = sized(2, sized(1, np.asarray(value, "<f4").tobytes()))
        else:
            feature = sized(3, sized(1, b"".join(number(int(one)) for one in value)))
        entries += sized(1, sized(1, name.encode()) + sized(2, feature))
    return sized(1, entries)


def write_records(path: Path, records: Iterable[bytes]) -> None:
    """A TFRecord file; of the ending .zz a compressed one."""
    content = b""
    for record in records:
        head = struct.pack("<Q", len(record))
        content += head + struct.pack("<I", masked_crc(head)) + record + struct.pack("<I", masked_crc(record))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(zlib.compress(content) if path.suffix == ".zz" else content)


def write_checkpoint(prefix: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """PREFIX.index and PREFIX.data-00000-of-00001 of float32 tensors."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    data, entries = b"", [(b"", number(1 << 3) + number(1))]
    for name in sorted(tensors):
        tensor = np.ascontiguousarray(tensors[name], dtype="<f4")
        shape = b"".join(sized(2, number(1 << 3) + number(side)) for side in tensor.shape)
        entry = number(1 << 3) + number(1) + sized(2, shape) + number(4 << 3) + number(len(data))
        entries.append((name.encode(), entry + number(5 << 3) + number(tensor.nbytes)))
        data += tensor.tobytes()
    block = _block(entries)
    index = _block([(b"\xff", number(0) + number(len(block) - 5))])
    footer = number(0) + number(0) + number(len(block)) + number(len(index) - 5)
    table = block + index + footer.ljust(40, b"\0") + struct.pack("<Q", MAGIC)
    prefix.with_name(prefix.name + ".index").write_bytes(table)
    prefix.with_name(prefix.name + ".data-00000-of-00001").write_bytes(data)


def _block(entries: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Entries without shared prefixes, one restart, no compression; checksums are not read."""
    body = b"".join(number(0) + number(len(key)) + number(len(value)) + key + value for key, value in entries)
    return body + struct.pack("<II", 0, 1) + b"\0" + bytes(4)
