"""The rows that flow through Podium.

Imports no other room. A row keeps its id, its source and what made it, so that no stage needs a second file to explain
one. `podium.storage` reads and writes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Verdict(StrEnum):
    """What grading says of an answer. `undecided` is never counted as correct and always reported."""

    CORRECT = "correct"
    WRONG = "wrong"
    UNDECIDED = "undecided"
    NO_ANSWER = "no_answer"


Style = Literal["cot", "tir", "select"]


class Problem(Row):
    """One question. `verifier` names the rule of podium.grading that decides; `meta` holds what that rule needs."""

    id: str
    text: str = Field(min_length=1)
    answer: str | None = None
    source: str = ""
    verifier: str = "math"
    meta: dict[str, Any] = {}


class Message(Row):
    """One turn of a chat. `content` is plain text: nothing in it can become a special token."""

    role: Literal["system", "user", "assistant"]
    content: str


class Maker(Row):
    """Who wrote a solution, precisely enough to write it again."""

    model: str
    revision: str = ""
    sampling: dict[str, Any] = {}
    prompt_version: str = ""
    seed: int | None = None


class Usage(Row):
    """Tokens and seconds spent on one solution. `tool_tokens` are the tokens of code output put into the context."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    tool_tokens: int = 0
    code_calls: int = 0
    code_timeouts: int = 0
    seconds: float = 0.0
    code_seconds: float = 0.0


class Part(Row):
    """A stretch of a solution: written by the model (trained on, may hold tool-call tags) or by a tool (neither)."""

    role: Literal["model", "tool"]
    text: str


class Solution(Row):
    """A worked answer: the chat that asked for it and the parts that answer it."""

    id: str
    problem_id: str
    style: Style
    prompt: tuple[Message, ...]
    parts: tuple[Part, ...]
    answer: str | None = None
    verdict: Verdict | None = None
    maker: Maker
    usage: Usage = Usage()

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts)


class Event(Row):
    """Something that happened in an exam, `time` seconds after the problem was opened."""

    time: float
    kind: Literal["start", "tokens", "code", "nudge", "answer", "end"]
    tokens: int = 0
    answer: str | None = None
    detail: str = ""


Grader = Literal["rules", "judge"]
"""What gave a verdict: the rules of podium.grading, or a model that was asked about what these left undecided."""

StopReason = Literal["eos", "answer", "length", "repetition", "code_limit", "cancelled", "clock", "error"]


class Attempt(Solution):
    """A solution made in an exam: which of the n it was, why it stopped, what happened when."""

    index: int
    stop_reason: StopReason
    events: tuple[Event, ...] = ()
    tier: str = ""  # sandbox tier its code ran under; empty when it ran none
    signals: dict[str, float] = {}  # what a vote may weigh it by, see podium.solve.vote
    verdict_by: Grader = "rules"


class VoteClass(Row):
    """Attempts whose answers are equivalent."""

    answer: str
    count: int
    weight: float
    attempts: tuple[int, ...]


class ExamResult(Row):
    """One problem of an exam, answered."""

    problem: Problem
    attempts: tuple[Attempt, ...]
    votes: tuple[VoteClass, ...]
    vote: str = "uniform"  # what the vote weighed attempts by, see podium.solve.vote
    answer: str | None
    verdict: Verdict
    verdict_by: Grader = "rules"
    tie: bool = False
    stop_rule: str = ""  # which rule of the policy ended it
    clock_hit: bool = False
    granted_seconds: float = 0.0
    used_seconds: float = 0.0
    pool_drawn: float = 0.0
    pool_after: float = 0.0


def token_ids(value: Any) -> tuple[int, ...]:
    """The ids in a field such as eos_token_id of a Hugging Face file: one, a list of them, or null; -1 means none."""
    listed = value if isinstance(value, list) else [value]
    return tuple(dict.fromkeys(each for each in listed if type(each) is int and each >= 0))


def find_repeated(rows: Sequence[Problem]) -> str | None:
    """The first id that occurs twice, if any."""
    seen: set[str] = set()
    for row in rows:
        if row.id in seen:
            return row.id
        seen.add(row.id)
    return None
