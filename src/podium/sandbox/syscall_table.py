"""System call numbers of the two machines the filter knows.

Only calls that the filter names are listed; a call that a machine does not have (aarch64 has no `open`) is absent.
Checked against libseccomp in the tests.
"""

# fmt: off
NUMBERS: dict[str, dict[str, int]] = {
    "x86_64": {
        "read": 0, "write": 1, "readv": 19, "writev": 20, "pread64": 17, "pwrite64": 18, "preadv": 295,
        "pwritev": 296, "preadv2": 327, "pwritev2": 328, "lseek": 8, "close": 3, "close_range": 436, "fstat": 5,
        "newfstatat": 262, "stat": 4, "lstat": 6, "statx": 332, "open": 2, "openat": 257, "access": 21,
        "faccessat": 269, "faccessat2": 439, "readlink": 89, "readlinkat": 267, "getdents64": 217, "getcwd": 79,
        "chdir": 80, "fchdir": 81, "mkdir": 83, "mkdirat": 258, "rmdir": 84, "unlink": 87, "unlinkat": 263,
        "rename": 82, "renameat": 264, "renameat2": 316, "symlink": 88, "symlinkat": 266, "link": 86, "linkat": 265,
        "ftruncate": 77, "fsync": 74, "fdatasync": 75, "fallocate": 285, "flock": 73, "fcntl": 72, "dup": 32,
        "dup2": 33, "dup3": 292, "pipe": 22, "pipe2": 293, "eventfd2": 290, "epoll_create1": 291, "epoll_ctl": 233,
        "epoll_wait": 232, "epoll_pwait": 281, "poll": 7, "ppoll": 271, "select": 23, "pselect6": 270, "sendfile": 40,
        "copy_file_range": 326, "fadvise64": 221, "statfs": 137, "fstatfs": 138, "chmod": 90, "fchmod": 91,
        "fchmodat": 268, "utimensat": 280, "mmap": 9, "munmap": 11, "mprotect": 10, "mremap": 25, "madvise": 28,
        "brk": 12, "msync": 26, "mincore": 27, "futex": 202, "set_robust_list": 273, "get_robust_list": 274,
        "rseq": 334, "membarrier": 324, "sched_yield": 24, "sched_getaffinity": 204, "getcpu": 309, "nanosleep": 35,
        "clock_nanosleep": 230, "clock_gettime": 228, "clock_getres": 229, "gettimeofday": 96, "time": 201,
        "times": 100, "getrusage": 98, "getitimer": 36, "setitimer": 38, "alarm": 37, "pause": 34, "getpid": 39,
        "gettid": 186, "getppid": 110, "getuid": 102, "geteuid": 107, "getgid": 104, "getegid": 108, "getgroups": 115,
        "getresuid": 118, "getresgid": 120, "getpgrp": 111, "getpgid": 121, "getsid": 124, "uname": 63, "sysinfo": 99,
        "getrandom": 318, "umask": 95, "getpriority": 140, "rt_sigaction": 13, "rt_sigprocmask": 14,
        "rt_sigreturn": 15, "rt_sigpending": 127, "rt_sigtimedwait": 128, "rt_sigsuspend": 130, "sigaltstack": 131,
        "restart_syscall": 219, "kill": 62, "tgkill": 234, "exit": 60, "exit_group": 231, "wait4": 61, "waitid": 247,
        "set_tid_address": 218, "getrlimit": 97, "setrlimit": 160, "prlimit64": 302, "clone": 56, "clone3": 435,
        "prctl": 157, "ioctl": 16, "socketpair": 53, "sendto": 44, "recvfrom": 45, "shutdown": 48, "getsockname": 51,
        "getpeername": 52, "getsockopt": 55, "openat2": 437,
    },
    "aarch64": {
        "read": 63, "write": 64, "readv": 65, "writev": 66, "pread64": 67, "pwrite64": 68, "preadv": 69,
        "pwritev": 70, "preadv2": 286, "pwritev2": 287, "lseek": 62, "close": 57, "close_range": 436, "fstat": 80,
        "newfstatat": 79, "statx": 291, "openat": 56, "faccessat": 48, "faccessat2": 439, "readlinkat": 78,
        "getdents64": 61, "getcwd": 17, "chdir": 49, "fchdir": 50, "mkdirat": 34, "unlinkat": 35, "renameat": 38,
        "renameat2": 276, "symlinkat": 36, "linkat": 37, "ftruncate": 46, "fsync": 82, "fdatasync": 83,
        "fallocate": 47, "flock": 32, "fcntl": 25, "dup": 23, "dup3": 24, "pipe2": 59, "eventfd2": 19,
        "epoll_create1": 20, "epoll_ctl": 21, "epoll_pwait": 22, "ppoll": 73, "pselect6": 72, "sendfile": 71,
        "copy_file_range": 285, "fadvise64": 223, "statfs": 43, "fstatfs": 44, "fchmod": 52, "fchmodat": 53,
        "utimensat": 88, "mmap": 222, "munmap": 215, "mprotect": 226, "mremap": 216, "madvise": 233, "brk": 214,
        "msync": 227, "mincore": 232, "futex": 98, "set_robust_list": 99, "get_robust_list": 100, "rseq": 293,
        "membarrier": 283, "sched_yield": 124, "sched_getaffinity": 123, "getcpu": 168, "nanosleep": 101,
        "clock_nanosleep": 115, "clock_gettime": 113, "clock_getres": 114, "gettimeofday": 169, "times": 153,
        "getrusage": 165, "getitimer": 102, "setitimer": 103, "getpid": 172, "gettid": 178, "getppid": 173,
        "getuid": 174, "geteuid": 175, "getgid": 176, "getegid": 177, "getgroups": 158, "getresuid": 148,
        "getresgid": 150, "getpgid": 155, "getsid": 156, "uname": 160, "sysinfo": 179, "getrandom": 278, "umask": 166,
        "getpriority": 141, "rt_sigaction": 134, "rt_sigprocmask": 135, "rt_sigreturn": 139, "rt_sigpending": 136,
        "rt_sigtimedwait": 137, "rt_sigsuspend": 133, "sigaltstack": 132, "restart_syscall": 128, "kill": 129,
        "tgkill": 131, "exit": 93, "exit_group": 94, "wait4": 260, "waitid": 95, "set_tid_address": 96,
        "getrlimit": 163, "setrlimit": 164, "prlimit64": 261, "clone": 220, "clone3": 435, "prctl": 167, "ioctl": 29,
        "socketpair": 199, "sendto": 206, "recvfrom": 207, "shutdown": 210, "getsockname": 204, "getpeername": 205,
        "getsockopt": 209, "openat2": 437,
    },
}
