"""Crowds, clients that leave, bodies that are no requests, an engine that dies, and the end of the process."""

import asyncio
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import openai
import pytest
import torch

from podium.answering import Sampling, complete
from podium.answering.openai import OpenAICompleter
from podium.answering.protocol import Piece
from podium.errors import CompleterError, InputError
from podium.generate import EngineSpec, ParallelCompleter
from podium.generate.server import bind
from podium.models import save_model
from tests.generate.conftest import random_model
from tests.generate.server.conftest import serving, wait_for
from tests.generate.server.test_api import CHAT, PROMPT, Spelling


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_its_rows(tokenizer, stream):
    completer = Spelling("x" * 100_000, pause=0.005)
    with serving(completer, tokenizer) as server:
        body = {"prompt": PROMPT, "max_tokens": 1000, "stream": stream, "n": 3}
        with socket.create_connection(server.bound.getsockname()) as connection:
            data = json.dumps(body).encode()
            kind = "Host: localhost\r\nContent-Type: application/json"
            head = f"POST /v1/completions HTTP/1.1\r\n{kind}\r\nContent-Length: {len(data)}\r\n\r\n"
            connection.sendall(head.encode() + data)
            wait_for(lambda: server.served.gate.running == 3)
        wait_for(lambda: server.served.gate.running == 0)
        assert completer.cancelled == 3
        wait_for(lambda: server.metric('podium_requests_total{endpoint="/v1/completions",outcome="disconnected"}') == 1)


def test_a_full_queue_is_told_so_and_clears(tokenizer):
    completer = Spelling("x" * 100_000, pause=0.005)
    with serving(completer, tokenizer, rows=2, max_queue=1) as server:
        client = server.client()
        streams = [client.completions.create(model="tiny", prompt="x", stream=True, max_tokens=900) for _ in range(3)]
        assert server.metric("podium_completions_running") == 2
        assert server.metric("podium_completions_waiting") == 1
        with pytest.raises(openai.RateLimitError) as refused:
            client.completions.create(model="tiny", prompt="x")
        assert int(refused.value.response.headers["Retry-After"]) >= 1
        # Each who is turned away gets a moment of its own, and none that the official client would not wait for.
        waits = [int(server.post("/v1/completions", {"prompt": "x"}).headers["Retry-After"]) for _ in range(80)]
        assert waits == sorted(waits)
        assert 1 <= waits[0] < waits[-1] == 60
        streams.pop().close()
        wait_for(lambda: server.served.gate.waiting == 0)
        client.completions.create(model="tiny", prompt="x", stream=True).close()
        for stream in streams:
            stream.close()
        wait_for(lambda: server.served.gate.running == 0)


def test_a_body_that_is_too_large(tokenizer):
    with serving(Spelling("x"), tokenizer, max_body=1000) as server:
        assert server.post("/v1/completions", {"prompt": "x" * 2000}).status_code == 413

        def chunks():
            for _ in range(20):
                yield b"x" * 100

        headers = {"Content-Type": "application/json"}
        unannounced = httpx.post(f"{server.url}/v1/completions", content=chunks(), headers=headers, timeout=10)
        assert (unannounced.status_code, unannounced.json()["error"]["code"]) == (413, "body_too_large")
        assert server.post("/v1/completions", {"prompt": "x" * 200}).status_code == 200


@pytest.mark.parametrize("stream", [True, False])
def test_an_engine_that_dies_ends_everything_with_an_error(make_engine, tokenizer, stream):
    engine = make_engine()
    with serving(engine, tokenizer) as server:
        caught = []

        def ask():
            try:
                settings = {"model": "tiny", "messages": CHAT, "stream": stream, "max_tokens": 900, "n": 40}
                got = server.client().chat.completions.create(**settings, extra_body={"ignore_eos": True})
                list(got)
            except openai.APIError as error:
                caught.append(error)

        asking = threading.Thread(target=ask)
        asking.start()
        wait_for(lambda: server.served.gate.running >= 1)
        asyncio.run(engine.close())
        asking.join(timeout=20)
        assert "engine failed" in str(caught[0])
        assert stream or caught[0].status_code == 500
        assert httpx.get(f"{server.url}/health").status_code == 503
        assert server.post("/v1/chat/completions", {"messages": CHAT}).status_code == 503
        assert server.served.gate.running == 0


