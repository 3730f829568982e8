"""Run the hostile programs of this folder in one sandbox and write down what they did to the host, as JSON.

    python _driver.py --tier A --report report.json [--only 018,019] [--together 6]

Needs no pytest, so that any user with a readable interpreter can run it. A program is a file NNN_name.py; blocks are
separated by `# %%` (`# %% pause=0.4`: the host waits that long first), and its first comment lines say what is due:

    # limits: wall=0.4                 narrower limits for its session
    # expect: timeout state-lost | ok  the statuses allowed, one set per block (the last set stands for the rest)
    # require: text                    must be in the output of some block      (# require@2: of block 2)
    # forbid: text                     must be in the output of no block        (# forbid@2: of block 2)
    # tier: A                only there
    # effect: processes_bounded        a further effect on the host that is looked at (see EFFECTS)

After every program, whatever it says: the host's listeners have heard nothing, its folder is as it was, the bystander
process is alive and unsignalled, the zygote is the same, a neighbour session still has its variables and answers, no
canary has come out, and the text contains no control or direction characters and keeps to its cap.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from _host import Host, Watch, descendants, ipc_objects

from podium.errors import SandboxUnavailable
from podium.sandbox import Limits, Sandbox

HERE = Path(__file__).resolve().parent
ALWAYS_FORBIDDEN = "ESCAPED"
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
PATIENCE = 90.0  # seconds for one program, however it hangs: the host must never


@dataclass
class Program:
    """One file of this folder."""

    name: str
    blocks: list[str]
    pauses: list[float]
    expect: list[set[str]]
    require: list[tuple[int | None, str]] = field(default_factory=list)
    forbid: list[tuple[int | None, str]] = field(default_factory=list)
    effects: list[str] = field(default_factory=list)
    limits: dict[str, float] = field(default_factory=dict)
    tiers: set[str] = field(default_factory=set)


def read_program(path: Path) -> Program:
    """Raises ValueError for a header this file does not know."""
    text = path.read_text()
    parts = re.split(r"(?m)^# %%(.*)\n", text)
    pauses = [0.0] + [float(m[1]) if (m := re.search(r"pause=([\d.]+)", tail)) else 0.0 for tail in parts[1::2]]
    program = Program(path.stem, parts[0::2], pauses, [{"ok"}])
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        if not (match := re.match(r"# ([a-z]+)(?:@(\d+))?: (.*)", line)):
            continue
        key, block, value = match[1], int(match[2]) - 1 if match[2] else None, match[3]
        match key:
            case "expect":
                program.expect = [set(part.split()) for part in value.split("|")]
            case "require":
                program.require.append((block, value))
            case "forbid":
                program.forbid.append((block, value.encode().decode("unicode_escape")))
            case "effect":
                program.effects += value.split()
            case "limits":
                program.limits = {k: float(v) for k, v in (item.split("=") for item in value.split())}
            case "tier":
                program.tiers = set(value.split())
            case _:
                raise ValueError(f"{path.name}: unknown header {key!r}")
    unknown = set(program.effects) - set(EFFECTS)
    if unknown:
        raise ValueError(f"{path.name}: unknown effect {unknown}")
    return program


def programs() -> Iterator[Program]:
    for path in sorted(HERE.glob("[0-9]*.py")):
        yield read_program(path)


EFFECTS: dict[str, Callable[[Host, Watch, dict[str, int]], str | None]] = {
    "processes_bounded": lambda host, watch, bound: (
        f"{watch.most_processes} processes at once" if watch.most_processes > bound["processes"] else None
    ),
    "threads_bounded": lambda host, watch, bound: (
        f"{watch.most_threads} threads in one process" if watch.most_threads > bound["threads"] else None
    ),
    "rss_bounded": lambda host, watch, bound: (
        f"{watch.most_rss >> 20} MB resident in one process" if watch.most_rss > bound["rss"] else None
    ),
    "mounts_untouched": lambda host, watch, bound: (
        "the host's mounts changed" if Path("/proc/self/mountinfo").read_text() != host.mounts else None
    ),
    "clock_untouched": lambda host, watch, bound: (
        "the host's clock was set" if abs(time.time() - time.monotonic() - host.clock) > 5 else None
    ),
    "ipc_untouched": lambda host, watch, bound: (
        "objects of interprocess communication were left" if ipc_objects() != host.ipc else None
    ),
}


def judge(program: Program, results: list[Any], canary: str, output_cap: int) -> list[str]:
    """What is wrong with what the program's blocks returned."""
    found = []
    for number, result in enumerate(results):
        expected = program.expect[min(number, len(program.expect) - 1)]
        if result.status not in expected:
            found.append(f"block {number + 1}: status {result.status}, expected {' or '.join(sorted(expected))}")
        if bad := CONTROL.search(result.output):
            found.append(f"block {number + 1}: control character {bad[0]!r} came through")
        if len(result.output) > output_cap:
            found.append(f"block {number + 1}: {len(result.output)} characters, cap {output_cap}")
    outputs = [result.output for result in results]
    if (None, "held") in program.require and any(result.dropped_chars for result in results):
        found.append("a part of the output is not shown, so it proves nothing")
    for block, text in program.require:
        if not any(text in output for output in (outputs if block is None else outputs[block : block + 1])):
            found.append(f"{text!r} is missing")
    for block, text in [*program.forbid, (None, ALWAYS_FORBIDDEN), (None, canary)]:
        if any(text in output for output in (outputs if block is None else outputs[block : block + 1])):
            found.append(f"{text!r} is there")
    return found


