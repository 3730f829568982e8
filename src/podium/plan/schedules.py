"""Seconds of one pipelined step, in closed form: GPipe, 1F1B, interleaved 1F1B, zero-bubble (ZB-H1).

Stages may be uneven and handing over takes time. The forms are longest paths through a schedule's dependencies; what
podium.plan.pipeline_run plays out event by event agrees with them (tests/plan/test_schedules.py). One micro-batch
costs stage i `forward[i]` and `backward[i]` seconds, of which `weight[i]` (gradients of weights) nobody waits for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from podium.errors import InputError, nearest

SCHEDULES = ("gpipe", "1f1b", "interleaved", "zero-bubble")


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Seconds per micro-batch by stage, and what joins the stages.

    `hand_over` is seconds from a stage to the next, either way. With `chunks` > 1 a device holds that many slices of
    the network, each 1/chunks of its times (interleaving).
    """

    forward: tuple[float, ...]
    backward: tuple[float, ...]
    weight: tuple[float, ...] = ()
    hand_over: float = 0.0
    chunks: int = 1

    def __post_init__(self) -> None:
        if not self.forward or len(self.forward) != len(self.backward):
            raise InputError(
                f"{len(self.forward)} forward and {len(self.backward)} backward times",
                "give one of each per stage, at least one stage",
            )
        if self.weight and len(self.weight) != len(self.forward):
            raise InputError(f"{len(self.weight)} weight times for {self.stages} stages", "give one per stage")
        if min(*self.forward, *self.backward, self.hand_over) < 0 or max(*self.forward, *self.backward) <= 0:
            raise InputError("a stage's time is negative, or all are zero", "give seconds of at least 0")
        if any(not 0 <= w <= b for w, b in zip(self.weight, self.backward, strict=False)):
            raise InputError("a weight gradient takes longer than its backward pass", "it is a part of it")
        if self.chunks < 1:
            raise InputError(f"{self.chunks} chunks per stage", "give at least 1")

    @property
    def stages(self) -> int:
        return len(self.forward)

    @property
    def both(self) -> tuple[float, ...]:
        """Forward and backward of each stage."""
        return tuple(f + b for f, b in zip(self.forward, self.backward, strict=True))


def even_pipeline(
    stages: int, forward: float = 1.0, backward: float = 2.0, hand_over: float = 0.0, chunks: int = 1
) -> Pipeline:
    """All stages alike; half of a backward pass is for the weights."""
    if stages < 1:
        raise InputError(f"a pipeline of {stages} stages", "give at least 1")
    return Pipeline((forward,) * stages, (backward,) * stages, (backward / 2,) * stages, hand_over, chunks)


def check_schedule(schedule: str, pipeline: Pipeline, micro_batches: int) -> None:
    """Raises InputError where a schedule cannot run: unknown, no micro-batches, chunks it does not know."""
    if schedule not in SCHEDULES:
        raise InputError(f"unknown pipeline schedule {schedule!r}", nearest(schedule, SCHEDULES))
    if micro_batches < 1:
        raise InputError(f"a step of {micro_batches} micro-batches", "give at least 1")
    if schedule != "gpipe" and micro_batches < pipeline.stages:
        raise InputError(
            f"{micro_batches} micro-batches cannot fill {pipeline.stages} stages",
            f"use at least {pipeline.stages} micro-batches, fewer stages, or the gpipe schedule",
        )
    if schedule == "interleaved" and micro_batches % pipeline.stages:
        raise InputError(
            f"interleaving passes micro-batches in groups of {pipeline.stages}; {micro_batches} are no multiple",
            f"use {-(-micro_batches // pipeline.stages) * pipeline.stages} micro-batches",
        )
    if schedule != "interleaved" and pipeline.chunks > 1:
        raise InputError(f"{schedule} holds one chunk per stage, not {pipeline.chunks}", "use interleaved")


def step_seconds(schedule: str, pipeline: Pipeline, micro_batches: int) -> float:
    """From the first forward pass to the last backward pass of one step.

    Raises:
        InputError: as `check_schedule`.
    """
    check_schedule(schedule, pipeline, micro_batches)
    if schedule == "gpipe":
        return _gpipe(pipeline, micro_batches)
    if schedule == "interleaved" and pipeline.chunks > 1:
        return _interleaved(pipeline, micro_batches)
    if schedule == "zero-bubble":
        return _zero_bubble(pipeline, micro_batches)
    return _one_forward_one_backward(pipeline, micro_batches)


def bubble_fraction(schedule: str, pipeline: Pipeline, micro_batches: int) -> float:
    """Share of the devices' time in which they wait; with even stages and free hand-over (P - 1) / (m + P - 1) for
    GPipe and 1F1B (arXiv 1811.06965, arXiv 2104.04473 section 2.2.1), and less for the others."""
    working = micro_batches * sum(pipeline.both)
    return 1 - working / (pipeline.stages * step_seconds(schedule, pipeline, micro_batches))


def _gpipe(pipeline: Pipeline, m: int) -> float:
    """Two flow shops, one after the other: the slowest stage m times, all others once."""
    ends = sum(pipeline.both) + 2 * (pipeline.stages - 1) * pipeline.hand_over
    return ends + (m - 1) * (max(pipeline.forward) + max(pipeline.backward))


