"""Answers from any server that speaks the OpenAI HTTP API (vLLM, SGLang, llama.cpp, TensorRT-LLM, hosted ones).

Knows HTTP and text; holds no model. Stop strings and repetition are watched for here and not by the server: servers
leave out the stop string or do not say which one fired, and this way all behave alike; closing the stream ends the
computation there. A continuation sends the whole context again; servers with a prefix cache compute only what is new.
"""

from __future__ import annotations

import asyncio
import datetime
import email.utils
import json
import math
import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from podium.answering.logprobs import Told, read_logprobs
from podium.answering.protocol import Completer, CompletionUsage, Finish, Piece, Prompt, Sampling
from podium.answering.reach import KEY_CURE, ROOT_CURE, api_root, error_message, unreachable
from podium.answering.stopping import StopWatch
from podium.errors import CompleterError, InputError, PromptTooLong, nearest
from podium.records import Message

if TYPE_CHECKING:
    from podium.text import Tokenizer

LEAST_WAIT = 0.1  # seconds before a refused request is sent again, however soon the server wants it

# Sent because they help, left out for servers that refuse them by name.
_OPTIONAL = ("stream_options", "skip_special_tokens", "return_token_ids", "logprobs", "top_logprobs")

# How servers say that prompt and max_tokens do not fit their context (the second: vLLM, max_tokens alone).
_TOO_LONG = ("maximum context length", "cannot be greater than max_model_len", "context_length_exceeded")

# Sent only where they do something: not every server knows them.
_WHERE_SET = {
    "top_k": 0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "ignore_eos": False,
    "stop_token_ids": (),
}


