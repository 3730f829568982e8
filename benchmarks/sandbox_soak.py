"""Twenty thousand sandbox sessions, a hundred alive at once, one in ten hostile: does anything stay behind?

    python benchmarks/sandbox_soak.py [--sessions 20000] [--live 100] [--rounds 10] [--tier A] [--json FILE]

The sessions run in rounds. After each round, with every session closed, the processes below this one, the open
descriptors and mounts of host and zygote, and their resident bytes are written down; from the second round on, counts
must be the same and bytes may not grow. Half-way the zygote is killed while all `live` sessions are open: every
session process must be gone within a second, and the sandbox must serve again by itself.

The exit code is 1 when something leaked. Claims nothing about speed: sandbox_vs_peers.py does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path

from podium.sandbox import Limits, Sandbox, Session

PROGRAMS = r"""
## fork bomb
import os, time
for _ in range(100):
    if os.fork() == 0:
        time.sleep(2)
        os._exit(0)
## thread bomb
import threading, time
for _ in range(3000):
    threading.Thread(target=time.sleep, args=(9,)).start()
## memory bomb
hoard = []
for _ in range(300):
    hoard.append(bytearray(b'x' * 10_000_000))
## exit
import os
os._exit(3)
## segmentation fault
import ctypes
ctypes.string_at(0)
## flood
import os
while True:
    os.write(1, b'y' * 65536)
## endless loop
while True:
    pass
## swallowed interrupt
while True:
    try:
        while True:
            pass
    except BaseException:
        pass
## loop in C
import itertools
any(itertools.repeat(0))
## close everything
import os
os.closerange(0, 4096)
## descriptor bomb
import os
kept = []
while True:
    kept += os.pipe()
## scratch filler
import os, tempfile
folder = tempfile.mkdtemp()
for n in range(2000):
    open(f'{folder}/{n}', 'wb').write(bytes(100_000))
## garbage for the host
import os
for fd in range(3, 64):
    try:
        os.write(fd, b'[' * 60_000)
    except OSError:
        pass
## endless print
while True:
    print('x' * 100)
## stopped
import os, signal
os.kill(os.getpid(), signal.SIGSTOP)
while True:
    pass
## left-over thread
import threading
def spin():
    while True:
        pass
threading.Thread(target=spin, daemon=True).start()
"""
HOSTILE = {
    name: code
    for name, _, code in (part.partition("\n") for part in PROGRAMS.strip().removeprefix("## ").split("\n## "))
}
HONEST = ("x = 20\nsum(range(x))", "x += 1\nprint(x)\nx * 2")
HONEST_OUTPUT = ("190", "21\n42")
LIMITS = Limits(wall_seconds=5.0, memory_bytes=128 << 20)
HOSTILE_LIMITS = Limits(wall_seconds=0.3, cpu_seconds=2.0, memory_bytes=128 << 20)
TOGETHER = 16  # sessions being opened, used or closed at the same time
SETTLE_SECONDS = 20.0
GONE_SECONDS = 1.0
BACK_SECONDS = 30.0


@dataclass(frozen=True)
class Sample:
    """What is there while no session is open."""

    sessions: int
    processes: int  # below this one
    host_fds: int
    zygote_fds: int
    host_mounts: int
    zygote_mounts: int
    host_rss_kb: int
    zygote_rss_kb: int

    def counts(self) -> tuple[int, ...]:
        return (self.processes, self.host_fds, self.zygote_fds, self.host_mounts, self.zygote_mounts)


def parents() -> dict[int, int]:
    """pid -> parent's pid of every process on the machine; zombies count, for they are a leak too."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                found[int(entry)] = int(Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
    return found


def below(root: int) -> set[int]:
    everyone = parents()
    found: set[int] = set()
    frontier = {root}
    while frontier:
        frontier = {pid for pid, parent in everyone.items() if parent in frontier} - found
        found |= frontier
    return found


def zygotes(sandbox: Sandbox) -> set[int]:
    """The zygote; in tier A also the outer process that waits for it, the parent of nothing else."""
    outer = sandbox.zygote_pid
    return {outer, *(pid for pid, parent in parents().items() if parent == outer and sandbox.tier == "A")}


def rss_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)


