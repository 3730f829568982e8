"""A long run played out with random interruptions: the check of podium.plan.failures' closed form."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Literal

import numpy as np

from podium.plan.failures import Goodput, Reliability
from podium.plan.units import DAY

Event = Literal["failure", "planned", "saved", "save", "started"]


@dataclass(frozen=True, slots=True)
class FailureRun:
    """What became of the hours. `failed` and `planned` count stops; `longest_loss` is in seconds of training."""

    shares: Goodput
    failed: int
    planned: int
    checkpoints: int
    longest_loss: float


def run_failures(run: Reliability, seconds: float, seed: int) -> FailureRun:
    """Train for `seconds` of wall time. Every device fails at random, at a rate of 1 / `run.mtbf`; what is trained
    counts once a checkpoint has ended, or when time is up."""
    draw = np.random.default_rng(seed)
    # The devices' independent failures together are one Poisson process of N times the rate.
    events: list[tuple[float, int, Event, int]] = []
    number = generation = 0

    def at(when: float, what: Event) -> None:
        nonlocal number
        number += 1
        heapq.heappush(events, (when, number, what, generation))

    def next_failure(now: float) -> None:
        at(now + float(draw.exponential(run.between_failures)), "failure")

    next_failure(0.0)
    planned_every = DAY / run.planned_per_day if run.planned_per_day else 0.0
    if planned_every:
        at(planned_every, "planned")
    at(run.saves_every, "save")
    state: Literal["training", "saving", "restarting", "stopped"] = "training"
    since = 0.0  # when this state began
    spent = {"training": 0.0, "saving": 0.0, "restarting": 0.0, "stopped": 0.0}
    unsaved = saving_now = lost = broken = longest = 0.0
    failed = stops = saved = 0

    def enter(now: float, what: Literal["training", "saving", "restarting", "stopped"]) -> None:
        nonlocal state, since, unsaved, saving_now
        spent[state] += now - since
        if state == "training":
            unsaved += now - since
        if state == "saving":
            saving_now = now - since
        state, since = what, now

    while events:
        now, _, what, of = heapq.heappop(events)
        if now >= seconds:
            break
        if what == "failure":
            failed += 1
            broken_off = state == "saving"
            enter(now, "restarting")
            lost += unsaved
            broken += saving_now if broken_off else 0.0
            longest = max(longest, unsaved)
            unsaved, generation = 0.0, generation + 1
            at(now + run.restart, "started")
            next_failure(now)
        elif what == "planned":
            # A planned stop waits for a run that is being restarted or saved, then saves and restarts.
            if state == "training":
                stops += 1
                enter(now, "stopped")
                saved, unsaved, generation = saved + 1, 0.0, generation + 1
                at(now + run.checkpoint + run.restart, "started")
                at(now + planned_every, "planned")
            else:
                at(now + 1.0, "planned")
        elif of != generation:
            continue  # belongs to a run that was interrupted
        elif what == "save":
            enter(now, "saving")
            at(now + run.checkpoint, "saved")
        else:
            if what == "saved":
                saved, unsaved = saved + 1, 0.0
            enter(now, "training")
            at(now + run.saves_every, "save")
    enter(seconds, state)
    # What was lost had been booked as training, or as saving that broke off.
    return FailureRun(
        shares=Goodput(
            training=(spent["training"] - lost) / seconds,
            saving=(spent["saving"] - broken) / seconds,
            lost=(lost + broken) / seconds,
            restarting=spent["restarting"] / seconds,
            planned=spent["stopped"] / seconds,
        ),
        failed=failed,
        planned=stops,
        checkpoints=saved,
        longest_loss=longest,
    )
