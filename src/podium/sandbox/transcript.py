"""What a block prints, on the session's side: its beginning goes out at once, of the rest only the end is kept.

Knows the output pipe (descriptor 1) and one limit. The beginning is written as it is made so that a block that is
killed has shown it; the middle is counted and forgotten so that an endless loop of print costs no memory.
"""

from __future__ import annotations

import io
from collections import deque

from podium.sandbox.protocol import write_all


class Transcript(io.TextIOBase):
    """Stands in for sys.stdout and sys.stderr."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, limit: int, descriptor: int = 1) -> None:
        self._descriptor = descriptor
        self.limit = limit  # characters
        self.begin(limit)

    def begin(self, room: int) -> None:
        """Start a block whose first `room` characters go straight out."""
        self._room = room
        self._line: list[str] = []
        self._tail: deque[str] = deque()
        self._tail_length = 0
        self._dropped = 0

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        count = len(text)
        if self._room:
            head = text[: self._room]
            self._room -= len(head)
            self._line.append(head)
            if "\n" in head or not self._room:
                self.flush()
            text = text[len(head) :]
        if text:
            self._keep(text)
        return count

    def _keep(self, text: str) -> None:
        if len(text) > self.limit:
            self._dropped += len(text) - self.limit
            text = text[-self.limit :]
        self._tail.append(text)
        self._tail_length += len(text)
        while self._tail_length - len(self._tail[0]) >= self.limit:
            oldest = len(self._tail.popleft())
            self._tail_length -= oldest
            self._dropped += oldest

    def flush(self) -> None:
        if self._line:
            line = "".join(self._line)
            self._line.clear()
            write_all(self._descriptor, line.encode("utf-8", "backslashreplace"))

    def finish(self) -> tuple[str, int]:
        """End of the block: (text not written to the pipe, characters forgotten before that text)."""
        text = "".join(self._line) + "".join(self._tail)
        dropped = self._dropped
        if self._tail:
            self.flush()
            text = "".join(self._tail)
            dropped += max(len(text) - self.limit, 0)
            text = text[-self.limit :]
        self.begin(0)
        return text, dropped

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    @property
    def buffer(self) -> io.FileIO:
        """For code that writes bytes: straight into the pipe, after what was printed before."""
        self.flush()
        return io.FileIO(self._descriptor, "wb", closefd=False)
