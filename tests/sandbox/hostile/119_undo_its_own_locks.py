# Privileges, filters and the death signal cannot be taken back.
# expect: ok
# require: held
def set_and_read(option, value, read):
    syscall("prctl", option, value, 0, 0, 0)
    if (now := syscall("prctl", read, 0, 0, 0, 0)) != value:
        raise OSError(errno.EPERM, f"still {now}")
    return now
refused("no_new_privs off", set_and_read, 38, 0, 39)
refused("seccomp off", syscall, "prctl", 22, 0, 0, 0, 0)
refused("ambient capability", syscall, "prctl", 47, 2, 21, 0, 0)
refused("keep capabilities and become root", lambda: (syscall("prctl", 8, 1, 0, 0, 0), os.setuid(0), os.chroot("/"))[0])
header = ctypes.create_string_buffer((0x20080522).to_bytes(4, "little") + bytes(4))
data = ctypes.create_string_buffer(b"\xff" * 24)
refused("capset", syscall, "capset", header, data)
for number in range(0, 41):
    if libc.prctl(23, number, 0, 0, 0) == 1:
        try:
            state = ctypes.create_string_buffer(24)
            syscall(125 if X86 else 90, header, state)
            effective = int.from_bytes(state.raw[0:4], "little") | int.from_bytes(state.raw[12:16], "little") << 32
        except OSError:
            effective = 0
        if effective:
            print("ESCAPED capabilities", hex(effective))
        break
refused("become root", lambda: os.setresuid(0, 0, 0) if os.getuid() != 0 else (_ for _ in ()).throw(OSError(1, "is already 0")))
