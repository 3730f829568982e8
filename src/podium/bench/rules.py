"""The rules of a benchmark round as data: what a run must log, how many runs make an entry, which values are pinned.

A rule set is one YAML file in `rulesets/`, versioned and never evaluated as code: every word in it is a field of the
models below. Knows nothing of files that are judged; podium.bench.check does the judging.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import date
from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from podium.errors import InputError, nearest

Level = Literal["error", "warning"]
Division = Literal["closed", "open"]
DEFAULT_RULESET = "1.1.0"
TOLERANCE = 1e-5  # of "is a whole multiple", as in mlcommons/logging


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Condition(_Data):
    """What a value must be; every field that is set must hold."""

    equals: Any = None
    one_of: tuple[Any, ...] = ()
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    integer: bool = False
    nonempty: bool = False
    multiple_of: float | None = None
    power_of_two_times: float | None = None
    multiple_or_part_of: float | None = None  # a whole number of times this, or this a whole number of times the value
    length: int | None = None
    items: tuple[Condition, ...] = ()
    fields: dict[str, Condition] = {}

    def fault(self, value: Any) -> str:
        """Why `value` does not hold, in a few words; empty when it does. Total: any JSON value may be given."""
        if self.equals is not None and not _same(value, self.equals):
            return f"must be {self.equals}"
        if self.one_of and not any(_same(value, one) for one in self.one_of):
            return "must be one of " + ", ".join(map(str, self.one_of))
        if self.nonempty and value in ("", None):
            return "must not be empty"
        if self.length is not None and not (isinstance(value, list) and len(value) == self.length):
            return f"must be a list of {self.length}"
        if self.items:
            if not isinstance(value, list) or len(value) < len(self.items):
                return f"must be a list of {len(self.items)}"
            for position, (condition, item) in enumerate(zip(self.items, value, strict=False)):
                if why := condition.fault(item):
                    return f"item {position} {why}"
        for name, condition in self.fields.items():
            if not isinstance(value, Mapping) or name not in value:
                return f"must have {name}"
            if why := condition.fault(value[name]):
                return f"{name} {why}"
        return self._number_fault(value)

    def _number_fault(self, value: Any) -> str:
        bounds = [
            (self.at_least, "at least", lambda x, y: x >= y),
            (self.above, "above", lambda x, y: x > y),
            (self.at_most, "at most", lambda x, y: x <= y),
            (self.below, "below", lambda x, y: x < y),
        ]
        wants_number = self.integer or any(bound is not None for bound, *_ in bounds)
        units = (self.multiple_of, self.power_of_two_times, self.multiple_or_part_of)
        if not wants_number and all(unit is None for unit in units):
            return ""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return "must be a number"
        for bound, words, holds in bounds:
            if bound is not None and not holds(value, bound):
                return f"must be {words} {bound:g}"
        if self.integer and not isinstance(value, int):
            return "must be a whole number"
        if self.multiple_of is not None and not _whole(value, self.multiple_of):
            return f"must be a multiple of {self.multiple_of:g}"
        unit = self.multiple_or_part_of
        if unit is not None and not (_whole(value, unit) or (value and _whole(unit, value))):
            return f"must be a multiple or a whole part of {unit:g}"
        if self.power_of_two_times is not None and not _power_of_two(value, self.power_of_two_times):
            return f"must be {self.power_of_two_times:g} times a power of two"
        return ""

    def holds(self, value: Any) -> bool:
        return not self.fault(value)

    def words(self) -> str:
        """The condition as a reader sees it: `>= 0.759, < 1`."""
        parts = [f"{name} {condition.words()}" for name, condition in self.fields.items()]
        signs = ((">=", self.at_least), (">", self.above), ("<=", self.at_most), ("<", self.below))
        parts += [f"{sign} {bound:g}" for sign, bound in signs if bound is not None]
        return ", ".join(parts)


def _same(value: Any, wanted: Any) -> bool:
    # True is no 1 here: a flag logged where a number belongs is a mistake worth a word.
    return isinstance(value, bool) == isinstance(wanted, bool) and value == wanted


def _whole(value: float, unit: float) -> bool:
    # JSON has whole numbers that no float holds, and infinities.
    return abs(value) < 1e300 and abs(round(value / unit) - value / unit) < TOLERANCE


def _power_of_two(value: float, unit: float) -> bool:
    return 0 < value < 1e300 and value / unit > 0 and _whole(math.log2(value / unit), 1.0)


class Expected(_Data):
    """A value that follows from others of the log: `total`, plus `times` so much of other keys, plus numbers of
    `ceil_over` divided by the value of a key and rounded up (a negative number: subtracted)."""

    total: float = 0
    times: dict[str, float] = {}
    ceil_over: tuple[tuple[float, str], ...] = ()

    def value(self, get: Callable[[str], Any]) -> float | None:
        """The number; None where a key is missing or holds none. `get` gives the value of a key."""
        found = {key: get(key) for key in (*self.times, *(key for _, key in self.ceil_over))}
        if any(isinstance(one, bool) or not isinstance(one, int | float) for one in found.values()):
            return None
        if any(not found[key] for _, key in self.ceil_over):
            return None
        rounded = [math.copysign(math.ceil(abs(number) / found[key]), number) for number, key in self.ceil_over]
        return self.total + sum(factor * found[key] for key, factor in self.times.items()) + sum(rounded)


class KeyRule(_Data):
    """What is asked of one key of the log.

    `or`: the count may be met by these keys instead. `after`: keys that must have occurred, `before`: keys that must
    not have. `when`: the rule counts only if these keys have such values. Of the metadata, those in `metadata` must be
    there and hold, of those in `metadata_any` one must be there, those in `metadata_if` must hold where they are there,
    and `metadata_with` names what must stand beside another.
    """

    key: str
    count: Literal["exactly_one", "at_least_one", "at_least_two", "any"] = "any"
    alternatives: tuple[str, ...] = Field(default=(), alias="or")
    value: Condition = Condition()
    expected: Expected | None = None
    metadata: dict[str, Condition] = {}
    metadata_any: tuple[str, ...] = ()
    metadata_if: dict[str, Condition] = {}
    metadata_with: dict[str, str] = {}
    after: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    when: dict[str, Condition] = {}
    level: Level = "error"


class Initialisation(_Data):
    """Minutes that are not timed: in the text of the rules, in the checker, and in the checker's open division."""

    rule_minutes: float
    checked_minutes: float
    open_minutes: float | None = None


