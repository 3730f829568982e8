"""The checkup of servers: our own, and small ones that are broken in each of the ways it names."""

import asyncio
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from podium.answering.checkup import Checkup, check_server
from tests.generate.server.conftest import serving


class Broken(BaseHTTPRequestHandler):
    """An OpenAI-like server with one fault."""

    fault = ""
    asked: ClassVar[list[dict]] = []
    context: int | None = 16_384

    def log_message(self, *_):
        pass

    def do_GET(self):
        if self.fault == "no api":
            return self.reply({"hello": "world"}, 404)
        if self.fault == "stuck":
            time.sleep(30)
        entry = {"id": "small-model", **({"max_model_len": self.context} if self.context else {})}
        return self.reply({"object": "list", "data": [entry]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        prompt = body["messages"][-1]["content"]
        if self.fault == "short" and len(prompt.split()) > 500:
            return self.reply({"error": {"message": "maximum context length is 512"}}, 400)
        if self.fault == "refuses":
            return self.reply({"error": {"message": "out of memory"}}, 500)
        self.asked.append(body)
        if self.fault == "no min_tokens" and "min_tokens" in body:
            return self.reply({"error": {"message": "unrecognised argument: min_tokens"}}, 400)
        words = [f"w{(body.get('seed', 0) * 7 + i) % 11} " for i in range(5)]
        if self.fault == "seedless":
            words = [f"w{time.monotonic_ns()}"]
        if self.fault == "same":
            words = ["always this"]
        if not body.get("stream") or self.fault == "no stream":
            return self.reply({"choices": [{"message": {"content": "".join(words)}}]})
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        if self.fault == "slow":
            time.sleep(3.2)
        if self.fault == "breaks":
            self.wfile.write(b'data: {"error": {"message": "the GPU is gone"}}\n\n')
            return None
        if self.fault == "terse":
            words = ["Hi"]
        if self.fault == "buffered":
            time.sleep(0.8)
            chunks = [f"data: {json.dumps({'choices': [{'delta': {'content': 'one '}}]})}\n\n" for _ in range(40)]
            self.wfile.write("".join(chunks).encode())
            words = []
        for word in ["".join(words)] if self.fault == "one piece" else words:
            self.wfile.write(f"data: {json.dumps({'choices': [{'delta': {'content': word}}]})}\n\n".encode())
            self.wfile.flush()
        self.wfile.write(b"data: [DONE]\n\n")
        return None

    def reply(self, value, status=200):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def broken():
    servers, asked = [], []

    def start(fault: str, context: int | None = 16_384) -> str:
        handler = type("Handler", (Broken,), {"fault": fault, "context": context, "asked": asked})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    start.asked = asked  # type: ignore[attr-defined]
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def check(url: str, **options) -> tuple[Checkup, dict[str, str]]:
    checkup = asyncio.run(check_server(url, **options))
    assert checkup.seconds < 10
    return checkup, {finding.name: finding.verdict for finding in checkup.findings}


def test_a_server_without_faults_is_fit(broken):
    checkup, found = check(f"{broken('')}/v1#small-model")
    assert checkup.fit
    assert set(found.values()) == {"good"}
    assert set(found) == {"server", "model", "chat", "streaming", "first token", "seed", "context"}


@pytest.mark.parametrize(
    ("fault", "name", "verdict", "words"),
    [
        ("no api", "server", "bad", "/v1"),
        ("refuses", "chat", "bad", "out of memory"),
        ("no stream", "streaming", "bad", "application/json"),
        ("one piece", "streaming", "poor", "one piece"),
        ("seedless", "seed", "poor", "two different answers"),
        ("same", "seed", "poor", "the same answer"),
        ("slow", "first token", "poor", "after 3"),
        ("breaks", "chat", "bad", "the GPU is gone"),
        ("terse", "streaming", "unknown", "too short"),
        ("buffered", "streaming", "poor", "at the end"),
    ],
)
def test_every_fault_is_named(broken, fault, name, verdict, words):
    checkup, found = check(broken(fault))
    assert found[name] == verdict
    finding = next(finding for finding in checkup.findings if finding.name == name)
    assert words in f"{finding.said} {finding.cure}"
    assert finding.cure
    assert checkup.fit == (verdict != "bad")


def test_nobody_there_and_nobody_answering(broken):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        checkup, found = check(f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert (found, checkup.fit) == ({"server": "bad"}, False)
    checkup, found = check(broken("stuck"), limit=1.5)
    assert found == {"server": "bad"}
    assert "within" in checkup.findings[0].said
    assert check("localhost:8000")[1] == {"server": "bad"}


def test_a_misspelt_model_and_a_short_context(broken):
    checkup, found = check(f"{broken('')}#smal-model")
    assert found["model"] == "bad"
    assert "small-model" in checkup.findings[-1].cure
    _, found = check(broken(""), context=32_768)
    assert found["context"] == "bad"
    _, found = check(broken("short", context=None), context=4_096)
    assert found["context"] == "bad"
    _, found = check(broken("", context=None), context=4_096)
    assert found["context"] == "good"


def test_the_streamed_answer_is_long_enough_to_be_streamed(broken):
    _, found = check(broken("no min_tokens"))
    assert found["streaming"] == "good"
    streamed = [body for body in broken.asked if body.get("stream")]
    assert all(body["max_tokens"] >= 100 for body in streamed)
    assert ["min_tokens" in body for body in streamed] == [True, False]


def test_our_own_server_is_found_to_stream(make_engine, tokenizer):
    """Its small model writes a hundred tokens in a few pieces, and would end at once if it were let."""
    with serving(make_engine(), tokenizer) as server:
        _, found = check(server.url, context=512)
    assert (found["server"], found["chat"], found["streaming"]) == ("good", "good", "good")
