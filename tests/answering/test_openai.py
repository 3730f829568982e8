"""The client against a real HTTP server on this machine."""

import asyncio
import email.utils
import json
import socket
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise

import pytest

from podium.answering import Completer, Sampling, complete
from podium.answering.openai import OpenAICompleter
from podium.errors import CompleterError, InputError
from podium.records import Message

CHAT = [Message(role="user", content="What is 6 * 7?")]
CLOSE = "</tool_call>"


class Server:
    """Speaks just enough of the API. `answer(request)` gives the pieces, or (status, body); None breaks off."""

    def __init__(self, answer):
        self.requests = []
        self.models = [{"id": "qwen3-8b"}]
        self.keys = []
        self.closed_early = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                self.plain(200, {"data": outer.models} if self.path == "/v1/models" else {"detail": "no"})

            def plain(self, status, body, headers=()):
                data = json.dumps(body).encode() if not isinstance(body, bytes) else body
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_POST(self):
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.requests.append((self.path, request))
                outer.keys.append(self.headers.get("Authorization"))
                if not self.path.startswith("/v1/"):
                    return self.plain(404, {"detail": "Not Found"})
                result = answer(request)
                if isinstance(result, tuple):
                    return self.plain(*result)
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.end_headers()
                try:
                    self.stream(request, result)
                except OSError:
                    outer.closed_early.set()

            def stream(self, request, pieces):
                count = 0
                self.wfile.write(b": ping\n\n")
                for piece in pieces:
                    if piece is None:
                        self.connection.shutdown(socket.SHUT_RDWR)
                        return
                    count += 1
                    key = {"delta": {"content": piece}} if "messages" in request else {"text": piece}
                    self.event({"choices": [{"index": 0, "finish_reason": None, **key}]})
                self.event({"choices": [{"index": 0, "delta": {}, "text": "", "finish_reason": "stop"}]})
                self.event({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": count + 1}})
                self.wfile.write(b"data: [DONE]\n\n")

            def event(self, value):
                self.wfile.write(f"data: {json.dumps(value)}\n\n".encode())
                self.wfile.flush()

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"


@contextmanager
def serving(answer):
    server = Server(answer)
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        server.http.server_close()
        thread.join()


def endless():
    while True:
        threading.Event().wait(0.002)
        yield "again "


async def collect(completion):
    pieces = [piece async for piece in completion]
    return "".join(piece.text for piece in pieces), pieces[-1]


async def test_a_chat_is_streamed():
    with serving(lambda request: ["It ", "is ", "42."]) as server:
        completer = OpenAICompleter(server.url, model="qwen3-8b", api_key="secret")
        assert isinstance(completer, Completer)
        completion = await completer.start(CHAT, Sampling(max_tokens=9, temperature=0.7, top_p=0.9, min_p=0.1, seed=3))
        text, last = await collect(completion)
        usage = await completion.cancel()
        await completer.close()
    assert (text, last.finish) == ("It is 42.", "eos")
    assert (usage.prompt_tokens, usage.completion_tokens) == (9, 4)
    path, request = server.requests[0]
    assert path == "/v1/chat/completions"
    assert request["messages"] == [{"role": "user", "content": "What is 6 * 7?"}]
    wanted = {"model": "qwen3-8b", "max_tokens": 9, "temperature": 0.7, "top_p": 0.9, "min_p": 0.1, "seed": 3}
    assert {key: request[key] for key in wanted} == wanted
    assert "top_k" not in request
    assert server.keys == ["Bearer secret"]


async def test_stops_at_the_stop_string_closes_the_stream_and_goes_on():
    def answer(request):
        prompt = request["prompt"]
        return (
            ["It is ", "42."]
            if "```output" in prompt
            else ["<tool_call>\nprint(6*7)", "\n</tool", "_call> and", *endless_tail]
        )

    endless_tail = ["x"] * 100_000
    with serving(answer) as server:
        completer = OpenAICompleter(f"{server.url}/v1/", model="m")
        completion = await completer.start("Q: ", Sampling(stop=(CLOSE,)))
        text, last = await collect(completion)
        assert text == f"<tool_call>\nprint(6*7)\n{CLOSE}"
        assert (last.finish, last.stop) == ("stop", CLOSE)
        await completion.extend("\n```output\n42\n```\n")
        second, last = await collect(completion)
        await completion.cancel()
        await completer.close()
        assert await asyncio.to_thread(server.closed_early.wait, 5)
    assert (second, last.finish) == ("It is 42.", "eos")
    assert server.requests[1][1]["prompt"] == f"Q: {text}\n```output\n42\n```\n"


async def test_a_chat_is_continued_in_the_assistants_turn():
    with serving(lambda request: [CLOSE] if len(request["messages"]) == 1 else ["done"]) as server:
        completer = OpenAICompleter(server.url, model="m")
        completion = await completer.start(CHAT, Sampling(stop=(CLOSE,)))
        await collect(completion)
        await completion.extend("\n42\n")
        assert (await collect(completion))[0] == "done"
        await completer.close()
    request = server.requests[1][1]
    assert request["messages"][-1] == {"role": "assistant", "content": f"{CLOSE}\n42\n"}
    assert request["continue_final_message"] is True
    assert request["add_generation_prompt"] is False


async def test_with_a_tokenizer_a_chat_goes_as_token_ids(tokenizer):
    with serving(lambda request: [f"<tool_call>\n1\n{CLOSE}"]) as server:
        completer = OpenAICompleter(server.url, model="m", tokenizer=tokenizer)
        completion = await completer.start(CHAT, Sampling(stop=(CLOSE,)))
        text, _ = await collect(completion)
        await completion.extend("<tool_call>")
        await collect(completion)
        usage = await completion.cancel()
        await completer.close()
    first, second = (request["prompt"] for _, request in server.requests)
    assert first == tokenizer.render(CHAT)
    assert second == first + tokenizer.encode_model(text) + tokenizer.encode("<tool_call>")
    assert usage.appended_tokens == len(tokenizer.encode("<tool_call>"))


async def test_cancelling_closes_the_stream():
    with serving(lambda request: endless()) as server:
        completer = OpenAICompleter(server.url, model="m")
        completion = await completer.start("x", Sampling(max_tokens=10**6))
        piece = await anext(aiter(completion))
        reader = asyncio.create_task(collect(completion))
        await asyncio.sleep(0.1)
        usage = await completion.cancel()
        text, last = await reader
        assert last.finish == "cancelled"
        assert usage.completion_tokens >= 1
        assert (piece.text + text).startswith("again ")
        assert await asyncio.to_thread(server.closed_early.wait, 5)
        await completer.close()


async def test_refusals_that_pass_are_sent_again():
    refusals = [(503, {"error": "starting"}), (429, {"error": "slow down"}, [("Retry-After", "0.01")])]
    with serving(lambda request: refusals.pop() if refusals else ["fine"]) as server:
        completer = OpenAICompleter(server.url, model="m")
        assert await complete(completer, "x", Sampling()) == "fine"
        await completer.close()
    assert len(server.requests) == 3


async def test_a_server_that_says_when_to_come_again_is_obeyed_as_often_as_it_says_so():
    """Far oftener than `retries`, which is for servers that say nothing."""
    told = [[("Retry-After", "0.2")], [("retry-after-ms", "200")], [("Retry-After", "0")]] * 3
    came = []

    def answer(request):
        came.append(time.monotonic())
        return (429, {"error": "full"}, told[len(came) - 1]) if len(came) <= len(told) else ["fine"]

    with serving(answer) as server:
        completer = OpenAICompleter(server.url, model="m", retries=0)
        assert await complete(completer, "x", Sampling()) == "fine"
        await completer.close()
    waits = [after - before for before, after in pairwise(came)]
    assert all(wait >= (0.0 if headers[0][1] == "0" else 0.2) for wait, headers in zip(waits, told, strict=True))


@pytest.mark.parametrize("status", [429, 503])
async def test_a_server_that_wants_to_be_left_alone_for_long_is_told(status):
    then = email.utils.formatdate(time.time() + 900, usegmt=True)
    for wait in ("900", then):
        with serving(lambda request, wait=wait: (status, {"error": "full"}, [("Retry-After", wait)])) as server:
            completer = OpenAICompleter(server.url, model="m", first_timeout=600)
            with pytest.raises(CompleterError, match=r"full; it asks to come again in (900|89\d) s, 600 s are left"):
                await complete(completer, "x", Sampling())
            await completer.close()
        assert len(server.requests) == 1


@pytest.mark.parametrize("odd", ["soon", "-5", "nan", "inf", "", "Wed, 99 Foo 2026"])
async def test_a_retry_after_that_says_nothing_is_none(odd):
    with serving(lambda request: (429, {"error": "full"}, [("Retry-After", odd)])) as server:
        completer = OpenAICompleter(server.url, model="m", retries=0)
        with pytest.raises(CompleterError, match="full"):
            await complete(completer, "x", Sampling())
        await completer.close()


async def test_fields_a_server_does_not_know_are_left_out():
    def answer(request):
        if "skip_special_tokens" in request:
            return 400, {"error": {"message": "Unrecognized request argument supplied: skip_special_tokens"}}
        return ["fine"]

    with serving(answer) as server:
        completer = OpenAICompleter(server.url, model="m", retries=0)
        assert await complete(completer, "x", Sampling()) == "fine"
        assert await complete(completer, "x", Sampling()) == "fine"
        await completer.close()
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("result", "message", "cure"),
    [
        ((401, {"error": {"message": "bad key"}}), "not allowed", "API key"),
        ((404, {"error": {"message": "The model `qwen3-9b` does not exist"}}), "no model 'qwen3-9b'", "qwen3-8b"),
        ((400, {"error": {"message": "max_tokens is too large"}}), "too large|no model", ""),
        ((500, {"error": "out of memory"}), "out of memory", "log"),
        ((200, b"<html>Welcome</html>"), "not a stream of events", "/v1"),
    ],
)
async def test_refusals_are_explained(result, message, cure):
    with serving(lambda request: result) as server:
        completer = OpenAICompleter(server.url, model="qwen3-9b", retries=0)
        with pytest.raises(CompleterError, match=message) as caught:
            await complete(completer, "x", Sampling())
        await completer.close()
    assert cure in caught.value.cure


async def test_a_wrong_address_is_explained():
    with serving(lambda request: ["x"]) as server:
        completer = OpenAICompleter(f"{server.url}/wrong", model="m", retries=0)
        with pytest.raises(CompleterError, match="not an OpenAI API"):
            await complete(completer, "x", Sampling())
        await completer.close()
    with pytest.raises(InputError, match="address"):
        OpenAICompleter("localhost:8000", model="m")


async def test_a_dead_server_is_explained():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    completer = OpenAICompleter(f"http://127.0.0.1:{port}", model="m", retries=1)
    with pytest.raises(CompleterError, match="no answer"):
        await complete(completer, "x", Sampling())
    await completer.close()


async def test_a_stream_that_breaks_off_is_an_error_and_not_a_short_answer():
    with serving(lambda request: ["It is ", None]) as server:
        completer = OpenAICompleter(server.url, model="m")
        completion = await completer.start("x", Sampling())
        seen = []

        async def read():
            async for piece in completion:
                seen.append(piece.text)

        with pytest.raises(CompleterError, match="broke off"):
            await read()
        await completer.close()
    assert "".join(seen) == "It is "
    assert len(server.requests) == 1


def sent(*lines):
    """The bytes of a stream of these lines as a whole 200 answer."""
    return 200, "".join(f"{line}\n\n" for line in lines).encode()


def event(text="", finish=None):
    return "data: " + json.dumps({"choices": [{"index": 0, "text": text, "finish_reason": finish}]})


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([event("It ")], "without a finish"),
        ([], "without a finish"),
        ([event("It "), "data: [DONE]"], "without a finish"),
        ([event("It "), 'data: {"error": {"message": "the GPU is gone", "code": 500}}', "data: [DONE]"], "GPU is gone"),
        ([event("It "), 'data: {"object": "error", "message": "the GPU is gone"}'], "GPU is gone"),
        ([event("It "), 'event: error\ndata: {"message": "the GPU is gone"}'], "GPU is gone"),
        ([event("It "), "error: the GPU is gone"], "GPU is gone"),
        ([event("It "), '{"error": {"message": "the GPU is gone"}}'], "GPU is gone"),
        ([event("It ", "abort"), "data: [DONE]"], "the server ended it"),
        ([event("It ", "error"), "data: [DONE]"], "the server ended it"),
    ],
)
async def test_a_stream_that_does_not_come_to_its_end_is_never_an_answer(lines, said):
    with serving(lambda request: sent(*lines)) as server:
        completer = OpenAICompleter(server.url, model="m")
        with pytest.raises(CompleterError, match=said):
            await complete(completer, "x", Sampling())
        await completer.close()
    assert len(server.requests) == 1


