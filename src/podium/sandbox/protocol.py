"""The bytes between host and session.

Host to session: a header and a payload. Session to host: a fixed header and text, never JSON or pickle, because the
other end belongs to the code that ran. Whatever does not fit is a ProtocolViolation and the session's end.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

_REQUEST = struct.Struct("!4sBII")  # magic, kind, request id, payload bytes
_REPLY = struct.Struct("!4sBIQI")  # magic, code, request id, dropped characters, text bytes
_REQUEST_MAGIC = b"pdm>"
_REPLY_MAGIC = b"pdm<"

OPEN = 1  # payload: JSON {"seed", "limits"}; not answered
RUN = 2  # payload: source text, UTF-8

OK, ERROR, MEMORY, INTERRUPTED, READY, FAILED = range(6)


class ProtocolViolation(Exception):
    """Bytes from a session that no well-behaved session sends."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer: `code` is one of the constants above, `text` what was not written to the output pipe already."""

    code: int
    request: int
    dropped: int
    text: str


def pack_request(kind: int, request: int, payload: bytes) -> bytes:
    return _REQUEST.pack(_REQUEST_MAGIC, kind, request, len(payload)) + payload


def pack_reply(code: int, request: int, dropped: int, text: str) -> bytes:
    payload = text.encode("utf-8", "backslashreplace")
    return _REPLY.pack(_REPLY_MAGIC, code, request, dropped, len(payload)) + payload


def read_request(descriptor: int) -> tuple[int, int, bytes]:
    """(kind, request id, payload), blocking. Raises EOFError when the host has closed its end."""
    magic, kind, request, length = _REQUEST.unpack(_read_exactly(descriptor, _REQUEST.size))
    if magic != _REQUEST_MAGIC:
        raise EOFError
    return kind, request, _read_exactly(descriptor, length)


def _read_exactly(descriptor: int, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = os.read(descriptor, count - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


class ReplyReader:
    """Puts replies together from bytes as they come. `feed` returns the reply once it is whole."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes, request: int, text_limit: int) -> Reply | None:
        """Take some bytes of the answer to `request`, whose text may have `text_limit` bytes.

        Raises ProtocolViolation as soon as the bytes cannot become that answer, or go on after it.
        """
        self._data += data
        if len(self._data) < _REPLY.size:
            if not _REPLY_MAGIC.startswith(bytes(self._data[:4])):
                raise ProtocolViolation("bytes that are no reply")
            return None
        magic, code, answered, dropped, length = _REPLY.unpack_from(self._data)
        if magic != _REPLY_MAGIC:
            raise ProtocolViolation("bytes that are no reply")
        if answered != request:
            raise ProtocolViolation(f"an answer to request {answered} instead of {request}")
        # Request 0 is the start itself; a session never gets to answer it twice.
        if code not in ((READY, FAILED) if request == 0 else (OK, ERROR, MEMORY, INTERRUPTED)):
            raise ProtocolViolation(f"a reply with code {code}")
        if length > text_limit:
            raise ProtocolViolation(f"a reply of {length} bytes")
        if len(self._data) < _REPLY.size + length:
            return None
        if len(self._data) > _REPLY.size + length:
            raise ProtocolViolation("bytes after the reply")
        text = self._data[_REPLY.size :].decode("utf-8", "replace")
        self._data.clear()
        return Reply(code, answered, min(dropped, 1 << 53), text)
