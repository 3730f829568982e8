"""A pipelined step played out event by event: what podium.plan.schedules says in closed form, without its algebra.

Devices run passes one at a time, results travel `hand_over` seconds, events are taken from a queue in order of time.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from podium.plan.schedules import Pipeline, check_schedule

Kind = Literal["F", "B", "W"]


class Task(NamedTuple):
    """One pass of one micro-batch through one chunk. B is the whole backward pass unless W is apart."""

    kind: Kind
    micro_batch: int
    chunk: int


@dataclass(frozen=True, slots=True)
class Span:
    """When a device ran a task, in seconds."""

    device: int
    task: Task
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class PipelineRun:
    """One step. `peak` is, by device, how many micro-batches' chunks were kept for a backward pass at once."""

    spans: list[Span]
    stages: int
    peak: list[int]

    @property
    def seconds(self) -> float:
        return max(span.end for span in self.spans)

    @property
    def bubble_fraction(self) -> float:
        working = sum(span.end - span.start for span in self.spans)
        return 1 - working / (self.stages * self.seconds)


@dataclass(slots=True)
class _Device:
    """What one device still has to do, in the order its schedule fixes."""

    order: Iterator[Task]
    next: Task | None = None
    busy: bool = False
    kept: int = 0
    peak: int = 0

    def advance(self) -> None:
        self.next = next(self.order, None)


def run_pipeline(schedule: str, pipeline: Pipeline, micro_batches: int) -> PipelineRun:
    """Play one step out.

    Raises:
        InputError: as `podium.plan.schedules.check_schedule`.
    """
    check_schedule(schedule, pipeline, micro_batches)
    count, chunks = pipeline.stages, pipeline.chunks
    split = schedule == "zero-bubble"
    weight = pipeline.weight or tuple(b / 2 for b in pipeline.backward)
    devices = [_Device(_order(schedule, stage, count, micro_batches, chunks)) for stage in range(count)]
    for device in devices:
        device.advance()
    arrived: set[tuple[int, Task]] = {(0, Task("F", m, 0)) for m in range(micro_batches)}
    spans: list[Span] = []
    # (time, number, device that is done or receives, task, whether it is done there or arrives there)
    events: list[tuple[float, int, int, Task, bool]] = []
    number = 0

    def seconds(stage: int, task: Task) -> float:
        if task.kind == "F":
            return pipeline.forward[stage] / chunks
        if task.kind == "W":
            return weight[stage]
        return (pipeline.backward[stage] - (weight[stage] if split else 0.0)) / chunks

    def start(now: float, stage: int) -> None:
        nonlocal number
        device = devices[stage]
        task = device.next
        if device.busy or task is None or (stage, task) not in arrived:
            return
        device.advance()
        device.busy = True
        if task.kind == "F":
            device.kept += 1
            device.peak = max(device.peak, device.kept)
        end = now + seconds(stage, task)
        spans.append(Span(stage, task, now, end))
        number += 1
        heapq.heappush(events, (end, number, stage, task, True))

    def hand_on(now: float, stage: int, task: Task) -> None:
        nonlocal number
        for receiver, made in _successors(stage, task, count, chunks, split):
            number += 1
            delay = 0.0 if receiver == stage else pipeline.hand_over
            heapq.heappush(events, (now + delay, number, receiver, made, False))

    for stage in range(count):
        start(0.0, stage)
    while events:
        now = events[0][0]
        touched: set[int] = set()
        # All that happens at one instant is known before anyone decides what to do next.
        while events and events[0][0] <= now + 1e-12:
            _, _, stage, task, done = heapq.heappop(events)
            touched.add(stage)
            if not done:
                arrived.add((stage, task))
                continue
            device = devices[stage]
            device.busy = False
            if task.kind == ("W" if split else "B"):
                device.kept -= 1
            hand_on(now, stage, task)
        for stage in sorted(touched):
            start(now, stage)
    return PipelineRun(spans, count, [device.peak for device in devices])


def _successors(stage: int, task: Task, count: int, chunks: int, split: bool) -> list[tuple[int, Task]]:
    """Which tasks on which devices wait for this one's result."""
    kind, micro_batch, chunk = task
    if kind == "W":
        return []
    if kind == "F":
        if stage < count - 1:
            return [(stage + 1, task)]
        if chunk < chunks - 1:
            return [(0, Task("F", micro_batch, chunk + 1))]
        return [(stage, Task("B", micro_batch, chunk))]
    waiting = [(stage, Task("W", micro_batch, chunk))] if split else []
    if stage > 0:
        return [*waiting, (stage - 1, task)]
    if chunk > 0:
        return [*waiting, (count - 1, Task("B", micro_batch, chunk - 1))]
    return waiting


def _order(schedule: str, stage: int, count: int, m: int, chunks: int) -> Iterator[Task]:
    """The passes of one device. ZB-H1 puts a weight gradient off for as many micro-batches as stages lie before it:
    then every stage keeps as many as the first one does, and the last ones have them left when the rest runs out."""
    total = m * chunks
    if schedule == "gpipe":
        ahead = total
    elif schedule == "interleaved" and chunks > 1:
        ahead = min(total, 2 * (count - 1 - stage) + (chunks - 1) * count)  # Megatron's warm-up
    else:
        ahead = min(total, count - 1 - stage)

    def slot(index: int, kind: Kind) -> Task:
        # Groups of `count` micro-batches go through chunk after chunk.
        group, within = divmod(index, count * chunks)
        chunk = within // count if chunks > 1 else 0
        micro_batch = group * count + within % count if chunks > 1 else index
        return Task(kind, micro_batch, chunk if kind == "F" else chunks - 1 - chunk)

    for index in range(ahead):
        yield slot(index, "F")
    for index in range(total - ahead):
        yield slot(ahead + index, "F")
        yield slot(index, "B")
        if schedule == "zero-bubble" and index >= stage:
            yield slot(index - stage, "W")
    for index in range(total - ahead, total):
        yield slot(index, "B")
        if schedule == "zero-bubble" and index >= stage:
            yield slot(index - stage, "W")
    if schedule == "zero-bubble":
        for index in range(max(0, total - stage), total):
            yield slot(index, "W")