class Dying(Spelling):
    """Its completions fail after a few pieces."""

    async def start(self, prompt, sampling):
        from podium.errors import CompleterError

        completion = await super().start(prompt, sampling)

        class Broken(type(completion)):
            async def __aiter__(self):
                async for piece in super().__aiter__():
                    yield piece
                    if self.usage.completion_tokens == 3:
                        raise CompleterError("the weights are gone", "")

        completion.__class__ = Broken
        return completion


def test_a_failure_in_the_middle_reaches_both_kinds_of_reader(tokenizer):
    with serving(Dying("abcdef"), tokenizer) as server:
        whole = server.post("/v1/completions", {"prompt": "x"})
        assert whole.status_code == 500
        assert "the weights are gone" in whole.json()["error"]["message"]
        chunks = server.client().completions.create(model="tiny", prompt="x", stream=True)
        seen = [next(chunks).choices[0].text for _ in range(3)]
        with pytest.raises(openai.APIError, match="the weights are gone"):
            next(chunks)
        assert "".join(seen) == "abc"
        wait_for(lambda: server.metric('podium_requests_total{endpoint="/v1/completions",outcome="failed"}') == 2)


class Faulty(Spelling):
    """Its pieces have what no form can write: a defect of ours, not of the engine."""

    async def start(self, prompt, sampling):
        completion = await super().start(prompt, sampling)

        class Broken(type(completion)):
            async def __aiter__(self):
                yield Piece("abc", (5,), (-1.0,))
                yield Piece(b"not text", (5,), (-1.0,))

        completion.__class__ = Broken
        return completion


def test_a_defect_in_the_middle_of_a_stream_is_told_in_the_stream(tokenizer):
    with serving(Faulty("abcdef"), tokenizer) as server:
        chunks = server.client().completions.create(model="tiny", prompt="x", stream=True)
        assert next(chunks).choices[0].text == "abc"
        with pytest.raises(openai.APIError, match="the server failed"):
            next(chunks)
        assert server.served.gate.running == 0
        whole = server.post("/v1/completions", {"prompt": "x"})
        assert (whole.status_code, whole.json()["error"]["code"]) == (500, "internal_error")

        async def ask():
            completer = OpenAICompleter(server.url, model="tiny")
            try:
                await complete(completer, "x", Sampling(max_tokens=50))
            finally:
                await completer.close()

        with pytest.raises(CompleterError, match="the server failed"):
            asyncio.run(ask())


def test_the_official_client_waits_as_long_as_it_is_asked_to(tokenizer):
    """It comes again by itself after a 429, and is let in once there is a place."""
    completer = Spelling("x" * 100_000, pause=0.005)
    with serving(completer, tokenizer, rows=1, max_queue=0) as server:
        stream = server.client().completions.create(model="tiny", prompt="x", stream=True, max_tokens=900)

        def make_place():
            wait_for(lambda: server.metric('podium_requests_total{endpoint="/v1/completions",outcome="refused"}') >= 1)
            stream.close()

        closing = threading.Thread(target=make_place)
        closing.start()
        again = server.client(max_retries=5).completions.create(model="tiny", prompt="x", stream=True)
        assert next(iter(again)).choices[0].text == "x"
        again.close()
        closing.join()


