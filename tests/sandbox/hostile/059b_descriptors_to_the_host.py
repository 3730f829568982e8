# Descriptors sent over the control channel: the call is refused, and the host would drop them.
# limits: wall=3
# expect: ok
# require: held
import array, socket
frame = sys._getframe()
while "control" not in frame.f_locals:
    frame = frame.f_back
def send():
    class iovec(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
    class msghdr(ctypes.Structure):
        _fields_ = [("name", ctypes.c_void_p), ("namelen", ctypes.c_uint32), ("iov", ctypes.c_void_p),
                    ("iovlen", ctypes.c_size_t), ("control", ctypes.c_void_p), ("controllen", ctypes.c_size_t),
                    ("flags", ctypes.c_int)]
    byte = ctypes.create_string_buffer(b"x")
    vector = iovec(ctypes.addressof(byte), 1)
    ancillary = ctypes.create_string_buffer((20).to_bytes(8, "little") + (1).to_bytes(4, "little") * 2 + bytes(8))
    message = msghdr(None, 0, ctypes.addressof(vector), 1, ctypes.addressof(ancillary), 24, 0)
    return syscall("sendmsg", frame.f_locals["control"], ctypes.byref(message), 0)
refused("sendmsg", send)
refused("python's way", lambda: socket.send_fds(socket.socketpair()[0], [b"x"], [1]))
