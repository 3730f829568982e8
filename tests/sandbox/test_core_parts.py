"""The parts that text and bytes pass through, against plain restatements of what they promise."""

from __future__ import annotations

import json
import os
import random
import unicodedata
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.errors import InputError, SandboxUnavailable
from podium.sandbox import Limits, RemoteSandbox, protocol
from podium.sandbox.display import clean
from podium.sandbox.transcript import Transcript
from podium.toolcode import cut_output


@given(
    st.integers(0, 3),
    st.integers(1, 2**32 - 1),
    st.integers(0, 2**53),
    st.text(max_size=200),
    st.lists(st.integers(1, 40), max_size=60),
)
def test_replies_survive_any_fragmentation(code, request_id, dropped, text, cuts):
    text = text.encode("utf-8", "replace").decode()
    data = protocol.pack_reply(code, request_id, dropped, text)
    reader = protocol.ReplyReader()
    replies = []
    for cut in [*cuts, len(data)]:
        piece, data = data[:cut], data[cut:]
        if piece:
            replies.append(reader.feed(piece, request_id, 10_000))
    assert replies[:-1] == [None] * (len(replies) - 1)
    assert replies[-1] == protocol.Reply(code, request_id, dropped, text)


@given(st.integers(0, 60), st.integers(0, 255), st.binary(max_size=8))
def test_a_reply_with_a_changed_byte_or_more_bytes_never_passes_unseen(place, value, more):
    good = protocol.pack_reply(protocol.OK, 7, 0, "text of the answer")
    head = bytearray(good)
    place %= 13  # magic, code, request id, and the first bytes of the count
    changed = head[place] != value
    head[place] = value
    reader = protocol.ReplyReader()
    try:
        reply = reader.feed(bytes(head) + more, 7, 100)
    except protocol.ProtocolViolation:
        assert changed or more
    else:
        assert not more
        # What may differ and still be a reply: another code of the four, another count of dropped characters.
        assert reply is not None
        assert reply.text == "text of the answer"


@pytest.mark.parametrize("data", [b"x", b"pdm>", b"[" * 60_000, b"pdm<" + bytes(17)])
def test_what_is_no_reply_is_a_violation(data):
    with pytest.raises(protocol.ProtocolViolation):
        protocol.ReplyReader().feed(data, 1, 1000)


def test_promised_length_is_bounded():
    data = protocol.pack_reply(protocol.OK, 1, 0, "y" * 1001)
    with pytest.raises(protocol.ProtocolViolation, match="1001 bytes"):
        protocol.ReplyReader().feed(data[:30], 1, 1000)


@contextmanager
def pipe():
    read, write = os.pipe()
    try:
        yield read, write
    finally:
        os.close(read)
        os.close(write)


@given(st.lists(st.text(max_size=60), max_size=40), st.integers(1, 50))
def test_transcript_loses_only_the_middle(writes, limit):
    whole = "".join(writes).encode("utf-8", "backslashreplace").decode()
    writes = [text.encode("utf-8", "backslashreplace").decode() for text in writes]
    with pipe() as (read, write):
        transcript = Transcript(limit, write)
        transcript.begin(limit)
        for text in writes:
            transcript.write(text)
        rest, dropped = transcript.finish()
        os.set_blocking(read, False)
        try:
            sent = os.read(read, 1 << 16).decode()
        except BlockingIOError:
            sent = ""
    assert whole.startswith(sent)
    assert whole.endswith(rest)
    assert len(sent) + dropped + len(rest) == len(whole)
    assert len(sent) <= limit
    assert len(rest) <= limit
    if len(whole) <= 2 * limit:
        assert dropped == 0
    shown, missing = cut_output(sent, dropped, rest, limit)
    if len(whole) <= limit:
        assert (shown, missing) == (whole, 0)
    else:
        assert shown.startswith(whole[: limit - limit // 2])
        assert shown.endswith(whole[len(whole) - limit // 2 :])
        assert missing == len(whole) - limit


@given(st.text())
def test_clean_leaves_nothing_that_controls_a_terminal_or_reorders_text(text):
    cleaned = clean(text)
    for character in cleaned:
        category = unicodedata.category(character)
        assert character in "\n\t" or category not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
    printable = [c for c in text if c.isprintable()]
    assert [c for c in cleaned if c in set(printable) and c not in " \ufffd"] == [
        c for c in printable if c not in " \ufffd"
    ]
    assert clean(cleaned) == cleaned
    assert len(cleaned) == len(text.replace("\r\n", "\n"))


class NotebookServer(BaseHTTPRequestHandler):
    """Answers POST /run_jupyter as the documentation of SandboxFusion describes, running cells without isolation."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/run_jupyter":
            self.send_error(404)
            return
        space: dict[str, object] = {"__builtins__": __builtins__}
        cells = []
        for cell in body["cells"]:
            printed: list[str] = []
            space["print"] = lambda *values, printed=printed: printed.append(" ".join(map(str, values)) + "\n")
            one = {"stdout": "", "stderr": "", "display": [], "error": []}
            try:
                try:
                    value = eval(compile(cell, "cell", "eval"), space)
                    if value is not None:
                        one["display"] = [{"text/plain": repr(value)}]
                except SyntaxError:
                    exec(compile(cell, "cell", "exec"), space)
            except Exception as error:
                one["error"] = [{"ename": type(error).__name__, "evalue": str(error), "traceback": []}]
            one["stdout"] = "".join(printed)
            cells.append(one)
        done = {"status": "Finished", "execution_time": 0.1, "return_code": 0, "stdout": "", "stderr": ""}
        answer = {"status": "Success", "message": "", "driver": done, "cells": cells, "files": {}}
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format, *args):
        pass


@pytest.fixture
def server():
    with HTTPServer(("127.0.0.1", 0), NotebookServer) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


async def test_remote_sessions_keep_variables(server):
    async with RemoteSandbox(server, Limits(output_chars=40)) as sandbox:
        session = await sandbox.open(seed=1)
        assert (await session.run("x = 20")).status == "ok"
        result = await session.run("x + 1")
        assert (result.status, result.output, result.tier) == ("ok", "21\n", "remote")
        failed = await session.run("y = 5\n1/0")
        assert (failed.status, failed.output) == ("error", "ZeroDivisionError: division by zero\n")
        # What the failed block had done before it failed is still there, as in a notebook.
        assert (await session.run("y")).output == "5\n"
        long = await session.run("print('z' * 1000)")
        assert long.output.count("z") < 41
        assert long.dropped_chars > 900
        draw = "__import__('random').random()"
        assert (await session.run(draw)).output == f"{random.Random(1).random()!r}\n"


async def test_remote_failures_have_a_cure(server):
    with pytest.raises(InputError, match="starts with http"):
        RemoteSandbox("localhost:8080")
    async with RemoteSandbox("http://127.0.0.1:9") as sandbox:
        session = await sandbox.open()
        with pytest.raises(SandboxUnavailable, match=r"127\.0\.0\.1:9") as caught:
            await session.run("1")
        assert caught.value.cure
    async with RemoteSandbox(server + "/elsewhere") as sandbox:
        with pytest.raises(SandboxUnavailable, match="404"):
            await (await sandbox.open()).run("1")
