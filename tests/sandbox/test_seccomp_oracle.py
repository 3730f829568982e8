"""The hand-made filter against libseccomp: the numbers of the calls, and the verdict on every call.

libseccomp builds its own program from the same policy, stated here by hand in names; both programs are run by a small
interpreter of classic BPF over all call numbers, foreign machines, the x32 table and arguments that matter.
"""

from __future__ import annotations

import errno
import functools
import itertools
import re
import struct
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.sandbox import seccomp
from podium.sandbox.syscall_table import NUMBERS

try:
    import pyseccomp
except (ImportError, RuntimeError) as error:  # RuntimeError: the bindings are there, the library is not
    pytest.skip(f"libseccomp is not here: {error}", allow_module_level=True)

ARCH = {"x86_64": pyseccomp.Arch.X86_64, "aarch64": pyseccomp.Arch.AARCH64}
MACHINES = sorted(ARCH)
PID = 4321
X32 = 0x40000000
ALLOW, KILL = 0x7FFF0000, 0x80000000

# Nothing of this may ever be let through, whatever its arguments.
NEVER = re.findall(
    r"\w+",
    """
execve execveat fork vfork ptrace process_vm_readv process_vm_writev pidfd_open pidfd_getfd pidfd_send_signal kcmp
process_madvise socket connect bind listen accept accept4 sendmsg sendmmsg recvmsg recvmmsg setsockopt io_uring_setup
io_uring_enter io_uring_register memfd_create memfd_secret userfaultfd bpf perf_event_open add_key request_key keyctl
name_to_handle_at open_by_handle_at unshare setns mount umount2 pivot_root chroot open_tree move_mount fsopen fsconfig
fsmount fspick mount_setattr mknod mknodat personality adjtimex clock_adjtime settimeofday clock_settime
sched_setscheduler sched_setattr sched_setparam sched_setaffinity setpriority ioprio_set fanotify_init fanotify_mark
inotify_init inotify_init1 shmget shmat shmctl semget semop semctl msgget msgsnd msgrcv msgctl mq_open mq_unlink
kexec_load kexec_file_load init_module finit_module delete_module reboot swapon swapoff sethostname setdomainname
syslog acct quotactl quotactl_fd iopl ioperm modify_ldt uselib vhangup setuid setgid setreuid setregid setresuid
setresgid setfsuid setfsgid setgroups capset seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self
migrate_pages move_pages mbind set_mempolicy lookup_dcookie setxattr lsetxattr fsetxattr removexattr tkill
rt_sigqueueinfo rt_tgsigqueueinfo process_mrelease vmsplice splice tee mlock mlockall mlock2 remap_file_pages
timer_create timerfd_create signalfd4 setsid setpgid vserver nfsservctl _sysctl sysfs ustat chown fchown fchownat
lchown truncate
""",
)


@functools.cache
def instructions(program: bytes) -> list[tuple[int, int, int, int]]:
    return list(struct.iter_unpack("=HBBI", program))


def run(program: bytes, arch: int, number: int, arguments: tuple[int, ...] = ()) -> int:
    """Interpret a seccomp program (linux/filter.h, seccomp(2)) and return its action."""
    arguments = (*arguments, *(0,) * (6 - len(arguments)))
    data = struct.pack("=iIQ6Q", number - (1 << 32) if number >= 1 << 31 else number, arch, 0, *arguments)
    code = instructions(program)
    accumulator = index = counter = 0
    memory = [0] * 16
    while True:
        operation, if_true, if_false, k = code[counter]
        counter += 1
        kind = operation & 0x07
        source = index if operation & 0x08 else k
        if operation == 0x20:  # load a word of the data
            accumulator = struct.unpack_from("=I", data, k)[0]
        elif operation == 0x06:  # return
            return k
        elif operation in (0x00, 0x01):
            accumulator, index = (k, index) if operation == 0x00 else (accumulator, k)
        elif operation in (0x60, 0x61):
            accumulator, index = (memory[k], index) if operation == 0x60 else (accumulator, memory[k])
        elif operation in (0x02, 0x03):
            memory[k] = accumulator if operation == 0x02 else index
        elif operation in (0x07, 0x87):
            accumulator, index = (accumulator, accumulator) if operation == 0x07 else (index, index)
        elif kind == 0x05:
            branch = operation & 0xF0
            if branch == 0x00:
                counter += k
                continue
            taken = {
                0x10: accumulator == source,
                0x20: accumulator > source,
                0x30: accumulator >= source,
                0x40: bool(accumulator & source),
            }[branch]
            counter += if_true if taken else if_false
        elif operation in (0x54, 0x5C):
            accumulator &= source
        else:
            raise AssertionError(f"instruction {operation:#x} is not expected in a filter")