def fds(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def mounts(pid: int) -> int:
    return len(Path(f"/proc/{pid}/mountinfo").read_text().splitlines())


def sample(sandbox: Sandbox, sessions: int) -> Sample:
    me, launchers = os.getpid(), zygotes(sandbox)
    return Sample(
        sessions=sessions,
        processes=len(below(me)),
        host_fds=fds(me),
        zygote_fds=sum(fds(pid) for pid in launchers),
        host_mounts=mounts(me),
        zygote_mounts=sum(mounts(pid) for pid in launchers),
        host_rss_kb=rss_kb(me),
        zygote_rss_kb=sum(rss_kb(pid) for pid in launchers),
    )


async def settled(sandbox: Sandbox, sessions: int, wanted: tuple[int, ...] | None) -> Sample:
    """Wait until the counts stand still (and are `wanted`, if given), or until it is clear that they will not be."""
    deadline = time.monotonic() + SETTLE_SECONDS
    previous = sample(sandbox, sessions)
    while True:
        await asyncio.sleep(0.3)
        now = sample(sandbox, sessions)
        still = now.counts() == previous.counts()
        if (still and wanted in (None, now.counts())) or time.monotonic() > deadline:
            return now
        previous = now


@dataclass
class Tally:
    """What the sessions answered."""

    opened: int = 0
    honest_wrong: int = 0
    most_live: int = 0
    live: int = 0


class Soak:
    """Sessions of one sandbox, honest and hostile, and what they leave behind."""

    def __init__(self, sandbox: Sandbox, live: int, seed: int) -> None:
        self.sandbox, self.live, self.random = sandbox, live, random.Random(seed)
        self.tally = Tally()
        self.open: deque[tuple[Session, bool]] = deque()  # with: whether its variables must still be there
        self.statuses: dict[str, dict[str, int]] = {}
        self.complaints: list[str] = []

    async def round(self, sessions: int) -> None:
        """Run that many sessions; once `live` are open, each new one replaces the oldest."""
        numbers = iter(range(sessions))

        async def worker() -> None:
            for number in numbers:
                while self.tally.live >= self.live:
                    if self.open:
                        await self.finish()
                    else:  # all of them are in the hands of other workers
                        await asyncio.sleep(0.005)
                await self.begin(hostile=number % 10 == 9)

        await asyncio.gather(*(worker() for _ in range(min(TOGETHER, self.live))))
        while self.open:
            await self.finish()

    async def begin(self, hostile: bool) -> None:
        """Open a session and use it; its variables are asked for again when it is closed."""
        self.tally.live += 1
        session = await self.sandbox.open(seed=self.tally.opened, limits=HOSTILE_LIMITS if hostile else None)
        self.tally.opened += 1
        self.tally.most_live = max(self.tally.most_live, self.tally.live)
        if not hostile:
            for code, output in zip(HONEST, HONEST_OUTPUT, strict=True):
                await self.expect(session, code, output)
        else:
            name = self.random.choice(list(HOSTILE))
            result = await session.run(HOSTILE[name])
            seen = self.statuses.setdefault(name, {})
            seen[result.status] = seen.get(result.status, 0) + 1
        self.open.append((session, not hostile))

    async def finish(self) -> None:
        session, honest = self.open.popleft()
        if honest:
            await self.expect(session, "x", "21")
        await session.close()
        self.tally.live -= 1

    async def expect(self, session: Session, code: str, output: str) -> None:
        result = await session.run(code)
        if (result.status, result.output.strip()) != ("ok", output):
            self.tally.honest_wrong += 1
            self.complaints.append(f"an honest block came back as {result.status}: {result.output[-200:]!r}")

    async def kill_zygote(self) -> tuple[float, float]:
        """Seconds until every session process is gone, and until the sandbox answers again."""
        open_now = await asyncio.gather(*(self.sandbox.open(seed=n) for n in range(self.live)))
        await asyncio.gather(*(session.run(HONEST[0]) for session in open_now))
        doomed = below(os.getpid())
        # The process that forks the sessions: in tier A the child of the outer one, in tier B itself.
        launcher = max(zygotes(self.sandbox), key=lambda pid: sum(p == pid for p in parents().values()))
        started = time.monotonic()
        os.kill(launcher, signal.SIGKILL)
        while True:
            everyone = parents()
            alive = {pid for pid in doomed & set(everyone) if not is_zombie(pid)}
            if not alive or time.monotonic() - started > SETTLE_SECONDS:
                break
            await asyncio.sleep(0.01)
        gone = time.monotonic() - started
        if alive:
            self.complaints.append(f"{len(alive)} processes outlived the zygote")
        orphans = await asyncio.gather(*(session.run("x") for session in open_now))
        if wrong := {result.status for result in orphans} - {"crashed", "state-lost"}:
            self.complaints.append(f"sessions without a zygote answered {wrong}")
        await asyncio.gather(*(session.close() for session in open_now))
        session = await asyncio.wait_for(self.sandbox.open(seed=0), BACK_SECONDS)
        result = await session.run(HONEST[0])
        back = time.monotonic() - started
        if result.status != "ok":
            self.complaints.append(f"after the zygote's death a new session answered {result.status}")
        await session.close()
        return gone, back


def is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
    except OSError:
        return True


def compare(samples: list[Sample]) -> list[str]:
    """Leaks between the first of `samples` and the last: any count, and bytes beyond what allocators wander."""
    first, last = samples[0], samples[-1]
    sessions = last.sessions - first.sessions
    found = [
        f"{name} went from {before} to {after}"
        for name, before, after in zip(
            ("processes", "host descriptors", "zygote descriptors", "host mounts", "zygote mounts"),
            first.counts(), last.counts(), strict=True,
        )
        if before != after
    ]  # fmt: skip
    allowance_kb = 8192 + sessions // 2  # half a kilobyte a session is less than one forgotten Python object
    for name in ("host_rss_kb", "zygote_rss_kb"):
        grown = getattr(last, name) - getattr(first, name)
        if grown > allowance_kb:
            found.append(f"{name} grew by {grown} over {sessions} sessions (allowed {allowance_kb})")
    return found


def table(samples: list[Sample]) -> str:
    names = list(asdict(samples[0]))
    rows = [names, *([str(value) for value in asdict(one).values()] for one in samples)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(names))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


@dataclass(frozen=True)
class Report:
    """What the whole run showed; `problems` is empty when nothing leaked and every honest block was right."""

    table: str
    sessions: int
    most_live: int
    honest_wrong: int
    sessions_per_second: float
    gone_seconds: float  # from the zygote's death to the end of its last session
    back_seconds: float  # … to the answer of a new session
    statuses: dict[str, dict[str, int]]
    problems: list[str]


async def soak(sessions: int, live: int, rounds: int, seed: int, tier: str | None) -> Report:
    async with Sandbox(LIMITS, warm=("numpy", "sympy"), tier=tier) as sandbox:
        run = Soak(sandbox, live, seed)
        started = time.monotonic()
        before: list[Sample] = []
        after: list[Sample] = []
        gone = back = 0.0
        for number in range(rounds):
            if number == rounds // 2:
                gone, back = await run.kill_zygote()
            samples = before if number < rounds // 2 else after
            await run.round(sessions // rounds)
            # the first round fills pools and caches: what is there then is the measure for the rest
            samples.append(await settled(sandbox, run.tally.opened, samples[0].counts() if samples else None))
            print(table(samples).splitlines()[-1], file=sys.stderr, flush=True)
        seconds = time.monotonic() - started
    leaks = [*compare(before), *compare(after)]
    if left := below(os.getpid()):
        leaks.append(f"{len(left)} processes after the end")
    if gone > GONE_SECONDS:
        leaks.append(f"sessions outlived their zygote by {gone:.2f} s")
    return Report(
        table=table([*before, *after]),
        sessions=run.tally.opened,
        most_live=run.tally.most_live,
        honest_wrong=run.tally.honest_wrong,
        sessions_per_second=round(run.tally.opened / seconds, 1),
        gone_seconds=round(gone, 3),
        back_seconds=round(back, 3),
        statuses=run.statuses,
        problems=[*leaks, *run.complaints[:20]],
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Soak test of the sandbox.")
    parser.add_argument("--sessions", type=int, default=20_000)
    parser.add_argument("--live", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tier", default=None)
    parser.add_argument("--json", type=Path, default=None)
    arguments = parser.parse_args()
    report = asyncio.run(soak(arguments.sessions, arguments.live, arguments.rounds, arguments.seed, arguments.tier))
    if arguments.json:
        arguments.json.write_text(json.dumps(asdict(report), indent=1))
    print(report.table)
    for key in ("sessions", "most_live", "honest_wrong", "sessions_per_second", "gone_seconds", "back_seconds"):
        print(f"{key:20} {getattr(report, key)}")
    for name, seen in sorted(report.statuses.items()):
        print(f"  {name:22} {seen}")
    for problem in report.problems:
        print(f"PROBLEM {problem}")
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
