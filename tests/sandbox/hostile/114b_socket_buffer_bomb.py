# The same with pairs of sockets.
# limits: wall=4
# expect: ok error timeout memory state-lost crashed
import socket
total = 0
kept = []
try:
    while total < 8_000_000_000:
        one, two = socket.socketpair()
        kept += [one, two]
        try:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 24)
        except OSError:
            pass
        for end in (one, two):
            end.setblocking(False)
            try:
                while True:
                    total += end.send(bytes(65536))
            except BlockingIOError:
                pass
    print("ESCAPED", total)
except OSError as error:
    print("held", error)
if total > 300 << 20:
    print("ESCAPED", total)
