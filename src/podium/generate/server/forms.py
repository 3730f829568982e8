"""The two kinds of generating request: how each reads its prompts and writes its answers.

Knows fields and JSON; neither HTTP nor how completions are run.
"""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from podium.errors import InputError
from podium.generate.server import shapes
from podium.generate.server.asks import Ask, ChatAsk, CompletionAsk, read_ask
from podium.generate.server.choice import Increment
from podium.generate.server.refusal import Refusal
from podium.generate.server.served import Served
from podium.text.decoding import Speller

DEFAULT_COMPLETION_TOKENS = 16
"""What OpenAI's /v1/completions writes when max_tokens is left out; chats may fill the context."""


def drawn(increments: Sequence[Increment]) -> tuple[list[int], list[float], list[Sequence[tuple[int, float]]]]:
    """Tokens, their log-probabilities, and the likeliest ones at their places."""
    pieces = [increment.piece for increment in increments]
    return (
        [token for piece in pieces for token in piece.tokens],
        [logprob for piece in pieces for logprob in piece.logprobs],
        [likeliest for piece in pieces for likeliest in piece.top_logprobs],
    )


AskT = TypeVar("AskT", bound=Ask)


class Form(ABC, Generic[AskT]):
    """How one endpoint reads its request and writes its answer."""

    object: str  # of whole answers …
    chunk: str  # … and of streamed ones
    identity: str  # what ids begin with
    top_logprobs: int
    tells_logprobs: bool
    wants_scores = False  # log-probabilities of the prompt are told

    def __init__(self, served: Served, ask: AskT) -> None:
        self.served = served
        self.ask = ask
        self._spellers: dict[int, Speller] = {}
        served.note_unknown(ask)

    @property
    def tells_tokens(self) -> bool:
        """Something is told of every token, also of those whose text is held back."""
        return self.tells_logprobs or bool(self.ask.return_token_ids)

    def with_tokens(self, choice: dict[str, Any], said: Sequence[Increment]) -> dict[str, Any]:
        """The choice with vLLM's addition to it, where that is asked for."""
        return {**choice, "token_ids": drawn(said)[0]} if self.ask.return_token_ids else choice

    def speller(self, index: int, begins: bool = False) -> Speller:
        """What spells the tokens of a choice, behind those that were told of it; `begins`: the first begin a text."""
        if index not in self._spellers:
            self._spellers[index] = self.served.tokenizer.speller(begins=begins)
        return self._spellers[index]

    def beside(self, prompt: list[int]) -> dict[str, Any]:
        """What stands beside the choices of a whole answer and of a streamed choice's first event."""
        return {}

    def new_id(self) -> str:
        return f"{self.identity}-{self.ask.request_id or uuid.uuid4().hex}"

    async def score(self, prompt: list[int]) -> None:
        """Have the prompt's own log-probabilities ready for `whole` and `opening`."""

    @abstractmethod
    def prompts(self) -> list[list[int]]: ...

    @abstractmethod
    def room(self, prompt: Sequence[int]) -> int:
        """Tokens that may be written; 0 for none, when a prompt is only to be scored."""

    def check_room(self, prompt: Sequence[int], wanted: int | None) -> int:
        """`wanted` tokens, or all that fit when it is None.

        Raises:
            Refusal: 400, the context is too short.
        """
        context = self.served.context
        if len(prompt) >= context or len(prompt) + (wanted or 0) > context:
            asked = f"{len(prompt)} tokens of prompt" + (f" and {wanted} of answer" if wanted else "")
            raise Refusal(
                400,
                f"This model's maximum context length is {context} tokens. You asked for {asked}.",
                param="max_tokens" if len(prompt) < context else "prompt",
                code="context_length_exceeded",
            )
        return context - len(prompt) if wanted is None else wanted

    @abstractmethod
    def whole(self, index: int, prompt: list[int], said: list[Increment]) -> dict[str, Any]: ...

    @abstractmethod
    def part(self, index: int, prompt: list[int], increment: Increment) -> dict[str, Any]: ...

    def opening(self, index: int, prompt: list[int]) -> dict[str, Any] | None:
        """What a streamed choice begins with before the model has written anything."""
        return None


