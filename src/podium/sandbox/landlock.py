"""Landlock: which files a session may touch, without any privilege.

Knows the rights and the layout of the rules (linux/landlock.h), not which paths a session needs. Handles every right
the running kernel knows, so that whatever is not granted below is refused.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterable

from podium.sandbox import syscalls

_READ_FILE = 1 << 2
_READ_DIR = 1 << 3
_WRITE_FILE = 1 << 1
_TRUNCATE = 1 << 14
READ = _READ_FILE | _READ_DIR
# Files and folders may be made, changed, renamed and removed; devices, sockets and FIFOs may not be made; no execution.
WRITE = (
    READ
    | _WRITE_FILE
    | 1 << 4  # remove a folder
    | 1 << 5  # remove a file
    | 1 << 7  # make a folder
    | 1 << 8  # make a regular file
    | 1 << 12  # make a symbolic link
    | 1 << 13  # link or rename across folders (ABI 2)
    | _TRUNCATE  # (ABI 3)
)
_FILE_ONLY = _READ_FILE | _WRITE_FILE | _TRUNCATE

# Number of file-system rights known from each ABI on.
_FS_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_NET_RIGHTS = 0b11  # bind and connect TCP, ABI 4
_SCOPES = 0b11  # abstract unix sockets and signals, ABI 6

MINIMUM_ABI = 3
"""From ABI 3 (Linux 6.2) on, truncation is covered; without it a session could empty files of its own user."""


def restrict(rules: Iterable[tuple[int, int]]) -> None:
    """Confine this process for good.

    `rules` are (O_PATH descriptor, rights): what lies at or beneath the descriptor may be used so. Needs
    no_new_privileges. Raises OSError when the kernel refuses.
    """
    abi = syscalls.landlock_abi()
    handled = (1 << _FS_RIGHTS[min(abi, 5)]) - 1
    attributes = struct.pack("=Q", handled)
    if abi >= 4:
        attributes += struct.pack("=Q", _NET_RIGHTS)
    if abi >= 6:
        attributes += struct.pack("=Q", _SCOPES)
    ruleset = syscalls.landlock_create_ruleset(attributes)
    try:
        for descriptor, rights in rules:
            if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
                rights &= _FILE_ONLY
            syscalls.landlock_add_path_rule(ruleset, struct.pack("=Qi", rights & handled, descriptor))
        syscalls.landlock_restrict_self(ruleset)
    finally:
        os.close(ruleset)
