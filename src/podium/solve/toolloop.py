"""One attempt at one problem, with code: the model writes, its blocks are run, the output goes back to it.

Does not know which engine answers, how the code is isolated, who else is attempting the problem or how much time is
left: whoever cancels the task knows that. Completion and session are freed at whatever moment that happens, and what
was written until then remains to be read with `record`.

A block is run when the stop string `</tool_call>` fires and its `<tool_call>` stands in the text the model has
written since the last output. A closing tag without an opening one runs nothing but counts as a call.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from podium.answering.protocol import Completer, Completion, CompletionUsage, Piece, Sampling
from podium.boxes import last_box
from podium.errors import PromptTooLong
from podium.grading import find_answer
from podium.grading.rules import rules_of
from podium.records import Attempt, Event, Maker, Message, Part, Problem, StopReason, Usage
from podium.solve.confidence import Confidence
from podium.solve.profile import Profile
from podium.solve.repetition import RepetitionWatch

if TYPE_CHECKING:
    from podium.sandbox import Sandbox, Session

OPEN_TAG = "<tool_call>"
CLOSE_TAG = "</tool_call>"

Sink = Callable[[int, Event], None]
"""Told of every event of an attempt as it happens: (index, event)."""

OVER_LIMIT = "[not run: no code calls are left; give the final answer in \\boxed{}]"
NOT_OPENED = f"[nothing was run: {CLOSE_TAG} without {OPEN_TAG}]"


def fence(shown: str) -> str:
    """The tool part that shows `shown` to the model."""
    return f"\n```output\n{shown}\n```\n"


# As in podium.boxes: a box opens, an escaped character is skipped, a brace opens or closes.
_BRACES = re.compile(r"(?P<box>\\f?boxed\s*\{)|\\.|[{}]", re.DOTALL)
_UNSETTLED = re.compile(r"\\+[a-z]*\s*\Z")  # what more text may still turn into another token


class AnswerWatch:
    """Notices boxes being closed in text as it grows, looking at every character once."""

    def __init__(self) -> None:
        self.text = ""
        self.answer: str | None = None  # content of the latest outermost box that was closed
        self._looked = 0
        self._open: list[int] = []  # open braces: where the box starts, -1 for a brace that is not a box

    def push(self, text: str) -> bool:
        """Take more text; True when that completed a box with another answer than the last one."""
        self.text += text
        end = self._settled()
        before = self.answer
        for token in _BRACES.finditer(self.text, self._looked, end):
            if token[0] == "}":
                start = self._open.pop() if self._open else -1
                if start >= 0 and not any(outer >= 0 for outer in self._open):
                    self.answer = last_box(self.text[start : token.end()]) or self.answer
            elif token[0] == "{" or token["box"]:
                self._open.append(token.start() if token["box"] else -1)
        self._looked = max(self._looked, end)
        return self.answer != before

    def _settled(self) -> int:
        """How far the text means what it says, whatever follows."""
        found = _UNSETTLED.search(self.text, max(self._looked, len(self.text) - 40))
        if found is None:
            return len(self.text)
        last = found.start()
        while last < found.end() and self.text[last + 1 : last + 2] == "\\":
            last += 1
        first = last
        while first > self._looked and self.text[first - 1] == "\\":
            first -= 1
        # Of a run of backslashes each second one is escaped by the one before it.
        return len(self.text) if (last - first) % 2 else last


class AttemptRun:
    """An attempt in flight. `run` writes it; `record` reads it at any time, finished or not."""

    def __init__(
        self,
        problem: Problem,
        completer: Completer,
        sandbox: Sandbox | None,
        profile: Profile,
        *,
        index: int = 0,
        seed: int = 0,
        sink: Sink | None = None,
        elapsed: Callable[[], float] | None = None,
    ) -> None:
        """`elapsed` gives the seconds since the problem was opened; events carry them. Default: since now."""
        opened = time.monotonic()
        self.problem = problem
        self.profile = profile
        self.index = index
        self.seed = seed
        self._completer = completer
        self._sandbox = sandbox if profile.code_calls > 0 else None
        self._sink = sink
        self._elapsed = elapsed or (lambda: time.monotonic() - opened)
        self._watch = AnswerWatch()
        self._boxes_count = "box" in rules_of(problem).find
        self._repetition = RepetitionWatch()
        self._confidence = Confidence()
        self._stretch = ""  # model text since the last tool part
        self._scanned = 0  # of the stretch: how much of it the answer watch was given, or knows to be code
        self._parts: list[Part] = []
        self._events: list[Event] = []
        self._tokens = 0
        self._calls = 0  # blocks run, refused and malformed ones included
        self._usage = Usage()
        self._spent = CompletionUsage()
        self._started = 0.0
        self._ended = 0.0
        self._tier = ""
        self._completion: Completion | None = None
        self._session: Session | None = None
        self._nudge = ""  # what the model is to be told next
        self._nudging = False  # told, and going on since
        self._calling = False  # a block is running
        self._before = CompletionUsage()  # of the completion before the nudge

    @property
    def tokens(self) -> int:
        """Tokens the model has written, as the completer counts them once the attempt is over."""
        return self._spent.completion_tokens or self._tokens

    @property
    def answer(self) -> str | None:
        """The answer outside code so far, by the rules of the problem's exam."""
        return find_answer(self.problem, self._watch.text)

    async def run(self) -> Attempt:
        """Write the attempt to its end.

        Raises:
            CompleterError, SandboxUnavailable: as the completer and the sandbox do; everything is freed first. A
                prompt too long for the context is no error but an attempt that ends with `length`, without text.
            asyncio.CancelledError: when the task is cancelled; everything is freed first.
        """
        self._started = self._elapsed()
        self._event("start")
        try:
            stop = (CLOSE_TAG,) if self._sandbox else ()
            sampling = self.profile.sampling(self.seed, stop)
            self._completion = await self._completer.start(self.profile.messages(self.problem), sampling)
            reason = await self._write(self._completion)
            while self._nudge and self.answer is None:
                reason = await self._write(await self._ask_again())
            if self._nudge and reason == "cancelled":
                reason = "answer"  # it had boxed one in the moment it was interrupted
        except PromptTooLong:
            reason = "length"  # a matter of this problem alone: it is left unanswered
        finally:
            await self._free()
        self._event("end", answer=self.answer, detail=reason)
        return self.record(reason)

    async def nudge(self, text: str) -> None:
        """Interrupt the writing and tell the model `text` as a further turn of the chat; it goes on from there.

        Nothing happens to an attempt that is over, was told already, or waits for code.
        """
        if self._completion is None or self._nudging or self._ended or self._calling:
            return
        self._nudge = text
        await self._completion.cancel()

    async def _ask_again(self) -> Completion:
        """A completion that sees what was written so far, and the nudge after it."""
        assert self._completion is not None
        text, self._nudge, self._nudging = self._nudge, "", True
        self._before = _sum(self._before, await self._completion.cancel())
        self._close_stretch()
        self._repetition.restart()
        written = "".join(part.text for part in self._parts)
        self._parts.append(Part(role="tool", text=f"\n{text}\n"))
        self._event("nudge", detail=text)
        messages = (
            *self.profile.messages(self.problem),
            *([Message(role="assistant", content=written)] if written.strip() else []),
            Message(role="user", content=text),
        )
        sampling = self.profile.sampling(self.seed, (CLOSE_TAG,) if self._sandbox else ())
        left = max(1, min(self.profile.nudge_tokens, self.profile.max_tokens - self._tokens))
        self._completion = await self._completer.start(messages, replace(sampling, max_tokens=left))
        return self._completion

    async def _write(self, completion: Completion) -> StopReason:
        refused = False
        while True:
            async for piece in completion:
                if self._take(piece):
                    return "repetition"
                if self.profile.stop_at_answer and self._boxes_count and self._watch.answer is not None:
                    return "answer"
                if piece.finish is not None and piece.finish != "stop":
                    return piece.finish
            if self._nudge:
                return "cancelled"  # interrupted in the very moment of a stop
            if self._calls < self.profile.code_calls:
                self._calls += 1
                self._calling = True
                shown = await self._call()
                self._calling = False
            elif self.profile.past_limit == "hint" and not refused:
                refused = True
                shown = OVER_LIMIT
                self._event("code", detail="refused")
            else:
                return "code_limit"
            self._close_stretch()
            self._repetition.restart()
            self._parts.append(Part(role="tool", text=fence(shown)))
            await completion.extend(fence(shown))

    def _take(self, piece: Piece) -> bool:
        """Take in what was written; True when the attempt does nothing but repeat itself since."""
        text = piece.text
        behind = self._repetition.push(text) if self.profile.repetition_stop else None
        if behind:
            text = text[: len(text) - behind]  # pieces may be cut in any way: the same text ends in the same place
        before = self._tokens // self.profile.event_tokens
        self._tokens += len(piece.tokens) or bool(piece.text)
        self._confidence.push(piece)
        self._stretch += text
        if self._tokens // self.profile.event_tokens > before:
            self._event("tokens")
        if self._watch.push(self._newly_visible()) and self._boxes_count:
            self._event("answer", answer=self._watch.answer)
        return behind is not None

    def _newly_visible(self) -> str:
        """What of the stretch lies outside code and was not looked at yet."""
        opened = -1
        if self._sandbox is not None:
            opened = self._stretch.find(OPEN_TAG, max(0, self._scanned - len(OPEN_TAG)))
        end = opened if opened >= 0 else len(self._stretch)
        new, self._scanned = self._stretch[self._scanned : end], max(self._scanned, end)
        return new

    async def _call(self) -> str:
        """Run the block that has just been closed; returns what the model is shown."""
        assert self._sandbox is not None
        opened = self._stretch.find(OPEN_TAG)
        if opened < 0:
            self._event("code", detail="not opened")
            return NOT_OPENED
        # Of several opening tags the last one starts the block: the others were never closed.
        opened = self._stretch.rfind(OPEN_TAG)
        code = self._stretch[opened + len(OPEN_TAG) : -len(CLOSE_TAG)].strip("\n")
        if self._session is None:
            limits = self.profile.limits(self._sandbox.limits)
            self._session = await self._sandbox.open(seed=self.seed, limits=limits)
        session = self._session
        result = await session.run(code)
        self._tier = result.tier
        self._usage = self._usage.model_copy(
            update={
                "code_calls": self._usage.code_calls + 1,
                "code_timeouts": self._usage.code_timeouts + (result.status == "timeout"),
                "code_seconds": self._usage.code_seconds + result.wall_seconds,
            }
        )
        self._event("code", detail=f"{result.status} {result.wall_seconds:.3f} s")
        return result.output.rstrip("\n")

    def _close_stretch(self) -> None:
        if self._stretch:
            self._parts.append(Part(role="model", text=self._stretch))
        self._stretch = ""
        self._scanned = 0

    def _event(self, kind: str, *, answer: str | None = None, detail: str = "") -> None:
        event = Event.model_validate(
            {"time": self._elapsed(), "kind": kind, "tokens": self._tokens, "answer": answer, "detail": detail}
        )
        self._events.append(event)
        if self._sink is not None:
            self._sink(self.index, event)

    async def _free(self) -> None:
        # Nested, so that a second cancellation while the engine lets go still closes the session.
        try:
            if self._completion is not None:
                self._spent = _sum(self._before, await self._completion.cancel())
        finally:
            try:
                if self._session is not None:
                    await self._session.close()
            finally:
                self._ended = self._elapsed()

    def record(self, reason: StopReason) -> Attempt:
        """The attempt as a row: whole after `run`, or what exists of one that was cut off."""
        parts = [*self._parts, *([Part(role="model", text=self._stretch)] if self._stretch else [])]
        events = list(self._events)
        if events and events[-1].kind != "end":
            events.append(Event(time=self._ended, kind="end", tokens=self._tokens, answer=self.answer, detail=reason))
        sampling = self.profile.sampling(self.seed, ())
        return Attempt(
            id=f"{self.problem.id}#{self.index}",
            problem_id=self.problem.id,
            style="tir" if self._sandbox is not None else "cot",
            prompt=self.profile.messages(self.problem),
            parts=tuple(parts),
            answer=self.answer,
            maker=Maker(
                model=self._completer.name,
                sampling={
                    "profile": self.profile.name,
                    "temperature": sampling.temperature,
                    "top_p": sampling.top_p,
                    "top_k": sampling.top_k,
                    "min_p": sampling.min_p,
                    "max_tokens": sampling.max_tokens,
                    **_penalties(sampling),
                },
                prompt_version=self.profile.prompt_version,
                seed=self.seed,
            ),
            usage=self._usage.model_copy(
                update={
                    "prompt_tokens": self._spent.prompt_tokens,
                    "completion_tokens": self._spent.completion_tokens or self._tokens,
                    "tool_tokens": self._spent.appended_tokens,
                    "seconds": max(0.0, self._ended - self._started),
                }
            ),
            index=self.index,
            stop_reason=reason,
            events=tuple(events),
            tier=self._tier,
            signals=self._confidence.signals(),
        )


