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
from pathlib import Path
from typing import Any

import httpx
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
    b'{"prompt": "x", "nothing": 1}',
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


def task(number: int, stream: bool) -> dict[str, Any]:
    return {
        "prompt": f"What is {number} + {number * 7 % 31}?",
        "seed": number,
        "temperature": 1.0,
        "max_tokens": TOKENS,
        "stream": stream,
    }


class Crowd:
    """`streams` clients that ask one thing after the other until `requests` are spent."""

    def __init__(self, url: str, pid: int, streams: int) -> None:
        self.url = url
        self.pid = pid
        self.streams = streams
        self.draw = random.Random(0)
        self.expected: dict[int, str] = {}
        self.outcomes: Counter[str] = Counter()
        self.first: list[float] = []  # seconds to the first token, of streams
        self.wrong: list[str] = []

    async def learn(self, client: httpx.AsyncClient) -> None:
        """What each task is answered alone."""
        for number in range(TASKS):
            response = await client.post("/v1/completions", json=task(number, False))
            self.expected[number] = response.json()["choices"][0]["text"]

    async def work(self, client: httpx.AsyncClient, requests: int) -> None:
        left = iter(range(requests))

        async def visitor() -> None:
            for _ in left:
                await self.visit(client)

        await asyncio.gather(*(visitor() for _ in range(self.streams)))

    async def visit(self, client: httpx.AsyncClient) -> None:
        kind = self.draw.choices(("stream", "whole", "leaves", "malformed"), (70, 10, 15, 5))[0]
        number = self.draw.randrange(TASKS)
        patience = self.draw.random() * 2
        try:
            if kind == "malformed":
                response = await client.post("/v1/completions", content=self.draw.choice(MALFORMED))
                self.tell(kind, response.status_code == 400, f"malformed body: {response.status_code}")
            elif kind == "whole":
                response = await client.post("/v1/completions", json=task(number, False))
                self.compare(kind, number, response.json()["choices"][0]["text"])
            elif kind == "leaves":
                try:
                    async with asyncio.timeout(patience):
                        await self.stream(client, number)
                    self.outcomes["answered before leaving"] += 1
                except TimeoutError:
                    self.outcomes["left"] += 1
            else:
                self.compare(kind, number, await self.stream(client, number, timed=True))
        except (httpx.HTTPError, ValueError, KeyError) as error:
            self.tell(kind, False, f"{kind}: {error!r}")

    async def stream(self, client: httpx.AsyncClient, number: int, timed: bool = False) -> str:
        started = time.perf_counter()
        text, ended = "", False
        async with client.stream("POST", "/v1/completions", json=task(number, True)) as response:
            if response.status_code != 200:
                raise ValueError(f"status {response.status_code}")
            async for line in response.aiter_lines():
                if line == "data: [DONE]":
                    ended = True
                elif line.startswith("data: "):
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


async def settle(client: httpx.AsyncClient) -> float:
    """Completions the server still holds, after it had time to notice who left."""
    held = 0.0
    for _ in range(100):
        lines = (await client.get("/metrics")).text.splitlines()
        held = sum(float(line.split()[1]) for line in lines if line.startswith("podium_completions_"))
        if not held:
            break
        await asyncio.sleep(0.1)
    return held


async def main(requests: int, streams: int) -> int:
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory() as place:
        make_model(Path(place) / "tiny")
        command = [sys.executable, "-m", "podium", "serve", f"{place}/tiny", "--port", "0", "--max-queue", "4096"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            found = re.search(r"(http://\S+)/v1 ", server.stdout.readline())
            if found is None:
                console.print("the server did not start")
                return 1
            crowd = Crowd(found[1], server.pid, streams)
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=streams)
            weights: list[tuple[int, float]] = []
            transport = httpx.AsyncHTTPTransport(limits=limits, retries=20)  # it may not listen yet
            async with httpx.AsyncClient(transport=transport, base_url=found[1], timeout=300) as client:
                await crowd.learn(client)
            started = time.perf_counter()
            held = 0.0
            for _ in range(4):
                async with httpx.AsyncClient(limits=limits, base_url=found[1], timeout=300) as client:
                    await crowd.work(client, requests // 4)
                    held += await settle(client)
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