class Completions(Form[CompletionAsk]):
    object = chunk = "text_completion"
    identity = "cmpl"

    def __init__(self, served: Served, body: bytes) -> None:
        super().__init__(served, read_ask(CompletionAsk, body))
        self.top_logprobs = self.ask.logprobs or 0
        self.tells_logprobs = self.ask.logprobs is not None
        self.wants_scores = bool(self.ask.echo) and self.tells_logprobs
        self._prompted: set[int] = set()  # choices that the prompt's ids were told with
        self._scores: dict[tuple[int, ...], tuple[list[float | None], shapes.Top]] = {}

    def prompts(self) -> list[list[int]]:
        texts = [prompt for prompt in self.ask.prompt if isinstance(prompt, str)]
        encoded = iter(self.served.tokenizer.encode_batch(texts) if texts else ())
        return [next(encoded) if isinstance(prompt, str) else prompt for prompt in self.ask.prompt]

    def room(self, prompt: Sequence[int]) -> int:
        wanted = DEFAULT_COMPLETION_TOKENS if self.ask.max_tokens is None else self.ask.max_tokens
        return self.check_room(prompt, wanted)

    async def score(self, prompt: list[int]) -> None:
        if tuple(prompt) in self._scores:
            return
        try:
            self._scores[tuple(prompt)] = await self.served.completer.score(prompt, self.top_logprobs)
        except InputError as error:
            raise Refusal(400, f"echo together with logprobs: {error.message}", param="echo") from error

    def _echoed(self, index: int, prompt: list[int]) -> tuple[str, dict[str, Any] | None]:
        """Text and logprobs of the prompt, where it is to be repeated."""
        if not self.ask.echo:
            return "", None
        text = self.served.tokenizer.decode(prompt)
        return text, self._told(index, prompt, *self._scores[tuple(prompt)]) if self.tells_logprobs else None

    def _written(self, index: int, increments: Sequence[Increment]) -> dict[str, Any] | None:
        """Logprobs of what the model wrote."""
        if not self.tells_logprobs:
            return None
        return self._told(index, *drawn(increments))

    def _told(
        self, index: int, tokens: Sequence[int], logprobs: Sequence[float | None], top: shapes.Top
    ) -> dict[str, Any]:
        told = shapes.completion_logprobs(self.speller(index, bool(self.ask.echo)), tokens, logprobs, top)
        as_ids = self.ask.return_tokens_as_token_ids
        return shapes.spelt_as_ids(told, tokens, logprobs, top) if as_ids else told

    def _with_prompt(self, index: int, prompt: list[int], choice: dict[str, Any]) -> dict[str, Any]:
        """The choice with the ids of its prompt, the first time that something is told of it."""
        if not self.ask.return_token_ids or index in self._prompted:
            return choice
        self._prompted.add(index)
        return {**choice, "prompt_token_ids": prompt}

    def whole(self, index: int, prompt: list[int], said: list[Increment]) -> dict[str, Any]:
        text, logprobs = self._echoed(index, prompt)
        written = self._written(index, said)
        if logprobs is not None and written is not None:
            logprobs = {key: values + written[key] for key, values in logprobs.items()}
        text += "".join([each.text for each in said])
        finish, stop_reason = (said[-1].finish, said[-1].stop_reason) if said else ("length", None)
        choice = shapes.completion_choice(index, text, logprobs or written, finish, stop_reason)
        choice["prompt_logprobs"] = None
        return self.with_tokens(self._with_prompt(index, prompt, choice), said)

    def part(self, index: int, prompt: list[int], increment: Increment) -> dict[str, Any]:
        logprobs = self._written(index, [increment]) if increment.piece.tokens else None
        choice = shapes.completion_choice(index, increment.text, logprobs, increment.finish, increment.stop_reason)
        return self.with_tokens(self._with_prompt(index, prompt, choice), [increment])

    def opening(self, index: int, prompt: list[int]) -> dict[str, Any] | None:
        if not self.ask.echo:
            return None
        choice = shapes.completion_choice(index, *self._echoed(index, prompt), None, None)
        return self.with_tokens(self._with_prompt(index, prompt, choice), [])


class Chat(Form[ChatAsk]):
    object = "chat.completion"
    chunk = "chat.completion.chunk"
    identity = "chatcmpl"

    def __init__(self, served: Served, body: bytes) -> None:
        super().__init__(served, read_ask(ChatAsk, body))
        self.top_logprobs = self.ask.top_logprobs or 0
        self.tells_logprobs = bool(self.ask.logprobs)

    def prompts(self) -> list[list[int]]:
        ask = self.ask
        opened = ask.add_generation_prompt is not False
        return [self.served.chat_tokens(ask.messages, bool(ask.continue_final_message), opened)]

    def room(self, prompt: Sequence[int]) -> int:
        wanted = self.ask.max_tokens if self.ask.max_completion_tokens is None else self.ask.max_completion_tokens
        room = self.check_room(prompt, wanted)
        # As in vLLM the model's own limit is one for chats: a completion of text has OpenAI's.
        return room if wanted is not None else min(room, int(self.served.defaults.get("max_tokens", room)))

    def beside(self, prompt: list[int]) -> dict[str, Any]:
        return {"prompt_token_ids": prompt if self.ask.return_token_ids else None}

    def _logprobs(self, index: int, increments: Sequence[Increment]) -> dict[str, Any] | None:
        if not self.tells_logprobs:
            return None
        tokens, logprobs, top = drawn(increments)
        speller = self.speller(index)
        told = shapes.chat_logprobs(self.served.tokenizer, speller, tokens, logprobs, top, self.top_logprobs)
        as_ids = self.ask.return_tokens_as_token_ids
        return shapes.chat_spelt_as_ids(told, tokens, top, self.top_logprobs) if as_ids else told

    def whole(self, index: int, prompt: list[int], said: list[Increment]) -> dict[str, Any]:
        text, last = "".join([each.text for each in said]), said[-1]
        choice = shapes.chat_choice(index, text, self._logprobs(index, said), last.finish, last.stop_reason)
        return self.with_tokens(choice, said)

    def part(self, index: int, prompt: list[int], increment: Increment) -> dict[str, Any]:
        logprobs = self._logprobs(index, [increment]) if increment.piece.tokens else None
        choice = shapes.chat_delta(index, increment.text, logprobs, increment.finish, increment.stop_reason)
        return self.with_tokens(choice, [increment])

    def opening(self, index: int, prompt: list[int]) -> dict[str, Any] | None:
        return shapes.chat_opening(index)
