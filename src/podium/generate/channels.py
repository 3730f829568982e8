"""How batches of messages travel to a replica and back: over a socket to a child process, or by calls of a Ray actor.

Knows no completions. A channel is used from one event loop. Whatever ends it is told by `receive`, as a LostReplica.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, Protocol

from podium.errors import CompleterError, InputError
from podium.generate.messages import FromReplica, ToReplica
from podium.generate.replica import EngineSpec, EngineWorker, packed, read_batch

PATIENCE_SECONDS = 0.5
"""A child whose connection was closed has this long to end before it is killed."""

OUT_OF_MEMORY = "the system may be out of memory: use fewer replicas or a smaller memory_bytes"


class LostReplica(Exception):
    """The other side is gone. `reason` says how, `cure` what may help."""

    def __init__(self, reason: str, cure: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.cure = cure


class Channel(Protocol):
    """The way to one replica."""

    async def send(self, messages: Sequence[ToReplica]) -> None:
        """Hand over a batch. Raises LostReplica."""
        ...

    async def receive(self) -> list[FromReplica]:
        """The next batch. Raises LostReplica."""
        ...

    async def close(self) -> None:
        """End the replica, within a second; may be called more than once."""
        ...


class ProcessChannel:
    """A child process, a fresh interpreter: nothing of this one is forked into it."""

    def __init__(
        self, process: subprocess.Popen[bytes], streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    ) -> None:
        self._process = process
        self._reader, self._writer = streams

    @classmethod
    async def open(cls, spec: EngineSpec, threads: int | None) -> ProcessChannel:
        ours, theirs = socket.socketpair()
        call = f"from podium.generate.replica import main; main({theirs.fileno()}, {os.getpid()})"
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        if threads is not None:
            environment["OMP_NUM_THREADS"] = str(threads)
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", call],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # its complaints go to standard error, which it shares with us
                env=environment,
                process_group=0,  # the terminal's Ctrl-C reaches the parent only
            )
        channel = cls(process, await asyncio.open_unix_connection(sock=ours))
        channel._writer.write(packed((spec, threads)))
        return channel

    async def send(self, messages: Sequence[ToReplica]) -> None:
        try:
            self._writer.write(packed(messages))
            await self._writer.drain()
        except OSError:
            raise await self._lost() from None

    async def receive(self) -> list[FromReplica]:
        try:
            return await read_batch(self._reader)
        except (asyncio.IncompleteReadError, OSError):
            raise await self._lost() from None

    async def _lost(self) -> LostReplica:
        code = await self._end()
        name = f"process {self._process.pid}"
        if code >= 0:
            return LostReplica(f"{name} ended with exit code {code}", "see what it wrote to standard error")
        what = f"{name} was killed by {signal.Signals(-code).name}"
        return LostReplica(what, OUT_OF_MEMORY if code == -signal.SIGKILL else "see what it wrote to standard error")

    async def close(self) -> None:
        await self._end()

    async def _end(self) -> int:
        """Close the connection, which ends the child, and take its exit code."""
        self._writer.transport.abort()
        left = PATIENCE_SECONDS
        while self._process.poll() is None and left > 0:
            await asyncio.sleep(0.01)
            left -= 0.01
        if self._process.poll() is None:
            self._process.kill()
        return self._process.wait()


class RayChannel:
    """An actor anywhere in a Ray cluster; the model's folder must be readable there under the same path."""

    def __init__(self, ray: Any, actor: Any) -> None:
        self._ray = ray
        self._actor = actor
        self._loading = actor.load.remote()

    @classmethod
    async def open(cls, spec: EngineSpec, threads: int | None) -> RayChannel:
        import ray

        # A channel's calls wait for something to say for as long as it takes, several at a time.
        options: dict[str, Any] = {"num_cpus": threads or 1, "max_restarts": 0, "max_concurrency": 100}
        return cls(ray, ray.remote(**options)(EngineWorker).remote(spec, threads))

    async def send(self, messages: Sequence[ToReplica]) -> None:
        await self._call(self._actor.post.remote(list(messages)))

    async def receive(self) -> list[FromReplica]:
        return await self._call(self._actor.receive.remote())

    async def _call(self, reference: Any) -> Any:
        try:
            return await asyncio.wrap_future(reference.future())
        except self._ray.exceptions.RayError as error:
            first = str(error).strip().partition("\n")[0]
            raise LostReplica(f"its actor is gone: {first}", OUT_OF_MEMORY) from error

    async def close(self) -> None:
        self._ray.kill(self._actor)


def join_cluster(processors: int) -> bool:
    """Join the Ray cluster of RAY_ADDRESS, or start one on this machine; True when that is ours to end.

    Raises:
        InputError: Ray is not installed.
        CompleterError: no cluster, or one with fewer `processors`: Ray would wait for them without an end.
    """
    try:
        import ray
    except ImportError as error:
        raise InputError(
            "the backend 'ray' needs Ray", "in a clone: pip install -e '.[cluster]'; or use 'process'"
        ) from error
    joined = not ray.is_initialized()
    if joined:
        try:
            ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            cure = "check RAY_ADDRESS, or use the backend 'process'"
            raise CompleterError(f"no Ray cluster: {error}", cure) from error
    there = int(ray.cluster_resources().get("CPU", 0))
    if there < processors:
        if joined:
            leave_cluster()
        raise CompleterError(
            f"the replicas need {processors} processors, the Ray cluster has {there} processors",
            "use fewer replicas or threads, or add machines",
        )
    return joined


def leave_cluster() -> None:
    import ray

    ray.shutdown()
