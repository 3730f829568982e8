# Moving pages between descriptors: whatever is let through ends at the session's own limits.
# limits: wall=1
# expect: ok error timeout
reader, writer = os.pipe()
os.set_blocking(writer, False)
class iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
buffer = ctypes.create_string_buffer(1 << 20)
for name, arguments in (("vmsplice", (writer, ctypes.byref(iovec(ctypes.addressof(buffer), 1 << 20)), 1, 8)),
                        ("tee", (reader, writer, 65536, 2)), ("splice", (reader, 0, writer, 0, 65536, 2)),
                        ("sendfile", (writer, os.open(os.__file__, os.O_RDONLY), 0, 65536))):
    try:
        print(name, syscall(name, *arguments))
    except OSError as error:
        print(name, "refused", error.errno)
