"""The rules a policy is made of: when a problem may stop, and what to do about an attempt that goes on too long.

Every rule is a pure function of the situation and the plan: counts, class numbers, tokens and seconds. None reads a
clock, compares answers or knows an engine. `RULES` names them for policy files and command lines;
`stopping_rule` adds one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any, ClassVar, TypeVar, get_type_hints

from podium.errors import InputError
from podium.registry import Registry, place
from podium.solve.happening import Action
from podium.solve.situation import Situation


@dataclass(frozen=True, slots=True)
class Plan:
    """What is given for one problem: so many attempts, at most `parallel` at a time, `seconds` on the clock."""

    attempts: int
    parallel: int | None = None
    seconds: float | None = None  # None: no clock
    pace: float = float("inf")  # seconds left per problem left, when the problem was opened
    speed: int = 0


class Rule:
    """One rule. Most only say when to stop; the defaults are those of a rule that never does anything."""

    __slots__ = ()
    registered: ClassVar[str] = ""  # the name that stopping_rule gave the class

    @property
    def name(self) -> str:
        """What `ExamResult.stop_rule` records when it fired; `parse_policy` reads it."""
        written = ",".join(f"{each.name}={getattr(self, each.name)}" for each in fields(self))  # pyright: ignore
        return f"{self.registered}:{written}" if written else self.registered

    def fires(self, situation: Situation, plan: Plan) -> bool:
        """Whether the problem may stop now."""
        return False

    def acts(self, situation: Situation, plan: Plan) -> tuple[Action, ...]:
        """What to do about single attempts while the problem goes on."""
        return ()

    def next_look(self, situation: Situation, plan: Plan) -> float | None:
        """The next moment at which it may fire or act though nothing happens until then."""
        return None

    def depends(self, plan: Plan) -> Hashable:
        """What of the plan, besides its attempts and its deadline, the rule looks at."""
        return None

    def check(self, n: int) -> None:
        """Raise InputError when the rule could never fire with n attempts."""


@dataclass(frozen=True, slots=True)
class FirstAgree(Rule):
    """k finished attempts agree; with `within` > 0, k among the first `within` finished."""

    k: int
    within: int = 0

    @property
    def name(self) -> str:
        return f"first_k_agree:{self.k}" + (f",within={self.within}" if self.within else "")

    def fires(self, situation: Situation, plan: Plan) -> bool:
        if len(situation.finished) < self.k:
            return False
        if not self.within or len(situation.finished) <= self.within:
            return max(situation.counts.values(), default=0) >= self.k
        return _most(situation.finished[: self.within]) >= self.k

    def check(self, n: int) -> None:
        _check_agreement(self, self.k, self.within, n)


@dataclass(frozen=True, slots=True)
class LastAgree(Rule):
    """k of the last `last` finished attempts agree, once that many have finished."""

    k: int
    last: int

    @property
    def name(self) -> str:
        return f"last_agree:{self.k},last={self.last}"

    def fires(self, situation: Situation, plan: Plan) -> bool:
        return len(situation.finished) >= self.last and _most(situation.finished[-self.last :]) >= self.k

    def check(self, n: int) -> None:
        _check_agreement(self, self.k, self.last, n)
        if self.last > n:
            raise InputError(f"policy {self.name}: {n} attempts are fewer than {self.last}", "take a shorter window")


def _most(finished: list[tuple[int, int | None]]) -> int:
    counts: dict[int, int] = {}
    for _, answer in finished:
        if answer is not None:
            counts[answer] = counts.get(answer, 0) + 1
    return max(counts.values(), default=0)


def _check_agreement(rule: Rule, k: int, window: int, n: int) -> None:
    if not 1 <= k <= n or (window and window < k):
        raise InputError(
            f"policy {rule.name}: {k} agreeing attempts can never come of {window or n} with n = {n}",
            "take k between 1 and the number of attempts, and the window no smaller than k",
        )


@dataclass(frozen=True, slots=True)
class Finished(Rule):
    """m attempts have finished; with `stragglers` > 0, m = n - stragglers: the last ones are not waited for."""

    m: int = 0
    stragglers: int = 0

    @property
    def name(self) -> str:
        return f"stragglers:{self.stragglers}" if self.stragglers else f"m_of_n:{self.m}"

    def fires(self, situation: Situation, plan: Plan) -> bool:
        return len(situation.finished) >= max(1, plan.attempts - self.stragglers if self.stragglers else self.m)

    def check(self, n: int) -> None:
        if not 1 <= (n - self.stragglers if self.stragglers else self.m) <= n:
            raise InputError(
                f"policy {self.name}: does not fit {n} attempts",
                "at least one and at most all of the attempts must be waited for",
            )


@dataclass(frozen=True, slots=True)
class Enough(Rule):
    """`answers` finished attempts with an answer suffice once `share` of the problem's seconds are gone."""

    answers: int
    share: float

    @property
    def name(self) -> str:
        return f"enough:{self.answers},share={self.share:g}"

    def fires(self, situation: Situation, plan: Plan) -> bool:
        moment = self._moment(plan)
        return moment is not None and situation.time >= moment and sum(situation.counts.values()) >= self.answers

    def next_look(self, situation: Situation, plan: Plan) -> float | None:
        moment = self._moment(plan)
        return moment if moment is not None and situation.time < moment else None

    def depends(self, plan: Plan) -> Hashable:
        return plan.seconds

    def check(self, n: int) -> None:
        if not (0 < self.share < 1 and 1 <= self.answers <= n):
            raise InputError(
                f"policy {self.name}: does not fit {n} attempts",
                "answers must lie between 1 and the attempts, share between 0 and 1",
            )

    def _moment(self, plan: Plan) -> float | None:
        return None if plan.seconds is None else self.share * plan.seconds


