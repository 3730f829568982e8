"""The one loop of tool-integrated solutions: the model writes, its code is run, the output goes back to it.

Training data, exams and selectors are all written by this loop. It knows the Completer protocol and the form of a
solution (`podium.toolcode`); it does not know which engine writes, how code is isolated, what the answer is, or how
much time is left: whoever cancels the task knows that.

    start a completion that stops at the closing tag
    repeat:  read pieces until it stops
             end, unless it stopped at a closing tag and calls are left
             run the block, append its output in a fence, go on

The loop yields every piece that the model writes and every response of a tool, in order, as it happens. So a rollout
for reinforcement learning knows which tokens the model sampled, and with which log-probabilities.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from podium.answering.code_session import CodeSandbox, CodeSession
from podium.answering.protocol import Completer, Completion, CompletionUsage, Finish, Piece, Prompt, Sampling
from podium.records import Part
from podium.sandbox.limits import Limits, Result, Status, profiles
from podium.toolcode import CLOSE_TAG, OPEN_TAG, closed_block, output_block

OVER_LIMIT = "[not run: no code calls are left; give the final answer in \\boxed{}]"
NOT_OPENED = f"[nothing was run: {CLOSE_TAG} without {OPEN_TAG}]"

Ending: TypeAlias = Finish | Literal["code_limit"]
"""Why a solution ended: as its completion did, or with a block of code when no calls were left. `stop` is a stop string
or a stop token of the caller's."""


@dataclass(frozen=True, slots=True)
class CodeLimits:
    """What one solution may spend on code."""

    calls: int  # blocks; one that was closed without being opened counts too
    seconds: float  # wall-clock seconds of one block
    characters: int  # of a block's output that the model is shown, its beginning and its end
    past_limit: Literal["hint", "stop"] = "hint"  # a block too many: the model is told so once, or the solution ends

    def within(self, available: Limits) -> Limits:
        """The limits of a session: these, where they are narrower than what the sandbox has."""
        return available.narrowed(replace(available, wall_seconds=self.seconds, output_chars=self.characters))


def _known(name: str, calls: int) -> CodeLimits:
    return CodeLimits(calls, profiles[name].wall_seconds, profiles[name].output_chars)


CODE_LIMITS: dict[str, CodeLimits] = {
    "kaggle": _known("kaggle", 6),
    "notebook": _known("notebook", 2),
    "eval": _known("eval", 8),
}
"""The profiles' limits on code. Seconds and characters are those of the sandbox's table (`podium.sandbox.profiles`);
the profiles of exams (`podium.solve.PROFILES`) take theirs from here. Sources: arXiv 2504.16891, section 6.3.5
(`kaggle`), its released notebook (`notebook`), the defaults of its library and table 7 (`eval`)."""
TEACHING = replace(CODE_LIMITS["eval"], past_limit="stop")
"""Limits of solutions that nobody takes the time of, as training data: a block too many ends them."""


@dataclass(frozen=True, slots=True)
class ToolResponse:
    """What a tool adds to a solution after a closing tag: a fenced output, and the result if a block was run."""

    text: str
    status: Status | Literal["not opened", "refused"]  # refused: there were no calls left
    result: Result | None = None


