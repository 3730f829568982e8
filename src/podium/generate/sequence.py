"""One completion as the engine sees it: its tokens, how far they are computed, what was told to its reader.

Knows neither tensors nor threads, beyond what a reader needs to be woken.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from podium.generate.protocol import CompletionUsage, Finish, Piece, Sampling
from podium.generate.stopping import StopWatch

if TYPE_CHECKING:
    from podium.generate.cache import Snapshot
    from podium.text import Decoder, Tokenizer

State = Literal["waiting", "running", "paused", "done"]


class Output(NamedTuple):
    """What one token, or the end, adds to what the reader sees."""

    text: str
    token: int | None = None
    logprob: float = 0.0
    finish: Finish | None = None
    stop: str | None = None


@dataclass(slots=True, eq=False)
class Sequence:
    """`tokens` is the whole context; of these, `computed` are in the cache. Appended stretches are computed in one
    go, other tokens one by one: whoever rebuilds a cache that was given up must do the same to get the same bits."""

    prompt: tuple[int, ...]
    sampling: Sampling
    decoder: Decoder
    tokens: list[int] = field(init=False)
    watch: StopWatch = field(init=False)
    stretches: dict[int, int] = field(default_factory=dict)  # start -> end of appended text, in tokens
    computed: int = 0
    state: State = "waiting"
    snapshot: Snapshot | None = None
    usage: CompletionUsage = field(default_factory=CompletionUsage)
    outbox: deque[Output] = field(default_factory=deque)
    ready: bool = False  # the reader may look into the outbox
    waiter: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]] | None = None

    def __post_init__(self) -> None:
        self.tokens = list(self.prompt)
        self.watch = StopWatch(self.sampling)
        self.usage.prompt_tokens = len(self.prompt)

    def take(self, token: int, logprob: float, tokenizer: Tokenizer, context: int) -> Finish | None:
        """Add a token that the model chose; why the completion ends here, if it does."""
        self.tokens.append(token)
        self.usage.completion_tokens += 1
        self.usage.logprob_sum += logprob
        if token in tokenizer.stop_ids:
            self.outbox.append(Output(self.decoder.flush(), token, logprob, "eos"))
            return "eos"
        text = self.decoder.push((token,))
        stopped = self.watch.push(text)
        finish: Finish | None = None
        stop = None
        if stopped is not None:
            finish, stop = stopped.finish, stopped.stop
            if finish == "stop":
                text = self._cut(text, stopped.overhang, token, tokenizer)
        elif self.usage.completion_tokens >= self.sampling.max_tokens or len(self.tokens) >= context:
            finish = "length"
            text += self.decoder.flush()
        self.outbox.append(Output(text, token, logprob, finish, stop))
        return finish

    def _cut(self, text: str, overhang: int, token: int, tokenizer: Tokenizer) -> str:
        """The text up to the stop string; the last token, which is not computed yet, becomes tokens of just that."""
        kept = text[: len(text) - overhang]
        rest = self.decoder.flush()
        if overhang or rest:
            own = tokenizer.decode([token]).removesuffix(rest)
            before = len(text) - len(own)
            # Where the token also ends a character that began before it, it cannot be cut and stays whole.
            if text.endswith(own) and before <= len(kept):
                self.tokens[-1:] = tokenizer.encode_model(kept[before:])
        return kept

    def append(self, tokens: list[int], decoder: Decoder) -> None:
        """Add text that was not the model's, after a stop string."""
        self.stretches[len(self.tokens) - 1] = len(self.tokens) + len(tokens)
        self.tokens += tokens
        self.usage.appended_tokens += len(tokens)
        self.decoder = decoder
        self.watch.restart()

    def drain(self) -> Piece | None:
        """Everything in the outbox up to the next finish, as one piece."""
        outputs: list[Output] = []
        while self.outbox:
            outputs.append(self.outbox.popleft())
            if outputs[-1].finish is not None:
                break
        if not outputs:
            return None
        drawn = [output for output in outputs if output.token is not None]
        return Piece(
            "".join([output.text for output in outputs]),
            tuple([output.token for output in drawn if output.token is not None]),
            tuple([output.logprob for output in drawn]),
            outputs[-1].finish,
            outputs[-1].stop,
        )
