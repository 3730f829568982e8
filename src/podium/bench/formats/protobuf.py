"""The wire format of protocol buffers, as far as records and checkpoints of TensorFlow need it.

A message is a sequence of fields: a varint (number << 3 | kind), then a varint (kind 0), eight bytes (1), a length and
so many bytes (2), or four bytes (5). Knows no message types.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


class WireError(ValueError):
    """The bytes are no message."""


def varint(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """The number that begins at `at`, and where it ends.

    Raises:
        WireError: it does not end.
    """
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
    raise WireError("a number without an end")


def fields(data: bytes | memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(number, value) of each field: varints as int, everything else as bytes.

    Raises:
        WireError: not a message.
    """
    view = memoryview(data)
    at = 0
    while at < len(view):
        tag, at = varint(view, at)
        kind = tag & 7
        if kind == 0:
            value, at = varint(view, at)
            yield tag >> 3, value
            continue
        if kind == 2:
            length, at = varint(view, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise WireError(f"field kind {kind}")
        if at + length > len(view):
            raise WireError("a field that reaches beyond the end")
        yield tag >> 3, view[at : at + length]
        at += length


def packed_varints(data: bytes | memoryview) -> np.ndarray:
    """Packed numbers as int64 [N]."""
    raw = np.frombuffer(data, np.uint8)
    last = np.flatnonzero(raw < 0x80)
    if len(last) == len(raw):
        return raw.astype(np.int64)
    if not len(last) or last[-1] != len(raw) - 1:
        raise WireError("a number without an end")
    starts = np.concatenate([[0], last[:-1] + 1])
    lengths = last - starts + 1
    if lengths.max() > 10:
        raise WireError("a number of more than ten bytes")
    shifts = 7 * (np.arange(len(raw)) - np.repeat(starts, lengths))
    parts = (raw & 0x7F).astype(np.uint64) << shifts.astype(np.uint64)
    return np.add.reduceat(parts, starts).view(np.int64)
