"""The system calls a session may make: an allow-list as a classic BPF program.

Knows the calls, not the interpreter: what numpy, scipy, sympy, threads, asyncio and tempfile need is listed here, all
else fails with EPERM. No process can be started, no socket opened, no other process signalled or traced, nothing
executed. The program is made per process because `kill` is allowed towards the own process id alone.
"""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass

from podium.sandbox.syscall_table import NUMBERS

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

ALLOW = 0x7FFF0000
KILL_PROCESS = 0x80000000


def errno_action(number: int) -> int:
    return 0x00050000 | number


# BPF instruction codes (linux/bpf_common.h).
_LOAD = 0x20  # A = 32 bits of struct seccomp_data at k
_AND = 0x54  # A &= k
_EQUAL = 0x15  # A == k
_AT_LEAST = 0x35  # A >= k
_RETURN = 0x06

_NR, _ARCH = 0, 4  # offsets in struct seccomp_data


def _low(argument: int) -> int:
    return 16 + 8 * argument


def _high(argument: int) -> int:
    return 20 + 8 * argument


_X32_BIT = 0x40000000

_ALWAYS = """
read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek close close_range dup dup2 dup3
fstat newfstatat stat lstat statx statfs fstatfs open openat access faccessat faccessat2 readlink readlinkat getdents64
getcwd chdir fchdir mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2 symlink symlinkat link linkat umask
ftruncate fsync fdatasync fallocate fadvise64 flock sendfile copy_file_range
pipe pipe2 eventfd2 epoll_create1 epoll_ctl epoll_wait epoll_pwait poll ppoll select pselect6
mmap munmap mprotect mremap madvise brk msync mincore
futex set_robust_list get_robust_list rseq membarrier set_tid_address sched_yield sched_getaffinity getcpu getpriority
nanosleep clock_nanosleep clock_gettime clock_getres gettimeofday time times getrusage getitimer setitimer alarm pause
getpid gettid getppid getuid geteuid getgid getegid getgroups getresuid getresgid getpgrp getpgid getsid
uname sysinfo getrandom getrlimit setrlimit
rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigsuspend sigaltstack restart_syscall
exit exit_group wait4 waitid recvfrom shutdown getsockname getpeername getsockopt
""".split()  # noqa: SIM905 - a list of two hundred strings is no easier to read

# Landlock does not cover modes and times, so they may change only where the only writable place is the scratch.
_WITH_SCRATCH = ["chmod", "fchmod", "fchmodat", "utimensat"]

# glibc falls back to an older call on ENOSYS, and would give up on EPERM.
_NOT_IMPLEMENTED = ["clone3", "openat2"]

# What pthread_create passes; CLONE_DETACHED (musl) is ignored by the kernel.
_THREAD_FLAGS = 0x003D0F00
_CLONE_DETACHED = 0x00400000

_AF_UNIX = 1
_SOCK_STREAM = 1
_PR_SET_NAME, _PR_GET_NAME = 15, 16
# F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, three kinds of locks twice, F_DUPFD_CLOEXEC, F_GETPIPE_SZ. Not F_SETOWN
# and F_SETSIG: with them the kernel would send any signal to any process of the same user.
_FCNTLS = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1032)
# TCGETS, TIOCGWINSZ (both only ask), FIONREAD, FIONBIO, FIONCLEX, FIOCLEX.
_IOCTLS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)


@dataclass(frozen=True, slots=True)
class _Test:
    """One argument must satisfy: (argument & mask) is one of values; `high_zero` also looks at the upper 32 bits."""

    argument: int
    values: tuple[int, ...]
    mask: int = 0xFFFFFFFF
    high_zero: bool = False


def _conditional(own_pid: int) -> dict[str, tuple[tuple[_Test, ...], int]]:
    """Calls allowed only with certain arguments, and the action otherwise."""
    refused = errno_action(errno.EPERM)
    return {
        "clone": ((_Test(0, (_THREAD_FLAGS,), mask=0xFFFFFFFF & ~_CLONE_DETACHED),), refused),
        "kill": ((_Test(0, (own_pid,)),), refused),
        "tgkill": ((_Test(0, (own_pid,)),), refused),
        "prlimit64": ((_Test(0, (0,)),), refused),
        "prctl": ((_Test(0, (_PR_SET_NAME, _PR_GET_NAME)),), refused),
        "fcntl": ((_Test(1, _FCNTLS),), refused),
        "ioctl": ((_Test(1, _IOCTLS),), errno_action(errno.ENOTTY)),
        "socketpair": ((_Test(0, (_AF_UNIX,)), _Test(1, (_SOCK_STREAM,), mask=0xF)), refused),
        # No address: a datagram cannot be sent to a socket elsewhere.
        "sendto": ((_Test(4, (0,), high_zero=True),), refused),
    }


def program(machine: str, own_pid: int, *, scratch: bool) -> bytes:
    """The filter for one process: 8 bytes per instruction.

    Args:
        machine: `x86_64` or `aarch64`.
        own_pid: process id of the session as it sees itself; the only one it may signal.
        scratch: whether it has a private writable folder.
    """
    numbers = NUMBERS[machine]
    code: list[tuple[int, int, int, int]] = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, AUDIT_ARCH[machine]),
        (_RETURN, 0, 0, KILL_PROCESS),
        (_LOAD, 0, 0, _NR),
        # x32 numbers reach other entry points of an x86_64 kernel.
        (_AT_LEAST, 0, 1, _X32_BIT),
        (_RETURN, 0, 0, KILL_PROCESS),
    ]
    for name, (tests, otherwise) in _conditional(own_pid).items():
        block: list[tuple[int, int, int, int]] = []
        for test in tests:
            if test.high_zero:
                block += [(_LOAD, 0, 0, _high(test.argument)), (_EQUAL, 1, 0, 0), (_RETURN, 0, 0, otherwise)]
            block.append((_LOAD, 0, 0, _low(test.argument)))
            if test.mask != 0xFFFFFFFF:
                block.append((_AND, 0, 0, test.mask))
            for place, value in enumerate(test.values):
                # A match jumps over the remaining values and the refusal.
                block.append((_EQUAL, len(test.values) - place, 0, value))
            block.append((_RETURN, 0, 0, otherwise))
        block.append((_RETURN, 0, 0, ALLOW))
        code += [(_EQUAL, 0, len(block), numbers[name]), *block]
    for name in _NOT_IMPLEMENTED:
        code += [(_EQUAL, 0, 1, numbers[name]), (_RETURN, 0, 0, errno_action(errno.ENOSYS))]
    for name in _ALWAYS + (_WITH_SCRATCH if scratch else []):
        if name in numbers:
            code += [(_EQUAL, 0, 1, numbers[name]), (_RETURN, 0, 0, ALLOW)]
    code.append((_RETURN, 0, 0, errno_action(errno.EPERM)))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