class Drive:
    """One sandbox, a neighbour session and the programs."""

    def __init__(self, sandbox: Any, host: Host, base: Limits, zygotes: set[int], watch: Watch, together: int) -> None:
        self.sandbox, self.host, self.base, self.zygotes, self.watch = sandbox, host, base, zygotes, watch
        self.slots = asyncio.Semaphore(together)
        self.bound = {
            "processes": len(zygotes) + 2 * together + 24,
            # In tier B the host counts, some times a second; meanwhile the address space holds the number down.
            "threads": base.threads + 8 if sandbox.tier == "A" else 512,
            "rss": base.memory_bytes + (400 << 20),
        }
        self.prelude = host.as_code() + (HERE / "_preamble.py").read_text()
        self.neighbour_turn = asyncio.Lock()
        self.neighbour_count = 0

    async def start(self) -> None:
        self.neighbour = await self.sandbox.open(seed=1)
        result = await self.neighbour.run("count = 0")
        assert result.status == "ok", result

    async def neighbour_harm(self) -> list[str]:
        async with self.neighbour_turn:
            self.neighbour_count += 1
            result = await self.neighbour.run("count += 1\ncount")
            if result.status != "ok" or result.output.strip() != str(self.neighbour_count):
                wanted, self.neighbour_count = self.neighbour_count, 0
                await self.start()
                return [f"the neighbour answered {result.status} {result.output!r}, expected {wanted}"]
        return []

    def zygote_harm(self) -> list[str]:
        return [] if self.zygotes <= set(descendants(os.getpid())) else ["a zygote died"]

    async def run(self, program: Program) -> dict[str, Any]:
        async with self.slots:
            started = time.monotonic()
            try:
                results, failures = await asyncio.wait_for(self._session(program), PATIENCE)
            except TimeoutError:
                results, failures = [], [f"the host was still waiting after {PATIENCE} seconds"]
            failures += self.host.harm() + self.zygote_harm() + await self.neighbour_harm()
            for effect in program.effects:
                if problem := EFFECTS[effect](self.host, self.watch, self.bound):
                    failures.append(problem)
            blocks = [
                {"status": r.status, "output": r.output[-2000:], "wall": r.wall_seconds, "tier": r.tier}
                for r in results
            ]
            return {"blocks": blocks, "failures": failures, "seconds": round(time.monotonic() - started, 2)}

    async def _session(self, program: Program) -> tuple[list[Any], list[str]]:
        limits = replace(self.base, wall_seconds=program.limits.get("wall", self.base.wall_seconds))
        session = await self.sandbox.open(seed=0, limits=limits)
        ready = await session.run(self.prelude)
        for _ in range(3):
            if ready.status != "timeout":
                break
            # A short limit may end the preamble on a machine that is busy.
            await session.close()
            session = await self.sandbox.open(seed=0, limits=limits)
            ready = await session.run(self.prelude)
        if ready.status != "ok" or "preamble ready" not in ready.output:
            await session.close()
            return [], [f"the preamble failed: {ready.status} {ready.output[-600:]}"]
        try:
            results = []
            for code, pause in zip(program.blocks, program.pauses, strict=True):
                await asyncio.sleep(pause)
                results.append(await session.run(code))
            return results, judge(program, results, self.host.canary, self.base.output_chars + 400)
        finally:
            await session.close()


async def drive(tier: str, only: list[str], together: int) -> dict[str, Any]:
    host = Host()
    host_errors: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: host_errors.append(repr(context)))
    try:
        base = Limits(wall_seconds=8.0, cpu_seconds=20.0, memory_bytes=256 << 20, output_chars=20_000)
        async with Sandbox(
            base, warm=("numpy", "sympy"), tier=tier, allow_unsafe=tier == "D", running=together
        ) as sandbox:
            # In tier A the outer process waits for the zygote proper, its only child.
            zygotes = {sandbox.zygote_pid} if tier in "AB" else set()
            if tier == "A":
                zygotes |= {p.pid for p in descendants(os.getpid()).values() if p.parent == sandbox.zygote_pid}
            host.mounts = Path("/proc/self/mountinfo").read_text()
            watch = Watch({host.victim.process.pid})
            watch.start()
            run = Drive(sandbox, host, base, zygotes, watch, together)
            await run.start()
            chosen = [
                p
                for p in programs()
                if (not p.tiers or tier in p.tiers) and (not only or any(p.name.startswith(o) for o in only))
            ]
            reports = await asyncio.gather(*(run.run(program) for program in chosen))
            await run.neighbour.close()
            watch.ended.set()
            watch.join()
        left = set(descendants(os.getpid())) - {host.victim.process.pid}
        return {
            "tier": tier,
            "uid": os.getuid(),
            "programs": dict(zip([p.name for p in chosen], reports, strict=True)),
            "left_processes": sorted(left),
            "host_errors": host_errors,
            "most_rss": watch.most_rss,
            "most_processes": watch.most_processes,
            "most_threads": watch.most_threads,
        }
    finally:
        host.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tier", required=True)
    parser.add_argument("--report", type=Path, required=True)
    parser.add_argument("--only", default="", help="comma-separated beginnings of names")
    parser.add_argument("--together", type=int, default=10)
    arguments = parser.parse_args()
    only = [part for part in arguments.only.split(",") if part]
    try:
        report = asyncio.run(drive(arguments.tier, only, arguments.together))
    except SandboxUnavailable as error:
        report = {"unavailable": str(error)}
    arguments.report.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
