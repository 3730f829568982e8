"""The load of a contest: many attempts at each problem, pauses for code, stragglers cancelled.

    benchmarks/peers/install.sh vllm
    python benchmarks/contest_load.py [--systems podium-fp16,vllm-fp32,...] [--threads 2] [--json FILE]

8 problems with prompts of 128 tokens arrive at once, 12 attempts each, at temperature 0.8. An attempt writes 300 to 700
tokens in total and pauses at every "!" (one token in 200 has one) for a tool that takes 20 to 200 ms and gives 30
tokens; when 9 attempts of a problem are done, the other 3 are cancelled. Lengths and delays are drawn per attempt from
one seed and are the same for every system, the tokens are each system's own.

Podium's engine is driven through start, extend and cancel in this process; vLLM through the OpenAI API of its server,
streaming, with token ids, stop strings and prefix cache on its side, a new request with the whole context after each
pause, and the connection closed to cancel. Both have 1 GiB for keys and values. Every attempt of Podium is seeded;
those of vLLM only with --peer-seeds, since its CPU engine died of them ("CPU Generator does not use offset").

Useful tokens are those of attempts that came to their end. "recomputed" counts tokens that went through the model more
often than an engine needs that shares prompts and keeps what paused.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx
from peers.environments import HOME, interpreter, missing
from peers.models import VOCABULARY, build

from podium.answering import Completer, Completion, CompletionUsage, Piece, Prompt, Sampling
from podium.generate import Engine
from podium.text import Tokenizer

PROBLEMS, ATTEMPTS, ENOUGH = 8, 12, 9
PROMPT, TOOL = 128, 30
KV_BYTES = 1 << 30


@dataclass(slots=True)
class Load:
    """What one system did with the load."""

    system: str
    wall: float = 0.0
    done: int = 0
    cancelled: int = 0
    pauses: int = 0
    useful: int = 0  # tokens of attempts that came to their end
    usages: list[CompletionUsage] = field(default_factory=list)

    @property
    def recomputed(self) -> int:
        """Every token but an attempt's last has to go through the model once, a problem's prompt once for all."""
        needed = PROBLEMS * PROMPT + sum(u.completion_tokens + u.appended_tokens - 1 for u in self.usages)
        return max(0, sum(usage.computed_tokens for usage in self.usages) - needed)


async def attempt(completer: Completer, prompt: list[int], number: int, load: Load) -> None:
    draw = random.Random(number)
    sampling = Sampling(max_tokens=draw.randint(300, 700), temperature=0.8, seed=number, stop=("!",), ignore_eos=True)
    completion = await completer.start(prompt, sampling)
    finished = False
    try:
        while True:
            pieces = [piece async for piece in completion]
            if pieces[-1].finish != "stop":
                break
            load.pauses += 1
            await asyncio.sleep(draw.uniform(0.02, 0.2))
            await completion.extend(" ".join(f"w{draw.randrange(2, VOCABULARY - 1000)}" for _ in range(TOOL)))
        finished = True
    finally:
        usage = await completion.cancel()
        load.usages.append(usage)
        load.done += finished
        load.cancelled += not finished
        load.useful += usage.completion_tokens * finished


async def problem(completer: Completer, number: int, load: Load) -> None:
    draw = random.Random(1_000_000 + number)
    prompt = [draw.randrange(2, VOCABULARY - 1000) for _ in range(PROMPT)]
    running = {asyncio.create_task(attempt(completer, prompt, ATTEMPTS * number + i, load)) for i in range(ATTEMPTS)}
    while len(running) > ATTEMPTS - ENOUGH:
        done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    for task in running:
        task.cancel()
    outcomes = await asyncio.gather(*running, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Exception):  # not its being cancelled
            raise outcome


async def contest(system: str, completer: Completer) -> Load:
    # Other prompts first, so that shapes are compiled and caches are warm but know nothing of the load.
    await asyncio.gather(*[problem(completer, 100 + number, Load(system)) for number in range(2)])
    load = Load(system)
    begun = time.perf_counter()
    await asyncio.gather(*[problem(completer, number, load) for number in range(PROBLEMS)])
    load.wall = time.perf_counter() - begun
    return load


class VllmCompletion:
    """One attempt over vLLM's API. Implements Completion with whole stretches as pieces."""

    def __init__(self, completer: VllmCompleter, prompt: list[int], sampling: Sampling) -> None:
        self.completer = completer
        self.context = list(prompt)
        self.sampling = sampling
        self.usage = CompletionUsage(prompt_tokens=len(prompt))
        self.fresh = 0  # tokens of the context that no request has computed yet, the problem's prompt left out

    async def __aiter__(self) -> AsyncIterator[Piece]:
        body: dict[str, Any] = {
            "model": self.completer.name,
            "prompt": self.context,
            "max_tokens": self.sampling.max_tokens - self.usage.completion_tokens,
            "temperature": self.sampling.temperature,
            "stop": list(self.sampling.stop),
            "include_stop_str_in_output": True,
            "ignore_eos": self.sampling.ignore_eos,
            "return_token_ids": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if self.completer.seeded:
            body["seed"] = self.sampling.seed
        sent, written, computed, reason = len(self.context), 0, None, None
        try:
            async with self.completer.client.stream("POST", "/v1/completions", json=body) as response:
                if response.status_code != 200:
                    raise RuntimeError((await response.aread()).decode())
                async for line in response.aiter_lines():
                    if not line.startswith("data: {"):
                        continue
                    event = json.loads(line[6:])
                    if "error" in event:
                        raise RuntimeError(event["error"])
                    for choice in event["choices"]:
                        tokens = choice.get("token_ids") or []
                        self.context += tokens
                        written += len(tokens)
                        reason = choice["finish_reason"] or reason
                    if event.get("usage"):
                        details = event["usage"].get("prompt_tokens_details") or {}
                        computed = sent - (details.get("cached_tokens") or 0) + event["usage"]["completion_tokens"] - 1
        finally:
            self.usage.completion_tokens += written
            # Of a stream that was closed nothing is reported: count it as if nothing had been recomputed.
            self.usage.computed_tokens += self.fresh + max(0, written - 1) if computed is None else computed
        if reason is None:
            raise RuntimeError("vLLM's answer broke off")
        over = self.usage.completion_tokens >= self.sampling.max_tokens
        yield Piece("", finish="stop" if reason == "stop" and not over else "length")

    async def extend(self, text: str) -> None:
        tokens = self.completer.vocabulary.encode(text)
        self.context += tokens
        self.fresh = 1 + len(tokens)
        self.usage.appended_tokens += len(tokens)

    async def cancel(self) -> CompletionUsage:
        return self.usage  # leaving the iteration has closed the connection


class VllmCompleter(Completer):
    """Implements Completer over a server of vLLM."""

    def __init__(self, url: str, model: str, tokenizer: Tokenizer, seeded: bool) -> None:
        self.name = model
        self.vocabulary = tokenizer
        self.seeded = seeded
        self.client = httpx.AsyncClient(base_url=url, timeout=600, limits=httpx.Limits(max_connections=None))

    async def start(self, prompt: Prompt, sampling: Sampling) -> Completion:
        return VllmCompletion(self, [token for token in prompt if isinstance(token, int)], sampling)

    async def close(self) -> None:
        await self.client.aclose()


@asynccontextmanager
async def vllm(folder: Path, format: str, threads: int, seeded: bool) -> AsyncIterator[Completer]:
    """A server of vLLM for as long as it is needed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    python = interpreter("vllm")
    command = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--model", str(folder), "--dtype", {"fp32": "float32", "bf16": "bfloat16"}[format]]
    command += ["--max-model-len", "2048", "--max-num-seqs", str(PROBLEMS * ATTEMPTS), "--block-size", "32"]
    # Fewer, larger messages: less work for its server and for this client on the same cores.
    command += ["--enable-prefix-caching", "--enable-prompt-tokens-details", "--stream-interval", "8"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
        "VLLM_CPU_KVCACHE_SPACE": str(KV_BYTES >> 30),
        "VLLM_CPU_OMP_THREADS_BIND": f"0-{threads - 1}",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        "PATH": f"{python.parent}:{os.environ['PATH']}",
    }
    log = Path(tempfile.mkdtemp(prefix="contest_load-")) / "vllm.log"
    print(f"vllm-{format}: starting, log in {log}", flush=True)
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
    completer = VllmCompleter(f"http://127.0.0.1:{port}", str(folder), Tokenizer.load(folder), seeded)
    try:
        while True:
            if server.poll() is not None:
                raise RuntimeError(f"vLLM did not start: see {log}")
            try:
                if (await completer.client.get("/health")).status_code == 200:
                    break
            except httpx.TransportError:
                await asyncio.sleep(1)
        yield completer
    finally:
        await completer.close()
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@asynccontextmanager
async def podium(folder: Path, format: str, threads: int) -> AsyncIterator[Completer]:
    engine = Engine.load(folder, threads=threads, max_rows=PROBLEMS * ATTEMPTS, memory_bytes=KV_BYTES, format=format)
    try:
        yield engine
    finally:
        await engine.close()


async def main(systems: list[str], threads: int, peer_seeds: bool, output: Path | None) -> None:
    folder = build("tiny50m", HOME / "models" / "tiny50m")
    loads: list[Load] = []
    for system in systems:
        name, _, format = system.partition("-")
        try:
            if name == "podium":
                opened = podium(folder, format, threads)
            elif reason := missing("vllm"):
                raise RuntimeError(reason)
            else:
                opened = vllm(folder, format, threads, peer_seeds)
            async with opened as completer:
                loads.append(await contest(system, completer))
        except Exception as error:
            print(f"{system}: skipped: {type(error).__name__}: {error}", flush=True)
            continue
        show(loads[-1])
    peers = [load for load in loads if not load.system.startswith("podium")]
    if peers:
        best = max(peers, key=lambda load: load.useful / load.wall)
        for load in loads:
            if load not in peers:
                ratio = load.useful / load.wall / (best.useful / best.wall)
                print(f"{load.system} / {best.system}: {ratio:.2f}")
    if output:
        output.write_text(json.dumps([asdict(load) for load in loads], indent=1))


def show(load: Load) -> None:
    written = sum(usage.completion_tokens for usage in load.usages)
    print(
        f"{load.system:14} {load.useful / load.wall:7.0f} useful tok/s ({written / load.wall:.0f} with the cancelled) "
        f"in {load.wall:.1f} s; {load.done} done, {load.cancelled} cancelled, {load.pauses} pauses, "
        f"{load.recomputed} tokens recomputed",
        flush=True,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", default="podium-fp32,podium-fp16,podium-bf16,podium-int8,vllm-fp32,vllm-bf16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peer-seeds", action="store_true", help="send seeds to vLLM too")
    parser.add_argument("--json", type=Path, help="also write the loads there")
    options = parser.parse_args()
    asyncio.run(main(options.systems.split(","), options.threads, options.peer_seeds, options.json))