@dataclass(frozen=True, slots=True)
class Tokens(Rule):
    """All attempts together have written `total` tokens."""

    total: int

    @property
    def name(self) -> str:
        return f"tokens:{self.total}"

    def fires(self, situation: Situation, plan: Plan) -> bool:
        return situation.total_tokens >= self.total

    def check(self, n: int) -> None:
        if self.total < 1:
            raise InputError(f"policy {self.name}: no tokens at all", "give a positive number")


@dataclass(frozen=True, slots=True)
class AttemptTokens(Rule):
    """An attempt that has written `most` tokens is cut there, as its token limit would cut it; the others go on."""

    most: int

    @property
    def name(self) -> str:
        return f"attempt_tokens:{self.most}"

    def acts(self, situation: Situation, plan: Plan) -> tuple[Action, ...]:
        return tuple(
            Action("cancel", index, "attempt_tokens")
            for index in situation.running
            if situation.tokens.get(index, 0) >= self.most
        )

    def check(self, n: int) -> None:
        if self.most < 1:
            raise InputError(f"policy {self.name}: no tokens at all", "give a positive number")


@dataclass(frozen=True, slots=True)
class Nudge(Rule):
    """Attempts that have boxed nothing by `tokens` written, or by `share` of the problem's seconds, are asked to."""

    tokens: int = 0
    share: float = 0.0

    @property
    def name(self) -> str:
        parts = [f"tokens={self.tokens}"] if self.tokens else []
        return "nudge:" + ",".join(parts + ([f"share={self.share:g}"] if self.share else []))

    def acts(self, situation: Situation, plan: Plan) -> tuple[Action, ...]:
        moment = self._moment(plan)
        late = moment is not None and situation.time >= moment
        return tuple(
            Action("nudge", index, self.name)
            for index in situation.running
            if index not in situation.seen
            and index not in situation.nudged
            and (late or 0 < self.tokens <= situation.tokens.get(index, 0))
        )

    def next_look(self, situation: Situation, plan: Plan) -> float | None:
        moment = self._moment(plan)
        return moment if moment is not None and situation.time < moment else None

    def depends(self, plan: Plan) -> Hashable:
        return self._moment(plan)

    def check(self, n: int) -> None:
        if not (self.tokens > 0 or 0 < self.share < 1):
            raise InputError(f"policy {self.name}: never nudges", "give tokens=8000 or share=0.8, for example")

    def _moment(self, plan: Plan) -> float | None:
        return self.share * plan.seconds if self.share and plan.seconds is not None else None


@dataclass(frozen=True, slots=True)
class OptimalStop(Rule):
    """Stop when one more answer is worth less than the time it takes.

    Fitted to traces by podium.solve.lab.optimal. `windows[level]` maps "leader-second-finished" (how many finished
    attempts have the commonest answer, the second commonest, and how many have finished) to the seconds between which
    waiting pays at that level; a state that is missing is waited in. Levels go from hurried to patient; `pace[level]`
    is what a problem takes there in the mean, and the most patient level that fits the time left per problem is chosen
    when the problem is opened: a minute saved early buys patience later.
    """

    pace: tuple[float, ...]
    windows: tuple[Mapping[str, tuple[float, float]], ...] = field(hash=False)

    @property
    def name(self) -> str:
        return "optimal_stop"

    def level(self, plan: Plan) -> int:
        """The position of the most patient level whose mean time fits."""
        return max((n for n, seconds in enumerate(self.pace) if seconds <= plan.pace), default=0)

    def fires(self, situation: Situation, plan: Plan) -> bool:
        window = self._window(situation, plan)
        return window is not None and not window[0] <= situation.time < window[1]

    def next_look(self, situation: Situation, plan: Plan) -> float | None:
        window = self._window(situation, plan)
        return window[1] if window is not None and situation.time < window[1] < float("inf") else None

    def depends(self, plan: Plan) -> Hashable:
        return self.level(plan)

    def check(self, n: int) -> None:
        if not self.pace or len(self.pace) != len(self.windows) or list(self.pace) != sorted(self.pace):
            raise InputError(
                "policy optimal_stop: levels do not fit together", "fit it anew with podium exam replay --optimise"
            )

    def _window(self, situation: Situation, plan: Plan) -> tuple[float, float] | None:
        leader, second = situation.leading()
        return self.windows[self.level(plan)].get(f"{leader}-{second}-{len(situation.finished)}")


