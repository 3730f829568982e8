"""The warm interpreter that sessions are forked from.

Started fresh by the host with an explicit environment; runs no foreign code itself and never reads a byte that a
session wrote. Commands on the control socket: one message per session wanted, answered by one message with three
descriptors (control socket, output pipe, pidfd).
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from typing import Any, NoReturn

from podium.sandbox import confine, inside, pools, protocol, syscalls
from podium.sandbox.warm import ImportFailed, warm_up

SPAWN = b"spawn"
READY = b"ready"


def main(descriptor: int) -> None:
    control = socket.socket(fileno=descriptor)
    settings: dict[str, Any] = json.loads(control.recv(1 << 20))
    # The host's end may live on in a process the host forked; its parent's death cannot be missed.
    syscalls.die_with_parent(signal.SIGKILL, settings["host"])
    try:
        confinement = confine.confine_zygote(settings["tier"], settings["limits"], settings["trees"])
        if confinement.tier == "B":
            # Credentials may have changed, which clears it.
            syscalls.die_with_parent(signal.SIGKILL, settings["host"])
        if confinement.tier == "A":
            os.environ.update(HOME=confine.SCRATCH, TMPDIR=confine.SCRATCH)
            settings["paths"] = [confine.inside(path) for path in settings["paths"]]
            _follow_moved_trees()
        pools.install()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the sessions
        for number in (signal.SIGINT, signal.SIGTERM):  # the host's business: service managers tell every process
            signal.signal(number, signal.SIG_IGN)
        warm_up(settings["warm"], settings["paths"])
        confinement.baseline = _address_space(confinement.proc)
    except confine.StepFailed as failure:
        _give_up(control, failure.step, failure.reason)
    except ImportFailed as failure:
        _give_up(control, "warm", str(failure))
    control.send(READY)
    while control.recv(64) == SPAWN:
        _spawn(control, confinement)
    os._exit(0)


def _follow_moved_trees() -> None:
    """Tell what is imported already where its files are now, if the root of tier A shows them elsewhere."""
    sys.path[:] = [confine.inside(path) for path in sys.path]
    for name in ("prefix", "exec_prefix", "base_prefix", "base_exec_prefix", "executable", "_base_executable"):
        setattr(sys, name, confine.inside(getattr(sys, name)))
    for module in list(sys.modules.values()):
        spec = getattr(module, "__spec__", None)
        for holder, names in ((module, ("__file__",)), (spec, ("origin",)), (spec and spec.loader, ("path",))):
            for name in names:
                if isinstance(where := getattr(holder, name, None), str):
                    setattr(holder, name, confine.inside(where))
        if isinstance(folders := getattr(module, "__path__", None), list):
            folders[:] = [confine.inside(folder) for folder in folders]


def _give_up(control: socket.socket, step: str, reason: str) -> NoReturn:
    control.send(json.dumps({"step": step, "reason": reason}).encode())
    os._exit(1)


def _address_space(proc: int) -> int:
    """VmSize of this process in bytes."""
    with open(os.open("self/statm", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)) as file:
        return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def _spawn(control: socket.socket, confinement: confine.Confinement) -> None:
    ours, theirs = socket.socketpair()
    output_read, output_write = os.pipe()
    descriptors = [ours.fileno(), output_read]
    try:
        if confinement.tier == "A":
            syscalls.unshare(syscalls.CLONE_NEWPID)
        pid = os.fork()
        if pid == 0:
            # The host takes the end of this socket for the end of the zygote.
            control.close()
            _become_session(confinement, theirs.fileno(), output_write)
        if confinement.tier == "A":
            syscalls.setns(confinement.pid_namespace, syscalls.CLONE_NEWPID)
        descriptors.append(os.pidfd_open(pid))
        socket.send_fds(control, [b"session"], descriptors)
    except OSError as error:
        control.send(f"error {error}".encode())
    finally:
        ours.close()
        theirs.close()
        os.close(output_read)
        os.close(output_write)
        for descriptor in descriptors[2:]:
            os.close(descriptor)


def _become_session(confinement: confine.Confinement, control: int, output: int) -> None:
    try:
        null = os.open("/dev/null", os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        try:
            confine.confine_session(confinement, control)
        except confine.StepFailed as failure:
            protocol.write_all(control, protocol.pack_reply(protocol.FAILED, 0, 0, str(failure)))
            os._exit(1)
        inside.serve(control, confinement.baseline, int(confinement.limits["output_chars"]))
    finally:
        # Nothing of the zygote's stack may run in a session's process.
        os._exit(70)
