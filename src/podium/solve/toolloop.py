"""One attempt at one problem: the tool loop of `podium.answering`, and on top events, answers, nudges, repetition.

The module does not know which engine answers, how the code is isolated, who else is attempting the problem or how much
time is left: whoever cancels the task knows that. Completion and session are freed at whatever moment that happens,
and what was written until then remains to be read with `record`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace

from podium.answering.code_session import CodeSandbox
from podium.answering.protocol import Completer, CompletionUsage, Piece, Sampling
from podium.answering.toolloop import ToolLoop, ToolResponse
from podium.boxes import last_box
from podium.errors import PromptTooLong
from podium.grading import find_answer
from podium.grading.rules import rules_of
from podium.records import Attempt, Event, Maker, Message, Part, Problem, StopReason, Usage
from podium.solve.confidence import Confidence
from podium.solve.profile import Profile
from podium.solve.repetition import RepetitionWatch
from podium.toolcode import OPEN_TAG

Sink = Callable[[int, Event], None]
"""A function that is called with the attempt's index and each of its events, as they happen."""

# As in podium.boxes: a box opens, an escaped character is skipped, a brace opens or closes.
_BRACES = re.compile(r"(?P<box>\\f?boxed\s*\{)|\\.|[{}]", re.DOTALL)
_UNSETTLED = re.compile(r"\\+[a-z]*\s*\Z")  # what more text may still turn into another token


class AnswerWatch:
    """It notices when a box is closed in text that grows, and looks at every character once."""

    def __init__(self) -> None:
        self.text = ""
        self.answer: str | None = None  # content of the latest outermost box that was closed
        self._looked = 0
        self._open: list[int] = []  # open braces: where the box starts, -1 for a brace that is not a box

    def push(self, text: str) -> bool:
        """Append text. True means that it closes a box whose answer differs from the last one."""
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
        """The length of the text whose tokens no further text can change."""
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
        sandbox: CodeSandbox | None,
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
        self._with_code = sandbox is not None and profile.code_calls > 0
        self._loop = ToolLoop(completer, sandbox, profile.code_limits, seed=seed)
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
        self._usage = Usage()
        self._spent = CompletionUsage()
        self._started = 0.0
        self._ended = 0.0
        self._tier = ""
        self._nudge = ""  # a nudge that the model has not been given yet
        self._nudging = False  # the model was nudged, and goes on since

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
            await self._loop.start(self.profile.messages(self.problem), self._sampling())
            reason = await self._write()
            while self._nudge and self.answer is None:
                await self._ask_again()
                reason = await self._write()
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
        if self._nudging or self._ended or not self._loop.writing:
            return
        self._nudge = text
        await self._loop.interrupt()

    async def _ask_again(self) -> None:
        """Begin a completion that sees what was written so far, and the nudge after it."""
        text, self._nudge, self._nudging = self._nudge, "", True
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
        left = max(1, min(self.profile.nudge_tokens, self.profile.max_tokens - self._tokens))
        await self._loop.start(messages, replace(self._sampling(), max_tokens=left))

    def _sampling(self) -> Sampling:
        return self.profile.sampling(self.seed)

    async def _write(self) -> StopReason:
        async with aclosing(self._loop.write()) as steps:
            async for step in steps:
                if isinstance(step, ToolResponse):
                    self._record_response(step)
                    continue
                if self._take(step):
                    return "repetition"
                if self.profile.stop_at_answer and self._boxes_count and self._watch.answer is not None:
                    return "answer"
        ending = self._loop.ending
        assert ending is not None
        return "eos" if ending == "stop" else ending  # a profile has no stop strings: a server has named its own

    def _record_response(self, response: ToolResponse) -> None:
        """Record what the tool loop adds to the attempt in answer to a block of code."""
        result = response.result
        if result is not None:
            self._tier = result.tier
            self._usage = self._usage.model_copy(
                update={
                    "code_calls": self._usage.code_calls + 1,
                    "code_timeouts": self._usage.code_timeouts + (result.status == "timeout"),
                    "code_seconds": self._usage.code_seconds + result.wall_seconds,
                }
            )
        seconds = "" if result is None else f" {result.wall_seconds:.3f} s"
        self._event("code", detail=response.status + seconds)
        self._close_stretch()
        self._repetition.restart()
        self._parts.append(Part(role="tool", text=response.text))

    def _take(self, piece: Piece) -> bool:
        """Record a piece of the model. True means that the attempt repeats itself and is to end."""
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
        """The part of the stretch that lies outside code and that the answer watch has not seen yet."""
        opened = -1
        if self._with_code:
            opened = self._stretch.find(OPEN_TAG, max(0, self._scanned - len(OPEN_TAG)))
        end = opened if opened >= 0 else len(self._stretch)
        new, self._scanned = self._stretch[self._scanned : end], max(self._scanned, end)
        return new

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
        try:
            await self._loop.close()
            self._spent = self._loop.usage
        finally:
            self._ended = self._elapsed()

    def record(self, reason: StopReason) -> Attempt:
        """The attempt as a row: whole after `run`, or what exists of one that was cut off."""
        parts = [*self._parts, *([Part(role="model", text=self._stretch)] if self._stretch else [])]
        events = list(self._events)
        if events and events[-1].kind != "end":
            events.append(Event(time=self._ended, kind="end", tokens=self._tokens, answer=self.answer, detail=reason))
        sampling = self._sampling()
        return Attempt(
            id=f"{self.problem.id}#{self.index}",
            problem_id=self.problem.id,
            style="tir" if self._with_code else "cot",
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
    """The penalties that are on. A row of a sampling without penalties does not name any."""
    told = {
        "repetition_penalty": sampling.repetition_penalty,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
    }
    return {name: value for name, value in told.items() if value != getattr(Sampling(), name)}


async def attempt(
    problem: Problem,
    completer: Completer,
    sandbox: CodeSandbox | None,
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