def _penalties(sampling: Sampling) -> dict[str, float]:
    """Those that are on; rows of samplings without any stay as they always were."""
    told = {
        "repetition_penalty": sampling.repetition_penalty,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
    }
    return {name: value for name, value in told.items() if value != getattr(Sampling(), name)}


def _sum(before: CompletionUsage, after: CompletionUsage) -> CompletionUsage:
    return CompletionUsage(
        prompt_tokens=after.prompt_tokens,
        completion_tokens=before.completion_tokens + after.completion_tokens,
        appended_tokens=before.appended_tokens + after.appended_tokens,
        computed_tokens=before.computed_tokens + after.computed_tokens,
        logprob_sum=before.logprob_sum + after.logprob_sum,
    )


async def attempt(
    problem: Problem,
    completer: Completer,
    sandbox: Sandbox | None,
    profile: Profile,
    *,
    index: int = 0,
    seed: int = 0,
    sink: Sink | None = None,
    elapsed: Callable[[], float] | None = None,
) -> Attempt:
    """Attempt `problem` once. With `sandbox` None there is no stop string and tags are just text: code is off.

    Raises: as AttemptRun.run does.
    """
    run = AttemptRun(problem, completer, sandbox, profile, index=index, seed=seed, sink=sink, elapsed=elapsed)
    return await run.run()