class ToolLoop:
    """One solution in flight: a completion, and the session that its code runs in.

    `start` a completion, iterate `write` until it ends, look at `ending`, and always `close`. After an end or an
    `interrupt`, `start` may be called again with another prompt; session and calls carry on. Without a sandbox, or
    without calls, nothing is run and tags are text.
    """

    def __init__(self, completer: Completer, sandbox: CodeSandbox | None, limits: CodeLimits, *, seed: int = 0) -> None:
        """`seed` is the session's."""
        self.limits = limits
        self.calls = 0
        self.ending: Ending | None = None
        self.usage = CompletionUsage()  # of all completions, once `close` was called
        self._completer = completer
        self._sandbox = sandbox if limits.calls > 0 else None
        self._seed = seed
        self._completion: Completion | None = None
        self._session: CodeSession | None = None
        self._interrupted = False
        self._running = False  # the model waits for a tool

    async def start(self, prompt: Prompt, sampling: Sampling) -> None:
        """Begin a completion; one that was begun before is ended.

        Raises:
            CompleterError, PromptTooLong: as the completer does.
        """
        await self._end_completion()
        if self._sandbox is not None:
            sampling = replace(sampling, stop=(*sampling.stop, CLOSE_TAG))
        self._completion = await self._completer.start(prompt, sampling)
        self._interrupted, self.ending = False, None

    async def write(self) -> AsyncGenerator[Piece | ToolResponse, None]:
        """Yield the pieces that the model writes and the responses of the tool, until the solution ends.

        A response is yielded before it is appended, so that a consumer that stops there knows what was run.

        Raises:
            CompleterError, SandboxUnavailable: as the completer and the sandbox do.
        """
        completion = self._completion
        assert completion is not None, "nothing was started"
        hinted = False
        while True:
            written: list[str] = []
            finish: Finish = "eos"
            async for piece in completion:
                written.append(piece.text)
                finish = piece.finish or finish
                yield piece
            text = "".join(written)
            if self._interrupted:
                self.ending = "cancelled"  # also when that came in the very moment of a stop
                return
            if finish != "stop" or self._sandbox is None or not text.endswith(CLOSE_TAG):
                self.ending = finish
                return
            if self.calls < self.limits.calls:
                self.calls += 1
                self._running = True
                response = await self._run(closed_block(text), self._sandbox)
            elif self.limits.past_limit == "hint" and not hinted:
                hinted = True
                response = ToolResponse(output_block(OVER_LIMIT), "refused")
            else:
                self.ending = "code_limit"
                return
            self._running = False
            yield response
            await completion.extend(response.text)

    async def _run(self, code: str | None, sandbox: CodeSandbox) -> ToolResponse:
        if code is None:
            return ToolResponse(output_block(NOT_OPENED), "not opened")
        if self._session is None:
            self._session = await sandbox.open(seed=self._seed, limits=self.limits.within(sandbox.limits))
        result = await self._session.run(code)
        return ToolResponse(output_block(result.output), result.status, result)

    @property
    def writing(self) -> bool:
        """Whether a completion has begun and does not wait for a tool."""
        return self._completion is not None and not self._running

    async def interrupt(self) -> None:
        """Stop the writing where it is: `write` ends with `cancelled`. Nothing happens while it is not `writing`."""
        if self._completion is not None and not self._running:
            self._interrupted = True
            await self._completion.cancel()

    async def close(self) -> None:
        """Free the completion and the session. It may be called at any time, and more than once."""
        # Nested, so that a second cancellation while the completer lets go still closes the session.
        try:
            await self._end_completion()
        finally:
            session, self._session = self._session, None
            if session is not None:
                await session.close()

    async def _end_completion(self) -> None:
        if self._completion is not None:
            used = await self._completion.cancel()
            self._completion = None
            self.usage = _sum(self.usage, used)


def _sum(before: CompletionUsage, after: CompletionUsage) -> CompletionUsage:
    return CompletionUsage(
        prompt_tokens=after.prompt_tokens,
        completion_tokens=before.completion_tokens + after.completion_tokens,
        appended_tokens=before.appended_tokens + after.appended_tokens,
        computed_tokens=before.computed_tokens + after.computed_tokens,
        logprob_sum=before.logprob_sum + after.logprob_sum,
        extra={
            name: before.extra.get(name, 0.0) + after.extra.get(name, 0.0) for name in {**before.extra, **after.extra}
        },
    )


@dataclass(slots=True)
class Turn:
    """What the model wrote between two tool responses, or one tool response.

    `tokens` and `logprobs` are those of the model's pieces; a tool's turn has none (see `Rollout.tokens_and_mask`).
    """

    role: Literal["model", "tool"]
    text: str = ""
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Rollout:
    """A solution that has ended: its turns, why it ended, and how its blocks of code went."""

    turns: tuple[Turn, ...]
    ending: Ending
    responses: tuple[ToolResponse, ...]
    usage: CompletionUsage

    @property
    def parts(self) -> tuple[Part, ...]:
        return tuple(Part(role=turn.role, text=turn.text) for turn in self.turns if turn.text)

    @property
    def code_seconds(self) -> float:
        return sum(each.result.wall_seconds for each in self.responses if each.result is not None)

    def tokens_and_mask(self, encode: Callable[[str], Sequence[int]]) -> tuple[list[int], list[bool]]:
        """The token ids that follow the prompt, and a mask that is True on those that the model sampled.

        Args:
            encode: how the completer makes tokens of appended text; of Podium's engine `Tokenizer.encode`.
        """
        ids: list[int] = []
        mask: list[bool] = []
        for turn in self.turns:
            more = turn.tokens if turn.role == "model" else encode(turn.text)
            ids += more
            mask += [turn.role == "model"] * len(more)
        return ids, mask


async def write_solution(
    completer: Completer,
    prompt: Prompt,
    sampling: Sampling,
    sandbox: CodeSandbox | None,
    *,
    limits: CodeLimits = TEACHING,
    seed: int = 0,
) -> Rollout:
    """Let a model write one solution to its end. Without a sandbox nothing is run.

    Raises:
        CompleterError, SandboxUnavailable: as the completer and the sandbox do; everything is freed first.
    """
    turns: list[Turn] = []
    responses: list[ToolResponse] = []
    loop = ToolLoop(completer, sandbox, limits, seed=seed)
    try:
        await loop.start(prompt, sampling)
        async with aclosing(loop.write()) as steps:
            async for step in steps:
                if isinstance(step, ToolResponse):
                    turns.append(Turn("tool", step.text))
                    responses.append(step)
                    continue
                if not turns or turns[-1].role == "tool":
                    turns.append(Turn("model"))
                turns[-1].text += step.text
                turns[-1].tokens += step.tokens
                turns[-1].logprobs += step.logprobs
    finally:
        await loop.close()
    assert loop.ending is not None
    return Rollout(tuple(turns), loop.ending, tuple(responses), loop.usage)