def _pace(times: Sequence[float], hand_over: float, weight: Sequence[float] = ()) -> list[float]:
    """Seconds per micro-batch in the steady state that each stage is held to.

    Stage a may start a forward pass only after the backward pass that frees its place, which has been to stage b and
    back: b - a + 1 places, the work of stages a to b and 2 (b - a) hand-overs. The slowest such round binds all its
    stages. Even stages P of time t: t + 2 c (P - 1) / P. Weight gradients apart count once a round, where it begins.
    """
    count = len(times)
    weight = weight or (0.0,) * count
    sums = [0.0, *accumulate(times)]
    pace = [t + w for t, w in zip(times, weight, strict=True)]
    for first in range(count):
        best = 0.0
        for last in range(count - 1, first - 1, -1):
            places = last - first + 1
            mean = (sums[last + 1] - sums[first] + weight[first] + 2 * hand_over * (places - 1)) / places
            best = max(best, mean)  # over all rounds that begin at `first` and reach `last`
            pace[last] = max(pace[last], best)
    return pace


def _one_forward_one_backward(pipeline: Pipeline, m: int) -> float:
    """The longest of the paths that run in with the first micro-batch, stay at one stage, and run out.

    Up to stage j the path is the first micro-batch's. It then either fills the P - 1 - j places behind it with forward
    passes or follows the first micro-batch to the end of the pipeline and back; the same, mirrored, at the end.
    """
    times, c, count = pipeline.both, pipeline.hand_over, pipeline.stages
    pace = _pace(times, c)
    longest = before = 0.0
    after = sum(times) + 2 * (count - 1) * c
    for stage, (forward, backward, both) in enumerate(zip(pipeline.forward, pipeline.backward, times, strict=True)):
        behind = count - 1 - stage
        rounds = m - 1 - behind
        fill, drain, trip = behind * forward, behind * backward, after - both
        # With no round left the micro-batches in flight are all there are: one trip at most.
        ends = max(fill, trip) + max(drain, trip) if rounds else max(fill + drain, fill + trip, drain + trip)
        longest = max(longest, before + ends + both + rounds * pace[stage])
        before += both + 2 * c
        after -= both + 2 * c
    return longest


def _interleaved(pipeline: Pipeline, m: int) -> float:
    """arXiv 2104.04473 section 2.2.2: running in and out takes 1/chunks of the time.

    A device whose slices are slow works without a pause once it is reached; the others wait for it. Where hand-over
    takes time, the first micro-batch of a group of P comes round late to the next chunk, running in and running out.
    """
    c, v, count = pipeline.hand_over, pipeline.chunks, pipeline.stages
    forward, backward, both = ([x / v for x in xs] for xs in (pipeline.forward, pipeline.backward, pipeline.both))
    longest = before = 0.0
    after = sum(both) + 2 * (count - 1) * c
    for stage in range(count):
        behind = count - 1 - stage
        trip = after - both[stage]
        wait = max(0.0, trip - 2 * behind * forward[stage]) + max(0.0, trip - 2 * behind * backward[stage])
        round_trip = count * c if count > 1 else 0.0
        late = max(0.0, sum(forward) + round_trip - count * forward[stage])
        late += max(0.0, sum(backward) + round_trip - count * backward[stage])
        longest = max(longest, before + wait + (v - 1) * late + m * v * both[stage])
        before += both[stage] + 2 * c
        after -= both[stage] + 2 * c
    return longest


def _zero_bubble(pipeline: Pipeline, m: int) -> float:
    """ZB-H1 (arXiv 2401.10241 section 2.3): 1F1B with weight gradients in the gaps, and as many micro-batches kept on
    any stage as 1F1B keeps on its first; even stages lose (P - 1) (F + B - W), B being the input gradients' part."""
    c, count = pipeline.hand_over, pipeline.stages
    weight = pipeline.weight or tuple(b / 2 for b in pipeline.backward)
    inputs = tuple(b - w for b, w in zip(pipeline.backward, weight, strict=True))
    passed = tuple(f + b for f, b in zip(pipeline.forward, inputs, strict=True))
    early = _pace(passed, c)  # while weight gradients are put off
    steady = _pace(passed, c, weight)
    longest = before = 0.0
    after = sum(passed) + 2 * (count - 1) * c
    out = 0.0  # from a stage's last input gradient to the end of the step
    for stage, forward in enumerate(pipeline.forward):
        behind = count - 1 - stage
        rounds = m - 1 - behind
        put_off = min(stage, m - 1)
        own = (put_off + 1) * weight[stage]
        out = max(own, out + inputs[stage - 1] + c) if stage else own
        fill, trip = behind * forward, after - passed[stage]
        drain = behind * inputs[stage] + max(0, behind - max(0, put_off - rounds)) * weight[stage]
        ends = max(fill, trip) + max(drain, trip) if rounds else max(fill + drain, fill + trip, drain + trip)
        middle = min(rounds, put_off) * early[stage] + max(0, rounds - put_off) * steady[stage]
        longest = max(longest, before + ends + passed[stage] + middle + out)
        before += forward + c
        after -= passed[stage] + 2 * c
    return longest
