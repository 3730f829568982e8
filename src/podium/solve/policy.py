"""When to start, cancel, stop and answer: pure functions from what happened so far to actions.

Reads no clock, grades nothing and runs nothing: times arrive inside the happenings, agreement through
`Setting.agree`. The same policy therefore runs live, in replay and in simulation.

A policy is a list of stopping rules, tried after each happening in the order they were given. Two endings need no
rule: the clock ran out, and all attempts have ended. Rules come by name from `parse_policy`:

- `all`: wait for all n;
- `first_k_agree:4`: as soon as 4 finished attempts agree; `first_k_agree:4,within=5`: 4 among the first 5 finished;
- `m_of_n:10`: as soon as 10 have finished (the released notebook: 10 of 12); the others are stragglers;
- `paper`: `agree` (4) among the first `within` (5) finished agree, or only `stragglers` (2) still run
  (arXiv 2504.16891, section 6.3.3; the paper leaves the number of stragglers open, 2 is the notebook's);
- several joined by `+`: whichever fires first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from podium.errors import InputError, nearest
from podium.records import StopReason

Agree = Callable[[Sequence[str]], list[list[int]]]
"""Equivalence classes of answers, as lists of positions."""

UNFINISHED: frozenset[StopReason] = frozenset({"cancelled", "clock", "error"})
"""Stop reasons of attempts that did not come to their own end: they count for no rule."""


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happened, `time` seconds after the problem was opened. A tick only tells the time."""

    time: float
    kind: Literal["start", "answer", "end", "tick"]
    index: int = -1  # which attempt; -1 for a tick
    answer: str | None = None  # answer: what was seen; end: the attempt's answer
    reason: StopReason = "eos"  # end: why


@dataclass(frozen=True, slots=True)
class Action:
    """`start` and `cancel` name an attempt; `stop` the rule that fired; `answer` the attempts that vote."""

    kind: Literal["start", "cancel", "stop", "answer"]
    index: int = -1
    rule: str = ""
    attempts: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Setting:
    """What is given for one problem: n attempts, at most `parallel` at a time, `seconds` on the clock (None: none)."""

    n: int
    agree: Agree
    parallel: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Situation:
    """The history, digested."""

    started: tuple[int, ...]
    running: tuple[int, ...]
    finished: tuple[tuple[int, str | None], ...]  # (attempt, answer), in the order in which they finished
    seen: dict[int, str]  # the latest answer seen of each attempt
    time: float

    @classmethod
    def of(cls, history: Sequence[Happening]) -> Situation:
        started: list[int] = []
        ended: set[int] = set()
        finished: list[tuple[int, str | None]] = []
        seen: dict[int, str] = {}
        for happening in history:
            if happening.kind == "start":
                started.append(happening.index)
            elif happening.kind == "answer" and happening.answer is not None:
                seen[happening.index] = happening.answer
            elif happening.kind == "end":
                ended.add(happening.index)
                if happening.reason not in UNFINISHED:
                    finished.append((happening.index, happening.answer))
        running = tuple(index for index in started if index not in ended)
        time = max((happening.time for happening in history), default=0.0)
        return cls(tuple(started), running, tuple(finished), seen, time)


class Rule(Protocol):
    """Says whether the exam of a problem may stop now."""

    @property
    def name(self) -> str:
        """What `ExamResult.stop_rule` records when it fired."""
        ...

    def fires(self, situation: Situation, setting: Setting) -> bool: ...

    def check(self, n: int) -> None:
        """Raise InputError when the rule could never fire with n attempts."""
        ...


@dataclass(frozen=True, slots=True)
class FirstAgree:
    """k finished attempts agree; with `within` > 0, k among the first `within` finished."""

    k: int
    within: int = 0

    @property
    def name(self) -> str:
        return f"first_k_agree:{self.k}" + (f",within={self.within}" if self.within else "")

    def fires(self, situation: Situation, setting: Setting) -> bool:
        looked_at = situation.finished[: self.within] if self.within else situation.finished
        answers = [answer for _, answer in looked_at if answer is not None]
        if len(answers) < self.k:
            return False
        return max(map(len, setting.agree(answers))) >= self.k

    def check(self, n: int) -> None:
        if not 1 <= self.k <= n or (self.within and self.within < self.k):
            raise InputError(
                f"policy {self.name}: {self.k} agreeing attempts can never come of {self.within or n} with n = {n}",
                "take k between 1 and the number of attempts, and within no smaller than k",
            )


