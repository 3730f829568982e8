# Every door to a new process, called by number.
# expect: ok
# require: held
# effect: processes_bounded
def child_exits(name, *args):
    result = syscall(name, *args)
    if result == 0:
        libc._exit(0)
    return result
if X86:
    refused("fork", child_exits, "fork")
refused("clone", child_exits, "clone", 17, 0, 0, 0, 0)
refused("clone vfork flags", child_exits, "clone", 17 | 0x4000, 0, 0, 0, 0)
refused("clone new user", child_exits, "clone", 17 | 0x10000000, 0, 0, 0, 0)
refused("clone thread and new ns", child_exits, "clone", 0x10000 | 0x10000000, 0, 0, 0, 0)
arguments = (ctypes.c_uint64 * 8)(0, 0, 0, 0, 17, 0, 0, 0)
refused("clone3", child_exits, "clone3", arguments, 64)
arguments = (ctypes.c_uint64 * 8)(0x10000000, 0, 0, 0, 17, 0, 0, 0)
refused("clone3 new user", child_exits, "clone3", arguments, 64)
