"""Taking rights away: what the zygote and each session do to themselves, in this order.

Knows the order and why; the calls are in syscalls, the rules in landlock and seccomp. Every step either works or raises
StepFailed with its name: nothing goes on weaker than asked. Tier A: namespaces, Landlock, seccomp. Tier B: Landlock,
seccomp.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from podium.sandbox import landlock, rlimits, seccomp, syscalls
from podium.sandbox.syscalls import CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER, CLONE_NEWUTS

NOBODY = 65534
SCRATCH = "/tmp"
"""Where a session's own files go; tier A only."""
_MOVED = "/host"
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
_EVERY_DESCRIPTOR = 1 << 20
_OOM_SCORE = "500"
_PATH_ONLY = os.O_PATH | os.O_CLOEXEC


def inside(path: str) -> str:
    """Where the root of tier A shows a file or folder of the host: at its own place, or below /host what lies in /tmp,
    which the session's own /tmp would hide."""
    return _MOVED + path if path == SCRATCH or path.startswith(f"{SCRATCH}/") else path


class StepFailed(Exception):
    """A step of the confinement did not work; nothing was run."""

    def __init__(self, step: str, reason: str) -> None:
        super().__init__(f"{step}: {reason}")
        self.step = step
        self.reason = reason


@contextmanager
def step(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise StepFailed(name, getattr(error, "strerror", None) or str(error)) from error


@dataclass(slots=True)
class Confinement:
    """What the zygote prepared for its sessions. Descriptors are closed in a session before any block runs."""

    tier: str
    limits: dict[str, float]
    proc: int = -1  # /proc of the host: only way to the id maps once the root is changed
    pid_namespace: int = -1
    rules: list[tuple[int, int]] = field(default_factory=list)  # Landlock: (O_PATH descriptor, rights)
    zygote: int = 0  # its process id, where sessions see it: not in tier A, whose pid namespace it ends with itself
    baseline: int = 0  # address space of the warm interpreter, bytes


def confine_zygote(tier: str, limits: dict[str, float], trees: list[str]) -> Confinement:
    """Enter the tier's surroundings, before anything is imported in them.

    `trees` are the files and folders that sessions may read. In tier A this forks: the caller goes on as process 1 of
    its own pid namespace while the parent waits for it.
    """
    confinement = Confinement(tier, limits)
    if syscalls.machine() not in seccomp.AUDIT_ARCH:
        raise StepFailed("machine", f"no system call table for {syscalls.machine()}")
    with step("landlock"):
        abi = syscalls.landlock_abi()
    if abi < landlock.MINIMUM_ABI:
        raise StepFailed("landlock", f"ABI {abi}, but {landlock.MINIMUM_ABI} is needed")
    with step("proc"):
        confinement.proc = os.open("/proc", _PATH_ONLY | os.O_DIRECTORY)
    with step("oom score"):
        # When memory runs out, sessions go before whoever uses them.
        _write_own(confinement.proc, "oom_score_adj", _OOM_SCORE)
    if tier == "A":
        _enter_namespaces(confinement, trees)
    else:
        confinement.zygote = os.getpid()
        with step("uid"):
            _leave_root_where_readable(trees)
    with step("trees"):
        _open_rules(confinement, [inside(path) for path in trees] if tier == "A" else trees)
    return confinement


def _enter_namespaces(confinement: Confinement, trees: list[str]) -> None:
    surroundings = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS
    privileged = os.geteuid() == 0 and _unshared(surroundings)
    if privileged:
        # Built while still root: the interpreter may live below a private home.
        _build_root(trees)
        with step("uid"):
            _become_nobody(confinement.proc)
    with step("user namespace"):
        _enter_user_namespace(confinement.proc, 0 if privileged else surroundings)
    if not privileged:
        _build_root(trees)
    with step("pid namespace"):
        syscalls.unshare(CLONE_NEWPID)
        life, held_by_parent = os.pipe()
        child = os.fork()
    if child:
        _wait_for(child, held_by_parent)
    os.close(held_by_parent)
    with step("parent"):
        syscalls.die_with_parent(signal.SIGKILL)
        # It cannot be seen from in here whether the parent was there still, except by what it holds.
        if select.select([life], [], [], 0)[0]:
            raise ProcessLookupError("the parent is gone")
        os.close(life)
        confinement.pid_namespace = os.open("self/ns/pid", os.O_RDONLY | os.O_CLOEXEC, dir_fd=confinement.proc)


def _unshared(flags: int) -> bool:
    """Whether this root can make namespaces without a user namespace; in a container it often cannot, and what is
    tried next says why."""
    try:
        syscalls.unshare(flags)
    except OSError:
        return False
    return True


def _wait_for(child: int, keep: int) -> None:
    """Live as long as the child does. It dies with us, and with it everything in its pid namespace."""
    _close_all_but(keep)
    os.waitpid(child, 0)
    os._exit(0)


def _become_nobody(proc: int) -> None:
    """Give up uid 0. In a container whose uid 0 is somebody else outside, nobody may not exist: there it is kept."""
    with open(os.open("self/uid_map", os.O_RDONLY, dir_fd=proc)) as file:
        whole = [int(number) for number in file.read().split()] == [0, 0, 2**32 - 1]
    try:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    except OSError:
        if whole:
            raise
    syscalls.set_dumpable()


def _enter_user_namespace(proc: int, others: int) -> None:
    uid, gid = os.geteuid(), os.getegid()
    syscalls.unshare(CLONE_NEWUSER | others)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        _write_own(proc, name, text)


def _write_own(proc: int, name: str, text: str) -> None:
    """Write a file of this process under /proc."""
    descriptor = os.open(f"self/{name}", os.O_WRONLY | os.O_CLOEXEC, dir_fd=proc)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _build_root(trees: list[str]) -> None:
    """A read-only root that holds the trees at their places, four devices and an empty scratch folder."""
    with step("hostname"):
        socket.sethostname("sandbox")
    with step("mount namespace"):
        syscalls.mount("none", "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
        # Opened before the new root hides what lies below its mount point.
        sources = {path: os.open(path, _PATH_ONLY) for path in (*trees, *_DEVICES)}
        base = "/tmp"
        flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
        syscalls.mount("sandbox", base, "tmpfs", flags, "size=1m,mode=755")
        for path, descriptor in sources.items():
            target = base + inside(path)
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                os.makedirs(target, exist_ok=True)
            else:
                os.makedirs(os.path.dirname(target), exist_ok=True)
                os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC))
            syscalls.mount(f"/proc/self/fd/{descriptor}", target, None, syscalls.MS_BIND | syscalls.MS_REC)
            os.close(descriptor)
        os.makedirs(base + SCRATCH, exist_ok=True)
    with step("pivot_root"):
        os.chdir(base)
        syscalls.pivot_root_here()
        syscalls.make_read_only("/")


