"""When to start, cancel, nudge, stop and answer: pure functions from what happened so far to actions.

Reads no clock, grades nothing and runs nothing: times and answer classes arrive inside the happenings. The same
policy therefore runs live, in replay and in simulation. A policy is a list of rules, tried after each happening in
the order they were given, and a way to share the exam's time. Two endings need no rule: the clock ran out, and all
attempts have ended.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from podium.solve.clock import Clock, ClockMaker, Ledger, Pool
from podium.solve.happening import Action, Happening
from podium.solve.rules import Plan, Rule
from podium.solve.situation import Situation

DEFAULT_CLOCK = Pool()


@dataclass(frozen=True, slots=True)
class Policy:
    """Rules and a clock under a name. `attempts`: the number its figures were made for, where it states one."""

    name: str
    rules: tuple[Rule, ...] = ()
    clock: ClockMaker = DEFAULT_CLOCK  # used where the exam has a budget
    attempts: int | None = None
    about: str = ""

    def check(self, n: int) -> None:
        """Raise InputError when a rule could never fire with n attempts."""
        for rule in self.rules:
            rule.check(n)

    def clock_for(self, ledger: Ledger) -> Clock | None:
        """The clock scaled to an exam; None where there is no budget."""
        return None if ledger.budget is None else self.clock.scaled(ledger.budget, ledger.problems)

    def assumes(self, clock: Clock | None, n: int) -> str:
        """What it was made for and what it does with this exam's time, in one line."""
        made = f", made for {self.attempts} attempts" if self.attempts and self.attempts != n else ""
        time = "no clock, every rule waits as long as it takes" if clock is None else clock.told()
        return f"{self.name}: {n} attempts per problem{made}; {time}"

    def plan(self, clock: Clock | None, ledger: Ledger, n: int, parallel: int | None = None) -> Plan:
        """What the next problem gets when the exam asks for n attempts. A clock's own numbers of attempts are those
        for `self.attempts`; with another n they stretch with it."""
        if clock is None:
            return Plan(n, parallel)
        grant = clock.grant(ledger)
        attempts = n if grant.attempts is None else max(1, round(grant.attempts * n / (self.attempts or n)))
        return Plan(attempts, parallel, grant.seconds, ledger.pace, grant.speed)

    def variant(self, plan: Plan) -> Hashable:
        """Two plans with the same variant differ at most in when the clock runs out."""
        return (plan.attempts, plan.parallel, *(rule.depends(plan) for rule in self.rules))

    def decide(self, history: Iterable[Happening], plan: Plan) -> tuple[Action, ...]:
        """What to do after `history`, everything before it having been done as it was told."""
        proctor = Proctor(self, plan)
        actions = proctor.begin()
        for happening in history:
            actions = proctor.feed(happening)
        return actions


class Proctor:
    """A policy at work on one problem. The same happenings in the same order bring the same actions.

    Whoever watches the attempts calls `begin` once, then `feed` for everything that happens, a tick at `next_look` at
    the latest, and does what it is told at once. After the `answer` action it is over.
    """

    __slots__ = ("_done", "_policy", "_situation", "_told", "over", "plan")

    def __init__(self, policy: Policy, plan: Plan) -> None:
        self._policy = policy
        self._situation = Situation()
        self._told: set[int] = set()  # attempts told to start
        self._done: set[tuple[str, int]] = set()  # what was told to be done to single attempts
        self.plan = plan
        self.over = False

    @property
    def next_look(self) -> float | None:
        """Seconds after the opening at which a tick is due though nothing has happened; None: no need."""
        looks = [rule.next_look(self._situation, self.plan) for rule in self._policy.rules]
        if self.plan.seconds is not None:
            looks.append(self.plan.seconds)
        return min((look for look in looks if look is not None), default=None)

    def ballot(self, index: int) -> int | None:
        """The answer class that an attempt votes for, as far as the policy has been told."""
        return self._situation.answer_of(index)

    def begin(self) -> tuple[Action, ...]:
        """What to do when the problem is opened: start attempts, or answer at once when no time is left."""
        return self._next()

    def feed(self, happening: Happening) -> tuple[Action, ...]:
        """Take one happening; what to do now."""
        if self.over:
            return ()
        self._situation.take(happening)
        return self._next()

    def _next(self) -> tuple[Action, ...]:
        situation, plan = self._situation, self.plan
        rule = self._fired()
        if rule is not None:
            self.over = True
            return (
                *(Action("cancel", index) for index in situation.running),
                Action("stop", rule=rule),
                Action("answer", voters=situation.voters(cut_off=rule == "clock")),
            )
        actions: list[Action] = []
        # Attempts told to start count as running until their start is reported.
        running = len(situation.running) + len(self._told) - len(situation.started)
        free = (plan.parallel or plan.attempts) - running
        for index in range(len(self._told), min(plan.attempts, len(self._told) + max(0, free))):
            self._told.add(index)
            actions.append(Action("start", index))
        for each in self._policy.rules:
            for action in each.acts(situation, plan):
                key = (action.kind, action.attempt)
                if key not in self._done:  # told once, however long it takes to be done
                    self._done.add(key)
                    actions.append(action)
        return tuple(actions)

    def _fired(self) -> str | None:
        situation, plan = self._situation, self.plan
        if plan.seconds is not None and situation.time >= plan.seconds:
            return "clock"
        for rule in self._policy.rules:
            if rule.fires(situation, plan):
                return rule.name
        return "all" if len(situation.started) >= plan.attempts and not situation.running else None
