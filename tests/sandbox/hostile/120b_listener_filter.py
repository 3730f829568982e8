# A filter with a listener would let the session answer its own calls.
# expect: ok error
# require: held
class program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
notify = ctypes.create_string_buffer(b"\x06\0\0\0\0\0\xc0\x7f")
refused("listener", syscall, "seccomp", 1, 8, ctypes.byref(program(1, ctypes.addressof(notify))))