def _leave_root_where_readable(trees: list[str]) -> None:
    """Tier B has no root of its own: root becomes nobody if nobody can reach the interpreter there.

    Otherwise (an interpreter below a private home) uid 0 is kept; it has no capability left when a block runs, and
    Landlock bounds what its owner's rights reach.
    """
    if os.geteuid() == 0 and all(_reachable_by_others(path) for path in trees):
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)


def _reachable_by_others(path: str) -> bool:
    folder = os.path.realpath(path)
    while folder != "/":
        folder = os.path.dirname(folder)
        if not os.stat(folder).st_mode & stat.S_IXOTH:
            return False
    return True


def _open_rules(confinement: Confinement, trees: list[str]) -> None:
    for path in trees:
        confinement.rules.append((os.open(path, _PATH_ONLY), landlock.READ))
    for path in _DEVICES:
        rights = landlock.WRITE if path == "/dev/null" else landlock.READ
        confinement.rules.append((os.open(path, _PATH_ONLY), rights))


def confine_session(confinement: Confinement, keep: int) -> None:
    """Take everything from this freshly forked process; afterwards it may run foreign code.

    `keep` is the only descriptor above 2 left open.
    """
    limits = confinement.limits
    rules = list(confinement.rules)
    own_pid = os.getpid()
    with step("parent"):
        # First, because a busy machine may take seconds for the rest …
        _die_with_zygote(confinement)
    with step("session"):
        os.setsid()
    if confinement.tier == "A":
        with step("user namespace"):
            _enter_user_namespace(confinement.proc, CLONE_NEWNS | CLONE_NEWIPC)
        with step("scratch"):
            flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
            # The folder itself and each file take one inode.
            options = f"size={limits['scratch_bytes']},nr_inodes={int(limits['scratch_files']) + 1},mode=700"
            syscalls.mount("scratch", SCRATCH, "tmpfs", flags, options)
            os.chdir(SCRATCH)
            rules.append((os.open(SCRATCH, _PATH_ONLY), landlock.WRITE))
    else:
        os.chdir("/")
    with step("rlimits"):
        if confinement.tier == "A":
            # Counted in this session's own user namespace. Set before unshare it would bound all sessions together;
            # in tier B, where there is no such namespace, the host counts instead.
            rlimits.bound(resource.RLIMIT_NPROC, limits["threads"])
        rlimits.apply(limits, confinement.baseline)
        rlimits.bound(resource.RLIMIT_CORE, 0)
        rlimits.bound(resource.RLIMIT_MEMLOCK, 0)
        rlimits.bound(resource.RLIMIT_MSGQUEUE, 0)
    with step("capabilities"):
        syscalls.drop_capabilities()
    with step("no_new_privs"):
        syscalls.no_new_privileges()
    with step("landlock"):
        landlock.restrict(rules)
    with step("parent"):
        # … and last, because changes of credentials clear it.
        _die_with_zygote(confinement)
    _close_all_but(keep)
    with step("seccomp"):
        syscalls.install_filter(seccomp.program(syscalls.machine(), own_pid, scratch=confinement.tier == "A"))


def _die_with_zygote(confinement: Confinement) -> None:
    syscalls.die_with_parent(signal.SIGKILL, confinement.zygote or None)


def _close_all_but(keep: int) -> None:
    os.closerange(3, keep)
    os.closerange(keep + 1, _EVERY_DESCRIPTOR)
