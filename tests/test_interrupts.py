"""SIGTERM ends every command as Ctrl-C does: real processes, stopped while a server keeps them waiting."""

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

STOPPED = "stopped; what was finished is kept, the same command continues"


@contextmanager
def slow_server(answers):
    """An OpenAI API that gives so many whole answers and then begins one which never ends."""
    begun, over = threading.Event(), threading.Event()
    left = [answers]

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            body = json.dumps({"data": [{"id": "m"}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            self.event({"delta": {"content": "It is \\boxed{2}"}})
            left[0] -= 1
            if left[0] < 0:
                begun.set()
                over.wait(60)
                return
            self.event({"delta": {}, "finish_reason": "stop"})
            self.wfile.write(b"data: [DONE]\n\n")

        def event(self, choice):
            self.wfile.write(f"data: {json.dumps({'choices': [{'index': 0, **choice}]})}\n\n".encode())
            self.wfile.flush()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1#m", begun
    finally:
        over.set()
        server.shutdown()
        server.server_close()


def stopped(arguments, begun, number, folder, *, background=False):
    """(exit code, standard output, standard error) of a command that got a signal once it was `begun`."""

    def as_a_background_job():
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    process = subprocess.Popen(
        [sys.executable, "-m", "podium", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        preexec_fn=as_a_background_job if background else None,
    )
    try:
        assert begun.wait(60), process.communicate(timeout=5)
        os.kill(process.pid, number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert "Traceback" not in err
    return process.returncode, out, err


@pytest.mark.parametrize(
    ("number", "code", "background"),
    [(signal.SIGTERM, 143, False), (signal.SIGTERM, 143, True), (signal.SIGINT, 130, False)],
)
def test_generate_shows_what_exists_and_leaves(tmp_path, number, code, background):
    with slow_server(0) as (url, begun):
        done = stopped(["generate", url, "1+1?"], begun, number, tmp_path, background=background)
    assert done[0] == code
    assert "attempt 1: cancelled" in done[1]


@pytest.mark.parametrize(
    ("number", "code", "background"),
    [(signal.SIGTERM, 143, False), (signal.SIGTERM, 143, True), (signal.SIGINT, 130, False)],
)
def test_an_exam_keeps_what_was_finished_and_goes_on_from_there(tmp_path, number, code, background):
    rows = [{"id": f"p{i}", "text": "1+1?", "answer": "2", "source": "test"} for i in range(4)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def arguments(url):
        return ["exam", url, "--set", "jsonl:rows.jsonl", "-n", "1", "--no-code", "--out", "sat"]

    with slow_server(2) as (url, begun):
        told = stopped(arguments(url), begun, number, tmp_path, background=background)
        assert told[0] == code
        assert told[2].strip().endswith(STOPPED)
        kept = (tmp_path / "sat" / "results.jsonl").read_text().splitlines()
        assert len(kept) == 2


ASKED_WITHIN_A_TASK = """
import asyncio, os, signal, sys
from podium import interrupts

number, ignored, again = signal.Signals(int(sys.argv[1])), sys.argv[2] == "ignored", sys.argv[3] == "again"
if ignored:
    signal.signal(signal.SIGINT, signal.SIG_IGN)

async def work():
    try:
        os.kill(os.getpid(), number)
        print("the step goes on to its end", flush=True)
        await asyncio.sleep(60)
    finally:
        if again:
            os.kill(os.getpid(), number)
        print("cleaned up", flush=True)

async def main():
    await asyncio.create_task(work())

try:
    with interrupts.sigterm_like_ctrl_c():
        asyncio.run(main())
except KeyboardInterrupt:
    pass
sys.exit(interrupts.exit_code())
"""


@pytest.mark.parametrize(
    ("number", "code", "handled"),
    [(signal.SIGTERM, 143, "handled"), (signal.SIGTERM, 143, "ignored"), (signal.SIGINT, 130, "handled")],
)
@pytest.mark.parametrize("times", ["once", "again"])
def test_a_signal_comes_between_the_steps_of_a_task_and_the_second_one_at_once(number, code, handled, times):
    """`handled`: what SIGINT was when the command began; shells have it ignored in background jobs."""
    done = subprocess.run(
        [sys.executable, "-c", ASKED_WITHIN_A_TASK, str(int(number)), handled, times],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == code
    assert done.stdout.splitlines() == ["the step goes on to its end", *(["cleaned up"] if times == "once" else [])]
    assert "Traceback" not in done.stderr
