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
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from podium.errors import SandboxUnavailable
from podium.sandbox import Limits, Sandbox

HERE = Path(__file__).resolve().parent
ALWAYS_FORBIDDEN = "ESCAPED"
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
PAGE = os.sysconf("SC_PAGE_SIZE")
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


# --- what the host puts up as targets -----------------------------------------------------------------------------


class Listeners:
    """Every door of the loopback that a session could knock at; `heard` lists what came in."""

    def __init__(self, folder: Path) -> None:
        self.heard: list[str] = []
        token = secrets.token_hex(6)
        self.abstract, self.abstract_datagram = f"podium-{token}-s", f"podium-{token}-d"
        self.unix_path = str(folder / "socket")
        self.sockets = {
            "tcp": self._open(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
            "udp": self._open(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
            "abstract": self._open(socket.AF_UNIX, socket.SOCK_STREAM, "\0" + self.abstract),
            "abstract datagram": self._open(socket.AF_UNIX, socket.SOCK_DGRAM, "\0" + self.abstract_datagram),
            "path": self._open(socket.AF_UNIX, socket.SOCK_STREAM, self.unix_path),
        }
        os.chmod(self.unix_path, 0o777)
        self.tcp_port = self.sockets["tcp"].getsockname()[1]
        self.udp_port = self.sockets["udp"].getsockname()[1]

    @staticmethod
    def _open(family: int, kind: int, address: Any) -> socket.socket:
        sock = socket.socket(family, kind)
        sock.bind(address)
        sock.setblocking(False)
        if kind == socket.SOCK_STREAM:
            sock.listen(64)
        return sock

    def listen(self) -> list[str]:
        for name, sock in self.sockets.items():
            while True:
                try:
                    if sock.type == socket.SOCK_STREAM:
                        connection, _ = sock.accept()
                        connection.close()
                    else:
                        sock.recv(4096)
                except BlockingIOError:
                    break
                self.heard.append(name)
        return self.heard

    def prove(self) -> None:
        """The doors do open for a process that is not locked in: a test that cannot fail would be worthless."""
        for name in ("tcp", "abstract", "path"):
            sock = self.sockets[name]
            with socket.socket(sock.family, sock.type) as client:
                client.connect(sock.getsockname())
        for name in ("udp", "abstract datagram"):
            sock = self.sockets[name]
            with socket.socket(sock.family, sock.type) as client:
                client.sendto(b"hello", sock.getsockname())
        assert sorted(self.listen()) == sorted(self.sockets), f"listeners are deaf: {self.heard}"
        self.heard.clear()

    def close(self) -> None:
        for sock in self.sockets.values():
            sock.close()


VICTIM = """
import os, signal, sys, time
for number in (signal.SIGURG, signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1, signal.SIGCONT):
    signal.signal(number, lambda n, f: os.write(1, b"%d\\n" % n))
os.write(1, b"ready\\n")
while True:
    time.sleep(3600)
"""


class Victim:
    """A process of the same user outside the sandbox; it writes down every signal that reaches it."""

    def __init__(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", VICTIM], stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.pipe = self.process.stdout.fileno()
        assert os.read(self.pipe, 64) == b"ready\n"
        os.set_blocking(self.pipe, False)
        self.process.send_signal(signal.SIGURG)  # it does notice
        deadline = time.monotonic() + 10
        while not (seen := self._read()) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert seen == f"{int(signal.SIGURG)}\n", seen
        self.before = self._facts()

    def _read(self) -> str:
        try:
            return os.read(self.pipe, 4096).decode()
        except BlockingIOError:
            return ""

    def _facts(self) -> tuple[Any, ...]:
        pid = self.process.pid
        status = Path(f"/proc/{pid}/status").read_text()
        tracer = re.search(r"TracerPid:\s+(\d+)", status)
        return (os.getpriority(os.PRIO_PROCESS, pid), os.sched_getaffinity(pid), os.sched_getscheduler(pid),
                tracer and tracer[1], Path(f"/proc/{pid}/limits").read_text())

    def harm(self) -> list[str]:
        if self.process.poll() is not None:
            return [f"the bystander process died: {self.process.returncode}"]
        found = []
        if signals := self._read():
            found.append(f"signals reached the bystander: {signals.split()}")
        state = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        if state in "TtZX":
            found.append(f"the bystander is in state {state}")
        if self._facts() != self.before:
            found.append(f"priority, affinity, limits or tracer of the bystander changed: {self._facts()}")
        return found

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


# --- looking at processes -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Process:
    pid: int
    parent: int
    threads: int
    rss: int  # bytes


def processes() -> dict[int, Process]:
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            fields = Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        found[int(entry)] = Process(int(entry), int(fields[1]), int(fields[17]), int(fields[21]) * PAGE)
    return found


def descendants(root: int) -> dict[int, Process]:
    """All processes below `root`, itself excluded."""
    everyone = processes()
    children: dict[int, list[int]] = {}
    for process in everyone.values():
        children.setdefault(process.parent, []).append(process.pid)
    found, queue = {}, list(children.get(root, ()))
    while queue:
        pid = queue.pop()
        found[pid] = everyone[pid]
        queue += children.get(pid, ())
    return found


class Watch(threading.Thread):
    """Samples the sandbox's processes: the most there were at once, the most threads and bytes in one of them."""

    def __init__(self, ignore: set[int], interval: float = 0.05) -> None:
        super().__init__(daemon=True)
        self.ignore, self.interval = ignore, interval
        self.most_processes = self.most_threads = self.most_rss = 0
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(self.interval):
            now = [p for p in descendants(os.getpid()).values() if p.pid not in self.ignore]
            self.most_processes = max(self.most_processes, len(now))
            self.most_threads = max([self.most_threads, *(p.threads for p in now)])
            self.most_rss = max([self.most_rss, *(p.rss for p in now)])


def ipc_objects() -> str:
    text = [Path(f"/proc/sysvipc/{kind}").read_text() for kind in ("shm", "sem", "msg") if
            Path(f"/proc/sysvipc/{kind}").exists()]
    ours = [name for name in os.listdir("/dev/shm") if "podium_hostile" in name] if Path("/dev/shm").exists() else []
    return "".join(line for t in text for line in t.splitlines() if "7368548" in line) + "".join(ours)


# --- the host -----------------------------------------------------------------------------------------------------


class Host:
    """Everything around the sandbox that must come out unharmed."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="podium-host-", dir="/tmp"))
        self.folder.chmod(0o777)
        self.canary = secrets.token_hex(16)
        self.secret = self.folder / "secret.txt"
        self.secret.write_text(self.canary)
        self.secret.chmod(0o666)
        os.environ["PODIUM_CANARY"] = self.canary
        self.listeners = Listeners(self.folder)
        self.listeners.prove()
        self.victim = Victim()
        self.files = self._files()
        self.mounts = Path("/proc/self/mountinfo").read_text()
        self.name = os.uname().nodename
        self.own = (os.getpriority(os.PRIO_PROCESS, 0), os.sched_getaffinity(0))
        self.ipc = ipc_objects()
        self.clock = time.time() - time.monotonic()

    def _files(self) -> dict[str, str]:
        return {p.name: p.read_text() if p.is_file() else "-" for p in sorted(self.folder.iterdir())}

    def as_code(self) -> str:
        """The block that tells a session where the targets are. The secret's content is not in it."""
        listeners = self.listeners
        values = {
            "pid": os.getpid(), "victim_pid": self.victim.process.pid, "folder": str(self.folder),
            "secret_file": str(self.secret), "tcp_port": listeners.tcp_port, "udp_port": listeners.udp_port,
            "abstract": listeners.abstract, "abstract_datagram": listeners.abstract_datagram,
            "unix_path": listeners.unix_path,
        }
        return f"import types\nhost = types.SimpleNamespace(**{values!r})\n"

    def harm(self) -> list[str]:
        found = self.victim.harm()
        if heard := self.listeners.listen():
            found.append(f"connections arrived: {heard}")
        if (files := self._files()) != self.files:
            found.append(f"the host's folder changed: {sorted(files)}")
        if os.uname().nodename != self.name:
            found.append("the host's name changed")
        if (os.getpriority(os.PRIO_PROCESS, 0), os.sched_getaffinity(0)) != self.own:
            found.append("the host's priority or affinity changed")
        return found

    def close(self) -> None:
        self.listeners.close()
        self.victim.close()
        shutil.rmtree(self.folder)


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
            "threads": base.threads + 8,
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
                {"status": r.status, "output": r.output[-2000:], "wall": r.wall_seconds, "tier": r.tier} for r in results
            ]
            return {"blocks": blocks, "failures": failures, "seconds": round(time.monotonic() - started, 2)}

    async def _session(self, program: Program) -> tuple[list[Any], list[str]]:
        limits = replace(self.base, wall_seconds=program.limits.get("wall", self.base.wall_seconds))
        for _ in range(3):  # a short limit may end the preamble on a machine that is busy
            session = await self.sandbox.open(seed=0, limits=limits)
            ready = await session.run(self.prelude)
            if ready.status != "timeout":
                break
            await session.close()
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
        async with Sandbox(base, warm=("numpy", "sympy"), tier=tier, allow_unsafe=tier == "D", running=together) as sandbox:
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
                p for p in programs()
                if (not p.tiers or tier in p.tiers) and (not only or any(p.name.startswith(o) for o in only))
            ]
            reports = await asyncio.gather(*(run.run(program) for program in chosen))
            await run.neighbour.close()
            watch.ended.set()
            watch.join()
        left = set(descendants(os.getpid())) - {host.victim.process.pid}
        return {
            "tier": tier, "uid": os.getuid(), "programs": dict(zip([p.name for p in chosen], reports, strict=True)),
            "left_processes": sorted(left), "host_errors": host_errors, "most_rss": watch.most_rss, "most_processes": watch.most_processes,
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
