"""What is wrong with a server, within ten seconds: is it up, does it know the model, does it stream, keep to a seed,
answer quickly, and take as long a prompt as an exam needs.

Asks over plain HTTP and times the answers itself; never sends again, waits for nothing longer than the whole checkup
may take. Every finding says what was seen and, where it is bad, what to do.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx
from pydantic import BaseModel, ConfigDict

from podium.answering.reach import KEY_CURE, api_root, error_message, model_names, no_models, unreachable
from podium.errors import InputError, nearest

LIMIT = 9.5  # seconds for everything
FIRST_TOKEN = 3.0  # seconds after which a first token is slow
LONG_TOKENS = 160  # of the answer that is streamed
LONG_LETTERS, LONG_WORDS = 60, 5  # an answer of so many is several pieces where it is streamed
ENOUGH_PIECES = 32  # after which the rest of the answer is not waited for …
ENOUGH_SECONDS = 0.5  # … unless they came within so short a time
LOG_CURE = "look into the server's log"
Judgement = Literal["good", "poor", "bad", "unknown"]


class Finding(BaseModel):
    """`bad`: an exam cannot be sat; `poor`: it can, worse than it should; `unknown`: there was no time or no way."""

    model_config = ConfigDict(frozen=True)

    name: str
    verdict: Judgement
    said: str
    cure: str = ""


class Checkup(BaseModel):
    """All findings about one server."""

    model_config = ConfigDict(frozen=True)

    url: str
    model: str | None
    findings: tuple[Finding, ...]
    seconds: float

    @property
    def fit(self) -> bool:
        """Nothing stands in the way of an exam."""
        return all(finding.verdict != "bad" for finding in self.findings)


async def check_server(url: str, *, context: int = 8192, limit: float = LIMIT, api_key: str | None = None) -> Checkup:
    """Check `http(s)://host:port[/v1][#MODEL]`. Raises nothing: what goes wrong is a finding.

    Args:
        context: tokens that prompt and answer of an exam will need together.
        limit: seconds for the whole checkup.
    """
    address, _, model = url.partition("#")
    begun = time.monotonic()
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    async with httpx.AsyncClient(headers=headers, timeout=httpx.Timeout(limit, connect=3.0)) as client:
        checking = _Checking(client, address, model or None, context, begun + limit)
        await checking.run()
    findings = tuple(checking.findings)
    return Checkup(url=address, model=checking.model, findings=findings, seconds=time.monotonic() - begun)


@dataclass(slots=True)
class _Seen:
    """What a streamed answer brought."""

    kind: str = ""  # of content
    lines: int = 0
    first: float = 0.0  # seconds to the first line
    arrivals: list[float] = field(default_factory=list)  # seconds to each piece of text
    letters: int = 0
    words: int = 0
    trouble: str = ""


class _Checking:
    def __init__(
        self, client: httpx.AsyncClient, address: str, model: str | None, context: int, deadline: float
    ) -> None:
        self.client = client
        self.base = address
        self.model = model
        self.context = context
        self.deadline = deadline
        self.findings: list[Finding] = []
        self.told_context: int | None = None

    def note(self, name: str, verdict: Judgement, said: str, cure: str = "") -> None:
        self.findings.append(Finding(name=name, verdict=verdict, said=said, cure=cure))

    async def run(self) -> None:
        try:
            self.base = api_root(self.base)
        except InputError as error:
            self.note("server", "bad", error.message, error.cure)
            return
        for name, step in (
            ("server", self._server),
            ("streaming", self._streaming),
            ("seed", self._seed),
            ("context", self._context),
        ):
            if not await self._in_time(name, step):
                return

    async def _in_time(self, name: str, step: Callable[[], Awaitable[bool]]) -> bool:
        left = self.deadline - time.monotonic()
        if left <= 0.05:
            self.note(name, "unknown", "no time was left to look")
            return True
        try:
            async with asyncio.timeout(left):
                return await step()
        except TimeoutError:
            verdict: Judgement = "bad" if name in ("server", "streaming") else "unknown"
            self.note(
                "first token" if name == "streaming" else name,
                verdict,
                f"no answer within {left:.1f} s",
                "the server is loading, overloaded or stuck: look into its log, and wait until it says it is ready",
            )
        except httpx.HTTPError as error:
            self.note(name, "bad", f"the connection broke off ({type(error).__name__})", "look into the server's log")
        return False

    async def _server(self) -> bool:
        try:
            response = await self.client.get(f"{self.base}/models")
        except httpx.HTTPError as error:
            said, cure = await asyncio.to_thread(unreachable, self.base, error)
            self.note("server", "bad", f"{self.base}: {said}", cure)
            return False
        names = model_names(response)
        if names is None:
            said, cure = no_models(self.base, response)
            self.note("server", "bad", f"{self.base}: {said}", cure)
            return False
        self.note("server", "good", f"up, serves {', '.join(names) or 'no model'}")
        if self.model is None and len(names) == 1:
            self.model = next(iter(names))
        if self.model is None:
            self.note("model", "bad", f"which of {', '.join(names) or 'none'}?", "write URL#NAME")
            return False
        if self.model not in names:
            self.note("model", "bad", f"no model is called {self.model!r} there", nearest(self.model, names))
            return False
        self.note("model", "good", self.model)
        self.told_context = names[self.model]
        return True

    def _body(self, **more: Any) -> dict[str, Any]:
        return {"model": self.model, "temperature": 1.0, "max_tokens": 16, **more}

    async def _streaming(self) -> bool:
        """Ask for an answer that is long enough for its pieces to be told apart, and read as much as that takes."""
        question = "Count from 1 to 200 in words, one number per line, without leaving any out."
        body = self._body(messages=[{"role": "user", "content": question}], stream=True, max_tokens=LONG_TOKENS)
        seen = await self._stream({**body, "min_tokens": LONG_TOKENS // 2})
        if isinstance(seen, tuple) and seen[0] in (400, 422):  # not every server knows min_tokens
            seen = await self._stream(body)
        if isinstance(seen, tuple):
            self.note("chat", "bad", f"{seen[0]}: {seen[1]}", KEY_CURE if seen[0] in (401, 403) else LOG_CURE)
            return False
        if seen.trouble:
            self.note("chat", "bad", seen.trouble, LOG_CURE)
            return False
        self.note("chat", "good", "answers /v1/chat/completions")
        if "text/event-stream" not in seen.kind or not seen.lines:
            self.note(
                "streaming", "bad", f"asked for a stream, got {seen.kind or 'nothing'}",
                "turn streaming on: without it no attempt can be stopped early, and no answer is seen before its end",
            )  # fmt: skip
            return False
        self._judge_pieces(seen)
        if seen.first > FIRST_TOKEN:
            self.note(
                "first token", "poor", f"after {seen.first:.1f} s",
                "it is still warming up, or others are asking: ask again; then fewer sequences, a shorter context",
            )  # fmt: skip
        else:
            self.note("first token", "good", f"after {seen.first:.2f} s")
        return True

    def _judge_pieces(self, seen: _Seen) -> None:
        count, cure = len(seen.arrivals), "turn off buffering (proxies do it)"
        spread = seen.arrivals[-1] - seen.arrivals[0] if count else 0.0
        long = seen.letters >= LONG_LETTERS or seen.words >= LONG_WORDS
        if count == 1 and long:
            self.note("streaming", "poor", "the whole answer came in one piece", cure)
        elif count <= 1:
            self.note(
                "streaming", "unknown", f"the answer was too short to tell ({seen.letters} letters)",
                "a model that answers hardly anything to a chat may need another prompt, or has no chat template",
            )  # fmt: skip
        elif long and seen.arrivals[0] > 0.5 and spread < 0.02 * seen.arrivals[0]:
            self.note("streaming", "poor", f"{count} pieces, all of them at the end of {seen.arrivals[-1]:.1f} s", cure)
        else:
            self.note("streaming", "good", f"{count} pieces, {count / max(seen.arrivals[-1], 1e-6):.0f} a second")

    async def _stream(self, body: dict[str, Any]) -> _Seen | tuple[int, str]:
        """What a stream brings until enough was seen, or (status, reason) of a refusal."""
        begun = time.monotonic()
        seen = _Seen()
        async with self.client.stream("POST", f"{self.base}/chat/completions", json=body) as response:
            if response.status_code != 200:
                said = (await response.aread()).decode(errors="replace")
                return response.status_code, error_message(said)[:200]
            seen.kind = response.headers.get("content-type", "")
            async for line in response.aiter_lines():
                if not line.strip():
                    continue
                seen.lines += 1
                now = time.monotonic() - begun
                seen.first = seen.first or now
                if not line.startswith("data:"):
                    continue
                new = _new_text(line[5:])
                if new:
                    seen.arrivals.append(now)
                    seen.letters += len(new)
                    seen.words += len(new.split())
                seen.trouble = seen.trouble or _trouble(line[5:])
                if len(seen.arrivals) >= ENOUGH_PIECES and now - seen.arrivals[0] > ENOUGH_SECONDS:
                    break
        return seen

    async def _seed(self) -> bool:
        body = self._body(messages=[{"role": "user", "content": "Write some random letters."}])

        async def ask(seed: int) -> str | None:
            response = await self.client.post(f"{self.base}/chat/completions", json={**body, "seed": seed})
            if response.status_code != 200:
                return None
            return _text(response.json())

        same, again, other = await asyncio.gather(ask(1), ask(1), ask(2))
        if None in (same, again, other):
            self.note("seed", "poor", "a request with a seed is refused", "leave it out there; runs will not repeat")
        elif same != again:
            self.note(
                "seed", "poor", "the same seed wrote two different answers",
                "runs will not repeat exactly; batching makes many servers vary, vLLM keeps to seeds with one sequence",
            )  # fmt: skip
        elif same == other:
            self.note(
                "seed", "poor", "two seeds wrote the same answer at temperature 1",
                "the seed or the temperature is ignored: n attempts may all be alike and a vote of them worth nothing",
            )  # fmt: skip
        else:
            self.note("seed", "good", "repeats an answer, and two seeds differ")
        return True

    async def _context(self) -> bool:
        told = self.told_context
        if told is not None:
            if told < self.context:
                self._too_short(f"{told} tokens (it says)")
            else:
                self.note("context", "good", f"{told} tokens (it says)")
            return True
        # Not told: a prompt of that length is tried, one word being one token at least.
        words = " ".join(["one"] * max(1, self.context - 64))
        body = self._body(messages=[{"role": "user", "content": words}], max_tokens=1)
        response = await self.client.post(f"{self.base}/chat/completions", json=body)
        if response.status_code == 200:
            self.note("context", "good", f"takes a prompt of {self.context} tokens")
        elif response.status_code in (400, 413, 422):
            self._too_short(f"a prompt of about {self.context} tokens is refused: {error_message(response.text)[:120]}")
        else:
            self.note("context", "unknown", f"{response.status_code}: {error_message(response.text)[:120]}")
        return True

    def _too_short(self, said: str) -> None:
        self.note(
            "context", "bad", f"{said}; {self.context} are needed",
            "start the server with a longer one (vllm: --max-model-len), or ask for fewer tokens (--max-tokens)",
        )  # fmt: skip


def _new_text(data: str) -> str:
    """The text that an event of a stream adds, thinking included."""
    try:
        delta = json.loads(data)["choices"][0].get("delta") or {}
        return str(delta.get("content") or delta.get("reasoning_content") or delta.get("reasoning") or "")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return ""


def _trouble(data: str) -> str:
    """What an event of a stream says went wrong; empty for all others."""
    try:
        event = json.loads(data)
    except ValueError:
        return ""
    broken = isinstance(event, dict) and (event.get("error") or event.get("object") == "error")
    return f"the stream broke off: {error_message(data)[:200]}" if broken else ""


def _text(answer: Any) -> str:
    try:
        message = answer["choices"][0]["message"]
        return str(message.get("reasoning_content") or "") + str(message.get("content") or "")
    except (KeyError, IndexError, TypeError, AttributeError):
        return ""
