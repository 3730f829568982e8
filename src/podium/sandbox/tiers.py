"""Which isolation works here: found by trying, said with a cure when none does.

Knows the tiers and what their failures mean to a person. A tier counts as working only when a canary block, run in a
real session of it, was refused everything it must be refused.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from podium.errors import InputError, SandboxUnavailable
from podium.sandbox import protocol
from podium.sandbox.launch import LaunchFailed
from podium.sandbox.limits import Limits
from podium.sandbox.process import Process

TIERS = {
    "A": "namespaces, Landlock and seccomp",
    "B": "Landlock and seccomp; no writable folder",
    "C": "macOS sandbox-exec; a fresh interpreter per session",
    "D": "no isolation",
}

_LANDLOCK_CURE = "needs Linux 6.2 or newer with `landlock` in /sys/kernel/security/lsm (boot option lsm=landlock,...)"
_NAMESPACE_CURE = (
    "allow user namespaces: in Docker `--security-opt seccomp=unconfined` (or a profile with unshare and mount); "
    "on Ubuntu 23.10+ an AppArmor profile with `userns,` for this interpreter or "
    "`sysctl kernel.apparmor_restrict_unprivileged_userns=0`; elsewhere `sysctl user.max_user_namespaces=15000`"
)
_CURES = {
    "landlock": _LANDLOCK_CURE,
    "machine": "run on x86_64 or aarch64, or use a remote sandbox (podium.sandbox.RemoteSandbox)",
    "user namespace": _NAMESPACE_CURE,
    "mount namespace": _NAMESPACE_CURE,
    "pid namespace": _NAMESPACE_CURE,
    "pivot_root": _NAMESPACE_CURE,
    "hostname": _NAMESPACE_CURE,
    "scratch": _NAMESPACE_CURE,
    "proc": "mount /proc",
    "seccomp": "needs a kernel with CONFIG_SECCOMP_FILTER",
    "trees": "make the interpreter's folders readable by this user",
    "zygote": "the interpreter must start with `-P -s -S -B` and an empty environment; try it by hand",
    "canary": "report this: the kernel accepted the rules and does not keep them",
    "sandbox-exec": "needs macOS with /usr/bin/sandbox-exec",
}

# Every action must be refused. A canary that survives is reported by name.
_CANARY = """
import os, socket
survived = []
def refused(name, action):
    try:
        action()
    except OSError:
        return
    survived.append(name)
def fork():
    if os.fork() == 0:
        os._exit(0)
refused("read a file of the host", lambda: open("/etc/passwd").close())
refused("list a folder of the host", lambda: os.listdir("/etc"))
refused("write outside the scratch folder", lambda: open("/var/podium-canary", "w").close())
refused("start a process", fork)
refused("open a socket", socket.socket)
refused("signal the host", lambda: os.kill({host}, 0))
"; ".join(survived) if survived else 6 * 7
"""


def candidates(tier: str | None, allow_unsafe: bool) -> Sequence[str]:
    """Tiers to try, strongest first.

    Raises InputError for an unknown tier, and for D unless it was allowed.
    """
    if tier is not None:
        if tier not in TIERS:
            raise InputError(f"no sandbox tier {tier!r}", "tiers: A, B (Linux), C (macOS), D (no isolation)")
        if tier == "D" and not allow_unsafe:
            raise InputError(
                "tier D runs code without any isolation", "pass allow_unsafe=True if that is what you want"
            )
        return [tier]
    return [*(["C"] if sys.platform == "darwin" else ["A", "B"]), *(["D"] if allow_unsafe else [])]


def cure(failures: Sequence[tuple[str, LaunchFailed]]) -> str:
    """What to do about the strongest tier that failed."""
    known = [_CURES[failure.step] for _, failure in failures if failure.step in _CURES]
    return known[0] if known else "see docs/sandbox.md, or use a remote sandbox"


def unavailable(failures: Sequence[tuple[str, LaunchFailed]]) -> SandboxUnavailable:
    tried = "; ".join(f"tier {tier} failed at {failure}" for tier, failure in failures)
    return SandboxUnavailable(f"no isolation here: {tried}", cure(failures))


async def canary(process: Process, tier: str, limits: Limits) -> None:
    """Try to misbehave in a session of this tier. Raises LaunchFailed when it succeeds."""
    code = _CANARY.format(host=os.getpid()) if tier != "D" else "6 * 7"
    answer = await process.run(code.encode(), limits)
    outcome = answer.outcome
    text = answer.written.decode(errors="replace") + getattr(outcome, "text", "")
    if not isinstance(outcome, protocol.Reply) or outcome.code != protocol.OK or text.strip() != "42":
        what = text.strip() or getattr(outcome, "detail", "no answer")
        raise LaunchFailed("canary", f"not refused: {what[-300:]}")
