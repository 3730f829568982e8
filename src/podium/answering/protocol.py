"""What it means to answer: the Completer protocol that curation, solving, judging and rollouts are written against.

Knows no engine. Three things stand behind it: Podium's engine, an OpenAI-compatible server, and scripted or
programmatic answers. A completion is iterated until a piece says why it stopped; one that stopped at a stop string
keeps its state and goes on after `extend`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

from podium.errors import InputError, PodiumError
from podium.records import Message

if TYPE_CHECKING:
    from podium.text import Tokenizer

Prompt: TypeAlias = str | list[int] | Sequence[Message]
"""Plain text (nothing in it becomes a special token), token ids, or a chat that the completer renders itself."""

Finish = Literal["eos", "stop", "length", "repetition", "cancelled"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen. temperature 0 is greedy; top_k 0, top_p 1 and min_p 0 switch the filter off."""

    max_tokens: int = 1024  # tokens the model may write over the whole completion; appended text is not counted
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int = 0
    stop: tuple[str, ...] = ()  # the text ends right after the stop string, which is kept
    repetition_window: int = 0  # stop when the last this-many characters …
    repetition_count: int = 0  # … were seen this often before (0: off)
    min_tokens: int = 0  # nothing ends before this many: no eos or stop_token_ids are drawn, no stop string counts
    ignore_eos: bool = False  # eos is a token like any other and ends nothing
    stop_token_ids: tuple[int, ...] = ()  # end with `stop` right after one of these
    repetition_penalty: float = 1.0  # logits of tokens in the context: divided by this if positive, else multiplied
    presence_penalty: float = 0.0  # taken off the logits of tokens the model has written …
    frequency_penalty: float = 0.0  # … and this once for each time
    top_logprobs: int = 0  # this many of the likeliest tokens are told with each piece


Top: TypeAlias = tuple[tuple[int, float], ...]
"""The likeliest tokens in one place with their log-probabilities, likeliest first."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some more text. The last piece of a stretch has `finish` set."""

    text: str
    tokens: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()  # of the chosen tokens, under the unfiltered distribution at temperature 1
    finish: Finish | None = None
    stop: str | None = None  # the stop string that fired
    stop_token: int | None = None  # the one of stop_token_ids that fired
    top_logprobs: tuple[tuple[tuple[int, float], ...], ...] = ()  # per token, likeliest first
    top_texts: tuple[tuple[str, ...], ...] = ()  # beside top_logprobs, where a server tells texts instead of ids


class PromptScore(NamedTuple):
    """How likely a model finds given tokens, one after the other."""

    logprobs: list[float | None]  # of each token after those before it; nothing is known of the first
    top: list[tuple[tuple[int, float], ...]]  # the likeliest tokens in each place, likeliest first


@dataclass(slots=True)
class CompletionUsage:
    """Tokens of one completion. `computed_tokens` went through the model; cached and resumed ones did not again.

    Where the engine speculates, `extra` has draft_tokens (computed on a guess) and accepted_tokens (of these, right).
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    appended_tokens: int = 0
    computed_tokens: int = 0
    logprob_sum: float = 0.0
    extra: dict[str, float] = field(default_factory=dict)


@runtime_checkable
class Completion(Protocol):
    """One attempt in flight."""

    def __aiter__(self) -> AsyncIterator[Piece]:
        """Pieces until one has `finish`; iterating again after `extend` goes on from there."""
        ...

    async def extend(self, text: str) -> None:
        """Append text (tool output: nothing in it becomes a special token) and go on; the prefix is not recomputed.

        Raises CompleterError when the completion was cancelled."""
        ...

    async def cancel(self) -> CompletionUsage:
        """Stop, free its memory at once, and say what it used. May be called more than once and after the end."""
        ...


@runtime_checkable
class Completer(Protocol):
    """Something that answers prompts.

    A class that derives from it writes `name` and `start`; the other members have the values of a completer that knows
    nothing of itself.

    Attributes:
        name: goes into Maker.model.
        context: tokens that a completion may span, prompt and appended text included; None where that is not known.
        tokenizer: spells the token ids of pieces; None where only texts are known.
        failure: why nothing is answered any more, once that is so.
    """

    name: str

    async def start(self, prompt: Prompt, sampling: Sampling) -> Completion:
        """Begin a completion. Raises InputError for a prompt or sampling that mean nothing, PromptTooLong, and
        CompleterError where nothing answers."""
        ...

    @property
    def context(self) -> int | None:
        return None

    @property
    def tokenizer(self) -> Tokenizer | None:
        return None

    @property
    def failure(self) -> PodiumError | None:
        return None

    async def score(self, tokens: Sequence[int], top_logprobs: int = 0) -> PromptScore:
        """How likely each token is after those before it, with so many of the likeliest in its place. Raises InputError
        where a completer scores nothing."""
        raise InputError(f"{self.name} does not score given tokens", "ask an engine over a model folder")

    async def counts(self) -> list[dict[str, float]]:
        """What each replica has done since its start, by the figure's name; empty where nothing is counted."""
        return []

    async def close(self) -> None:
        """Let go of everything that is held; whoever still reads gets a CompleterError."""


async def complete(completer: Completer, prompt: Prompt, sampling: Sampling) -> str:
    """The text of one answer up to its first finish, for callers that neither stream nor extend."""
    completion = await completer.start(prompt, sampling)
    try:
        return "".join([piece.text async for piece in completion])
    finally:
        await completion.cancel()
