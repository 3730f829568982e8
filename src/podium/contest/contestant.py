"""A contestant: model, policy and clock behind one call, for a notebook that is asked one problem at a time.

It never raises and never overstays: whatever goes wrong with a problem, there is an answer in time, and the next
problem finds the clock as it should be. The clock starts when the contestant is made, so loading the model counts, as
it does in a contest.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from podium.errors import PodiumError
from podium.grading.stated import stated_integer
from podium.records import Problem
from podium.solve import get_profile, parse_policy
from podium.solve.clock import Ledger
from podium.solve.sitting import Sat, Sitting
from podium.solve.stopwatch import Stopwatch, exam_time
from podium.solve.vote import ASKED, check_weight

if TYPE_CHECKING:
    from podium.answering.protocol import Completer
    from podium.opening import ModelSpec
    from podium.sandbox import Sandbox


class Contestant:
    """Answers problems with integers.

    Args:
        model: a model folder, `URL#NAME` of a server on the machine, a ModelSpec (which also says on what device and in
            which format it is computed), or a Completer.
        problems: how many will be asked.
        budget: seconds for all of them, from now on: `"4h50m"`, `17400`. Leave some for what is not answering.
        policy, attempts, profile, overrides: as for an exam.
        vote: what an attempt's voice weighs: uniform, length, logprob or entropy.
        code: let the model run Python (where the sandbox finds no isolation that works here, it says so and goes on
            without code).
        largest: answers go from 0 to this.
        fallback: the answer where nothing was found.
        seed: of every attempt; differs from run to run unless given.
    """

    def __init__(
        self,
        model: str | ModelSpec | Completer,
        *,
        problems: int = 50,
        budget: str | float = "4h50m",
        policy: str = "winner",
        attempts: int | None = None,
        vote: str = "uniform",
        profile: str = "kaggle",
        overrides: dict[str, Any] | None = None,
        code: bool = True,
        largest: int = 999,
        fallback: int = 0,
        seed: int = 0,
        read: Callable[[], float] = exam_time,
    ) -> None:
        from podium.solve.clock import parse_seconds

        self._watch = Stopwatch(read)
        self._read = read
        self.policy = parse_policy(policy)
        self.attempts = attempts or self.policy.attempts or 12
        self.policy.check(self.attempts)
        check_weight(vote)
        self.vote = vote
        self.profile = get_profile(profile, **{**ASKED.get(vote, {}), **(overrides or {})})
        self.ledger = Ledger(parse_seconds(str(budget)), problems)
        self.clock = self.policy.clock_for(self.ledger)
        self.largest = largest
        self.fallback = fallback
        self.seed = seed
        self.log: list[str] = []
        self._stack = AsyncExitStack()
        self._sandbox: Sandbox | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="contestant", daemon=True)
        self._thread.start()
        self._completer = self._run(self._open(model, code and self.profile.code_calls > 0))

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _open(self, model: str | ModelSpec | Completer, code: bool) -> Completer:
        if code:
            from podium.sandbox import Sandbox

            try:
                self._sandbox = await self._stack.enter_async_context(Sandbox(warm=("numpy", "sympy")))
            except PodiumError as error:
                self._say(f"no code: {error.message} -> {error.cure}")
        from podium.opening import ModelSpec, open_model

        spec = ModelSpec(model) if isinstance(model, str) else model
        if not isinstance(spec, ModelSpec):
            return spec
        completer = open_model(spec, self.attempts)
        self._stack.push_async_callback(completer.close)
        return completer

    def answer(self, text: str) -> int:
        """The answer to a problem, in the time its clock gives it."""
        number = self.ledger.done
        problem = Problem(
            id=f"problem-{number}", text=text or "?", source="contest", verifier="integer",
            meta={"modulo": self.largest + 1},
        )  # fmt: skip
        # What lies between two problems is on the clock as well.
        ledger = Ledger(self.ledger.budget, self.ledger.problems, self.ledger.used, self._watch.elapsed())
        plan = self.policy.plan(self.clock, ledger, self.attempts)
        answer = self.fallback
        sitting = Sitting(
            problem,
            self._completer,
            self._sandbox,
            self.profile,
            self.policy,
            plan,
            seed=self.seed,
            vote=self.vote,
            read=self._read,
        )
        try:
            sat: Sat = self._run(sitting.hold())
            answer = self._integer(sat.vote.answer)
            self._say(f"{number + 1}: {answer} by {sat.rule} in {sat.used_seconds:.1f} of {plan.seconds:.1f} s")
        except Exception as error:  # whatever it was, the contest goes on
            self._say(f"{number + 1}: {answer} because of {type(error).__name__}: {error}")
        elapsed = self._watch.elapsed()
        self.ledger = ledger.settled(max(0.0, elapsed - ledger.elapsed), elapsed)
        return answer

    def _integer(self, answer: str | None) -> int:
        value = None if answer is None else stated_integer(answer)
        return self.fallback if value is None else value % (self.largest + 1)

    def _say(self, line: str) -> None:
        self.log.append(line)
        print(f"[{self._watch.elapsed():8.1f} s] {line}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Free the model and the sandbox."""
        self._run(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)

    def __enter__(self) -> Contestant:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
