"""One completion as the engine sees it: its tokens, and how far they are computed.

Knows neither tensors nor threads. What it has written goes into the outbox of its reader (podium.generate.delivery).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from podium.answering.protocol import CompletionUsage, Finish, Sampling, Top
from podium.answering.stopping import StopWatch
from podium.generate.cache import ROOT, HeldBlocks, link
from podium.generate.delivery import Output, Reader
from podium.generate.penalties import Penalties

if TYPE_CHECKING:
    from podium.text import Decoder, Tokenizer

_numbers = itertools.count()

State = Literal["waiting", "running", "paused", "done"]


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
    penalties: Penalties = field(init=False)
    reader: Reader = field(init=False)
    usage: CompletionUsage = field(init=False)
    state: State = "waiting"
    computed: int = 0
    blocks: list[int] = field(default_factory=list)
    held_blocks: HeldBlocks = field(default_factory=list)  # had when it last ran; they may still be there …
    held_tokens: int = 0  # … with so many computed tokens
    published: int = 0  # blocks that others can find
    digests: list[bytes] = field(default_factory=list)
    root: bytes = ROOT  # what its digests grow from: sequences share blocks only from one root
    key: bytes = ROOT  # of the whole prompt, while nothing but the prompt is there
    draft_source: tuple[int, int] | None = None  # step, and row of its states, that the last token was drawn from

    def __post_init__(self) -> None:
        self.tokens = list(self.prompt)
        self.watch = StopWatch(self.sampling)
        self.penalties = Penalties(self.sampling, self.prompt)
        self.reader = Reader(self.sampling.top_logprobs > 0)
        self.usage = CompletionUsage(prompt_tokens=len(self.prompt))

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

    @property
    def adjusts_logits(self) -> bool:
        """Whether its next token is drawn from other logits than the model's."""
        return self.penalties.active or self.usage.completion_tokens < self.sampling.min_tokens

    def ends(self, tokenizer: Tokenizer) -> frozenset[int]:
        """Tokens that end the completion."""
        stops = frozenset(self.sampling.stop_token_ids)
        return stops if self.sampling.ignore_eos else stops | tokenizer.stop_ids

    def take(self, token: int, logprob: float, top: Top, tokenizer: Tokenizer, context: int) -> Finish | None:
        """Add a token that the model chose; why the completion ends here, if it does."""
        sampling, usage = self.sampling, self.usage
        self.tokens.append(token)
        self.penalties.add_written(token)
        usage.completion_tokens += 1
        usage.logprob_sum += logprob
        if token in tokenizer.stop_ids and not sampling.ignore_eos:
            self.reader.outbox.append(Output(self.decoder.flush(), token, logprob, top, "eos"))
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
        self.reader.outbox.append(Output(text, token, logprob, top, finish, stop, stop_token))
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
                self.penalties.replace_context(self.tokens)
        return kept

    def append(self, tokens: list[int], decoder: Decoder) -> None:
        """Add text that was not the model's, after a stop string."""
        self.tokens += tokens
        self.penalties.add_context(tokens)
        self.usage.appended_tokens += len(tokens)
        self.draft_source = None
        self.decoder = decoder
        self.watch.restart()