@dataclass(frozen=True, slots=True)
class RuleForm:
    """How a rule is written.

    Args:
        make: the rules that it stands for, from its parameters.
        parameters: name -> default, in the order in which they are written; None: must be given.
        example: for messages.
        kinds: of parameters that are no whole numbers: float or str.
        read: for a rule that is written in policy files alone and has parts: makes the rules from what stands behind
            its name; raises ValueError.
    """

    make: Callable[..., tuple[Rule, ...]]
    parameters: Mapping[str, float | str | None]
    example: str
    kinds: Mapping[str, type] = field(default_factory=dict)
    read: Callable[[Any], tuple[Rule, ...]] | None = None


class _Rules(Registry[RuleForm]):
    def accept(self, name: str, loaded: Any) -> None:
        stopping_rule(name)(loaded)


RULES = _Rules("stopping rule", "podium.stopping_rules")
RuleT = TypeVar("RuleT", bound=type[Rule])


def stopping_rule(name: str, *, example: str | None = None) -> Callable[[RuleT], RuleT]:
    """Register a subclass of Rule, a frozen dataclass, under `name`; for use as a decorator. Its fields are the
    rule's parameters, in their order: int (whole numbers from 0 on), float or str; those without a default must be
    given.

    Raises:
        InputError: it is no such class, a field has another type, or the name is taken.
    """

    def register(kind: RuleT) -> RuleT:
        where = place(kind)
        if not (isinstance(kind, type) and issubclass(kind, Rule) and is_dataclass(kind)):
            raise InputError(f"{where}: a rule is a dataclass below podium.solve.rules.Rule", "see docs/extending.md")
        types = get_type_hints(kind)
        for each in fields(kind):
            if types[each.name] not in (int, float, str):
                raise InputError(f"{where}: {each.name} is {types[each.name]}", "a parameter is an int, float or str")
        parameters = {each.name: None if each.default is MISSING else each.default for each in fields(kind)}
        shown = ",".join(f"{key}={_EXAMPLES[types[key]]}" for key in parameters)
        kinds = {key: types[key] for key in parameters if types[key] is not int}
        form = RuleForm(_one(kind), parameters, example or (f"{name}:{shown}" if shown else name), kinds)
        RULES.add(name, form, where)
        kind.registered = name
        return kind

    return register


_EXAMPLES = {int: "4", float: "0.5", str: "text"}


def _one(kind: Callable[..., Rule]) -> Callable[..., tuple[Rule, ...]]:
    def make(**values: Any) -> tuple[Rule, ...]:
        return (kind(**values),)

    return make


def _paper(agree: int, within: int, stragglers: int) -> tuple[Rule, ...]:
    agreement = FirstAgree(agree, within)
    return (agreement, Finished(stragglers=stragglers)) if stragglers else (agreement,)


for _name, _form in {
    "all": RuleForm(lambda: (), {}, "all"),
    "first_k_agree": RuleForm(_one(FirstAgree), {"k": None, "within": 0}, "first_k_agree:4"),
    "last_agree": RuleForm(_one(LastAgree), {"k": None, "last": None}, "last_agree:4,last=5"),
    "m_of_n": RuleForm(_one(Finished), {"m": None}, "m_of_n:4"),
    "stragglers": RuleForm(_one(Finished), {"stragglers": None}, "stragglers:2"),
    "paper": RuleForm(_paper, {"agree": 4, "within": 5, "stragglers": 2}, "paper"),
    "enough": RuleForm(_one(Enough), {"answers": None, "share": None}, "enough:8,share=0.6", {"share": float}),
    "tokens": RuleForm(_one(Tokens), {"total": None}, "tokens:100000"),
    "attempt_tokens": RuleForm(_one(AttemptTokens), {"most": None}, "attempt_tokens:16000"),
    "nudge": RuleForm(_one(Nudge), {"tokens": 0, "share": 0.0}, "nudge:share=0.8", {"share": float}),
}.items():
    RULES.add(_name, _form, f"{__name__}:{_name}")
