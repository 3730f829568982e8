"""The server under a crowd: streams, whole answers, clients that leave, bodies that are no requests.

    python benchmarks/server_load.py [--requests 20000] [--streams 1000]

A tiny model with random weights answers in a server process of its own; this process is the crowd. Every answer that
arrives whole is compared with the one its seed gave alone, before the crowd came. The table ends with what must not
grow: the server's descriptors and memory, weighed after each quarter. Exit code 1 for any wrong, lost or mixed answer,
for a completion left behind, or for descriptors that stay open.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from podium.models import Transformer, TransformerConfig, save_model
from podium.text import train_tokenizer

TEXT = "What is 12 + 31? I add the tens and the ones: 43. The sum is \\boxed{43}.\n"
TASKS = 64  # different (prompt, seed) pairs, each known alone
TOKENS = 12
MALFORMED = (
    b"",
    b"{",
    b'{"prompt": 5}',
    b'{"prompt": "x", "temperature": "hot"}',
    b'{"prompt": "x", "max_tokens": -1}',
    b'{"prompt": ["x", 5]}',
    b"\xff\xfe\x00",
    b"[" * 5000,
)


def make_model(folder: Path) -> None:
    tokenizer = train_tokenizer([TEXT] * 3, 300)
    config = TransformerConfig(
        kind="llama",
        vocab_size=tokenizer.vocab_size,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=512,
        eos_token_id=(tokenizer.eos_id,),
    )
    save_model(folder, Transformer(config).initialise(0, std=0.15), tokenizer)


def task(number: int, stream: bool) -> bytes:
    asked = {
        "prompt": f"What is {number} + {number * 7 % 31}?",
        "seed": number,
        "temperature": 1.0,
        "max_tokens": TOKENS,
        "stream": stream,
    }
    return json.dumps(asked).encode()


class Visitor:
    """One client and its connection. A general HTTP client would cost more than the server it is to load."""

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    def leave(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()
        self._reader = self._writer = None

    async def ask(self, path: str, body: bytes | None = None) -> AsyncIterator[bytes]:
        """The status line, then the lines of the body as they come (chunk sizes of a stream among them)."""
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(*self._address)
        method = "GET" if body is None else "POST"
        kind = "Host: localhost\r\nContent-Type: application/json"
        head = f"{method} {path} HTTP/1.1\r\n{kind}\r\nContent-Length: {len(body or b'')}\r\n\r\n"
        self._writer.write(head.encode() + (body or b""))
        status = await self._reader.readuntil(b"\r\n\r\n")
        yield status.split(b"\r\n")[0]
        length = re.search(rb"content-length: (\d+)", status)
        if length is not None:
            for line in (await self._reader.readexactly(int(length[1]))).split(b"\n"):
                yield line
            return
        while True:  # chunked
            size = int(await self._reader.readline(), 16)
            chunk = await self._reader.readexactly(size + 2)
            for line in chunk.split(b"\n"):
                yield line.rstrip(b"\r")
            if not size:
                return

    async def whole(self, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """(status, body)"""
        lines = [line async for line in self.ask(path, body)]
        return int(lines[0].split()[1]), b"\n".join(lines[1:])


class Crowd:
    """`streams` clients that ask one thing after the other until `requests` are spent."""

    def __init__(self, address: tuple[str, int], pid: int, streams: int) -> None:
        self.address = address
        self.pid = pid
        self.streams = streams
        self.draw = random.Random(0)
        self.expected: dict[int, str] = {}
        self.outcomes: Counter[str] = Counter()
        self.first: list[float] = []  # seconds to the first token, of streams
        self.wrong: list[str] = []

    async def learn(self) -> None:
        """What each task is answered alone."""
        visitor = Visitor(*self.address)
        for number in range(TASKS):
            _, body = await visitor.whole("/v1/completions", task(number, False))
            self.expected[number] = json.loads(body)["choices"][0]["text"]
        visitor.leave()

    async def work(self, requests: int) -> None:
        left = iter(range(requests))

        async def visits() -> None:
            visitor = Visitor(*self.address)
            for _ in left:
                await self.visit(visitor)
            visitor.leave()

        await asyncio.gather(*(visits() for _ in range(self.streams)))

    async def visit(self, visitor: Visitor) -> None:
        kind = self.draw.choices(("stream", "whole", "leaves", "malformed"), (70, 10, 15, 5))[0]
        number = self.draw.randrange(TASKS)
        patience = self.draw.random() * 2
        try:
            if kind == "malformed":
                status, _ = await visitor.whole("/v1/completions", self.draw.choice(MALFORMED))
                self.tell(kind, status == 400, f"malformed body: {status}")
            elif kind == "whole":
                _, body = await visitor.whole("/v1/completions", task(number, False))
                self.compare(kind, number, json.loads(body)["choices"][0]["text"])
            elif kind == "leaves":
                try:
                    async with asyncio.timeout(patience):
                        await self.stream(visitor, number)
                    self.outcomes["answered before leaving"] += 1
                except TimeoutError:
                    self.outcomes["left"] += 1
                    visitor.leave()
            else:
                self.compare(kind, number, await self.stream(visitor, number, timed=True))
        except (OSError, EOFError, ValueError, KeyError) as error:
            self.tell(kind, False, f"{kind}: {error!r}")
            visitor.leave()

    async def stream(self, visitor: Visitor, number: int, timed: bool = False) -> str:
        started = time.perf_counter()
        text, ended = "", False
        async for line in visitor.ask("/v1/completions", task(number, True)):
            if line.startswith(b"HTTP/1.1") and b" 200 " not in line:
                raise ValueError(line)
            if line == b"data: [DONE]":
                ended = True
            elif line.startswith(b"data: "):
                if timed:
                    self.first.append(time.perf_counter() - started)
                    timed = False
                text += json.loads(line[6:])["choices"][0]["text"]
        if not ended:
            raise ValueError("the stream ended without [DONE]")
        return text

    def compare(self, kind: str, number: int, text: str) -> None:
        self.tell(kind, text == self.expected[number], f"task {number}: {text!r}, not {self.expected[number]!r}")

    def tell(self, kind: str, right: bool, complaint: str) -> None:
        self.outcomes[f"{kind}: {'as it should be' if right else 'WRONG'}"] += 1
        if not right:
            self.wrong.append(complaint)

    def weigh(self) -> tuple[int, float]:
        """Open descriptors and resident MiB of the server."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        resident = int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))
        return len(os.listdir(f"/proc/{self.pid}/fd")), resident / 1024