def calls(machine: str) -> dict[int, str]:
    """Every call libseccomp knows by number on that machine."""
    found = {}
    for number in range(1024):
        try:
            found[number] = pyseccomp.resolve_syscall(ARCH[machine], number).decode()
        except ValueError:
            continue
    return found


def allowed_names(scratch: bool) -> list[str]:
    return [*seccomp._ALWAYS, *(seccomp._WITH_SCRATCH if scratch else [])]


def by_libseccomp(machine: str, scratch: bool) -> bytes:
    """The same policy, compiled by libseccomp."""
    masked, equal = pyseccomp.MASKED_EQ, pyseccomp.EQ
    word = 0xFFFFFFFF
    refuse = pyseccomp.ERRNO(errno.EPERM)
    made = pyseccomp.SyscallFilter(refuse)
    made.set_attr(pyseccomp.Attr.ACT_BADARCH, pyseccomp.KILL_PROCESS)
    if not made.exist_arch(ARCH[machine]):
        made.add_arch(ARCH[machine])
    for other in ARCH.values():
        if other != ARCH[machine] and made.exist_arch(other):
            made.remove_arch(other)

    def known(name: str) -> bool:
        return pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name) >= 0

    for name in allowed_names(scratch):
        if known(name):
            made.add_rule(ALLOW, name)
    for name in ("clone3", "openat2"):
        made.add_rule(pyseccomp.ERRNO(errno.ENOSYS), name)
    thread = 0x100 | 0x200 | 0x400 | 0x800 | 0x10000 | 0x40000 | 0x80000 | 0x100000 | 0x200000
    made.add_rule(ALLOW, "clone", pyseccomp.Arg(0, masked, word & ~0x400000, thread))
    for name in ("kill", "tgkill"):
        made.add_rule(ALLOW, name, pyseccomp.Arg(0, masked, word, PID))
    made.add_rule(ALLOW, "prlimit64", pyseccomp.Arg(0, masked, word, 0))
    for option in (15, 16):
        made.add_rule(ALLOW, "prctl", pyseccomp.Arg(0, masked, word, option))
    # fcntl.h: duplicate, flags, status, locks of both kinds, size of a pipe; not F_SETOWN, F_SETSIG, F_SETPIPE_SZ
    for command in (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1032):
        made.add_rule(ALLOW, "fcntl", pyseccomp.Arg(1, masked, word, command))
    for request in (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451):
        made.add_rule(ALLOW, "ioctl", pyseccomp.Arg(1, masked, word, request))
    made.add_rule(ALLOW, "socketpair", pyseccomp.Arg(0, masked, word, 1), pyseccomp.Arg(1, masked, 0xF, 1))
    made.add_rule(ALLOW, "sendto", pyseccomp.Arg(4, equal, 0))
    with tempfile.TemporaryFile() as file:
        made.export_bpf(file)
        file.seek(0)
        return file.read()


@pytest.fixture(scope="module", params=itertools.product(MACHINES, (True, False)), ids=str)
def pair(request) -> tuple[str, bytes, bytes]:
    machine, scratch = request.param
    ours = seccomp.program(machine, PID, scratch=scratch)
    return machine, ours, by_libseccomp(machine, scratch)


@pytest.mark.parametrize("machine", MACHINES)
def test_numbers(machine):
    for name, number in NUMBERS[machine].items():
        assert pyseccomp.resolve_syscall(ARCH[machine], name) == number, name
    for name in allowed_names(scratch=True):
        known = pyseccomp.resolve_syscall(ARCH[machine], name)
        assert NUMBERS[machine].get(name, known if known < 0 else None) == known, f"{name} is {known} on {machine}"


@pytest.mark.parametrize("machine", MACHINES)
def test_dangerous_calls_are_refused_with_any_arguments(machine):
    program = seccomp.program(machine, PID, scratch=True)
    for name in NEVER:
        number = pyseccomp.resolve_syscall(ARCH[machine], name)
        if number < 0:  # the machine does not have it
            continue
        for arguments in itertools.product((0, PID, 2**64 - 1), repeat=2):
            assert run(program, ARCH[machine], number, arguments) == 0x00050000 | errno.EPERM, name


