# expect: ok
# require: held
attribute = ctypes.create_string_buffer((0).to_bytes(4, "little") + (120).to_bytes(4, "little") + bytes(112))
refused("perf_event_open", syscall, "perf_event_open", attribute, 0, -1, -1, 0)
refused("bpf map", syscall, "bpf", 0, ctypes.create_string_buffer(b"\2\0\0\0\4\0\0\0\4\0\0\0\1\0\0\0" + bytes(64)), 80)
refused("userfaultfd", syscall, "userfaultfd", 0o2000000)
refused("userfaultfd user mode", syscall, "userfaultfd", 1)
