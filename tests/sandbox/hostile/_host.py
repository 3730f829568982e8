"""The surroundings of the hostile programs: listeners, a secret, a bystander process, and what became of them.

Knows what a session could harm and how to notice, not what the sandbox is or what the programs do.
"""

from __future__ import annotations

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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGE = os.sysconf("SC_PAGE_SIZE")


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
        return (
            os.getpriority(os.PRIO_PROCESS, pid),
            os.sched_getaffinity(pid),
            os.sched_getscheduler(pid),
            tracer and tracer[1],
            Path(f"/proc/{pid}/limits").read_text(),
        )

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
    text = [
        Path(f"/proc/sysvipc/{kind}").read_text()
        for kind in ("shm", "sem", "msg")
        if Path(f"/proc/sysvipc/{kind}").exists()
    ]
    ours = [name for name in os.listdir("/dev/shm") if "podium_hostile" in name] if Path("/dev/shm").exists() else []
    return "".join(line for t in text for line in t.splitlines() if "7368548" in line) + "".join(ours)


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
            "pid": os.getpid(),
            "victim_pid": self.victim.process.pid,
            "folder": str(self.folder),
            "secret_file": str(self.secret),
            "tcp_port": listeners.tcp_port,
            "udp_port": listeners.udp_port,
            "abstract": listeners.abstract,
            "abstract_datagram": listeners.abstract_datagram,
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
