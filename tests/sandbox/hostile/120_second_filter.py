# A second filter may only be stricter; one that lets everything through changes nothing.
# expect: ok error crashed state-lost
# effect: processes_bounded
class program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
allow = ctypes.create_string_buffer(b"\x06\0\0\0\0\0\xff\x7f")
try:
    print("installed", syscall("seccomp", 1, 0, ctypes.byref(program(1, ctypes.addressof(allow)))))
except OSError as error:
    print("held", error)
refused("fork", lambda: syscall("clone", 17, 0, 0, 0, 0) or libc._exit(0))
refused("socket", syscall, "socket", 2, 1, 0)
