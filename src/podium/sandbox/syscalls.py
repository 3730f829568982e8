"""Linux system calls that Python has no name for, by ctypes.

Knows nothing of sandboxes: each function is one call (or one fixed idiom) and raises OSError when the kernel refuses.
Runs inside the zygote and the sessions, so it imports ctypes, os and resource only.
"""

from __future__ import annotations

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MNT_DETACH = 0x2

_MOUNT_ATTR_RDONLY = 0x1
_MOUNT_ATTR_NOSUID = 0x2
_AT_RECURSIVE = 0x8000
_AT_FDCWD = -100

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_SECCOMP = 22
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_SECCOMP_MODE_FILTER = 2
_LINUX_CAPABILITY_VERSION_3 = 0x20080522

# Numbers shared by x86_64 and aarch64 (assigned after the tables were unified) …
_MOUNT_SETATTR = 442
_LANDLOCK_CREATE_RULESET = 444
_LANDLOCK_ADD_RULE = 445
_LANDLOCK_RESTRICT_SELF = 446
# … and those that are not.
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_CAPSET = {"x86_64": 126, "aarch64": 91}


def machine() -> str:
    """`x86_64` or `aarch64`; other machines have no filter table and no tier A or B."""
    name = os.uname().machine
    return "aarch64" if name == "arm64" else name


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _syscall(what: str, number: int, *arguments: object) -> int:
    return _check(_libc.syscall(ctypes.c_long(number), *arguments), what)


def unshare(flags: int) -> None:
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def setns(descriptor: int, kind: int) -> None:
    _check(_libc.setns(ctypes.c_int(descriptor), ctypes.c_int(kind)), "setns")


def mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    result = _libc.mount(
        os.fsencode(source),
        os.fsencode(target),
        kind.encode() if kind else None,
        ctypes.c_ulong(flags),
        options.encode() if options else None,
    )
    _check(result, f"mount {target}")


def detach(target: str) -> None:
    """Lazy unmount: the mount vanishes from the tree now, from memory when nobody uses it."""
    _check(_libc.umount2(os.fsencode(target), MNT_DETACH), f"umount {target}")


def make_read_only(target: str) -> None:
    """Read-only and nosuid for `target` and every mount below it (mount_setattr, Linux 5.12)."""
    attributes = (ctypes.c_uint64 * 4)(_MOUNT_ATTR_RDONLY | _MOUNT_ATTR_NOSUID, 0, 0, 0)
    _syscall(
        f"mount_setattr {target}",
        _MOUNT_SETATTR,
        ctypes.c_int(_AT_FDCWD),
        os.fsencode(target),
        ctypes.c_uint(_AT_RECURSIVE),
        ctypes.byref(attributes),
        ctypes.c_size_t(ctypes.sizeof(attributes)),
    )


def pivot_root_here() -> None:
    """Make the current folder (a mount point) the root and let go of the old one."""
    _syscall("pivot_root", _PIVOT_ROOT[machine()], b".", b".")
    # The old root is stacked on the new one at "."; taking it off leaves the new one alone.
    detach(".")
    os.chdir("/")


def die_with_parent(signal_number: int, parent: int | None = None) -> None:
    """The kernel sends this signal when the parent thread ends. Cleared by a change of credentials: call it last.

    It does not tell of a parent that ended before the call: `parent` is the process id it had, where that can be seen.
    Raises ProcessLookupError when it is gone.
    """
    _prctl("PR_SET_PDEATHSIG", _PR_SET_PDEATHSIG, signal_number)
    if parent is not None and os.getppid() != parent:
        raise ProcessLookupError("the parent is gone")


def set_dumpable() -> None:
    """After a change of uid /proc/self belongs to root until this is called."""
    _prctl("PR_SET_DUMPABLE", _PR_SET_DUMPABLE, 1)


def no_new_privileges() -> None:
    _prctl("PR_SET_NO_NEW_PRIVS", _PR_SET_NO_NEW_PRIVS, 1)


def drop_capabilities() -> None:
    """Empty the ambient, bounding, effective, permitted and inheritable sets."""
    _prctl("PR_CAP_AMBIENT", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    for capability in range(64):
        # Without CAP_SETPCAP (EPERM) there is nothing to drop; past the kernel's last capability it says EINVAL.
        if _libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) < 0:
            break
    header = (ctypes.c_uint32 * 2)(_LINUX_CAPABILITY_VERSION_3, 0)
    empty = (ctypes.c_uint32 * 6)()
    _syscall("capset", _CAPSET[machine()], ctypes.byref(header), ctypes.byref(empty))


def install_filter(program: bytes) -> None:
    """Install a classic BPF program (8 bytes per instruction) as this process's seccomp filter."""

    class SockFprog(ctypes.Structure):
        _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

    buffer = ctypes.create_string_buffer(program, len(program))
    fprog = SockFprog(len(program) // 8, ctypes.addressof(buffer))
    _prctl("PR_SET_SECCOMP", _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(fprog))


def _prctl(what: str, option: int, first: int, second: int = 0) -> None:
    arguments = (ctypes.c_ulong(first), ctypes.c_ulong(second), ctypes.c_ulong(0), ctypes.c_ulong(0))
    _check(_libc.prctl(ctypes.c_int(option), *arguments), what)


def landlock_abi() -> int:
    """Version of the kernel's Landlock interface. Raises OSError when it has none or it is switched off."""
    return _syscall(
        "landlock", _LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(1)
    )  # LANDLOCK_CREATE_RULESET_VERSION


def landlock_create_ruleset(attributes: bytes) -> int:
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    size = ctypes.c_size_t(len(attributes))
    return _syscall("landlock_create_ruleset", _LANDLOCK_CREATE_RULESET, buffer, size, ctypes.c_uint(0))


def landlock_add_path_rule(ruleset: int, rule: bytes) -> None:
    buffer = ctypes.create_string_buffer(rule, len(rule))
    kind = ctypes.c_int(1)  # LANDLOCK_RULE_PATH_BENEATH
    _syscall("landlock_add_rule", _LANDLOCK_ADD_RULE, ctypes.c_int(ruleset), kind, buffer, ctypes.c_uint(0))


def landlock_restrict_self(ruleset: int) -> None:
    _syscall("landlock_restrict_self", _LANDLOCK_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint(0))
