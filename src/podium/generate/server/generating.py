"""A generating endpoint: one call holds a request's places, its completions and a watch on its client to the end.

Whatever happens – an answer, a refusal, a client that goes away, an engine that dies, a shutdown – the completions are
cancelled and the places given back before the call returns, so that nothing can be left behind.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from podium.errors import CompleterError, InputError, PromptTooLong
from podium.generate.server import shapes
from podium.generate.server.choice import Choice, Increment, side_by_side
from podium.generate.server.forms import Form
from podium.generate.server.gate import AFTER_A_RESTART
from podium.generate.server.http import as_json, dump, read_body, refused
from podium.generate.server.refusal import DEFECT, Refusal
from podium.generate.server.served import Served

Outcome: TypeAlias = str
"""finished, refused, disconnected, aborted (by a shutdown) or failed."""

DONE = b"data: [DONE]\n\n"
_EVENTS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]


class Generating:
    """An ASGI application for one kind of request."""

    def __init__(self, served: Served, endpoint: str, form: Callable[[Served, bytes], Form[Any]]) -> None:
        self._served = served
        self._endpoint = endpoint
        self._form = form

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        outcome: Outcome = "failed"
        try:
            body = await read_body(Request(scope, receive), self._served.max_body)
            form = self._form(self._served, body)
            self._served.check_model(form.ask.model)
            outcome = await self._while_connected(Answer(self._served, form, send), receive)
        except Refusal as refusal:
            outcome = "failed" if refusal.status == 500 else "refused"
            await refused(refusal)(scope, receive, send)
        except ClientDisconnect:
            outcome = "disconnected"
        finally:
            self._served.metrics.requests.add(1, self._endpoint, outcome)

    async def _while_connected(self, answer: Answer, receive: Receive) -> Outcome:
        work = asyncio.create_task(answer.run())
        watch = asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait((work, watch), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                return "disconnected"
            return work.result()
        finally:
            watch.cancel()
            work.cancel()
            await asyncio.wait((work, watch))


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class Answer:
    """One request being answered."""

    def __init__(self, served: Served, form: Form[Any], send: Send) -> None:
        self._served = served
        self._form = form
        self._send = send
        self._came = time.monotonic()
        self._choices: list[Choice] = []
        self._prompts: list[list[int]] = []
        self._first: dict[int, float] = {}  # when each choice said something first
        self._held = 0  # places at the gate
        self._begun = False  # the head of the response is out

    async def run(self) -> Outcome:
        """Answer.

        Raises:
            Refusal: there is no answer, and nothing was sent yet.
        """
        served, form = self._served, self._form
        self._prompts = form.prompts()
        rooms = [form.room(prompt) for prompt in self._prompts]
        count = len(self._prompts) * (form.ask.n or 1)
        if served.broken is not None:
            headers = {"Retry-After": str(AFTER_A_RESTART)}
            raise Refusal(503, served.broken.message, code="engine_failed", headers=headers)
        served.gate.enter(count)
        self._held = count
        try:
            await self._start(rooms)
            return await (self._stream() if form.ask.stream else self._whole())
        except PromptTooLong as error:
            raise Refusal(400, error.message, param="prompt", code="context_length_exceeded") from error
        except InputError as error:
            raise Refusal(400, error.message, code="invalid_value") from error
        except CompleterError as error:
            refusal = Refusal(500, f"the engine failed: {error.message}", code="engine_failed")
            if not self._begun:
                raise refusal from error
            return await self._break_off(refusal)
        except Exception:
            if not self._begun:
                raise
            # A defect of ours. An OpenAI client takes a stream that is merely cut for one that has ended.
            await self._break_off(DEFECT)
            raise
        finally:
            await self._free()

    async def _break_off(self, refusal: Refusal) -> Outcome:
        """End a stream that has begun with an error event, as vLLM and OpenAI do."""
        await self._free()
        await self._body(b"data: " + dump(refusal.body()) + b"\n\n" + DONE, more=False)
        return "failed"

    async def _start(self, rooms: Sequence[int]) -> None:
        form, served = self._form, self._served
        for prompt, room in zip(self._prompts, rooms, strict=True):
            if form.wants_scores:
                await form.score(prompt)
            if not room:
                continue
            for sampling in form.ask.samplings(room, form.top_logprobs, served.defaults):
                completion = await served.completer.start(prompt, sampling)
                choice = Choice(completion, sampling.stop, bool(form.ask.include_stop_str_in_output))
                self._choices.append(choice)
                await served.gate.opened(choice)

    async def _free(self) -> None:
        """Give everything back; done before the last bytes go out, so that who has its answer finds the place free."""
        held, self._held = self._held, 0
        if not held:
            return
        gate, metrics = self._served.gate, self._served.metrics
        try:
            for choice in self._choices:
                await choice.cancel()
        finally:
            for choice in self._choices:
                gate.closed(choice)
            gate.leave(held)
            if self._choices:
                metrics.prompt_tokens.add(sum(map(len, self._prompts)))
            metrics.completion_tokens.add(sum(choice.usage.completion_tokens for choice in self._choices))

    def _prompt_of(self, index: int) -> list[int]:
        return self._prompts[index // (self._form.ask.n or 1)]

    def _saw(self, index: int, increment: Increment) -> None:
        """Keep the times."""
        now = time.monotonic()
        if index not in self._first and (increment.piece.tokens or increment.text):
            if not self._first:
                self._served.metrics.first_token.observe(now - self._came)
            self._first[index] = now
        written = self._choices[index].usage.completion_tokens
        if increment.finish is not None and written > 1:
            self._served.metrics.per_token.observe((now - self._first[index]) / (written - 1))

    async def _whole(self) -> Outcome:
        form = self._form
        total = len(self._prompts) * (form.ask.n or 1)
        said: list[list[Increment]] = [[] for _ in range(total)]
        async for index, increment in side_by_side(self._choices):
            self._saw(index, increment)
            said[index].append(increment)
        answer = {
            **self._head(form.object),
            "choices": [form.whole(index, self._prompt_of(index), said[index]) for index in range(total)],
            **shapes.ABSENT,
            **form.beside(self._prompts[0]),
            "usage": self._usage(),
        }
        response = as_json(answer)
        await self._free()
        await self._send({"type": "http.response.start", "status": 200, "headers": response.raw_headers})
        await self._send({"type": "http.response.body", "body": response.body})
        return self._outcome(increment.finish for increments in said for increment in increments)

    async def _stream(self) -> Outcome:
        form = self._form
        head = self._head(form.chunk)
        if form.ask.include_usage:
            head["usage"] = None
        written: dict[int, int] = {}  # tokens of each choice that has begun
        finishes = []
        async for index, increment in side_by_side(self._choices):
            self._saw(index, increment)
            prompt = self._prompt_of(index)
            events = []
            if index not in written:
                written[index] = 0
                opening = form.opening(index, prompt)
                if opening is not None:
                    events.append({**head, "choices": [opening], **form.beside(prompt), **self._so_far(prompt, 0)})
            written[index] += len(increment.piece.tokens)
            if increment.finish is not None or increment.text or form.tells_tokens:
                part = form.part(index, prompt, increment)
                events.append({**head, "choices": [part], **self._so_far(prompt, written[index])})
            finishes.append(increment.finish)
            if events:
                await self._body(b"".join([b"data: " + dump(event) + b"\n\n" for event in events]))
        last = DONE
        if form.ask.include_usage:
            last = b"data: " + dump({**head, "choices": [], "usage": self._usage()}) + b"\n\n" + last
        await self._free()
        await self._body(last, more=False)
        return self._outcome(finishes)

    def _outcome(self, finishes: Iterable[str | None]) -> Outcome:
        return "aborted" if "abort" in finishes else "finished"

    def _head(self, kind: str) -> dict[str, object]:
        return {
            "id": self._form.new_id(),
            "object": kind,
            "created": int(time.time()),
            "model": self._served.name,
        }

    def _usage(self) -> dict[str, object]:
        written = sum(choice.usage.completion_tokens for choice in self._choices)
        return shapes.usage(written, sum(map(len, self._prompts)))

    def _so_far(self, prompt: list[int], written: int) -> dict[str, object]:
        """The usage of one choice up to this event, where that is asked for."""
        return {"usage": shapes.usage(written, len(prompt))} if self._form.ask.continuous_usage else {}

    async def _body(self, data: bytes, more: bool = True) -> None:
        if not self._begun:
            self._begun = True
            await self._send({"type": "http.response.start", "status": 200, "headers": _EVENTS})
        await self._send({"type": "http.response.body", "body": data, "more_body": more})