class ReferenceTest(_Data):
    """`deviation`: of the reference's runs without the dropped ones, or of all; `pruned`: points that converge slower
    than their neighbours suggest are left out (podium.bench.rcp)."""

    significance: float
    deviation: Literal["trimmed", "untrimmed"] = "trimmed"
    pruned: bool = False


class Borrowing(_Data):
    """Hyper-parameters that may differ from the lender's, and keys that are no hyper-parameters at all."""

    free: tuple[str, ...]
    never: tuple[str, ...]


class Counting(_Data):
    """Runs of an entry, dropped on each side, allowed to fail."""

    runs: int
    drop: int
    may_fail: int


class DivisionRules(_Data):
    seeds: bool
    reference_convergence: bool
    events: tuple[KeyRule, ...] = ()


class OptimizerEntry(_Data):
    """A row of the table of allowed optimisers: another implementation needs its equation and a proof of equality."""

    name: str
    implementations: tuple[str, ...]


class EvaluationRule(_Data):
    """How often a closed run evaluates, in the epoch unit of its benchmark; more often is allowed.

    Three forms: `every` so many, the first up to `offset` later; with `samples`, of an epoch of so many samples padded
    to the batch size (unet3d); with `share`, so large a part of the samples expected at this batch size (bert).
    """

    words: str
    every: float = 0
    offset: float = 0
    samples: int = 0
    first_passes: float = 0
    share: float = 0
    per_batch: float = 0
    base: float = 0
    floor_to: float = 1

    def schedule(self, batch: float) -> tuple[float, float]:
        """Latest first evaluation and largest step between two, at a global batch size."""
        if self.share:
            step = self.share * (self.per_batch * batch + self.base) // self.floor_to * self.floor_to
            return step, step
        if self.samples:
            padded = math.ceil(self.samples / batch) * batch
            first, every = (math.ceil(passes * self.samples / padded) for passes in (self.first_passes, self.every))
            return first, every
        return self.every + self.offset, self.every


class BenchmarkRules(_Data):
    """One benchmark. `target` is asked of some `target_key` of a closed run, `open_target` of an open one's.

    `position`: the metadata of an evaluation that says how far the training had come. `metrics_by`: the metadata by
    which evaluations of one metric each belong together (podium.bench.runs joins them under AGGREGATED).
    `reference_slack`: how far below the floor an entry's mean may be, in `epoch_unit`.
    `unofficial`: no benchmark of the round, but one that a task brings with it (podium.bench.registry).
    """

    area: str
    dataset: str
    model: str
    runs: int
    drop: int
    may_fail: int
    metric: str
    target: Condition
    open_target: Condition
    target_key: str = "eval_accuracy"
    open_target_key: str | None = None
    epoch_unit: str
    position: str = "epoch_num"
    metrics_by: str | None = None
    evaluation: EvaluationRule | None = None
    reference_convergence: bool = True
    reference_slack: float = 0
    unofficial: bool = False
    optimizers: tuple[OptimizerEntry, ...] = ()
    events: tuple[KeyRule, ...] = ()
    closed: tuple[KeyRule, ...] = ()
    open: tuple[KeyRule, ...] = ()
    closed_by_optimizer: dict[str, tuple[KeyRule, ...]] = {}

    @property
    def direction(self) -> Literal["max", "min"]:
        return "min" if self.target.at_most is not None else "max"


