# No reading or writing of another process's memory.
# expect: ok
# require: held
class iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
buffer = ctypes.create_string_buffer(64)
local = iovec(ctypes.addressof(buffer), 64)
remote = iovec(id(object), 64)
for pid in (host.pid, host.victim_pid, os.getppid() or 2, os.getpid()):
    for call in ("process_vm_readv", "process_vm_writev"):
        refused(f"{call}", syscall, call, pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)
