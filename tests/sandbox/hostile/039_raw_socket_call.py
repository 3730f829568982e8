# Going past Python's socket module makes no difference.
# expect: ok
# require: held
import struct as _struct
for family in (1, 2, 10, 16, 17, 38, 40, 44):
    refused(f"socket {family}", syscall, "socket", family, 1, 0)
    refused(f"datagram socket {family}", syscall, "socket", family, 2 | 0o2000000, 0)
address = _struct.pack("=H", 2) + _struct.pack("!H4s8x", host.tcp_port, b"\x7f\0\0\1")
for fd in range(0, 12):
    refused(f"connect {fd}", syscall, "connect", fd, address, 16)