def test_every_number_has_the_verdict_of_libseccomp(pair):
    machine, ours, theirs = pair
    names = calls(machine)
    for number in range(1024):
        verdicts = [run(program, ARCH[machine], number) for program in (ours, theirs)]
        if names.get(number) == "ioctl":  # the refusal is "not a terminal" there; which requests pass is tested below
            verdicts[0] = 0x00050000 | errno.EPERM if verdicts[0] == 0x00050000 | errno.ENOTTY else verdicts[0]
        assert verdicts[0] == verdicts[1], f"{number} {names.get(number)}: {verdicts[0]:#x} and {verdicts[1]:#x}"


def test_foreign_machines_and_tables_kill(pair):
    machine, ours, theirs = pair
    foreign = [arch for arch in (*ARCH.values(), pyseccomp.Arch.X86, pyseccomp.Arch.ARM) if arch != ARCH[machine]]
    for number in range(0, 512, 3):
        for arch in foreign:
            assert run(ours, arch, number) == run(theirs, arch, number) == KILL
        assert run(ours, ARCH[machine], X32 | number) == KILL
    assert run(ours, ARCH[machine], 0xFFFFFFFF) == KILL


INTERESTING = [
    0, 1, 2, 3, 5, 15, 16, 17, 22, 38, PID, PID + 1, 2**32 + PID, 2**32, 2**31, 2**64 - 1, 2**64 - PID, 0x3D0F00,
    0x7D0F00, 0x3D0F00 | 17, 0x3D0F00 | 0x10000000, 0x3C0F00, 0x5401, 0x5412, 0x5413, 0x541B, 0x541C, 0x5421, 0x5450,
    0x5451, 0x80000, 0x80001, 0x80002, 0x801, 0x5402, 8, 10, 36, 1024, 1030, 1031, 1032,
]  # fmt: skip
WORD = st.one_of(st.sampled_from(INTERESTING), st.integers(0, 2**64 - 1), st.integers(0, 64))
CONDITIONAL = ["fcntl", "clone", "kill", "tgkill", "prlimit64", "prctl", "ioctl", "socketpair", "sendto"]


@given(name=st.sampled_from(CONDITIONAL), arguments=st.tuples(WORD, WORD, WORD, WORD, WORD, WORD))
def test_arguments_are_judged_as_libseccomp_does(pair, name, arguments):
    machine, ours, theirs = pair
    number = pyseccomp.resolve_syscall(ARCH[machine], name)
    assert (run(ours, ARCH[machine], number, arguments) == ALLOW) == (
        run(theirs, ARCH[machine], number, arguments) == ALLOW
    )


def test_every_interesting_argument(pair):
    machine, ours, theirs = pair
    for name in CONDITIONAL:
        number = pyseccomp.resolve_syscall(ARCH[machine], name)
        for first, second in itertools.product(INTERESTING, repeat=2):
            arguments = (first, second, 0, 0, first)
            verdicts = [run(p, ARCH[machine], number, arguments) == ALLOW for p in (ours, theirs)]
            assert verdicts[0] == verdicts[1], (name, arguments, verdicts)


def test_only_the_own_process_may_be_signalled(pair):
    machine, ours, _ = pair
    for name in ("kill", "tgkill"):
        number = NUMBERS[machine][name]
        assert run(ours, ARCH[machine], number, (PID, 9)) == ALLOW
        for target in (0, 1, PID - 1, PID + 1, 2**64 - 1, 2**64 - PID, 2**32 - 1, 2**32 - PID):
            assert run(ours, ARCH[machine], number, (target, 9)) != ALLOW, target


def test_the_interpreter_of_bpf_reads_libseccomps_own_words():
    """The oracle's oracle: a small filter whose verdicts are plain."""
    made = pyseccomp.SyscallFilter(pyseccomp.ERRNO(errno.EPERM))
    made.add_rule(ALLOW, "read")
    made.add_rule(ALLOW, "write", pyseccomp.Arg(0, pyseccomp.LE, 2))
    with tempfile.TemporaryFile() as file:
        made.export_bpf(file)
        file.seek(0)
        program = file.read()
    native = pyseccomp.system_arch()
    read, write = (pyseccomp.resolve_syscall(native, name) for name in ("read", "write"))
    assert run(program, native, read) == ALLOW
    assert [run(program, native, write, (fd,)) == ALLOW for fd in (0, 2, 3, 2**32)] == [True, True, False, False]
    assert re.match(r"read", pyseccomp.resolve_syscall(native, read).decode())
