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
from typing import Any, Literal

import httpx
from pydantic import BaseModel, ConfigDict

from podium.errors import nearest

LIMIT = 9.5  # seconds for everything
FIRST_TOKEN = 3.0  # seconds after which a first token is slow
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


class _Checking:
    def __init__(
        self, client: httpx.AsyncClient, address: str, model: str | None, context: int, deadline: float
    ) -> None:
        self.client = client
        root = address.rstrip("/")
        self.base = root if root.endswith("/v1") else f"{root}/v1"
        self.model = model
        self.context = context
        self.deadline = deadline
        self.findings: list[Finding] = []
        self.told_context: int | None = None

    def note(self, name: str, verdict: Judgement, said: str, cure: str = "") -> None:
        self.findings.append(Finding(name=name, verdict=verdict, said=said, cure=cure))

    async def run(self) -> None:
        if not self.base.startswith(("http://", "https://")):
            self.note("server", "bad", f"{self.base} is no address", "write it like http://localhost:8000/v1")
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
        except (httpx.ConnectError, httpx.ConnectTimeout):
            self.note(
                "server", "bad", f"nothing listens at {self.base}",
                "start it (vllm serve …, podium serve …), wait until it has loaded, check host and port",
            )  # fmt: skip
            return False
        if response.status_code in (401, 403):
            self.note("server", "bad", f"not allowed ({response.status_code})", "give the API key it wants")
            return False
        names = _models(response)
        if names is None:
            self.note(
                "server", "bad", f"{self.base}/models says {response.status_code}, and no list of models",
                "this is no OpenAI API: the address usually ends with /v1",
            )  # fmt: skip
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
        body = self._body(messages=[{"role": "user", "content": "Count from 1 to 20."}], stream=True, max_tokens=24)
        begun = time.monotonic()
        first, pieces, chunks, kind = 0.0, 0, 0, ""
        async with self.client.stream("POST", f"{self.base}/chat/completions", json=body) as response:
            if response.status_code != 200:
                said = (await response.aread()).decode(errors="replace")[:200]
                self.note("chat", "bad", f"{response.status_code}: {_message(said)}", "look into the server's log")
                return False
            kind = response.headers.get("content-type", "")
            async for line in response.aiter_lines():
                if line.strip() and not first:
                    first = time.monotonic() - begun
                chunks += 1
                pieces += line.startswith("data:") and _has_text(line[5:])
        whole = time.monotonic() - begun
        self.note("chat", "good", "answers /v1/chat/completions")
        if "text/event-stream" not in kind or not chunks:
            self.note(
                "streaming", "bad", f"asked for a stream, got {kind or 'nothing'}",
                "turn streaming on: without it no attempt can be stopped early, and no answer is seen before its end",
            )  # fmt: skip
            return False
        if pieces <= 1:
            self.note("streaming", "poor", "the whole answer came in one piece", "turn off buffering (proxies do it)")
        else:
            self.note("streaming", "good", f"{pieces} pieces, {pieces / max(whole, 1e-6):.0f} a second")
        if first > FIRST_TOKEN:
            self.note(
                "first token", "poor", f"after {first:.1f} s",
                "it is still warming up, or others are asking: ask again; then fewer sequences, a shorter context",
            )  # fmt: skip
        else:
            self.note("first token", "good", f"after {first:.2f} s")
        return True

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
            self._too_short(f"a prompt of about {self.context} tokens is refused: {_message(response.text)[:120]}")
        else:
            self.note("context", "unknown", f"{response.status_code}: {_message(response.text)[:120]}")
        return True

    def _too_short(self, said: str) -> None:
        self.note(
            "context", "bad", f"{said}; {self.context} are needed",
            "start the server with a longer one (vllm: --max-model-len), or ask for fewer tokens (--max-tokens)",
        )  # fmt: skip


def _models(response: httpx.Response) -> dict[str, int | None] | None:
    try:
        return {str(entry["id"]): entry.get("max_model_len") for entry in response.json()["data"]}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _has_text(data: str) -> bool:
    try:
        choice = json.loads(data)["choices"][0]
        delta = choice.get("delta") or {}
        return bool(delta.get("content") or delta.get("reasoning_content"))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return False


def _text(answer: Any) -> str:
    try:
        message = answer["choices"][0]["message"]
        return str(message.get("reasoning_content") or "") + str(message.get("content") or "")
    except (KeyError, IndexError, TypeError, AttributeError):
        return ""


def _message(text: str) -> str:
    try:
        said = json.loads(text)
        error = said.get("error", said) if isinstance(said, dict) else said
        return str(error.get("message", error) if isinstance(error, dict) else error)
    except ValueError:
        return " ".join(text.split())
