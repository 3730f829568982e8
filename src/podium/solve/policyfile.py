"""Policies as people write them: a name, a line of rules, or a YAML file.

- a shipped policy: `winner`, `runner-up`, `notebook` (podium/solve/policies/*.yaml);
- rules joined by `+`, tried in the order given: `first_k_agree:4,within=5+m_of_n:8` (see RULES);
- a path that ends with .yaml: name, about, attempts, clock, rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from podium.errors import InputError, nearest
from podium.solve.clock import ClockMaker, Even, Pool, Speed, SpeedStep
from podium.solve.policy import Policy
from podium.solve.rules import RULES, OptimalStop, Rule, RuleForm
from podium.storage import storage_errors


def shipped() -> list[str]:
    """Names of the policies that come with Podium."""
    return sorted(file.name[: -len(".yaml")] for file in _folder().iterdir() if file.name.endswith(".yaml"))


def _folder() -> Any:
    return files("podium.solve").joinpath("policies")


def parse_policy(text: str) -> Policy:
    """The policy that a name, a line of rules or a file stands for.

    Raises:
        InputError: unknown name, rule or parameter, a value of the wrong kind, a missing parameter or file.
    """
    text = text.strip()
    if text.endswith((".yaml", ".yml")):
        path = Path(text)
        with storage_errors(path, "reading"):
            return read_policy(path.read_text(), str(path))
    if text in (names := shipped()):
        return read_policy(_folder().joinpath(f"{text}.yaml").read_text(), text)
    rules: list[Rule] = []
    for part in text.split("+"):
        name, _, arguments = part.strip().partition(":")
        if name not in RULES:
            raise InputError(f"policy {text!r}: no rule is called {name!r}", nearest(name, [*RULES, *names]))
        if RULES[name].read is not None:
            raise InputError(f"policy {text!r}: {name} is no line of text", f"write {RULES[name].example}")
        rules.extend(RULES[name].make(**_parse_arguments(text, name, arguments)))
    return Policy(text, tuple(rules))


def _parse_arguments(text: str, name: str, arguments: str) -> dict[str, Any]:
    known = RULES[name].parameters
    values: dict[str, Any] = dict(known)
    for position, argument in enumerate(filter(None, (item.strip() for item in arguments.split(",")))):
        key, equals, value = argument.partition("=")
        if not equals:
            if position >= len(known):
                raise InputError(f"policy {text!r}: {name} takes {len(known)} values", f"known: {', '.join(known)}")
            key, value = list(known)[position], argument
        values[key] = _value(text, name, key, value)
    return _complete(text, name, values)


def _value(text: str, name: str, key: str, value: object) -> float | str:
    if key not in RULES[name].parameters:
        raise InputError(f"policy {text!r}: {name} has no parameter {key!r}", nearest(key, RULES[name].parameters))
    written, kind = str(value).strip(), RULES[name].kinds.get(key, int)
    if kind is str:
        return written
    if kind is float:
        try:
            return float(written)
        except ValueError:
            raise InputError(f"policy {text!r}: {key} is {written!r}", f"give a number, as in {key}=0.8") from None
    if not written.isdecimal():
        raise InputError(f"policy {text!r}: {key} is {written!r}", f"give a whole number, as in {RULES[name].example}")
    return int(written)


def _complete(text: str, name: str, values: dict[str, Any]) -> dict[str, Any]:
    missing = [key for key, value in values.items() if value is None]
    if missing:
        raise InputError(f"policy {text!r}: {missing[0]} is missing", f"write {RULES[name].example}, for example")
    return values


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PoolForm(_Form):
    kind: Literal["pool"]
    base: float = Field(gt=0)
    draw: float = Field(ge=0)
    cap: float = Field(gt=0)
    share: float = Field(gt=0, description="seconds per problem that these numbers were made for")


class SpeedStepForm(_Form):
    below: float = Field(float("inf"), gt=0)
    attempts: int = Field(ge=1)
    seconds: float = Field(gt=0)


class SpeedForm(_Form):
    kind: Literal["speed"]
    steps: list[SpeedStepForm] = Field(min_length=1)
    usual: int = Field(ge=1, description="the step until the first look, counted from 1")
    first: int = Field(ge=0)
    every: int = Field(ge=1)
    problems: int = Field(ge=1)
    share: float = Field(gt=0)


class EvenForm(_Form):
    kind: Literal["even"]
    cap: float = Field(3.0, ge=1)


class LevelForm(_Form):
    pace: float = Field(ge=0, description="mean seconds a problem takes")
    wait_between: dict[str, tuple[float, float]] = Field(description="leader-second-finished: from and to, seconds")


class OptimalForm(_Form):
    levels: list[LevelForm] = Field(min_length=1)


def _optimal_stop(values: Any) -> tuple[Rule, ...]:
    levels = OptimalForm.model_validate(values).levels
    return (OptimalStop(tuple(level.pace for level in levels), tuple(level.wait_between for level in levels)),)


RULES.add(
    "optimal_stop",
    RuleForm(lambda: (), {}, "a policy file by podium exam replay --optimise", read=_optimal_stop),
    f"{__name__}:optimal_stop",
)


class PolicyForm(_Form):
    """A policy file."""

    name: str
    about: str = ""
    attempts: int | None = Field(None, ge=1)
    clock: PoolForm | SpeedForm | EvenForm | None = Field(None, discriminator="kind")
    rules: list[str | dict[str, Any]] = []


def read_policy(text: str, where: str) -> Policy:
    """A policy from YAML. `where` names it in errors.

    Raises:
        InputError: not YAML, an unknown field or rule, or a value of the wrong kind.
    """
    try:
        form = PolicyForm.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise InputError(f"{where}: not YAML ({error})", "see docs/policies.md") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{where}: {field or 'the file'}: {first['msg']}", "see docs/policies.md") from error
    rules: list[Rule] = []
    for entry in form.rules:
        rules.extend(_rule(where, entry))
    clock = Pool() if form.clock is None else _clock(where, form.clock)
    return Policy(form.name, tuple(rules), clock, form.attempts, form.about)


def _rule(where: str, entry: str | dict[str, Any]) -> tuple[Rule, ...]:
    if isinstance(entry, str):
        return parse_policy(entry).rules
    if len(entry) != 1:
        raise InputError(f"{where}: rules: an entry with {len(entry)} keys", "one rule per entry: - m_of_n: {m: 10}")
    ((name, values),) = entry.items()
    if name not in RULES:
        raise InputError(f"{where}: no rule is called {name!r}", nearest(str(name), RULES))
    read = RULES[name].read
    if read is not None:
        try:
            return read(values)
        except ValidationError as error:
            raise InputError(f"{where}: {name}: {error.errors()[0]['msg']}", f"write {RULES[name].example}") from error
        except ValueError as error:
            raise InputError(f"{where}: {name}: {error}", f"write {RULES[name].example}") from error
    if not isinstance(values, Mapping):
        values = {next(iter(RULES[name].parameters), ""): values}
    given = {str(key): _value(where, name, str(key), value) for key, value in values.items()}
    return RULES[name].make(**_complete(where, name, {**RULES[name].parameters, **given}))


def _clock(where: str, form: PoolForm | SpeedForm | EvenForm) -> ClockMaker:
    if isinstance(form, PoolForm):
        return Pool(form.base, form.draw, form.cap, form.share)
    if isinstance(form, EvenForm):
        return Even(form.cap)
    if form.usual > len(form.steps) or form.steps[-1].below != float("inf"):
        raise InputError(
            f"{where}: clock: the steps do not fit together", "the last step has no `below`; `usual` is one of them"
        )
    steps = tuple(SpeedStep(step.below, step.attempts, step.seconds) for step in form.steps)
    return Speed(steps, form.usual - 1, form.first, form.every, form.problems, form.share)


def policy_text(policy: Policy) -> str:
    """A policy as YAML that `read_policy` reads to the same policy."""
    clock = policy.clock
    if isinstance(clock, Pool):
        written: dict[str, Any] = {
            "kind": "pool", "base": clock.base, "draw": clock.draw, "cap": clock.cap, "share": clock.share
        }  # fmt: skip
    elif isinstance(clock, Even):
        written = {"kind": "even", "cap": clock.cap}
    elif isinstance(clock, Speed):
        written = {
            "kind": "speed",
            "steps": [
                {
                    **({} if step.below == float("inf") else {"below": step.below}),
                    "attempts": step.attempts,
                    "seconds": step.seconds,
                }
                for step in clock.steps
            ],
            "usual": clock.usual + 1,
            "first": clock.first,
            "every": clock.every,
            "problems": clock.problems,
            "share": clock.share,
        }
    else:
        raise InputError(f"policy {policy.name!r}: its clock cannot be written", "use Pool, Even or Speed")
    rules: list[Any] = []
    for rule in policy.rules:
        if isinstance(rule, OptimalStop):
            levels = [
                {"pace": pace, "wait_between": {state: list(window) for state, window in windows.items()}}
                for pace, windows in zip(rule.pace, rule.windows, strict=True)
            ]
            rules.append({"optimal_stop": {"levels": levels}})
        else:
            rules.append(rule.name)
    content = {
        "name": policy.name,
        **({"about": policy.about} if policy.about else {}),
        **({"attempts": policy.attempts} if policy.attempts else {}),
        "clock": written,
        "rules": rules,
    }
    return yaml.safe_dump(content, sort_keys=False, width=120, allow_unicode=True)
