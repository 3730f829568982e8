# Run as the first block of every hostile session; `host` (what the test put on the machine) is defined before it.
import ctypes
import errno
import os
import signal
import sys
import threading
import time

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
libc.mmap.restype = ctypes.c_void_p

# x86_64, aarch64 (0: the machine has no such call)
CALLS = {
    "fork": (57, 0), "vfork": (58, 0), "clone": (56, 220), "clone3": (435, 435), "execve": (59, 221),
    "execveat": (322, 281), "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "process_madvise": (440, 440), "process_mrelease": (448, 448), "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424), "kcmp": (312, 272), "socket": (41, 198),
    "connect": (42, 203), "bind": (49, 200), "sendmsg": (46, 211), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "memfd_create": (319, 279), "memfd_secret": (447, 447), "userfaultfd": (323, 282),
    "bpf": (321, 280), "perf_event_open": (298, 241), "add_key": (248, 217), "request_key": (249, 218),
    "keyctl": (250, 219), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "unshare": (272, 97),
    "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442), "mknodat": (259, 33),
    "personality": (135, 92), "adjtimex": (159, 171), "clock_adjtime": (305, 266), "settimeofday": (164, 170),
    "clock_settime": (227, 112), "sched_setscheduler": (144, 119), "sched_setattr": (314, 274),
    "sched_setparam": (142, 118), "sched_setaffinity": (203, 122), "setpriority": (141, 140), "ioprio_set": (251, 30),
    "fanotify_init": (300, 262), "fanotify_mark": (301, 263), "shmget": (29, 194), "shmat": (30, 196),
    "semget": (64, 190), "semop": (65, 193), "msgget": (68, 186), "msgsnd": (69, 189), "mq_open": (240, 180),
    "mq_unlink": (241, 181), "seccomp": (317, 277), "kexec_load": (246, 104), "kexec_file_load": (320, 294),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106), "reboot": (169, 142),
    "swapon": (167, 224), "swapoff": (168, 225), "sethostname": (170, 161), "setdomainname": (171, 162),
    "syslog": (103, 116), "acct": (163, 89), "quotactl": (179, 60), "quotactl_fd": (443, 443), "iopl": (172, 0),
    "ioperm": (173, 0), "modify_ldt": (154, 0), "uselib": (134, 0), "vhangup": (153, 58), "setuid": (105, 146),
    "setgid": (106, 144), "setresuid": (117, 147), "setresgid": (119, 149), "setgroups": (116, 159),
    "capset": (126, 91), "setrlimit": (160, 164), "migrate_pages": (256, 238), "move_pages": (279, 239),
    "lookup_dcookie": (212, 18), "listmount": (458, 458), "statmount": (457, 457), "setxattr": (188, 5),
    "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240), "futex_waitv": (449, 449),
    "splice": (275, 76), "vmsplice": (278, 75), "tee": (276, 77), "sendfile": (40, 71), "mincore": (27, 232),
    "kill": (62, 129), "tgkill": (234, 131), "tkill": (200, 130), "prlimit64": (302, 261), "prctl": (157, 167),
    "getdents64": (217, 61), "open_tree_attr": (467, 467), "set_mempolicy": (238, 237), "mbind": (237, 235),
}
X86 = os.uname().machine == "x86_64"
NR = {name: numbers[0 if X86 else 1] for name, numbers in CALLS.items()}


def syscall(name, *args):
    """Raw call; returns the result, raises OSError like Python's own wrappers do."""
    number = NR[name] if isinstance(name, str) else name
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in args])
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def refused(what, action, *args, **kwargs):
    """Try it: prints 'held' when it is refused and 'ESCAPED' when it works."""
    try:
        value = action(*args, **kwargs)
    except Exception as error:
        code = errno.errorcode.get(getattr(error, "errno", None) or 0, "")
        print("held", what, type(error).__name__, code)
        return True
    print("ESCAPED", what, repr(value)[:200])
    return False


print("preamble ready")
