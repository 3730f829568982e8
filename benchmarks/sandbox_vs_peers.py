"""How quickly isolated sessions start and answer, and what they weigh, beside what is used today without isolation.

    python benchmarks/sandbox_vs_peers.py [--sessions 100] [--repeats 50] [--tier A] [--json FILE]

In one run: our sessions; a cold `python -c "import numpy, sympy"`; an ipykernel; and a process per session over a
multiprocessing pipe, in the manner of servers that keep one shell per session. All of them on the same machine, one
after the other, with numpy and sympy imported. Memory is what is private to a process (Private_Clean + Private_Dirty)
after a call of sympy. Claims nothing about isolation: tests/sandbox does.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from peers.environments import interpreter, missing

from podium.sandbox import Limits, Sandbox, Session

BLOCK = "print(1 + 1)"
SOLVE = "x = sympy.symbols('x')\nprint(sympy.solve(x**2 - 3, x))"
SYMPY = "import sympy\nprint(sympy.factorint(2**64 + 1))"
TARGETS: dict[str, tuple[str, float]] = {
    "ready session + first block, p50 ms": ("<=", 10.0),
    "later block, p50 ms": ("<=", 1.0),
    "blocks per second over the live sessions": (">=", 300.0),
    "private MB of a session after sympy": ("<=", 8.0),
    "cold start / ready session + first block": (">=", 100.0),
    "ipykernel memory / session memory": (">=", 10.0),
}


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]


def private_megabytes(pid: int) -> float:
    """Private_Clean + Private_Dirty of a process, in MB of 10^6 bytes."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_")) * 1024 / 1e6


def weigh(pids: set[int]) -> list[float]:
    """Private MB of each process that still exists, lightest first: a session just closed may go meanwhile."""
    weights = []
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            weights.append(private_megabytes(pid))
    return sorted(weights)


