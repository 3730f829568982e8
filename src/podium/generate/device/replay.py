"""Work of fixed shape, made repeatable: a CUDA graph on a GPU, the work itself elsewhere.

Replaying a graph starts the kernels of a whole step with one call; a step of a 7B model has some 500 of them, whose
launches from Python take longer than their work. What is captured must be the same every time: it reads and writes
tensors that stay where they are, waits for nothing and takes no decision by a value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

WARMUPS = 2
"""Runs before capturing: kernels are loaded, compiled and chosen, and workspaces allocated, in the first."""


class Recorder:
    """Captures on one device. All graphs share one pool of memory: they are replayed one after the other, and none
    reads what another one left there."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._pool: Any = None

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Something to call in place of `work`, which is run a few times for that."""
        if self.device.type != "cuda":
            return work
        with torch.cuda.device(self.device):
            if self._pool is None:
                self._pool = torch.cuda.graph_pool_handle()
            stream = torch.cuda.Stream(self.device)
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(WARMUPS):
                    work()
            torch.cuda.current_stream().wait_stream(stream)
            torch.cuda.synchronize()
            graph = torch.cuda.CUDAGraph()
            # Other threads of the process may go on allocating meanwhile.
            with torch.cuda.graph(graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"):
                work()
        return graph.replay


class Mailbox:
    """A tensor on the device that is filled from the host, step by step, with one copy that nobody waits for.

    `host` may be written between `open` and `send`.
    """

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> None:
        self.device = torch.zeros(shape, dtype=dtype, device=device)
        self._apart = device.type == "cuda"
        # Only from page-locked memory does a copy run beside the host.
        self.host = torch.zeros(shape, dtype=dtype, pin_memory=True) if self._apart else self.device
        self._sent = torch.cuda.Event() if self._apart else None

    def open(self) -> torch.Tensor:
        """The host's side, once the last copy has read it."""
        if self._sent is not None:
            self._sent.synchronize()
        return self.host

    def send(self) -> None:
        if self._sent is not None:
            self.device.copy_(self.host, non_blocking=True)
            self._sent.record(torch.cuda.current_stream(self.device.device))
