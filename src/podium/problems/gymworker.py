"""A process with a fixed hash seed in which generated problems are made: `python -m podium.problems.gymworker`.

Sets of text are walked in an order that depends on PYTHONHASHSEED, and some tasks of reasoning-gym choose from such
sets. Which ones do changes with its releases, so that all of them are made here. The process ends when its parent does,
and after a minute in which nothing was asked. Each request is one JSON line and has one JSON line as its answer.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Iterator
from typing import Any

from podium.errors import InputError
from podium.problems.gym import decode, draw_here
from podium.records import Problem

_IDLE_SECONDS = 60.0
_BATCH, _BATCH_SECONDS = 50, 0.01  # problems sent at once, and how long they may take


def _some(stream: Iterator[Problem]) -> Iterator[Problem]:
    """The next problem, and those behind it that take no time: asking for each alone would cost more than making it."""
    until = time.monotonic() + _BATCH_SECONDS
    for count, problem in enumerate(stream, start=1):
        yield problem
        if count == _BATCH or time.monotonic() > until:
            return


def serve() -> None:
    """Answer requests until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a task prints is no answer
    requests = os.fdopen(os.dup(0), "rb", buffering=0)
    streams: dict[int, Iterator[Problem]] = {}
    opened = 0
    while True:
        if not streams and not select.select([requests], [], [], _IDLE_SECONDS)[0]:
            return
        written = requests.readline()
        if not written:
            return
        asked = json.loads(written)
        try:
            if "open" in asked:
                wanted = asked["open"]
                opened += 1
                streams[opened] = draw_here(wanted["name"], wanted["size"], wanted["seed"], decode(wanted["options"]))
                reply: dict[str, Any] = {"stream": opened}
            elif "next" in asked:
                reply = {"problems": [problem.model_dump(mode="json") for problem in _some(streams[asked["next"]])]}
            else:
                streams.pop(asked["close"], None)
                reply = {}
        except InputError as error:
            reply = {"input_error": [error.message, error.cure]}
        except Exception as error:  # a task's own failure belongs to the parent
            reply = {"failed": repr(error)}
        out.write(json.dumps(reply).encode() + b"\n")
        out.flush()


if __name__ == "__main__":
    serve()
