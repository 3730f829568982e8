"""How an attempt is asked for and what it may spend: named profiles. Knows no engine.

The numbers are those of arXiv 2504.16891: `kaggle` section 6.3.5, `notebook` the released demo notebook, `eval`
table 7. Limits on code stand in one table, `podium.answering.toolloop.CODE_LIMITS`. The paper's entry sampled at
temperature 0 and got different attempts from numerical noise in its batches; an engine that computes reproducibly would
write n identical attempts, so `kaggle` samples like the notebook.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from podium.answering.prompts import EXAM_PROMPTS, PROMPTS, fill
from podium.answering.protocol import Sampling
from podium.answering.toolloop import CODE_LIMITS, CodeLimits
from podium.errors import InputError, nearest
from podium.records import Message, Problem
from podium.solve.prompt import check_template, version_of


@dataclass(frozen=True, slots=True)
class Profile:
    """Limits and sampling of one attempt. Seconds are wall-clock seconds of one code block."""

    name: str
    code_calls: int  # blocks run per attempt
    code_seconds: float
    shown_characters: int  # of a block's output, its beginning and its end; the model is told how much was cut
    temperature: float
    top_p: float
    max_tokens: int  # written by the model; code output is not counted
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    prompt: str = "plain"  # one of podium.answering.prompts
    template: str = ""  # used instead of the style where there is one; {problem} stands for the problem
    system: str = ""  # what the system message says; empty: there is none
    past_limit: Literal["hint", "stop"] = "hint"  # a block too many: told so once, or the attempt ends at once
    stop_at_answer: bool = False  # end with the first complete \boxed{} outside code
    repetition_stop: bool = False  # end an attempt that only repeats itself, see podium.solve.repetition
    repetition_window: int = 0  # characters, see Sampling
    repetition_count: int = 0
    top_logprobs: int = 0  # likeliest tokens told with each: what a vote by entropy is weighed by
    event_tokens: int = 64  # a `tokens` event every so many
    nudge_tokens: int = 1024  # that an attempt may still write once it was nudged

    def sampling(self, seed: int) -> Sampling:
        return Sampling(
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            min_p=self.min_p,
            repetition_penalty=self.repetition_penalty,
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            seed=seed,
            repetition_window=self.repetition_window,
            repetition_count=self.repetition_count,
            top_logprobs=self.top_logprobs,
        )

    @property
    def code_limits(self) -> CodeLimits:
        """What an attempt may spend on code, as the tool loop takes it."""
        return CodeLimits(self.code_calls, self.code_seconds, self.shown_characters, self.past_limit)

    def messages(self, problem: Problem) -> tuple[Message, ...]:
        asked = Message(role="user", content=fill(self.template or PROMPTS[self.prompt].template, problem.text))
        return (Message(role="system", content=self.system), asked) if self.system else (asked,)

    @property
    def prompt_version(self) -> str:
        """A short name of how is asked."""
        return version_of(self.prompt, self.template, self.system)


def _profile(name: str, *, temperature: float, top_p: float, max_tokens: int) -> Profile:
    code = CODE_LIMITS[name]
    return Profile(
        name, code.calls, code.seconds, code.characters, temperature=temperature, top_p=top_p, max_tokens=max_tokens
    )


PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        _profile("kaggle", temperature=0.7, top_p=0.95, max_tokens=32_000),
        _profile("notebook", temperature=0.7, top_p=0.95, max_tokens=20_000),
        _profile("eval", temperature=0.6, top_p=0.95, max_tokens=32_768),
    )
}


def get_profile(name: str, **overrides: Any) -> Profile:
    """The profile called `name` with some fields replaced.

    Raises:
        InputError: unknown profile, field or prompt style, or a value of the wrong type or sign.
    """
    if name not in PROFILES:
        raise InputError(f"no profile is called {name!r}", nearest(name, PROFILES))
    known = [field.name for field in fields(Profile) if field.name != "name"]
    for key in overrides:
        if key not in known:
            raise InputError(f"profile {name!r} has no field {key!r}", nearest(key, known))
    try:
        profile = TypeAdapter(Profile).validate_python({**asdict(PROFILES[name]), **overrides})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise InputError(f"profile {name!r}: field {field!r}: {first['msg']}", "see docs/solve.md") from error
    if profile.prompt not in EXAM_PROMPTS:
        raise InputError(f"no prompt style is called {profile.prompt!r}", nearest(profile.prompt, EXAM_PROMPTS))
    if profile.template:
        check_template(profile.template, "the prompt template")
    for key, least in (("code_calls", 0), ("code_seconds", 1e-3), ("shown_characters", 1), ("max_tokens", 1)):
        if getattr(profile, key) < least:
            raise InputError(f"profile {name!r}: field {key!r} is {getattr(profile, key)}", f"at least {least}")
    return profile


def profile_overrides(code: bool, max_tokens: int | None, temperature: float | None) -> dict[str, Any]:
    """Fields of a tool profile that a command line replaces."""
    given = {"max_tokens": max_tokens, "temperature": temperature, "code_calls": None if code else 0}
    return {key: value for key, value in given.items() if value is not None}