class Ruleset(_Data):
    version: str
    usage: str
    round: str
    published: date  # the day of its results: no log of the round is younger
    tensors_of: str | None = None  # whose list of tensors closed runs report; None: nothing is asked
    tensors_level: Level = "error"
    initialisation: Initialisation
    reference_convergence: ReferenceTest
    borrowing: Borrowing
    tiers: dict[str, Counting]
    events: tuple[KeyRule, ...]
    divisions: dict[str, DivisionRules]
    benchmarks: dict[str, BenchmarkRules]

    def benchmark(self, name: str) -> BenchmarkRules:
        """Raises InputError for a name the round does not have."""
        if name not in self.benchmarks:
            raise InputError(f"benchmark {name!r} is not in rule set {self.version}", nearest(name, self.benchmarks))
        return self.benchmarks[name]

    def key_rules(self, benchmark: str, division: str, optimizer: str | None = None) -> list[KeyRule]:
        """Every rule that a log of this benchmark and division is held to, the special one in place of the common."""
        rules = self.benchmark(benchmark)
        layers = [self.events, self.divisions[division].events, rules.events]
        if division == "closed":
            layers += [rules.closed, rules.closed_by_optimizer.get(optimizer or "", ())]
        else:
            layers.append(rules.open)
        chosen: dict[str, list[KeyRule]] = {}
        for layer in layers:
            for key in dict.fromkeys(rule.key for rule in layer):
                chosen[key] = [rule for rule in layer if rule.key == key]
        named = Condition(one_of=tuple(name for name, one in self.benchmarks.items() if not one.unofficial))
        return [
            # A set that lists no names means those that it has.
            rule.model_copy(update={"value": named})
            if rule.key == "submission_benchmark" and rule.value == Condition()
            else rule
            for rules_of_key in chosen.values()
            for rule in rules_of_key
        ]

    def counting(self, benchmark: str, size: str) -> Counting:
        """How many runs make an entry: the round's number for the full size, the tier's for the smaller ones."""
        rules = self.benchmark(benchmark)
        return self.tiers.get(size, Counting(runs=rules.runs, drop=rules.drop, may_fail=rules.may_fail))

    def tensors(self, benchmark: str) -> list[str]:
        """Names that weights_initialization must report in the closed division; none where nothing is asked."""
        patterns = tensor_patterns(self.tensors_of).get(benchmark, []) if self.tensors_of else []
        return [name for pattern in patterns for name in expand_braces(pattern)]

    def target(self, benchmark: str, division: str) -> Condition:
        rules = self.benchmark(benchmark)
        return rules.target if division == "closed" else rules.open_target

    def target_key(self, benchmark: str, division: str) -> str:
        """The key whose values the target is asked of."""
        rules = self.benchmark(benchmark)
        return rules.open_target_key or rules.target_key if division == "open" else rules.target_key


@lru_cache
def tensor_patterns(version: str) -> dict[str, list[str]]:
    text = files("podium.bench").joinpath("rulesets", f"tensors-{version}.yaml").read_text(encoding="utf-8")
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def expand_braces(pattern: str) -> list[str]:
    """Names of a pattern: {0..3} counts, {a,b} chooses; both as often as they occur."""
    before, brace, rest = pattern.partition("{")
    if not brace:
        return [pattern]
    inside, _, after = rest.partition("}")
    first, dots, last = inside.partition("..")
    choices = [str(i) for i in range(int(first), int(last) + 1)] if dots else inside.split(",")
    return [before + choice + tail for choice in choices for tail in expand_braces(after)]


def ruleset_versions() -> list[str]:
    """Versions that are shipped, oldest first."""
    names = [entry.name for entry in files("podium.bench").joinpath("rulesets").iterdir()]
    return sorted(name[len("training-") : -len(".yaml")] for name in names if name.startswith("training-"))


@lru_cache
def load_ruleset(version: str = DEFAULT_RULESET) -> Ruleset:
    """The rule set of a version such as 1.1.0.

    Raises:
        InputError: there is none of that name.
    """
    if version not in ruleset_versions():
        raise InputError(f"rule set {version!r} is unknown", nearest(version, ruleset_versions()))
    text = files("podium.bench").joinpath("rulesets", f"training-{version}.yaml").read_text(encoding="utf-8")
    return parse_ruleset(text)


def parse_ruleset(text: str) -> Ruleset:
    """A rule set from YAML text.

    Raises:
        InputError: not YAML, or a word that no rule knows.
    """
    try:
        return Ruleset.model_validate(yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except yaml.YAMLError as error:
        raise InputError(f"rule set: not YAML ({error})", "see rulesets/training-1.1.0.yaml for the form") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise InputError(f"rule set: {field}: {first['msg']}", "see podium.bench.rules for the words") from error
