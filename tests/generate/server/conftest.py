"""A real server in a thread of this process, over whatever completer a test gives it."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import contextmanager

import httpx
import openai
import pytest

from podium.generate.server import Served, bind, create_app
from podium.generate.server.run import _Server


def wait_for(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Running:
    """A server at `url`; `call` runs a coroutine function's result on the server's own loop."""

    def __init__(self, served):
        import uvicorn

        self.served = served
        self.bound = bind("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.bound.getsockname()[1]}"
        self.loop = asyncio.new_event_loop()
        self.config = uvicorn.Config(create_app(served), lifespan="off", log_level="warning", access_log=False)
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self._serve())
        self.loop.close()

    async def _serve(self):
        self.server = _Server(self.config, self.served.gate, grace=2.0)
        await self.server.serve(sockets=[self.bound])

    def client(self, **options):
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", **{"max_retries": 0, "timeout": 60, **options})

    def post(self, path, body, **options):
        return httpx.post(f"{self.url}{path}", json=body, timeout=60, **options)

    def metric(self, name):
        lines = httpx.get(f"{self.url}/metrics").text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    def stop(self):
        self.server.should_exit = True
        self.thread.join(timeout=60)
        assert not self.thread.is_alive()


@contextmanager
def serving(completer, tokenizer, *, context=1024, rows=8, **limits):
    running = Running(Served(completer, "tiny", tokenizer, context, rows, **limits))
    running.thread.start()
    for _ in range(500):
        try:
            httpx.get(f"{running.url}/health")
            break
        except httpx.ConnectError:
            threading.Event().wait(0.01)
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def server(make_engine, tokenizer):
    """Over a small random model with eight rows."""
    with serving(make_engine(), tokenizer) as running:
        yield running
