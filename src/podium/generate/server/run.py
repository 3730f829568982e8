"""The process: a bound address, uvicorn, and an orderly end.

The first SIGINT or SIGTERM closes the door: nobody new is let in, what runs may finish for the grace period, and what
still runs then is ended and told as it is. The second one does that at once.
"""

from __future__ import annotations

import asyncio
import errno
import resource
import socket
from types import FrameType
from typing import Any

import uvicorn
from starlette.applications import Starlette

from podium.errors import InputError
from podium.generate.server.gate import Gate

BACKLOG = 4096
"""Connections that may knock at once; Linux cuts it to net.core.somaxconn."""


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens at this address.

    It listens at once, and not only when requests can be answered: of two sockets that are bound to one address with
    SO_REUSEADDR Linux refuses the second one only when the first one listens, and by then both would have loaded a
    model. Whoever connects meanwhile waits.

    Raises:
        InputError: the address is taken, not ours to use, or not to be found.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError, OverflowError) as error:
        raise InputError(f"--host {host}: {error}", "for example 127.0.0.1, or 0.0.0.0 for every network") from error
    first, *others = dict.fromkeys((family, kind, protocol, address) for family, kind, protocol, _, address in found)
    listening = _listening(host, port, *first)
    # A name may stand for several addresses (localhost: ::1 and 127.0.0.1). Another server at one of the others would
    # get the requests of those who try that one first.
    for family, kind, protocol, address in others:
        taken = (address[0], listening.getsockname()[1], *address[2:])
        try:
            _listening(host, port, family, kind, protocol, taken).close()
        except InputError as error:
            cause = error.__cause__
            if port and isinstance(cause, OSError) and cause.errno == errno.EADDRINUSE:
                listening.close()
                raise
    return listening


def _listening(host: str, port: int, family: int, kind: int, protocol: int, address: Any) -> socket.socket:
    listening: socket.socket | None = None
    try:
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        if listening is not None:
            listening.close()
        raise _refused_address(host, port, error) from error
    return listening


def _refused_address(host: str, port: int, error: OSError) -> InputError:
    if error.errno == errno.EADDRINUSE:
        return InputError(f"port {port} of {host} is in use", "choose another --port, or stop the other program")
    if error.errno in (errno.EACCES, errno.EPERM):
        return InputError(f"port {port} may only be opened by root", "choose a --port of 1024 or more")
    if error.errno == errno.EADDRNOTAVAIL:
        return InputError(f"--host {host} is no address of this machine", "for example 127.0.0.1")
    return InputError(f"{host}:{port}: {error.strerror}", "choose another --host or --port")


class _Server(uvicorn.Server):
    """uvicorn, with our end: the gate is drained while uvicorn waits for its connections."""

    def __init__(self, config: uvicorn.Config, gate: Gate, grace: float) -> None:
        super().__init__(config)
        self._gate = gate
        self._grace = grace
        self._cutting: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Not remembered for raising again afterwards, as uvicorn does: this end is orderly.
        if self.should_exit:
            self._loop.call_soon_threadsafe(self._cut)
        self.should_exit = True

    def _cut(self) -> None:
        self._cutting = asyncio.ensure_future(self._gate.cut())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        draining = asyncio.create_task(self._gate.drain(self._grace))
        await super().shutdown(sockets)
        await draining


async def serve(app: Starlette, gate: Gate, bound: socket.socket, *, grace: float = 30.0) -> None:
    """Serve at the listening socket until SIGINT or SIGTERM, then end as described above; returns when all is done."""
    _raise_descriptor_limit()
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_level="warning",
        access_log=False,
        backlog=BACKLOG,
        timeout_keep_alive=60,
        # Our own drain ends every answer in time; this is for clients that do not read theirs.
        timeout_graceful_shutdown=int(grace) + 5,
        server_header=False,
    )
    await _Server(config, gate, grace).serve(sockets=[bound])


def _raise_descriptor_limit() -> None:
    """Every client is a descriptor; the usual soft limit of 1024 would end at a thousand streams."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