class OpenAICompleter(Completer):
    """Answers with a server.

    Chats go to /v1/chat/completions. With `tokenizer` (the model's folder, or a Tokenizer) they are rendered here and
    go as token ids to /v1/completions, so that nothing in them can become a special token; text and ids go there
    anyway. After `extend`, a chat without a tokenizer is continued with `continue_final_message`, which vLLM and
    SGLang know and others refuse.

    Args:
        url: with or without the ending /v1.
        model: as the server names it.
        connect_timeout, first_timeout, between_timeout: seconds to the connection, to the first token (the server's
            queue included) and from one to the next, before a request counts as dead.
        concurrent: requests under way at once; more wait here, in order of arrival.
        retries: how often a request that was refused (no connection, 429, 5xx) is sent again, after about 0.5, 1,
            2 … seconds. A server that says when to come again (Retry-After) is obeyed and may say so as often as it
            likes, for `first_timeout` seconds in all. An answer that broke off half-way is not asked for again: it
            would be another answer.
    """

    def __init__(
        self,
        url: str,
        *,
        model: str,
        tokenizer: Tokenizer | Path | str | None = None,
        api_key: str | None = None,
        connect_timeout: float = 10.0,
        first_timeout: float = 600.0,
        between_timeout: float = 120.0,
        concurrent: int = 512,
        retries: int = 4,
    ) -> None:
        if concurrent < 1:
            raise InputError(f"concurrent is {concurrent}", "at least one request must be allowed")
        self.url = api_root(url)
        self.name = model
        if isinstance(tokenizer, str | Path):
            from podium.text import Tokenizer

            tokenizer = Tokenizer.load(tokenizer)
        self._tokenizer = tokenizer
        self.retries = retries
        self.refused: set[str] = set()  # optional fields this server does not take
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._timeout = httpx.Timeout(None, connect=connect_timeout)
        self._first_timeout = first_timeout
        self._between_timeout = between_timeout
        self._concurrent = concurrent
        self._places: tuple[asyncio.AbstractEventLoop, asyncio.Semaphore] | None = None
        self._client: tuple[asyncio.AbstractEventLoop, httpx.AsyncClient] | None = None

    @property
    def tokenizer(self) -> Tokenizer | None:
        return self._tokenizer

    def client(self) -> httpx.AsyncClient:
        """The connections of the running event loop; they cannot be carried over to another one."""
        loop = asyncio.get_running_loop()
        if self._client is None or self._client[0] is not loop:
            limits = httpx.Limits(max_connections=None)
            self._client = (loop, httpx.AsyncClient(headers=self._headers, limits=limits, timeout=self._timeout))
        return self._client[1]

    def places(self) -> asyncio.Semaphore:
        """What a request holds while it is under way, in the running event loop."""
        loop = asyncio.get_running_loop()
        if self._places is None or self._places[0] is not loop:
            self._places = (loop, asyncio.Semaphore(self._concurrent))
        return self._places[1]

    async def start(self, prompt: Prompt, sampling: Sampling) -> OpenAICompletion:
        """Send the request; what is wrong with it or with the server is raised where the pieces are read."""
        return OpenAICompletion(self, prompt, sampling)

    async def close(self) -> None:
        if self._client is not None and self._client[0] is asyncio.get_running_loop():
            await self._client[1].aclose()
        self._client = None

    async def events(self, path: str, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """The JSON objects of a streamed answer.

        Raises:
            PromptTooLong: the prompt alone fills the context, as the server says.
            CompleterError: no server, a refusal that sending again does not mend, or a stream that broke off.
        """
        attempt, patience = 0, self._first_timeout
        while True:
            delay = 0.5 * 2**attempt * random.uniform(0.75, 1.25)
            sent = {key: value for key, value in body.items() if key not in self.refused}
            begun = False
            try:
                async with self.places(), self._response(path, sent) as response:
                    if response.status_code == 200:
                        async for event in self._in_time(_server_sent(response)):
                            begun = True
                            yield event
                        return
                    text = (await response.aread()).decode(errors="replace")
                    if response.status_code in (400, 422):
                        named = [field for field in _OPTIONAL if field in sent and field in text]
                        self.refused.update(named)
                        shorter = await self._fitting(body, text)
                        if named or shorter is not None:
                            body = shorter or body
                            continue
                    passing = response.status_code == 429 or response.status_code >= 500
                    asked = _retry_after(response) if passing else None
                    if asked is not None and asked > patience:
                        refusal = await self._refusal(response.status_code, text)
                        refusal.message += (
                            f"; it asks to come again in {asked:.0f} s, {patience:.0f} s are left to wait"
                        )
                        raise refusal
                    if asked is None and (not passing or attempt == self.retries):
                        raise await self._refusal(response.status_code, text)
            except httpx.HTTPError as error:
                if begun:
                    raise CompleterError(
                        f"{self.url}: the answer broke off ({error!r})", "see whether the server is still running"
                    ) from error
                if attempt == self.retries:
                    said, cure = await asyncio.to_thread(unreachable, self.url, error)
                    raise CompleterError(f"{self.url}: no answer: {said}", cure) from error
                asked = None
            if asked is None:
                attempt += 1
            else:
                # Those who were refused together are not to come again together, nor at once.
                delay = max(asked, LEAST_WAIT) * random.uniform(1.0, 1.1)
                patience -= delay
            await asyncio.sleep(delay)

    @asynccontextmanager
    async def _response(self, path: str, body: dict[str, Any]) -> AsyncIterator[httpx.Response]:
        """The head of the answer; it counts towards the time to the first token, as servers send both together."""
        request = self.client().build_request("POST", f"{self.url}{path}", json=body)
        try:
            async with asyncio.timeout(self._first_timeout):
                response = await self.client().send(request, stream=True)
        except TimeoutError:
            raise self._too_slow("to the first token", self._first_timeout) from None
        try:
            yield response
        finally:
            await response.aclose()

    async def _in_time(self, events: AsyncIterator[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
        limit, stretch = self._first_timeout, "to the first token"
        while True:
            try:
                async with asyncio.timeout(limit):
                    event = await anext(events, None)
            except TimeoutError:
                raise self._too_slow(stretch, limit) from None
            if event is None:
                return
            yield event
            limit, stretch = self._between_timeout, "from one token to the next"

    def _too_slow(self, stretch: str, limit: float) -> CompleterError:
        # Not sent again: a server that is too slow is not helped by being asked twice.
        return CompleterError(f"{self.url}: more than {limit:g} s {stretch}", "ask for less at once, or wait longer")

    async def _fitting(self, body: dict[str, Any], refusal: str) -> dict[str, Any] | None:
        """The request with no more max_tokens than the server's context leaves, if that is why it was refused.

        Raises:
            PromptTooLong: the prompt alone fills the context.
        """
        if not any(words in refusal for words in _TOO_LONG) or "max_tokens" not in body:
            return None
        prompt = body.get("prompt")
        context = (await self._models() or {}).get(self.name)
        if isinstance(prompt, list) and context is not None:
            if len(prompt) >= context:
                raise PromptTooLong(f"the prompt has {len(prompt)} tokens, the context {context}", "shorten it")
            return {**body, "max_tokens": context - len(prompt)}
        # A chat without a limit may fill the context; a completion of text would end after a few tokens.
        return {key: value for key, value in body.items() if key != "max_tokens"} if "messages" in body else None

    async def _refusal(self, status: int, text: str) -> CompleterError:
        said = error_message(text)
        if status in (400, 422) and any(words in text for words in _TOO_LONG):
            return PromptTooLong(f"{self.url}: {said}", "shorten the prompt")
        if status in (401, 403):
            return CompleterError(f"{self.url}: not allowed ({status}: {said})", KEY_CURE)
        models = await self._models() if status in (400, 404) else None
        if models and self.name not in models:
            return CompleterError(f"{self.url}: no model {self.name!r}", nearest(self.name, models))
        if status == 404 and models is None:
            return CompleterError(f"{self.url}: not an OpenAI API (404)", ROOT_CURE)
        return CompleterError(f"{self.url}: {status}: {said}", "change the request, or look into the server's log")

    async def _models(self) -> dict[str, int | None] | None:
        """Names of the models there and their contexts, where told; None when the server has no such list."""
        try:
            response = await self.client().get(f"{self.url}/models")
            return {str(entry["id"]): entry.get("max_model_len") for entry in response.json()["data"]}
        except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError):
            return None


class OpenAICompletion:
    """One answer, read from the server by a task of its own, so that it can be given up at any moment."""

    def __init__(self, completer: OpenAICompleter, prompt: Prompt, sampling: Sampling) -> None:
        self._completer = completer
        self._sampling = sampling
        self._watch = StopWatch(sampling)
        self._usage = CompletionUsage()
        self._finish: Finish | None = None
        self._pieces: asyncio.Queue[Piece | CompleterError] = asyncio.Queue()
        self._written = ""  # text so far, the model's and what was appended
        self._chat: list[Message] | None = None
        self._context: str | list[int] = ""
        tokenizer = completer.tokenizer
        if isinstance(prompt, str):
            self._context = prompt
        elif all(isinstance(part, int) for part in prompt):
            self._context = [part for part in prompt if isinstance(part, int)]
        else:
            messages = [part for part in prompt if not isinstance(part, int)]
            if tokenizer is None:
                self._chat = messages
            else:
                self._context = tokenizer.render(messages)
        if isinstance(self._context, list):
            self._usage.prompt_tokens = len(self._context)
        self._reader = asyncio.create_task(self._read())

    async def __aiter__(self) -> AsyncIterator[Piece]:
        while self._finish is None:
            piece = await self._pieces.get()
            if isinstance(piece, CompleterError):
                self._finish = "cancelled"
                raise piece
            self._finish = piece.finish
            yield piece

    async def extend(self, text: str) -> None:
        if self._finish != "stop":
            raise CompleterError(
                f"a completion that is {self._finish or 'still running'} cannot be extended",
                "extend after a piece whose finish is 'stop'",
            )
        self._finish = None
        self._written += text
        tokenizer = self._completer.tokenizer
        if isinstance(self._context, list):
            if tokenizer is None:
                raise CompleterError("a prompt of token ids cannot be continued with text", "give a tokenizer")
            tokens = tokenizer.encode(text)
            self._context += tokens
            self._usage.appended_tokens += len(tokens)
        else:
            self._context += text
            self._usage.appended_tokens += 0 if tokenizer is None else len(tokenizer.encode(text))
        self._watch.restart()
        self._reader = asyncio.create_task(self._read())

    async def cancel(self) -> CompletionUsage:
        if not self._reader.done():
            self._reader.cancel()
            await asyncio.wait([self._reader])
            self._pieces.put_nowait(Piece("", finish="cancelled"))
        if self._finish == "stop":
            self._finish = "cancelled"
        return self._usage

    async def _read(self) -> None:
        try:
            await self._stretch()
        except CompleterError as error:
            self._pieces.put_nowait(error)
        except Exception as error:
            # The reader waits on the queue: whatever happened must reach it there.
            failure = CompleterError(f"{self._completer.url}: {error!r}", "report this with the server's name")
            failure.__cause__ = error
            self._pieces.put_nowait(failure)

    async def _stretch(self) -> None:
        """One request, up to its finish."""
        left = self._sampling.max_tokens - self._usage.completion_tokens
        if left <= 0:
            self._pieces.put_nowait(Piece("", finish="length"))
            return
        path, body = self._request(left)
        text = ""
        drawn: list[int] = []  # token ids, of servers that tell them
        pieces = 0
        reported: int | None = None
        ending: Piece | None = None
        events = self._completer.events(path, body)
        try:
            async for event in events:
                _check_event(event, self._completer.url)
                usage = event.get("usage")
                if usage:
                    reported = int(usage.get("completion_tokens") or 0)
                    self._usage.prompt_tokens = self._usage.prompt_tokens or int(usage.get("prompt_tokens") or 0)
                for choice in event.get("choices") or ():
                    new = choice.get("text") or (choice.get("delta") or {}).get("content") or ""
                    pieces += bool(new)
                    ids = tuple(choice.get("token_ids") or ())
                    drawn += ids
                    stopped = self._watch.push(new, self._usage.completion_tokens + (len(drawn) or pieces))
                    new = new[: len(new) - stopped.overhang] if stopped is not None else new
                    text += new
                    told = read_logprobs(choice.get("logprobs"))
                    if stopped is not None:
                        ending = Piece(
                            new, ids, told.chosen, stopped.finish, stopped.stop,
                            top_logprobs=told.top, top_texts=told.texts,
                        )  # fmt: skip
                        break
                    if choice.get("finish_reason"):
                        _check_finish(choice["finish_reason"], self._completer.url)
                        ending = self._ending(new, ids, told, choice["finish_reason"], choice.get("stop_reason"))
                    elif new or ids:
                        self._pieces.put_nowait(
                            Piece(new, ids, told.chosen, top_logprobs=told.top, top_texts=told.texts)
                        )
                if ending is not None and (ending.stop is not None or ending.finish == "repetition"):
                    break
        except CompleterError:
            if ending is None:  # else the answer is whole, and only the usage behind it is missing
                raise
        finally:
            await events.aclose()
            self._account(text, drawn, pieces, reported)
        if ending is None:
            raise CompleterError(
                f"{self._completer.url}: the answer broke off without a finish", "see whether the server still runs"
            )
        self._pieces.put_nowait(ending)

    def _ending(self, text: str, ids: tuple[int, ...], told: Told, reason: str, cause: object) -> Piece:
        """The last piece, as the server ended it: never at a stop string, since it knows of none."""
        if isinstance(cause, int) and cause in self._sampling.stop_token_ids:
            return Piece(
                text, ids, told.chosen, finish="stop", stop_token=cause, top_logprobs=told.top, top_texts=told.texts
            )
        finish = "length" if reason == "length" else "eos"
        return Piece(text, ids, told.chosen, finish=finish, top_logprobs=told.top, top_texts=told.texts)

    def _request(self, left: int) -> tuple[str, dict[str, Any]]:
        sampling = self._sampling
        body: dict[str, Any] = {
            "model": self._completer.name,
            "max_tokens": left,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.seed,
            "stream": True,
            "stream_options": {"include_usage": True},
            # Tool-call tags are special tokens in some tokenizers and must be seen.
            "skip_special_tokens": False,
        }
        for field, off in _WHERE_SET.items():
            value = getattr(sampling, field)
            if value != off:
                body[field] = value
        written = self._usage.completion_tokens
        if sampling.min_tokens > written:
            body["min_tokens"] = sampling.min_tokens - written
        if isinstance(self._context, list):
            # Text alone does not say which tokens it was written with; with them a continuation is exact.
            body["return_token_ids"] = True
        if self._chat is None:
            if sampling.top_logprobs:
                body["logprobs"] = sampling.top_logprobs
            return "/completions", {**body, "prompt": self._context}
        if sampling.top_logprobs:
            body |= {"logprobs": True, "top_logprobs": sampling.top_logprobs}
        messages = [{"role": message.role, "content": message.content} for message in self._chat]
        if self._written:
            messages.append({"role": "assistant", "content": self._written})
            body |= {"continue_final_message": True, "add_generation_prompt": False}
        return "/chat/completions", {**body, "messages": messages}

    def _account(self, text: str, drawn: list[int], pieces: int, reported: int | None) -> None:
        """Add what the model wrote to the context and to the usage."""
        tokenizer = self._completer.tokenizer
        tokens = []
        if tokenizer is not None:
            tokens = _tokens_of(text, drawn, tokenizer, self._context) if drawn else tokenizer.encode_model(text)
        self._written += text
        if isinstance(self._context, list):
            self._context = self._context + tokens
        else:
            self._context += text
        # A stream that was closed at a stop string has no report; pieces are tokens with every server known.
        counted = len(tokens) if tokenizer is not None else pieces
        self._usage.completion_tokens += counted if reported is None else reported


def _tokens_of(text: str, drawn: list[int], tokenizer: Tokenizer, context: str | list[int]) -> list[int]:
    """The tokens drawn, up to the end of `text`; the one that goes on behind it becomes tokens of its first part."""
    decoder = tokenizer.stream(context if isinstance(context, list) else ())
    length = 0
    for place, token in enumerate(drawn):
        before, length = length, length + len(decoder.push((token,)))
        if length > len(text) or (length == len(text) and decoder.flush()):
            return drawn[:place] + tokenizer.encode_model(text[before:])
        if length == len(text):
            return drawn[: place + 1]
    return drawn


def _check_event(event: dict[str, Any], url: str) -> None:
    """Raises CompleterError where an event of a stream says that there will be no answer."""
    # vLLM, OpenAI, Podium: {"error": {…}}; older servers and SGLang: {"object": "error", "message": …}.
    if event.get("error") or event.get("object") == "error":
        raise CompleterError(f"{url}: the answer broke off: {error_message(json.dumps(event))}", "see the server's log")


def _check_finish(reason: str, url: str) -> None:
    """Raises CompleterError for the reasons of a server that ended an answer before the model did."""
    if reason in ("abort", "error", "cancelled"):
        raise CompleterError(
            f"{url}: the answer broke off, the server ended it ({reason})", "see whether the server still runs"
        )


async def _server_sent(response: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    """`data:` lines of a server-sent event stream, up to [DONE].

    Raises:
        CompleterError: something that is no event, or an event that is called an error.
    """
    named = ""
    async for line in response.aiter_lines():
        if not line.strip():
            named = ""
        if line.startswith("event:"):
            named = line[6:].strip()
        if line.startswith("error:"):  # llama.cpp
            _check_event({"error": line[6:].strip()}, str(response.url))
        if not line.startswith("data:"):
            if line.strip() and not line.startswith((":", "event:", "id:", "retry:")):
                said = f": {error_message(line)}" if line.startswith("{") else f": {line[:80]!r}"
                raise CompleterError(f"{response.url}: not a stream of events{said}", ROOT_CURE)
            continue
        data = line[5:].strip()
        if data == "[DONE]":
            return
        try:
            event = json.loads(data)
        except ValueError as error:
            raise CompleterError(
                f"{response.url}: an event is not JSON: {data[:80]!r}", "see the server's log"
            ) from error
        if named == "error":
            _check_event({"error": event}, str(response.url))
        if isinstance(event, dict):
            yield event


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds after which the server asks to come again, as a number or a date; None where it says nothing of use."""
    milliseconds = response.headers.get("retry-after-ms", "")
    said = response.headers.get("retry-after", "").strip()
    try:
        seconds = float(milliseconds) / 1000 if milliseconds else float(said)
    except ValueError:
        try:
            then = email.utils.parsedate_to_datetime(said)
            now = datetime.datetime.now(then.tzinfo or datetime.UTC)
            seconds = (then.replace(tzinfo=then.tzinfo or datetime.UTC) - now).total_seconds()
        except (ValueError, TypeError, OverflowError):
            return None
        seconds = max(0.0, seconds)
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
