"""One completion as the engine sees it: its tokens, how far they are computed, what was told to its reader.

Knows neither tensors nor threads, beyond what a reader needs to be woken.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter, deque
from collections.abc import Sequence as Ordered
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from podium.answering.protocol import CompletionUsage, Finish, Piece, Sampling
from podium.answering.stopping import StopWatch
from podium.generate.cache import ROOT, Kept, link

if TYPE_CHECKING:
    from podium.generate.sampling import Top
    from podium.text import Decoder, Tokenizer

_numbers = itertools.count()

State = Literal["waiting", "running", "paused", "done"]


class Output(NamedTuple):
    """What one token, or the end, adds to what the reader sees."""

    text: str
    token: int | None = None
    logprob: float = 0.0
    top: Top = ()
    finish: Finish | None = None
    stop: str | None = None
    stop_token: int | None = None


@dataclass(slots=True)
class Scoring:
    """The prompt itself is what is asked about: the log-probability of each token but the first."""

    top_count: int
    logprobs: list[float | None] = field(default_factory=lambda: [None])
    top: list[Top] = field(default_factory=lambda: [()])


@dataclass(slots=True, eq=False)
class Sequence:
    """`tokens` is the whole context; of these, the first `computed` have keys and values in `blocks`."""

    prompt: tuple[int, ...]
    sampling: Sampling
    decoder: Decoder
    scoring: Scoring | None = None
    number: int = field(default_factory=_numbers.__next__)
    tokens: list[int] = field(init=False)
    watch: StopWatch = field(init=False)
    state: State = "waiting"
    computed: int = 0
    blocks: list[int] = field(default_factory=list)
    kept: Kept = field(default_factory=list)  # blocks it had when it last ran, which may still be there …
    reached: int = 0  # … with so many computed tokens
    published: int = 0  # blocks that others can find
    digests: list[bytes] = field(default_factory=list)
    root: bytes = ROOT  # what its digests grow from: sequences share blocks only from one root
    key: bytes = ROOT  # of the whole prompt, while nothing but the prompt is there
    place: tuple[int, int] | None = None  # step, and row of its states, that the last token was drawn from
    seen: set[int] = field(default_factory=set)  # tokens of the context, where a penalty asks for them
    written: Counter[int] = field(default_factory=Counter)  # tokens of the model, likewise
    counted: bool = field(init=False)  # a penalty asks what was said
    usage: CompletionUsage = field(default_factory=CompletionUsage)
    outbox: deque[Output] = field(default_factory=deque)
    ready: bool = False  # the reader may look into the outbox
    waiter: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]] | None = None

    def __post_init__(self) -> None:
        self.tokens = list(self.prompt)
        self.watch = StopWatch(self.sampling)
        self.usage.prompt_tokens = len(self.prompt)
        sampling = self.sampling
        self.counted = (
            sampling.repetition_penalty != 1 or sampling.presence_penalty != 0 or sampling.frequency_penalty != 0
        )
        self._see(self.tokens)

    @property
    def remaining(self) -> int:
        """Tokens that are there and not computed."""
        return len(self.tokens) - self.computed

    @property
    def fresh(self) -> bool:
        """Nothing is there but a prompt that is to be answered."""
        return self.scoring is None and not self.usage.completion_tokens and not self.usage.appended_tokens

    def chain(self, blocks: int, block_size: int) -> list[bytes]:
        """The digests of the first `blocks` full blocks. Their tokens must be final."""
        for start in range(len(self.digests) * block_size, blocks * block_size, block_size):
            before = self.digests[-1] if self.digests else self.root
            self.digests.append(link(before, self.tokens[start : start + block_size]))
        return self.digests[:blocks]

    def penalised(self) -> bool:
        return self.counted or self.usage.completion_tokens < self.sampling.min_tokens

    def ends(self, tokenizer: Tokenizer) -> frozenset[int]:
        """Tokens that end the completion."""
        stops = frozenset(self.sampling.stop_token_ids)
        return stops if self.sampling.ignore_eos else stops | tokenizer.stop_ids

    def take(self, token: int, logprob: float, top: Top, tokenizer: Tokenizer, context: int) -> Finish | None:
        """Add a token that the model chose; why the completion ends here, if it does."""
        sampling, usage = self.sampling, self.usage
        self.tokens.append(token)
        if self.counted:
            self._see((token,))
            self.written[token] += 1
        usage.completion_tokens += 1
        usage.logprob_sum += logprob
        if token in tokenizer.stop_ids and not sampling.ignore_eos:
            self.outbox.append(Output(self.decoder.flush(), token, logprob, top, "eos"))
            return "eos"
        text = self.decoder.push((token,))
        stopped = self.watch.push(text, usage.completion_tokens)
        finish: Finish | None = None
        stop = stop_token = None
        if stopped is not None:
            finish, stop = stopped.finish, stopped.stop
            if finish == "stop":
                text = self._cut(text, stopped.overhang, token, tokenizer)
        elif token in sampling.stop_token_ids:
            finish, stop_token = "stop", token
            text += self.decoder.flush()
        elif usage.completion_tokens >= sampling.max_tokens or len(self.tokens) >= context:
            finish = "length"
            text += self.decoder.flush()
        self.outbox.append(Output(text, token, logprob, top, finish, stop, stop_token))
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
                self.seen.clear()
                self._see(self.tokens)
        return kept

    def append(self, tokens: list[int], decoder: Decoder) -> None:
        """Add text that was not the model's, after a stop string."""
        self.tokens += tokens
        self._see(tokens)
        self.usage.appended_tokens += len(tokens)
        self.place = None
        self.decoder = decoder
        self.watch.restart()

    def _see(self, tokens: Ordered[int]) -> None:
        if self.sampling.repetition_penalty != 1:
            self.seen.update(tokens)

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
        last = outputs[-1]
        return Piece(
            "".join([output.text for output in outputs]),
            tuple([output.token for output in drawn if output.token is not None]),
            tuple([output.logprob for output in drawn]),
            last.finish,
            last.stop,
            last.stop_token,
            tuple([output.top for output in drawn]) if self.sampling.top_logprobs else (),
        )