@dataclass(frozen=True, slots=True)
class Finished:
    """m attempts have finished; with `stragglers` > 0, m = n - stragglers."""

    m: int = 0
    stragglers: int = 0

    @property
    def name(self) -> str:
        return f"stragglers:{self.stragglers}" if self.stragglers else f"m_of_n:{self.m}"

    def fires(self, situation: Situation, setting: Setting) -> bool:
        return len(situation.finished) >= (setting.n - self.stragglers if self.stragglers else self.m)

    def check(self, n: int) -> None:
        if not 1 <= (n - self.stragglers if self.stragglers else self.m) <= n:
            raise InputError(
                f"policy {self.name}: does not fit {n} attempts",
                "at least one and at most all of the attempts must be waited for",
            )


@dataclass(frozen=True, slots=True)
class Policy:
    """Stopping rules, tried in order. Calling it is pure: the same history gives the same actions."""

    name: str
    rules: tuple[Rule, ...] = ()

    def check(self, n: int) -> None:
        """Raise InputError when a rule could never fire with n attempts."""
        for rule in self.rules:
            rule.check(n)

    def __call__(self, history: Sequence[Happening], setting: Setting) -> tuple[Action, ...]:
        """What to do now. After the `answer` action nothing more happens to the problem."""
        situation = Situation.of(history)
        rule = self._fired(situation, setting)
        if rule is None:
            free = (setting.parallel or setting.n) - len(situation.running)
            waiting = [index for index in range(setting.n) if index not in situation.started]
            return tuple(Action("start", index) for index in waiting[: max(0, free)])
        return (
            *(Action("cancel", index) for index in situation.running),
            Action("stop", rule=rule),
            Action("answer", attempts=_voters(situation, rule)),
        )

    def _fired(self, situation: Situation, setting: Setting) -> str | None:
        if setting.seconds is not None and situation.time >= setting.seconds:
            return "clock"
        for rule in self.rules:
            if rule.fires(situation, setting):
                return rule.name
        return "all" if len(situation.started) == setting.n and not situation.running else None


def _voters(situation: Situation, rule: str) -> tuple[int, ...]:
    """Finished attempts; what unfinished ones had boxed counts when time is up, or when nothing else was answered."""
    voters = [index for index, answer in situation.finished if answer is not None]
    if rule == "clock" or not voters:
        finished = {index for index, _ in situation.finished}
        voters += [index for index in situation.seen if index not in finished]
    return tuple(voters)


_PARAMETERS: dict[str, dict[str, int | None]] = {  # name -> parameter -> default (None: must be given)
    "all": {},
    "first_k_agree": {"k": None, "within": 0},
    "m_of_n": {"m": None},
    "paper": {"agree": 4, "within": 5, "stragglers": 2},
}


def parse_policy(text: str) -> Policy:
    """A policy from `name`, `name:value,…` or `name:parameter=value,…`, several joined by `+`.

    Raises:
        InputError: unknown name or parameter, a value that is no whole number >= 0, a missing parameter.
    """
    rules: list[Rule] = []
    for part in text.split("+"):
        name, _, arguments = part.strip().partition(":")
        if name not in _PARAMETERS:
            raise InputError(f"policy {text!r}: no rule is called {name!r}", nearest(name, _PARAMETERS))
        values = _parse_arguments(text, name, arguments)
        if name == "first_k_agree":
            rules.append(FirstAgree(values["k"], values["within"]))
        elif name == "m_of_n":
            rules.append(Finished(values["m"]))
        elif name == "paper":
            rules.append(FirstAgree(values["agree"], values["within"]))
            if values["stragglers"]:
                rules.append(Finished(stragglers=values["stragglers"]))
    return Policy(text.strip(), tuple(rules))


def _parse_arguments(text: str, name: str, arguments: str) -> dict[str, int]:
    known = _PARAMETERS[name]
    values = dict(known)
    for position, argument in enumerate(filter(None, (item.strip() for item in arguments.split(",")))):
        key, equals, value = argument.partition("=")
        if not equals:
            if position >= len(known):
                raise InputError(f"policy {text!r}: {name} takes {len(known)} values", f"known: {', '.join(known)}")
            key, value = list(known)[position], argument
        if key not in known:
            raise InputError(f"policy {text!r}: {name} has no parameter {key!r}", nearest(key, known))
        if not value.strip().isdecimal():
            raise InputError(f"policy {text!r}: {key} is {value!r}", "give a whole number, as in first_k_agree:4")
        values[key] = int(value)
    missing = [key for key, value in values.items() if value is None]
    if missing:
        raise InputError(f"policy {text!r}: {missing[0]} is missing", f"write {name}:4, for example")
    return {key: value for key, value in values.items() if value is not None}