async def test_what_is_missing_behind_the_finish_does_not_spoil_an_answer():
    """Neither [DONE] nor the usage: the connection may even break there."""
    with serving(
        lambda request: sent(event("It ", None), 'data: {"error": null, "choices": []}', event("is", "stop"))
    ) as server:
        completer = OpenAICompleter(server.url, model="m")
        assert await complete(completer, "x", Sampling()) == "It is"
        await completer.close()


def test_one_completer_serves_several_event_loops():
    with serving(lambda request: ["fine"]) as server:
        completer = OpenAICompleter(server.url, model="m")
        for _ in range(2):
            assert asyncio.run(complete(completer, "x", Sampling())) == "fine"


async def test_settings_are_sent_where_they_are_set():
    with serving(lambda request: ["x"]) as server:
        completer = OpenAICompleter(server.url, model="m")
        sampling = Sampling(
            repetition_penalty=1.2, presence_penalty=0.5, frequency_penalty=-0.5, min_tokens=3, ignore_eos=True
        )
        await complete(completer, "x", sampling)
        await complete(completer, "x", Sampling())
        await completer.close()
    first, second = (request for _, request in server.requests)
    sent = {"repetition_penalty": 1.2, "presence_penalty": 0.5, "frequency_penalty": -0.5, "min_tokens": 3}
    assert {key: first[key] for key in sent} == sent
    assert first["ignore_eos"] is True
    assert not {*sent, "ignore_eos", "stop_token_ids"} & set(second)


