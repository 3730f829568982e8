"""What is served, within which limits, and how it is doing: what all endpoints share."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel

from podium.answering.protocol import Completer
from podium.errors import InputError, PodiumError
from podium.generate.defaults import SamplingDefaults
from podium.generate.server.access import Access
from podium.generate.server.asks import Turn, unknown_fields
from podium.generate.server.gate import Gate
from podium.generate.server.metrics import Metrics
from podium.generate.server.refusal import Refusal
from podium.text import Tokenizer
from podium.text.chat import content_text

MOST_NOTES = 50
"""Fields without a meaning that are named on standard error."""


@dataclass
class Served:
    """What is served and within which limits.

    Args:
        name: what requests call the model.
        tokenizer: of the model: renders chats, counts, and spells the tokens of logprobs.
        context: tokens that prompt and answer may span together.
        rows: completions that the completer computes at once; more wait.
        max_queue: completions that may wait.
        max_body: bytes of a request.
        root: where the model comes from, as it was named; empty for what the completer calls itself.
        defaults: the sampling that counts where a request names none.
        access: who may ask.
    """

    completer: Completer
    name: str
    tokenizer: Tokenizer
    context: int
    rows: int
    max_queue: int = 1024
    max_body: int = 16 << 20
    root: str = ""
    defaults: SamplingDefaults = field(default_factory=SamplingDefaults)
    access: Access = field(default_factory=Access)
    gate: Gate = field(init=False)
    metrics: Metrics = field(init=False, default_factory=Metrics)
    created: int = field(init=False, default_factory=lambda: int(time.time()))
    _unknown: set[str] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        self.gate = Gate(self.rows, self.max_queue)

    def check_model(self, model: str | None) -> None:
        if model and model != self.name:
            raise Refusal(
                404,
                f"The model {model!r} does not exist; this server has {self.name!r}.",
                param="model",
                code="model_not_found",
            )

    def note_unknown(self, ask: BaseModel) -> None:
        """Name the fields of a request that mean nothing, on standard error, each of them once."""
        for name, cure in unknown_fields(ask).items():
            if name not in self._unknown and len(self._unknown) < MOST_NOTES:
                self._unknown.add(name)
                print(f"a request has a field {name[:60]!r}, which means nothing here; {cure}", file=sys.stderr)

    def chat_tokens(self, turns: Sequence[Turn], continued: bool, opened: bool = True) -> list[int]:
        """A chat in the tokenizer's template. `continued`: the last turn is the beginning of the answer."""
        messages = [turn.message() for turn in turns]
        try:
            if not continued:
                return self.tokenizer.render(messages, generate=opened)
            written = self.tokenizer.encode_model(content_text(messages[-1]))
            return self.tokenizer.render(messages[:-1], generate=True) + written
        except InputError as error:
            raise Refusal(400, f"messages: {error.message}", param="messages", code="invalid_value") from error

    @property
    def broken(self) -> PodiumError | None:
        """Why no request can be answered any more, if that is so."""
        return self.completer.failure