def test_malformed_bodies_are_refused_and_change_nothing(server, tokenizer):
    """Valid requests mutated: bytes dropped, doubled and replaced, values swapped for others, structures nested."""
    draw = random.Random(3)
    valid = [
        {"prompt": PROMPT, "max_tokens": 2, "seed": 1, "stop": ["a"], "logprobs": 1, "n": 2},
        {"messages": CHAT, "max_tokens": 2, "logprobs": True, "top_logprobs": 2, "stream": True},
    ]
    odd = [None, True, -1, 0, 1.5, 1e308, 2**70, "", "x", "\ud800", [], [[]], {}, {"a": [None]}, [0, "x"], float("nan")]
    before = server.client().completions.create(model="tiny", prompt=PROMPT, temperature=0, max_tokens=9)
    statuses = {}
    with httpx.Client(base_url=server.url, timeout=30) as client:
        for trial in range(400):
            body = dict(draw.choice(valid))
            path = "/v1/completions" if "prompt" in body else "/v1/chat/completions"
            if trial % 2:
                body[draw.choice([*body, "min_p", "top_k", "stream_options", "user"])] = draw.choice(odd)
                data = json.dumps(body).encode()
            else:
                data = bytearray(json.dumps(body).encode())
                for _ in range(draw.randint(1, 4)):
                    at = draw.randrange(len(data))
                    data[at : at + draw.randint(0, 3)] = draw.randbytes(draw.randint(0, 3))
                data = bytes(data)
            response = client.post(path, content=data, headers={"Content-Type": "application/json"})
            statuses[response.status_code] = statuses.get(response.status_code, 0) + 1
            if response.status_code != 200:
                assert response.json()["error"]["message"], data
        assert set(statuses) <= {200, 400, 404}, statuses
        assert statuses[400] > 100
        headers = {"Content-Type": "application/json"}
        deep = client.post("/v1/completions", content=b'{"prompt":' + b"[" * 100_000, headers=headers)
        assert deep.status_code == 400
    after = server.client().completions.create(model="tiny", prompt=PROMPT, temperature=0, max_tokens=9)
    assert after.choices[0].text == before.choices[0].text
    assert server.served.gate.running == 0


def test_many_at_once_get_their_own_answers(server, tokenizer):
    async def crowd():
        client = openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)

        async def one(seed):
            got = await client.completions.create(model="tiny", prompt=f"{seed} + 1", seed=seed, max_tokens=10)
            return got.choices[0].text

        alone = [await one(seed) for seed in range(30)]
        together = await asyncio.gather(*(one(seed) for seed in range(30)))
        await client.close()
        return alone, together

    alone, together = asyncio.run(crowd())
    assert alone == together
    assert len(set(alone)) > 20


@pytest.fixture(scope="module")
def folder(tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "tiny"
    # Large enough that an answer is under way for a second or so.
    save_model(folder, random_model(tokenizer, hidden_size=512, intermediate_size=1024, num_hidden_layers=6), tokenizer)
    return folder


def started(folder, *options):
    command = [sys.executable, "-m", "podium", "serve", str(folder), "--port", "0", "--name", "tiny", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    found = re.search(r"http://[^ ]+", process.stdout.readline())
    assert found, process.communicate(timeout=10)
    return process, found[0]


@pytest.mark.parametrize(
    ("stop", "grace"),
    [
        (signal.SIGINT, "60"),
        (signal.SIGTERM, "0"),
        pytest.param(signal.SIGINT, "0", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, "60", marks=pytest.mark.slow),
    ],
)
def test_the_end_is_orderly(folder, stop, grace):
    process, url = started(folder, "--grace", grace)
    client = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
    for _ in range(300):
        try:
            client.models.list()
            break
        except openai.APIConnectionError:
            time.sleep(0.05)
    settings = {"model": "tiny", "prompt": PROMPT, "max_tokens": 900, "temperature": 0.8, "seed": 1}
    stream = client.completions.create(**settings, stream=True, extra_body={"ignore_eos": True})
    chunks = iter(stream)
    text = next(chunks).choices[0].text
    os.kill(process.pid, stop)
    finish = None
    for chunk in chunks:
        text += chunk.choices[0].text
        finish = chunk.choices[0].finish_reason or finish
    assert text
    assert finish in (("length", "stop") if grace == "60" else ("abort",))
    assert process.wait(timeout=30) == 0
    assert "Traceback" not in process.stderr.read()
    with pytest.raises(openai.APIConnectionError):
        client.models.list()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "0.0.0.0"),
        ("0.0.0.0", "127.0.0.1"),
        ("127.0.0.1", "localhost"),
        ("::", "127.0.0.1"),
        ("::", "0.0.0.0"),
        ("0.0.0.0", "::"),
        ("::1", "::1"),
    ],
)
def test_two_servers_never_share_a_port(first, second):
    """Although neither has loaded its model, or answered anybody, yet."""
    try:
        held = bind(first, 0)
    except InputError:
        pytest.skip(f"{first} is no address here")
    port = held.getsockname()[1]
    with held, pytest.raises(InputError, match="in use") as caught:
        bind(second, port)
    assert "--port" in caught.value.cure
    bind(second, port).close()  # and afterwards it is free at once