async def test_no_more_requests_than_allowed_are_under_way():
    running, most = 0, 0
    lock = threading.Lock()

    def answer(request):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.05)
        with lock:
            running -= 1
        return ["x"]

    with serving(answer) as server:
        completer = OpenAICompleter(server.url, model="m", concurrent=3)
        await asyncio.gather(*(complete(completer, "x", Sampling()) for _ in range(12)))
        await completer.close()
    assert most == 3


@pytest.mark.parametrize(("pause_at", "said"), [(0, "to the first token"), (2, "from one token to the next")])
async def test_a_server_that_falls_silent_is_given_up(pause_at, said):
    silence = threading.Event()
    # The other one is long: a busy machine must not be taken for a silent server.
    timeouts = {"first_timeout": 60.0, "between_timeout": 60.0}
    timeouts["between_timeout" if pause_at else "first_timeout"] = 0.3

    def answer(request):
        for place in range(4):
            if place == pause_at:
                silence.wait(60)
            yield "x"

    with serving(answer) as server:
        completer = OpenAICompleter(server.url, model="m", **timeouts)
        with pytest.raises(CompleterError, match=said):
            await complete(completer, "x", Sampling())
        silence.set()
        await completer.close()
    assert len(server.requests) == 1


async def test_max_tokens_beyond_the_context_are_cut(tokenizer):
    refusal = {"error": {"message": "This model's maximum context length is 2048 tokens. However, you asked for more."}}
    with serving(lambda request: (400, refusal) if request.get("max_tokens", 0) > 1000 else ["fine"]) as server:
        server.models = [{"id": "m", "max_model_len": 900}]
        chat = OpenAICompleter(server.url, model="m")
        assert await complete(chat, CHAT, Sampling(max_tokens=32_000)) == "fine"
        rendered = OpenAICompleter(server.url, model="m", tokenizer=tokenizer)
        assert await complete(rendered, CHAT, Sampling(max_tokens=32_000)) == "fine"
        await chat.close()
        await rendered.close()
    assert "max_tokens" not in server.requests[1][1]
    assert server.requests[3][1]["max_tokens"] == 900 - len(tokenizer.render(CHAT))