def sessions_of(zygote: int) -> list[int]:
    """Process ids of the sessions: the leaves of the tree under the zygote."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])

    def below(pid: int) -> bool:
        while pid in parents and pid != zygote:
            pid = parents[pid]
        return pid == zygote

    return [pid for pid in parents if pid != zygote and below(pid) and pid not in parents.values()]


async def measure_ours(count: int, repeats: int, tier: str | None) -> dict[str, float]:
    found: dict[str, float] = {}
    started = time.perf_counter()
    async with Sandbox(Limits(wall_seconds=30.0), tier=tier, ready=8) as sandbox:
        found["sandbox start, s"] = time.perf_counter() - started
        print(f"tier {sandbox.tier}")
        first, later = [], []
        for _ in range(repeats):
            await asyncio.sleep(0.1)  # the pool fills again between problems
            started = time.perf_counter()
            session = await sandbox.open()
            await expect(session, BLOCK, "2\n")
            first.append((time.perf_counter() - started) * 1e3)
            for _ in range(20):
                started = time.perf_counter()
                await expect(session, BLOCK, "2\n")
                later.append((time.perf_counter() - started) * 1e3)
            await session.close()
        for name, values in (("ready session + first block", first), ("later block", later)):
            found[f"{name}, p50 ms"] = statistics.median(values)
            found[f"{name}, p99 ms"] = percentile(values, 0.99)

        started = time.perf_counter()
        sessions = [await sandbox.open() for _ in range(count)]
        found["sessions opened in a burst, per s"] = count / (time.perf_counter() - started)
        started = time.perf_counter()
        rounds = 10
        for _ in range(rounds):
            await asyncio.gather(*(expect(session, BLOCK, "2\n") for session in sessions))
        found["blocks per second over the live sessions"] = rounds * count / (time.perf_counter() - started)

        pool = set(sessions_of(sandbox.zygote_pid))
        await asyncio.gather(*(expect(session, SYMPY, "{274177: 1, 67280421310721: 1}\n") for session in sessions))
        weights = weigh(pool)
        # The lightest belong to the pool, which ran nothing.
        found["private MB of a session after sympy"] = statistics.median(weights[-count:])
        found["private MB of a session that waits"] = weights[0]
        await asyncio.gather(*(expect(session, SOLVE, "[-sqrt(3), sqrt(3)]\n") for session in sessions))
        weights = weigh(pool)
        found["private MB of a session after sympy.solve too"] = statistics.median(weights[-count:])
    return found


async def expect(session: Session, code: str, output: str) -> None:
    result = await session.run(code)
    if (result.status, result.output) != ("ok", output):
        raise SystemExit(f"a session answered {result}")


def measure_cold(repeats: int) -> dict[str, float]:
    values = []
    for _ in range(repeats):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", f"import numpy, sympy; {BLOCK}"], check=True, stdout=subprocess.DEVNULL)
        values.append((time.perf_counter() - started) * 1e3)
    return {"cold python, numpy and sympy, p50 ms": statistics.median(values)}


def measure_ipykernel() -> dict[str, float]:
    """The kernel and its client, both in ipykernel's own environment."""
    if reason := missing("ipykernel"):
        print(f"ipykernel: skipped: {reason}")
        return {}
    command = [str(interpreter("ipykernel")), __file__, "--as-ipykernel"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def run_ipykernel() -> dict[str, float]:
    from jupyter_client.manager import KernelManager  # pyright: ignore[reportMissingImports]

    manager = KernelManager()
    started = time.perf_counter()
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        ready = (time.perf_counter() - started) * 1e3

        def run(code: str) -> None:
            client.execute_interactive(code, timeout=60, output_hook=lambda message: None)

        run("import numpy, sympy")
        imported = (time.perf_counter() - started) * 1e3
        values = timed(lambda: run(BLOCK), 50)
        run(SYMPY)
        pid = manager.provisioner.process.pid  # type: ignore[union-attr]
        return {
            "ipykernel ready, ms": ready,
            "ipykernel ready with numpy and sympy, ms": imported,
            "ipykernel block, p50 ms": statistics.median(values),
            "ipykernel private MB after sympy": private_megabytes(pid),
        }
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def timed(work: Callable[[], object], repeats: int) -> list[float]:
    values = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        values.append((time.perf_counter() - started) * 1e3)
    return values


def shell(connection: Connection) -> None:
    """The other end of a session of the third peer: exec in one namespace, output back as a pickled string."""
    import numpy  # noqa: F401
    import sympy  # noqa: F401

    space: dict[str, Any] = {}
    while (code := connection.recv()) is not None:
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            exec(code, space)
        connection.send(output.getvalue())


def measure_pipe() -> dict[str, float]:
    context = multiprocessing.get_context("spawn")
    starts, blocks, weights = [], [], []
    for _ in range(3):
        started = time.perf_counter()
        ours, theirs = context.Pipe()
        process = context.Process(target=shell, args=(theirs,), daemon=True)
        process.start()

        def ask(code: str, connection: Connection = ours) -> str:
            connection.send(code)
            return connection.recv()

        ask(BLOCK)
        starts.append((time.perf_counter() - started) * 1e3)
        blocks += timed(lambda ask=ask: ask(BLOCK), 100)
        ask(SYMPY)
        weights.append(private_megabytes(process.pid or 0))
        ours.send(None)
        process.join()
    return {
        "process and pipe: start + first block, p50 ms": statistics.median(starts),
        "process and pipe: block, p50 ms": statistics.median(blocks),
        "process and pipe: private MB after sympy": statistics.median(weights),
    }


def ratios(found: dict[str, float]) -> dict[str, float]:
    first, memory = found["ready session + first block, p50 ms"], found["private MB of a session after sympy"]
    pairs = {
        "cold start / ready session + first block": ("cold python, numpy and sympy, p50 ms", first),
        "ipykernel start / ready session + first block": ("ipykernel ready with numpy and sympy, ms", first),
        "ipykernel block / later block": ("ipykernel block, p50 ms", found["later block, p50 ms"]),
        "ipykernel memory / session memory": ("ipykernel private MB after sympy", memory),
        "process and pipe start / ready session + first block": (
            "process and pipe: start + first block, p50 ms",
            first,
        ),
        "process and pipe memory / session memory": ("process and pipe: private MB after sympy", memory),
    }
    return {name: found[peer] / ours for name, (peer, ours) in pairs.items() if peer in found}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sessions", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--tier", choices=["A", "B"])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--as-ipykernel", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.as_ipykernel:
        print(json.dumps(run_ipykernel()))
        return 0
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}")
    found = asyncio.run(measure_ours(options.sessions, options.repeats, options.tier))
    found |= measure_cold(5)
    found |= measure_ipykernel()
    found |= measure_pipe()
    found |= ratios(found)
    missed = 0
    for name, value in found.items():
        verdict = ""
        if name in TARGETS:
            sign, target = TARGETS[name]
            met = value <= target if sign == "<=" else value >= target
            missed += not met
            verdict = f"  target {sign} {target:g}: {'met' if met else 'MISSED'}"
        print(f"{name:55s} {value:10.2f}{verdict}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