async def settle(visitor: Visitor) -> float:
    """Completions the server still holds, after it had time to notice who left."""
    held = 0.0
    for _ in range(100):
        _, body = await visitor.whole("/metrics")
        lines = body.decode().splitlines()
        held = sum(float(line.split()[1]) for line in lines if line.startswith("podium_completions_"))
        if not held:
            break
        await asyncio.sleep(0.1)
    visitor.leave()
    return held


async def listening(address: tuple[str, int]) -> None:
    for _ in range(600):
        try:
            (await asyncio.open_connection(*address))[1].close()
            return
        except OSError:
            await asyncio.sleep(0.1)
    raise TimeoutError("the server does not listen")


async def main(requests: int, streams: int) -> int:
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory() as place:
        make_model(Path(place) / "tiny")
        command = [sys.executable, "-m", "podium", "serve", f"{place}/tiny", "--port", "0", "--max-queue", "4096"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            found = re.search(r"http://([^:]+):(\d+)/v1 ", server.stdout.readline())
            if found is None:
                console.print("the server did not start")
                return 1
            address = found[1], int(found[2])
            await listening(address)
            crowd = Crowd(address, server.pid, streams)
            await crowd.learn()
            weights: list[tuple[int, float]] = []
            started = time.perf_counter()
            held = 0.0
            for _ in range(4):
                await crowd.work(requests // 4)
                held += await settle(Visitor(*address))
                await asyncio.sleep(0.5)
                weights.append(crowd.weigh())
            seconds = time.perf_counter() - started
            server.send_signal(signal.SIGTERM)
            code = server.wait(timeout=60)
        finally:
            server.kill()
            server.wait()
    table = Table(
        title=f"{requests} requests, {streams} at once, {seconds:.0f} s ({requests / seconds:.0f} per second)"
    )
    table.add_column("")
    table.add_column("", justify="right")
    for outcome, count in sorted(crowd.outcomes.items()):
        table.add_row(outcome, str(count))
    parts = statistics.quantiles(crowd.first, n=100)
    table.add_row("time to first token, p50", f"{parts[49]:.3f} s")
    table.add_row("time to first token, p99", f"{parts[98]:.3f} s")
    table.add_row("descriptors after each quarter", " ".join(str(count) for count, _ in weights))
    table.add_row("memory after each quarter, MiB", " ".join(f"{size:.0f}" for _, size in weights))
    table.add_row("completions left behind", f"{held:.0f}")
    table.add_row("exit code of the server", str(code))
    console.print(table)
    for complaint in crowd.wrong[:10]:
        console.print(complaint, markup=False)
    return int(bool(crowd.wrong or held or code or weights[-1][0] > weights[0][0] + 5))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--streams", type=int, default=1_000)
    arguments = parser.parse_args()
    sys.exit(asyncio.run(main(arguments.requests, arguments.streams)))
