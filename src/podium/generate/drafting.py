"""Guesses in the engine's step: asking for them, finding room for them, and telling the proposer what came of it.

Knows plans and the proposer (podium.generate.speculate); draws nothing.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import Tensor

from podium.generate.guess import DraftRequest
from podium.generate.runner import Runner, Span
from podium.generate.scheduler import Scheduler, StepPlan, Work
from podium.generate.speculate import Proposer

TRIED_ROWS = 96
"""Steps of up to this many rows are timed before the first completion, …"""

TRIED_SECONDS = 0.05
"""… unless one takes longer than this: such a model is not timed at all."""


class Drafting:
    """Adds guesses to plans.

    Args:
        context: tokens that a sequence may have.
    """

    def __init__(self, proposer: Proposer, scheduler: Scheduler, context: int) -> None:
        self.proposer = proposer
        self._scheduler = scheduler
        self._context = context
        self._resting = False
        self._states = torch.empty(0)  # [R, state_size], from which the last step's tokens were drawn
        self._step = 0  # its number
        self._since = time.perf_counter()  # the last step ended, or something to do came

    def add_guesses(self, plan: StepPlan) -> None:
        """Ask for guesses, and put those that have a place into the plan."""
        self._resting = self.proposer.rests(len(plan.work))
        if self._resting:
            return
        guessing: list[Work] = []
        requests: list[DraftRequest] = []
        for work in plan.work:
            request = self._request(work)
            if request is not None:
                guessing.append(work)
                requests.append(request)
        if not guessing:
            return
        budget = max(0, plan.budget)
        proposed = self.proposer.propose(requests, self._states, budget)
        for work, request, guesses in zip(guessing, requests, proposed, strict=True):
            if guesses:
                room = self._scheduler.room_for_guesses(work.sequence, min(len(guesses), request.limit, budget))
                work.guesses = guesses[:room]
                budget -= room

    def _request(self, work: Work) -> DraftRequest | None:
        """What is asked for a sequence; None for one that is not about to write its next token."""
        sequence = work.sequence
        written, tokens = sequence.usage.completion_tokens, sequence.tokens
        if work.count != 1 or not written or len(tokens) - sequence.computed != 1:
            return None
        left = min(sequence.sampling.max_tokens - written, self._context - len(tokens)) - 1
        source = sequence.draft_source
        row = source[1] if source is not None and source[0] == self._step else None
        return DraftRequest(sequence.number, tokens, sequence.key, row, max(0, left))

    def drew_from(self, step: int, states: Tensor) -> None:
        """Step number `step` drew from these states [R, state_size]: sequences' `draft_source` names their rows."""
        self._step, self._states = step, states

    def stepped(self, step: int, plan: StepPlan, forked: bool, generated: int) -> None:
        """A step is over, and made completions longer by `generated` tokens. With `forked` some were not computed."""
        began, self._since = self._since, time.perf_counter()
        # While it rests, a look now and then is enough.
        if not forked and (not self._resting or step % 8 == 0) and all(work.count == 1 for work in plan.work):
            rows = sum(1 + len(work.guesses) for work in plan.work)
            self.proposer.timed(rows, self._since - began, generated)

    def waited(self) -> None:
        """The engine had nothing to do until now."""
        self._since = time.perf_counter()


def try_rows(runner: Runner, context: int, blocks: int) -> list[float]:
    """Seconds of a step of 1, 2, … rows, on blocks that nobody has yet; empty where that would take long."""
    size = runner.block_size
    most = min(TRIED_ROWS, context, blocks * size)
    at = sorted({rows for rows in (1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 28, 32, 40, 48, 64, 80, most) if rows <= most})
    took: list[float] = []
    for rows in at:
        span = Span([0] * rows, 0, range(-(-rows // size)), rows)
        seconds: list[float] = []
        for _ in range(4):  # the first warms up
            began = time.perf_counter()
            runner.step([span])
            seconds.append(time.perf_counter() - began)
            if seconds[0] > TRIED_SECONDS:
                return []
        took.append(min(seconds))
    return np.interp(range(1, most + 1), at, np.maximum.accumulate(took)).tolist()