def test_a_name_of_several_addresses_is_taken_when_one_of_them_is(monkeypatch):
    """As localhost is ::1 and 127.0.0.1: the other server would get some of the requests."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        both = [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
        try:
            with socket.create_server(("::1", 0), family=socket.AF_INET6):
                pass
        except OSError:
            pytest.skip("no IPv6 here")
        with pytest.raises(InputError, match="in use"):
            bind("localhost", port)


def test_addresses_that_cannot_be_bound():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(InputError, match="in use"):
            bind("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(InputError, match="no address of this machine"):
        bind("203.0.113.7", 0)
    with pytest.raises(InputError, match="--host"):
        bind("no such host", 0)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open every port")
def test_a_privileged_port_is_explained():
    with pytest.raises(InputError, match="root"):
        bind("127.0.0.1", 80)


def test_bad_command_lines_end_with_exit_code_2(folder, tmp_path, podium):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for arguments, said in (
            ([str(tmp_path / "none")], "no such model folder"),
            ([str(tmp_path)], "config.json"),
            ([str(folder), "--port", str(taken.getsockname()[1])], "in use"),
            ([str(folder), "--rows", "0"], "--rows"),
        ):
            done = podium("serve", *arguments)
            assert done.code == 2
            assert said in done.error
            assert "Traceback" not in done.error


@pytest.fixture
def replicated(folder, tokenizer):
    """A server whose one engine is a process of its own."""
    completer = ParallelCompleter(
        EngineSpec(folder, "tiny", {"max_rows": 8, "memory_bytes": 64 << 20, "format": "fp32"}), 1, 1
    )
    with serving(completer, tokenizer, context=completer.context) as server:
        yield server
    asyncio.run(completer.close())


def engine_process(server):
    return int(server.metric('podium_engine_process{replica="0"}'))


def test_a_killed_engine_process_fails_what_it_was_computing_and_comes_back(replicated):
    server, client = replicated, replicated.client()
    settings = {"model": "tiny", "prompt": PROMPT, "seed": 3, "temperature": 0.8, "extra_body": {"ignore_eos": True}}
    before = client.completions.create(**settings, max_tokens=20).choices[0].text
    killed = engine_process(server)
    chunks = iter(client.completions.create(**settings, max_tokens=900, stream=True))
    assert next(chunks).choices[0].text
    os.kill(killed, signal.SIGKILL)
    with pytest.raises(openai.APIError, match="engine failed"):
        for _ in chunks:
            pass
    # The next one waits for the engine that takes its place.
    assert client.completions.create(**settings, max_tokens=20).choices[0].text == before
    assert httpx.get(f"{server.url}/health").status_code == 200
    assert engine_process(server) != killed
    assert server.metric('podium_engine_restarts{replica="0"}') == 1
    assert server.metric("podium_completions_running") == 0


def test_a_prompt_is_scored_by_an_engine_process_as_by_transformers(replicated, folder, tokenizer):
    transformers = pytest.importorskip("transformers")
    ask = {"model": "tiny", "prompt": PROMPT, "max_tokens": 0, "echo": True, "logprobs": 2}
    told = replicated.post("/v1/completions", ask).json()["choices"][0]["logprobs"]
    tokens = torch.tensor([tokenizer.encode(PROMPT)])
    oracle = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        wanted = oracle(tokens).logits.log_softmax(-1)[0, :-1]
    assert told["token_logprobs"][0] is None
    assert told["token_logprobs"][1:] == pytest.approx(wanted.gather(1, tokens[0, 1:, None])[:, 0].tolist(), abs=1e-4)
    best = [max(places.values()) for places in told["top_logprobs"][1:]]
    assert best == pytest.approx(wanted.max(-1).values.tolist(), abs=1e-4)


def test_a_server_whose_engine_keeps_dying_says_so(replicated, monkeypatch):
    monkeypatch.setattr("podium.generate.parallel.RESTARTS", 0)
    os.kill(engine_process(replicated), signal.SIGKILL)
    wait_for(lambda: httpx.get(f"{replicated.url}/health").status_code == 503)
    answer = replicated.post("/v1/completions", {"model": "tiny", "prompt": "x"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "engine_failed")
